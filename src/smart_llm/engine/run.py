"""A run from table to certificate: freeze the plan, let the procedure ask, deliver by its rule, settle the account.

The procedure is the same object that replay and simulation drive. Resume needs no code of its own: the plan is taken
from the ledger, the procedure asks the same rows again, and the client finds their answers there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Protocol

import numpy as np

from smart_llm import procedures
from smart_llm.engine.about import ABOUT, about
from smart_llm.engine.account import Account, certificate
from smart_llm.engine.ahead import Ahead
from smart_llm.engine.aside import SET_ASIDE, Aside, record_once
from smart_llm.engine.batch import batching, tell_of_batches
from smart_llm.engine.delivered import Names, States
from smart_llm.engine.expect import expected_cost, most_cost
from smart_llm.engine.job import Job, begin, planned_batches, planned_models, problem
from smart_llm.engine.live import Client as Asked
from smart_llm.engine.live import Live
from smart_llm.engine.means import Means
from smart_llm.engine.selfcheck import check_itself, second_look
from smart_llm.engine.snapshots import covered
from smart_llm.engine.watch import watched
from smart_llm.errors import BudgetExhausted, Interrupted, Refused, SmartError
from smart_llm.events import Decided, Ended, Said
from smart_llm.ledger import Ledger, RunRecord, request_key
from smart_llm.providers.client import Client
from smart_llm.reports.certificate import Certificate
from smart_llm.reports.rules import own
from smart_llm.types import (
    AGREE,
    BAD,
    Ask,
    Cascade,
    Json,
    Model,
    Verdict,
)

DELIVERY = "delivery"
"""Kind of the event that records the beginning of a run's delivery."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A run's delivery, one entry per row of the table, and its certificate. cost: USD, counted once per request."""

    answers: Sequence[str | None]
    answered_by: Sequence[str]
    status: Sequence[str]
    certificate: Certificate
    cost: float
    saving: float
    run_id: str


class Buying(Asked, Protocol):
    """What a run needs of its client."""

    async def settle(self) -> None:
        """Nothing is in flight any more: what was announced is taken back."""
        ...

    def expect(self, snapshots: Mapping[str, frozenset[str]]) -> None:
        """From now on only these snapshots may answer, by model: another one stops the run."""
        ...


class Unfinished(Exception):
    """A run that stopped cleanly: its pending certificate, and the error to tell the user."""

    def __init__(self, certificate: Certificate, reason: SmartError) -> None:
        super().__init__(certificate.status)
        self.certificate = certificate
        self.reason = reason


async def execute(job: Job, means: Means) -> Finished:
    """Run a checked job to its end. Raises `BudgetExhausted`, `Interrupted` or `Refused`, with a pending certificate in
    the ledger; everything bought is kept."""
    record, taken_up = begin(job, means.ledger)
    if taken_up:
        means.tell(Said(f"Taking up run {record.run_id}: what it bought is not bought again."))
    record_once(means.ledger, record.run_id, ABOUT, about(job, means.output))
    models = planned_models(job.models, record.plan)
    client = Client(
        means.ledger,
        models,
        means.providers,
        concurrency=means.concurrency,
        timeout=means.timeout,
        patience=means.patience,
        budget=means.budget,
        run=record.run_id,
        check=means.stop.check,
    )
    async with watched(client, means.stop, means.tell):
        finished = await _ask(job, record, models, client, means)
    if abs(client.cache_saved) >= 5e-7:
        means.tell(Said(f"Providers' prompt caches took ${client.cache_saved:.6f} off what was bought now."))
    certificate = finished.certificate
    errors = certificate.claim["errors"]
    means.tell(Ended(certificate.status, job.table.rows, errors, finished.saving, finished.cost))
    return finished


async def _ask(job: Job, record: RunRecord, models: tuple[Model, ...], client: Client, means: Means) -> Finished:
    """By calls, or by batches where the plan says so."""
    names = planned_batches(record.plan)
    if not names:
        tell_of_batches(means.ledger, models, means.tell)
        return await _execute(job, record, models, client, means, Ahead.never())
    async with batching(client, models, names, record.run_id, means) as batches:
        ahead = Ahead.of_procedure(job.procedure, record.seed, len(Aside.of(record.plan).population))
        return await _execute(job, record, models, batches, replace(means, concurrency=means.batch.rows), ahead)


async def _execute(
    job: Job, record: RunRecord, models: tuple[Model, ...], client: Buying, means: Means, ahead: Ahead
) -> Finished:
    """Settle what is set aside, profile, deliver, settle the account."""
    live = Live(job.table, job.task, models, client, stop=means.stop, aside=Aside.of(record.plan))
    account = Account(live)
    try:
        await _set_aside(record, live, means)
        account.close("set_aside")
        verdict = await _profile(job, record, live, means, ahead)
        account.close("profiling")
        verdict = replace(verdict, notes=(*verdict.notes, *score_notes(live, verdict)))
        if verdict.granted:
            live.covered = covered(live, verdict.rule, means.ledger)
            client.expect({models[m].name: names for m, names in live.covered.items()})
        for note in verdict.notes:
            means.tell(Said(note))
        means.tell(decided(verdict, live))
        if means.self_check:
            rows = second_look(live, verdict, means.self_check, record.seed)
            account.check = await check_itself(live, rows, record.run_id, means)
        live.before = _begun(record.run_id, means.ledger)
        await means.deliver(live, verdict, record, means)
    except (BudgetExhausted, Interrupted, Refused) as stopped:
        await client.settle()
        pending = certificate(job, record, account, None, means.ledger)
        means.ledger.finish_run(record.run_id, asdict(pending), state="pending")
        raise Unfinished(pending, _counted(stopped, live)) from stopped
    await client.settle()
    granted = certificate(job, record, account, verdict, means.ledger)
    means.ledger.finish_run(record.run_id, asdict(granted))
    names = [model.name for model in models]
    return Finished(
        live.answers,
        Names(live.by, names),
        States(job.table.rows, live.errors),
        granted,
        granted.cost["total"],
        granted.cost["saving"],
        record.run_id,
    )


def _begun(run_id: str, ledger: Ledger) -> int:
    """The number of the last answer that was in the ledger when delivery began, in whatever session that was."""
    told = ledger.latest(run_id, DELIVERY)
    if told is None:
        told = {"answers": ledger.last_number()}
        ledger.event(run_id, DELIVERY, told)
    return int(told["answers"])


async def _set_aside(record: RunRecord, live: Live, means: Means) -> None:
    """The rows of earlier pilots: the reference's answer to this run's prompt, what candidates were asked about them
    under this task counted in, and a record of it."""
    if not len(live.aside.positions):
        return
    keys = await live.settle_aside(means.concurrency)
    _count_piloted(live, means.ledger)
    record_once(means.ledger, record.run_id, SET_ASIDE, {"positions": live.aside.positions.tolist(), "keys": keys})


def _count_piloted(live: Live, ledger: Ledger) -> None:
    """What candidates' answers to the rows set aside have cost belongs to this run."""
    for position, prompt in zip(live.aside.positions.tolist(), live.prompts(live.aside.positions), strict=True):
        for model in range(1, len(live.models)):
            first, *further = [ledger.get(request_key(request)) for request in live.requests(model, prompt)]
            if first is not None:
                live.count(position, model, first.cost)
            live.count_draws(position, model, [draw.cost for draw in further if draw is not None])


