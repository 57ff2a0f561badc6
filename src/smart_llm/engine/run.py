"""A run from table to certificate: freeze the plan, let the procedure ask, deliver by its rule, settle the account.

The procedure is the same object that replay and simulation drive. A run that is resumed, or run again, takes its plan
from the ledger and tells the procedure what was seen before; a task that reads it otherwise by now begins a new run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from smart_llm.certificates.certificate import ISSUED, Certificate, stored
from smart_llm.client.batch.client import batching, tell_of_batches
from smart_llm.client.budget import Budget
from smart_llm.client.client import Client
from smart_llm.engine.about import about, note_answers, note_ids
from smart_llm.engine.beginning import begin
from smart_llm.engine.columns import Names, States
from smart_llm.engine.delivering import UNUSED, unused
from smart_llm.engine.diary import Changed
from smart_llm.engine.grown import anew, continued, keep, keep_model, smaller
from smart_llm.engine.issue import certificate
from smart_llm.engine.job import (
    Job,
    beforehand,
    find,
    fixed,
    planned_batches,
    planned_models,
    renewed,
    spent,
)
from smart_llm.engine.live import Live
from smart_llm.engine.once import Client as Asked
from smart_llm.engine.profiling import profiled
from smart_llm.engine.proper import Proper
from smart_llm.engine.retry import DELIVERY, outcome, set_apart, spoiled
from smart_llm.engine.selfcheck import check_itself, second_look
from smart_llm.engine.session import Session, deliver_here
from smart_llm.engine.snapshots import covered
from smart_llm.engine.stands import Stands, askable, note_failures, resuming
from smart_llm.engine.teaching import Teaching
from smart_llm.engine.watch import watched
from smart_llm.errors import BudgetExhausted, Interrupted, Refused, SmartError
from smart_llm.events import Ended, Said, nobody
from smart_llm.ledger import Ledger, RunRecord, canonical, tagged
from smart_llm.ledger.aside import Aside, record_once
from smart_llm.ledger.entries import ABOUT, DONE, GIVEN_UP
from smart_llm.procedures.order import Ahead
from smart_llm.providers.functions import unhashed
from smart_llm.providers.specs import LEARNED
from smart_llm.providers.taught import Taught
from smart_llm.tasks.functions import beyond
from smart_llm.text.numbers import usd
from smart_llm.types import Model, Verdict


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

    @property
    def budget(self) -> Budget:
        """The money of the run."""
        ...

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


async def execute(job: Job, session: Session) -> Finished:
    """Run a checked job to its end. Raises `BudgetExhausted`, `Interrupted` or `Refused`, with a pending certificate in
    the ledger; everything bought is kept."""
    _give_up_spoiled(job, session)
    record, taken_up = begin(job, session.ledger)
    for sentence in (*beforehand(job), *beyond(record.plan.task), *unhashed(job.models)):
        session.tell(Said(sentence))
    if taken_up:
        session.tell(Said(resuming(record, session.ledger)))
    elif (why := renewed(record, session.ledger) or _why_anew(job, record, session.ledger)) is not None:
        session.tell(Said(why))
    try:
        return await _run(job, record, session)
    except Changed as changed:
        session.ledger.event(record.run_id, GIVEN_UP, {"why": str(changed)})
        session.tell(
            Said(
                f"The task has changed since run {record.run_id} ({changed}): a new run begins, in a new order; its "
                "certificate counts the earlier one."
            )
        )
    return await _run(job, begin(job, session.ledger)[0], session)


def _why_anew(job: Job, record: RunRecord, ledger: Ledger) -> str | None:
    """Of a run that was just started: why it does not continue one on the first rows of its table."""
    return anew(job, ledger, record.plan.reserve) if record.plan.grown is None else None


def _give_up_spoiled(job: Job, session: Session) -> None:
    """Where the user asks for it: an earlier attempt that met failures or broken answers and decided nothing."""
    if session.retry is None:
        return
    record = find(fixed(job), session.ledger)
    if record is None:
        session.tell(
            Said(f"--retry {session.retry}: {session.ledger.path} holds no earlier run of this command: one begins.")
        )
        return
    if not spoiled(record, session.ledger, session.retry):
        return
    session.ledger.event(record.run_id, GIVEN_UP, {"why": f"--retry {session.retry}"})
    session.tell(
        Said(
            f"Giving up run {record.run_id}, as --retry {session.retry} asks: a new run begins, in a new order; its "
            "certificate counts the earlier one."
        )
    )


async def _run(job: Job, record: RunRecord, session: Session) -> Finished:
    """One run; `Changed` where what it has recorded cannot be reproduced."""
    record_once(session.ledger, record.run_id, ABOUT, about(job, session.output))
    models = planned_models(job.models, record.plan)
    payer = Payer(record.run_id, Budget(session.budget, spent(record.run_id, session.ledger)))
    client = _client(payer, models, session)
    async with watched(client, session.stop, session.tell):
        finished = await _ask(job, record, models, client, session)
    if abs(client.cache_saved) >= 5e-7:
        session.tell(Said(f"Providers' prompt caches took ${client.cache_saved:.6f} off what was bought now."))
    certificate = finished.certificate
    errors, cost = certificate.claim.errors, certificate.cost
    paid = cost.paid + cost.learning + cost.lost_at_most
    session.tell(
        Ended(certificate.status, job.table.rows, errors, finished.saving, paid, cost.reused, cost.lost_at_most)
    )
    return finished


@dataclass(frozen=True, slots=True)
class Payer:
    """Whose money it is: a run, and its purse."""

    run_id: str
    purse: Budget


def _client(payer: Payer, models: tuple[Model, ...], session: Session) -> Client:
    """What buys answers."""
    return Client(
        session.ledger,
        models,
        session.providers,
        concurrency=session.concurrency,
        timeout=session.timeout,
        patience=session.patience,
        purse=payer.purse,
        run=payer.run_id,
        check=session.stop.check,
    )


async def _ask(job: Job, record: RunRecord, models: tuple[Model, ...], client: Client, session: Session) -> Finished:
    """By calls, or by batches where the plan says so."""
    names = planned_batches(record.plan)
    if not names:
        tell_of_batches(session.ledger, models, session.tell)
        return await _execute(job, record, models, client, session, Ahead.never())
    async with batching(client, models, names, record.run_id, session) as batches:
        ahead = Ahead.of_procedure(job.procedure, record.seed, len(Aside.of(record.plan).population))
        return await _execute(job, record, models, batches, replace(session, concurrency=session.batch.rows), ahead)


def _live(job: Job, record: RunRecord, models: tuple[Model, ...], client: Buying, session: Session) -> Live:
    """The driver of a run, before anything is asked."""
    aside, before = Aside.of(record.plan), record.plan.tables[:-1]
    live = Live(job.table, job.task, models, client, stop=session.stop, aside=aside, before=before)
    live.account.told(client.budget, spent(record.run_id, session.ledger) - session.ledger.spent(record.run_id))
    if (taught := session.providers.get(LEARNED)) is not None and isinstance(taught, Taught):
        live.teaching = Teaching(job, live, taught, session.ledger, record, session.tell)
    live.proper = Proper(
        [model.name for model in models],
        lambda text: session.tell(Said(text)),
        quote=session.ledger.store_text,
        labelled=job.task.contract.labels is not None,
    )
    return live


async def _execute(
    job: Job, record: RunRecord, models: tuple[Model, ...], client: Buying, session: Session, ahead: Ahead
) -> Finished:
    """Settle what is set aside, profile, deliver, settle the account."""
    live = _live(job, record, models, client, session)
    stands, start = Stands.of(record, session.ledger), session.ledger.last_number()
    for sentence in set_apart(live, record, session.ledger) if session.retry == "broken" else ():
        session.tell(Said(sentence))
    try:
        await _continue(job, record, live, session, Payer(record.run_id, client.budget))
        verdict = await profiled(job, record, live, stands, session, ahead)
        if verdict.granted:
            live.covered = covered(live, verdict.rule, session.ledger)
            client.expect({models[m].name: names for m, names in live.covered.items()})
        if session.self_check:
            rows = second_look(live, verdict, session.self_check, record.seed)
            live.account.check = await check_itself(live, rows, record, session)
        live.before, failed = _begun(record.run_id, session.ledger), dict(live.client.failed)
        await _deliver(live, verdict, record, session, stands)
        if record.state != DONE:
            _check_answered(live, client)
    except (BudgetExhausted, Interrupted, Refused) as stopped:
        await client.settle()
        note_ids(live, job.table, session.id_column, record.run_id, session.ledger)
        if record.state == DONE:
            raise Unfinished(stored(record.certificate), stopped) from stopped
        pending = certificate(job, record, live, None, session.ledger)
        _issue(pending, record, session.ledger)
        raise Unfinished(pending, _counted(stopped, live, record, session.ledger)) from stopped
    if session.retry and (told := await outcome(session.retry, record, live, start)):
        session.tell(Said(told))
    await client.settle()
    return _finished(live, _concluded(job, record, live, verdict, session, failed), record)


def _concluded(
    job: Job, record: RunRecord, live: Live, verdict: Verdict, session: Session, failed: Mapping[str, str]
) -> Certificate:
    """All rows are settled: what has failed, and the certificate. failed: what had when delivery began."""
    note_failures(live, record, session.ledger, before=failed)
    note_answers(live, record.run_id, session.ledger)
    note_ids(live, job.table, session.id_column, record.run_id, session.ledger)
    granted = certificate(job, record, live, _explained(verdict, live, record), session.ledger)
    _issue(granted, record, session.ledger)
    return granted


async def _continue(job: Job, record: RunRecord, live: Live, session: Session, payer: Payer) -> None:
    """Where the table of an earlier run has grown: what that run delivers is delivered here, from the ledger."""
    if record.plan.grown is None:
        return
    run = continued(record.plan, session.ledger)
    first = "" if run.state == DONE else ", which is brought to its end first"
    rows = f"{run.plan.rows:,} rows are" if run.plan.rows > 1 else "1 row is"
    told = f"{rows} delivered as in run {run.run_id}{first}; the rows added are looked at."
    session.tell(Said(told))
    quiet = replace(session, tell=nobody, self_check=0, retry=None, id_column=None, deliver=deliver_here)
    keep(live, await _again(smaller(job, run), run, quiet, payer))
    keep_model(run, record.run_id, session.ledger)


async def _again(job: Job, record: RunRecord, session: Session, payer: Payer) -> Live:
    """An earlier run, row by row, as it was delivered. What it has no answer for is asked again, and one that was
    stopped is brought to its end: at the expense of the run that continues it."""
    models = planned_models(job.models, record.plan)
    client = _client(payer, models, session)
    live, stands = _live(job, record, models, client, session), Stands.of(record, session.ledger)
    try:
        await _continue(job, record, live, session, payer)
        verdict = await profiled(job, record, live, stands, session, Ahead.never())
        live.covered = covered(live, verdict.rule, session.ledger)
        client.expect({models[m].name: names for m, names in live.covered.items()})
        live.before, failed = _begun(record.run_id, session.ledger), dict(live.client.failed)
        await _deliver(live, verdict, record, session, stands)
    finally:
        await client.settle()
    if record.state != DONE:
        _concluded(job, record, live, verdict, session, failed)
    return live


def _explained(verdict: Verdict, live: Live, record: RunRecord) -> Verdict:
    """With a note where candidates were certified in vain; a finished run that is run again keeps the one it has."""
    if not verdict.granted:
        return verdict
    before = stored(record.certificate).notes if record.state == DONE and record.certificate else None
    kept = unused(live) if before is None else [note for note in before if note.startswith(UNUSED)]
    return replace(verdict, notes=(*verdict.notes, *kept))


def _finished(live: Live, granted: Certificate, record: RunRecord) -> Finished:
    """What a run hands out at its end."""
    return Finished(
        live.rows.answers,
        Names(live.rows.by, [model.name for model in live.models]),
        States(live.questions.rows, live.rows.errors),
        granted,
        granted.cost.total,
        granted.cost.saving,
        record.run_id,
    )


def _issue(issued: Certificate, record: RunRecord, ledger: Ledger) -> None:
    """The run's certificate is recorded, and its hash before it: what was handed out can be told from what was not."""
    told = {"certificate": tagged(canonical(issued.fields()))}
    if all(event.payload != told for event in ledger.events(record.run_id) if event.kind == ISSUED):
        ledger.event(record.run_id, ISSUED, told)
    ledger.finish_run(record.run_id, issued.fields(), state="pending" if issued.status == "pending" else DONE)


