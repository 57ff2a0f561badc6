"""A run from table to certificate: freeze the plan, let the procedure ask, deliver by its rule, settle the account.

The procedure is the same object that replay and simulation drive. Resume needs no code of its own: the plan is taken
from the ledger, the procedure asks the same rows again, and the client finds their answers there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from scipy.special import betaincinv  # scipy.stats takes a second to load

from smart_llm import procedures
from smart_llm.engine.about import ABOUT, about
from smart_llm.engine.ahead import Ahead
from smart_llm.engine.aside import SET_ASIDE, Aside, record_once
from smart_llm.engine.batch import BatchOptions, batching, tell_of_batches
from smart_llm.engine.delivered import Names, States
from smart_llm.engine.job import Job, begin, fixed, planned_batches, planned_models, problem
from smart_llm.engine.labels import per_label
from smart_llm.engine.live import Client as Asked
from smart_llm.engine.live import Live, Routing
from smart_llm.engine.pool import Stop
from smart_llm.engine.selfcheck import check_itself, second_look
from smart_llm.engine.watch import watched
from smart_llm.errors import BudgetExhausted, Interrupted, Refused, SmartError
from smart_llm.events import Decided, Ended, Listener, Said
from smart_llm.ledger import Ledger, RunRecord, canonical, request_key, tagged
from smart_llm.providers.base import Provider
from smart_llm.providers.client import Client
from smart_llm.reports.certificate import ASSUMPTION, RANDOMNESS, Certificate, words
from smart_llm.stats.sampling import uniforms
from smart_llm.types import (
    AGREE,
    BAD,
    NOT_ASKED,
    Ask,
    Cascade,
    Json,
    Mix,
    Model,
    Problem,
    Request,
    Score,
    Standing,
    Tier,
    Usage,
    Verdict,
)

SCORES = {"own": "the log-probability of its own answer", "nothing (blind)": "nothing but chance"}
"""Scores in words, by their terms."""
SAMPLE = 64
"""Rows rendered before the start, to estimate what a call costs."""
THOUGHTS = 16
"""A model that thinks is expected to use one in so many of the tokens it may think: a guess, until a pilot tells."""


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


class Unfinished(Exception):
    """A run that stopped cleanly: its pending certificate, and the error to tell the user."""

    def __init__(self, certificate: Certificate, reason: SmartError) -> None:
        super().__init__(certificate.status)
        self.certificate = certificate
        self.reason = reason


class Delivery(Protocol):
    """Who settles the rows that profiling left."""

    async def __call__(self, live: Live, verdict: Verdict, record: RunRecord, means: Means) -> None:
        """Settle them in `live` by the certified rule; raises what stopped it."""
        ...


async def here(live: Live, verdict: Verdict, record: RunRecord, means: Means) -> None:
    """This process does."""
    await live.deliver(Routing.of(verdict, record.seed, live.aside), means.concurrency, means.tell)


@dataclass(frozen=True, slots=True)
class Means:
    """What a run works with: everything that is not part of the plan."""

    ledger: Ledger
    providers: Mapping[str, Provider]
    budget: float | None
    concurrency: int
    timeout: float
    tell: Listener
    stop: Stop
    batch: BatchOptions = field(default_factory=BatchOptions)
    self_check: int = 0
    output: Path | None = None
    deliver: Delivery = here


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
    job: Job, record: RunRecord, models: tuple[Model, ...], client: Asked, means: Means, ahead: Ahead
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
        for note in verdict.notes:
            means.tell(Said(note))
        means.tell(decided(verdict, live))
        if means.self_check:
            rows = second_look(live, verdict, means.self_check, record.seed)
            account.check = await check_itself(live, rows, record.run_id, means)
        await means.deliver(live, verdict, record, means)
    except (BudgetExhausted, Interrupted, Refused) as stopped:
        pending = _certificate(job, record, account, None, means.ledger)
        means.ledger.finish_run(record.run_id, asdict(pending), state="pending")
        raise Unfinished(pending, _counted(stopped, live)) from stopped
    certificate = _certificate(job, record, account, verdict, means.ledger)
    means.ledger.finish_run(record.run_id, asdict(certificate))
    names = [model.name for model in models]
    return Finished(
        live.answers,
        Names(live.by, names),
        States(job.table.rows, live.errors),
        certificate,
        certificate.cost["total"],
        certificate.cost["saving"],
        record.run_id,
    )


class Account:
    """Who paid for what: `stages` holds the USD of each stage of a run that is closed, each distinct request once.
    check: what asking the reference twice showed, if it was."""

    def __init__(self, live: Live) -> None:
        self.live, self.stages = live, dict.fromkeys(("set_aside", "profiling"), 0.0)
        self.check: Mapping[str, Json] | None = None

    def close(self, stage: str) -> None:
        """Everything paid for since the last stage belongs to this one."""
        self.stages[stage] = float(self.live.spent().sum()) - sum(self.stages.values())


async def _set_aside(record: RunRecord, live: Live, means: Means) -> None:
    """The rows of earlier pilots: the reference's answer to this run's prompt, what candidates were asked about them
    under this task counted in, and a record of it."""
    if not len(live.aside.positions):
        return
    keys = await live.settle_aside(means.concurrency)
    for position, prompt in zip(live.aside.positions.tolist(), live.prompts(live.aside.positions), strict=True):
        for model in range(1, len(live.models)):
            bought = means.ledger.get(request_key(live.request(model, prompt)))
            if bought is not None:
                live.count(position, model, bought.cost)
    record_once(means.ledger, record.run_id, SET_ASIDE, {"positions": live.aside.positions.tolist(), "keys": keys})


async def _profile(job: Job, record: RunRecord, live: Live, means: Means, ahead: Ahead) -> Verdict:
    """Drive the procedure; every ask is recorded with the ledger keys of its requests, in order."""
    rates = [expected_cost(model, means.providers[model.name], live) for model in live.models]
    conversation = procedures.get(job.procedure)(problem(record.plan, rates, lost=len(live.errors)))
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
        how = SCORES.get(terms, f"a score learned on the pilot: {terms}")
        notes.append(f"Rows are routed to {names[tier.candidate]} by {how}.")
    if isinstance(verdict.rule, Cascade) and verdict.rule.gate:
        notes.append(f"Some rows go straight to {names[0]}, by the length of their text.")
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


def expected_cost(model: Model, provider: Provider, live: Live) -> float:
    """USD of one call before any was made."""
    return float(np.mean([model.rate.cost(usage) for usage in expected_usage(model, provider, live)]))


def expected_usage(model: Model, provider: Provider | None, live: Live) -> list[Usage]:
    """What calls about some rows use, before any was made: by the provider's own estimate, else four bytes a token, a
    short answer, and a sixteenth of the room there is for thoughts."""
    rows = np.linspace(0, live.rows - 1, num=min(SAMPLE, live.rows)).astype(np.int64)
    expect = getattr(provider, "expect", partial(_expect, thoughts=model.thinking // THOUGHTS))
    return [expect(live.request(live.models.index(model), prompt)) for prompt in live.prompts(rows)]


def _expect(request: Request, thoughts: int) -> Usage:
    prompt = len(request.prompt.encode()) + len((request.system or "").encode())
    return Usage(prompt // 4 + 8, thoughts + min(request.max_tokens, 64) // 4 + 1)


# --------------------------------------------------------------------------- the certificate


def _certificate(job: Job, record: RunRecord, account: Account, verdict: Verdict | None, ledger: Ledger) -> Certificate:
    plan, live = record.plan, account.live
    shape = problem(plan, [0.0] * len(live.models))
    profiled = live.aside.population[verdict.profiled] if verdict else np.flatnonzero(live.settled)
    errors = _errors(live, profiled)
    status = _status(live, verdict, errors, shape)
    claim = {
        "rows": plan["rows"],
        "agreement": job.agreement,
        "confidence": job.confidence,
        "reference": job.reference.name,
        "allowance": shape.promised,
        "reserve": shape.reserve,
        "per_label": plan["per_label"],
        "label_rows": plan["label_rows"],
        "errors": len(live.errors),
        "unsettled": int((~live.settled).sum()),
        "set_aside": shape.set_aside,
        "set_aside_errors": errors["set_aside"],
    }
    return Certificate(
        status=status,
        granted=status == "certified",
        claim={**claim, "words": words(claim, status)},
        assumptions=(ASSUMPTION, RANDOMNESS),
        procedure={"name": job.procedure, "version": job.procedure.rpartition("/")[2]},
        plan_hash=record.plan_hash,
        plan=plan,
        table_hash=job.table.table_hash,
        seed=record.seed,
        models=tuple(plan["models"]),
        evidence=verdict.evidence if verdict else {},
        rule=_rule(live, verdict),
        delivered=_delivered(live, profiled),
        cost={**_cost(account, profiled), "lost_at_most": ledger.lost(record.run_id)},
        errors=errors,
        labels=_labels(job, live, verdict, record.seed),
        notes=verdict.notes if verdict else (),
        earlier_runs=_earlier(job, record, ledger),
        self_agreement=account.check,
        software=_software(),
    )


def _status(live: Live, verdict: Verdict | None, errors: Mapping[str, Json], shape: Problem) -> str:
    if verdict is None or not live.settled.all():
        return "pending"
    if not verdict.granted:
        return "reference-only"
    late = errors["rows"] - errors["while_profiling"] - errors["set_aside"]
    return "certified" if late <= shape.reserve and errors["rows"] <= shape.promised else "not-certified"


def _rule(live: Live, verdict: Verdict | None) -> dict[str, Json]:
    """Which answer a row not profiled is delivered, by model names."""
    names = [model.name for model in live.models]
    rule = verdict.rule if verdict else Mix()
    if isinstance(rule, Cascade):
        gate = {"gate": {"score": terms(rule.gate.score), "floor": rule.gate.floor}} if rule.gate else {}
        return {"tiers": [_tier(tier, names) for tier in rule.tiers], **gate, "else": names[0]}
    shares = [{"model": names[model], "rows": rows} for model, rows in rule.shares]
    return {"shares": shares, "order": rule.order, "else": names[0]}


def _tier(tier: Tier, names: list[str]) -> dict[str, Json]:
    return {
        "model": names[tier.candidate],
        "score": terms(tier.score),
        "stop": list(tier.stop) if tier.stop else None,
        "peers": [names[peer] for peer in tier.peers],
    }


def terms(score: Score) -> list[Json]:
    """A score as JSON."""
    return [list(term) for term in score.terms]


def _delivered(live: Live, profiled: Any) -> dict[str, Json]:
    counts = np.bincount(live.by[live.settled], minlength=len(live.models))
    by = {model.name: int(count) for model, count in zip(live.models, counts, strict=True)}
    return {
        "profiled": len(profiled),
        "set_aside": len(live.aside.positions),
        "by": by,
        "standings": [asdict(standing) for standing in standings(live)],
    }


def _labels(job: Job, live: Live, verdict: Verdict | None, seed: int) -> tuple[Json, ...]:
    labels = job.task.contract.labels
    if not labels or not verdict:
        return ()
    rows = len(live.aside.population)
    u = live.aside.spread(uniforms(seed, "shares", rows))
    return tuple(per_label(labels, verdict.rule, live.batches, u, rows))


def standings(live: Live) -> list[Standing]:
    """How every candidate fared on the rows it was asked about together with the reference: 90 % limits (Jeffreys)."""
    seen = np.full((live.rows, len(live.models)), NOT_ASKED, np.int8)
    for positions, sheet in live.batches:
        seen[positions] = np.where(sheet.marks == NOT_ASKED, seen[positions], sheet.marks)
    found = []
    for j, model in enumerate(live.models[1:], 1):
        asked, agreeing = int((seen[:, j] != NOT_ASKED).sum()), int((seen[:, j] == AGREE).sum())
        low, high = (float(betaincinv(agreeing + 0.5, asked - agreeing + 0.5, tail)) for tail in (0.05, 0.95))
        found.append(Standing(model.name, asked, agreeing, low, high, bool(asked)))
    return found


def _cost(account: Account, profiled: Any) -> dict[str, Json]:
    live, stages = account.live, account.stages
    asked, total, alone = float(live.spent().sum()), live.total(), live.reference_only_cost(profiled)
    return {
        "total": total,
        **stages,
        "delivery": asked - sum(stages.values()),
        "self_check": total - asked,
        "by_model": {model.name: float(spent) for model, spent in zip(live.models, live.spent(), strict=True)},
        "reference_only": alone,
        "saving": alone / total if total else 1.0,
        "unit": "USD",
    }


def _errors(live: Live, profiled: Any) -> dict[str, Json]:
    rows, aside = sorted(live.errors), set(live.aside.positions.tolist())
    return {
        "rows": len(rows),
        "while_profiling": len(set(rows) & set(profiled.tolist()) - aside),
        "set_aside": len(set(rows) & aside),
        "first": rows[:20],
    }


def _earlier(job: Job, record: RunRecord, ledger: Ledger) -> int:
    """Runs on this table and task that were started before this one."""
    task = tagged(canonical(fixed(job)["task"]))
    return sum(
        run.plan["table"] == job.table.table_hash
        and tagged(canonical(run.plan["task"])) == task
        and run.started < record.started
        for run in ledger.runs()
    )


def _software() -> dict[str, Json]:
    from importlib.metadata import version

    return {"name": "smart-llm", "version": version("smart-llm")}


def write_certificate(certificate: Certificate, path: Path) -> None:
    """Write a certificate next to the output, whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_text(certificate.to_json() + "\n", encoding="utf-8")
    part.replace(path)