async def _profile(job: Job, record: RunRecord, live: Live, means: Means, ahead: Ahead) -> Verdict:
    """Drive the procedure; every ask is recorded with the ledger keys of its requests, in order."""
    rates = [expected_cost(model, means.providers[model.name], live) for model in live.models]
    bounds = [most_cost(model, live) for model in live.models]
    posed = problem(record.plan, rates, bounds=bounds, lost=len(live.errors))
    conversation = procedures.get(job.procedure)(posed)
    diary = Diary(means.ledger, record.run_id)
    try:
        ask = next(conversation)
        while True:
            answers, keys = await live.profile(ask, means.concurrency, means.tell, ahead.along_with(ask))
            diary.write(replace(ask, positions=live.aside.population[ask.positions]), keys)
            ask = conversation.send(answers)
    except StopIteration as stop:
        diary.end()
        verdict: Verdict = stop.value
        return verdict


def decided(verdict: Verdict, live: Live) -> Decided:
    """What profiling has led to."""
    rule = verdict.rule
    used = [t.candidate for t in rule.tiers] if isinstance(rule, Cascade) else [m for m, rows in rule.shares if rows]
    ratio = verdict.outlook.expected_cost_ratio if verdict.outlook else 0.0
    names = [model.name for model in live.models]
    models = tuple(names[model] for model in used if model)
    return Decided(names[0], models, len(verdict.profiled), 1 / ratio if ratio > 0 else None, live.so_far)