def _begun(run_id: str, ledger: Ledger) -> int:
    """The number of the last answer that was in the ledger when delivery began, in whatever session that was."""
    told = ledger.latest(run_id, DELIVERY)
    if told is None:
        told = {"answers": ledger.last_number()}
        ledger.event(run_id, DELIVERY, told)
    return int(told["answers"])


# --------------------------------------------------------------------------- delivery


async def _deliver(live: Live, verdict: Verdict, record: RunRecord, session: Session, stands: Stands) -> None:
    """Settle the rows that are left, and ask again about those that had no answer in an earlier session. Of a finished
    run all rows are delivered in any case."""
    try:
        live.client.release((live.client.failed.keys() - stands.delivered.keys()) | stands.lost)
        if record.plan.grown is not None:  # those of the look may ask what rows asked that were there before
            live.rows.by_reference()
        await live.ask_lost(askable(live, stands), session.concurrency)
        await session.deliver(live, verdict, record, session)
    except (BudgetExhausted, Refused) as stopped:
        if record.state != DONE:
            raise
        session.tell(Said(f"The run is finished; rows without an answer stay so for now. {stopped}"))
        live.client.hold(stands.delivered)
        await session.deliver(live, verdict, record, session)
    if record.plan.grown is not None:  # what was delivered before the table grew may have been asked about since
        live.rows.by_reference()


def _check_answered(live: Live, client: Buying) -> None:
    """A small table ends before many rows have failed in a row. If the reference has reacted to none of them, it is not
    the rows that are wrong."""
    name, rows, errors = live.models[0].name, live.questions.rows, live.rows.errors
    if rows and len(errors) == rows and not client.alive(name):
        none = f"none of the {rows} rows" if rows > 1 else "nothing"
        raise Refused(
            f"{name} has answered {none} ({errors[min(errors)]}). Mend the prompt, the model or its "
            "server, and run again to go on."
        )


def _counted(stopped: SmartError, live: Live, record: RunRecord, ledger: Ledger) -> SmartError:
    """A stop by the user, with what there is by then: an earlier session may have come further than this one."""
    if not isinstance(stopped, Interrupted):
        return stopped
    done = live.rows.done - len(live.rows.errors)
    if record.certificate is not None:
        done = max(done, stored(record.certificate).answered)
    return Interrupted(
        f"Stopped with {done:,} of {live.questions.rows:,} rows answered and {usd(ledger.spent(record.run_id))} spent. "
        + str(stopped).removeprefix("Stopped. ")
    )