def _counted(stopped: SmartError, live: Live) -> SmartError:
    """A stop by the user, with what there is by then."""
    if not isinstance(stopped, Interrupted):
        return stopped
    return Interrupted(
        f"Stopped with {int(live.settled.sum()):,} of {live.rows:,} rows answered and ${live.so_far:.6g} spent. "
        + str(stopped).removeprefix("Stopped. ")
    )


def score_notes(live: Live, verdict: Verdict) -> list[str]:
    """Which scores there were, and what the rule routes rows by."""
    names = [model.name for model in live.models]
    marks = np.concatenate([np.empty((0, len(names)), np.int8), *(sheet.marks for _, sheet in live.batches)])
    scores = np.concatenate([np.empty((0, len(names))), *(sheet.score for _, sheet in live.batches)])
    answered = np.isin(marks, (AGREE, BAD))
    silent = [
        names[j] for j in range(1, len(names)) if answered[:, j].any() and np.isnan(scores[answered[:, j], j]).all()
    ]
    notes = [f"{name} gives no log-probabilities: scores are made of answers and lengths." for name in silent]
    for tier in verdict.rule.tiers if isinstance(verdict.rule, Cascade) else ():
        terms = ", ".join(name.partition(":")[0] for name, _ in tier.score.terms) or "nothing (blind)"
        told = own(live.models[tier.candidate].draws, bool(live.task.contract.labels))
        known = {"own": told, "nothing (blind)": "nothing but chance"}
        how = known.get(terms, f"a score learned on the pilot: {terms}")
        notes.append(f"Rows are routed to {names[tier.candidate]} by {how}.")
    if isinstance(verdict.rule, Cascade) and verdict.rule.gate:
        notes.append(f"Some rows go straight to {names[0]}, by the length and the words of their text.")
    return notes


class Diary:
    """The asks of a run as events in the ledger, numbered; what stands there already is not written again.

    A run taken up again may leave its old path where a failed row was answered this time: the last event of a number
    counts, and `asks` says how many there are.
    """

    def __init__(self, ledger: Ledger, run_id: str) -> None:
        self._ledger, self._run_id, self._count = ledger, run_id, 0
        events = ledger.events(run_id)
        self._written = {event.payload["number"]: event.payload for event in events if event.kind == "ask"}
        self._ended = next((event.payload["asks"] for event in reversed(events) if event.kind == "asks"), None)

    def write(self, ask: Ask, keys: list[list[str]]) -> None:
        """One ask, with positions in the table, and the keys of its requests."""
        entry = {"number": self._count, **_asked(ask, keys)}
        if self._written.get(self._count) != entry:
            self._ledger.event(self._run_id, "ask", entry)
        self._count += 1

    def end(self) -> None:
        """The procedure is done asking."""
        if self._ended != self._count:
            self._ledger.event(self._run_id, "asks", {"asks": self._count})


def _asked(ask: Ask, keys: list[list[str]]) -> dict[str, Json]:
    return {"stage": ask.stage, "positions": ask.positions.tolist(), "models": list(ask.models), "keys": keys}
