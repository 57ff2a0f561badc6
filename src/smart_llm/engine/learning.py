"""Whether a server can keep its model to the labels, or takes the schema: learned by asking once (`?enforce=auto`).

A model held to the labels answers otherwise than one that is not, so the setting has to be known before the plan is
frozen, and must be the same whenever the run is resumed. The ledger keeps two things: what was learned of a model at an
address, so that nobody asks twice; and what every command took, so that what is learned later never changes its plan.
As long as a run has bought nothing, what could not be learned is asked again.

Nothing that a server does here stops a run: one that refuses in words of its own, passes over what it is told, fails
or hangs is not told anything. To tell a server that is not there from one that only fails when it is told, it is asked
the same without being told. What all this costs is the run's, within its budget.
"""

from __future__ import annotations

from dataclasses import replace

from smart_llm.client.budget import Budget
from smart_llm.engine.job import Job, find, fixed
from smart_llm.engine.pool import all_of
from smart_llm.engine.session import Session
from smart_llm.events import Said
from smart_llm.ledger import Ledger, Reader, canonical, tagged
from smart_llm.ledger.reader import PROBE
from smart_llm.providers import making
from smart_llm.providers.enforced import AUTO, NONE, TOLD
from smart_llm.types import Json, Model

LEARNED = "learned enforce"
"""What was learned of models; the events belong to none of the runs, but to this name."""
TAKEN = "enforce taken"
"""Kind of the event by which a command, not a run, keeps what it took."""
BEGUN = "enforce asked"
"""Kind of the event by which a command keeps the id of the run that pays."""


async def learned(job: Job, session: Session, *, account: str | None = None) -> tuple[Job, Session]:
    """The job with nothing left to learn, and providers that know of it. account: who pays, where it is no run."""
    if not _open(job):
        return job, session
    taken = _taken(job, session.ledger) or await _learn(job, session, account)
    settled = _with(job, taken)
    changed = [model for model, asked in zip(settled.models, job.models, strict=True) if asked.enforce == AUTO]
    providers = making.make_providers(changed, prefix=job.task.prefix(job.table.columns))
    for old in {id(session.providers[name]): session.providers[name] for name in providers}.values():
        await old.close()
    return settled, replace(session, providers={**session.providers, **providers})


def remembered(job: Job, reader: Reader | None) -> Job:
    """The job with what a run of it would take without asking anybody."""
    if reader is None or not _open(job):
        return job
    taken = _taken(job, reader)
    if taken is None:
        known = {model.name: _known(job, model, reader) for model in _open(job)}
        taken = {"ways": {name: way for name, way in known.items() if way}, "run": None}
    return _with(job, taken)


def _open(job: Job) -> list[Model]:
    return [model for model in job.models if model.enforce == AUTO]


def _with(job: Job, taken: Json) -> Job:
    """The job with these ways for models that have none yet. The way that nothing is said of is no setting."""
    ways = {name: "" if way == _usual(job) else way for name, way in taken["ways"].items()}
    told = [replace(m, enforce=ways.get(m.name, AUTO)) if m.enforce == AUTO else m for m in job.models]
    return replace(job, models=tuple(told), run_id=taken["run"])


def _usual(job: Job) -> str:
    """What is done where nothing is said of a model: a schema is sent, labels are not."""
    return NONE if job.task.contract.labels else TOLD[0]


def _command(job: Job) -> str:
    """The command as it was given, before anything is learned; by batch or by calls."""
    return tagged(canonical(fixed(replace(job, batch=frozenset()))))


def _kind(job: Job) -> str:
    """What a server is kept to: labels are all alike, a schema may be too much for one that takes others."""
    contract = job.task.contract
    return "labels" if contract.labels else tagged((contract.schema or "").encode())


def _taken(job: Job, reader: Reader) -> Json | None:
    """What this command took before; None where it is to be learned."""
    taken = reader.latest(_command(job), TAKEN)
    if taken is None or not taken["unsure"]:
        return taken
    record = find(fixed(_with(job, taken)), reader)
    bought = record is not None and any(each.outcome == "answered" for each in reader.account(record.run_id))
    return taken if bought else None


def _known(job: Job, model: Model, reader: Reader) -> str | None:
    """The way that was learned of this model at its address."""
    about = _about(job, model)
    return next((each.payload["way"] for each in reversed(reader.events(LEARNED)) if each.payload["of"] == about), None)


def _about(job: Job, model: Model) -> list[Json]:
    return [model.name, model.at or model.url, _kind(job)]


async def _learn(job: Job, session: Session, account: str | None) -> Json:
    """Ask about every model of which nothing is known, all at once, and keep what comes."""
    from smart_llm.engine.inquiry import Inquiry  # only here: it loads what speaks HTTP

    ledger, payer = session.ledger, account or _payer(job, session.ledger)
    purse = Budget(session.budget, ledger.spent(payer))
    asked = [model for model in _open(job) if _known(job, model, ledger) is None]
    found = await all_of(Inquiry(model, job, session, purse, payer).outcome() for model in asked)
    for model, outcome in zip(asked, found, strict=True):
        session.tell(Said(outcome.words(model.name, labels=bool(job.task.contract.labels))))
        if outcome.sure:
            ledger.event(LEARNED, LEARNED, {"of": _about(job, model), "way": outcome.way, "why": outcome.why})
    ways = {model.name: _known(job, model, ledger) or _usual(job) for model in _open(job)}
    unsure = [model.name for model, outcome in zip(asked, found, strict=True) if not outcome.sure]
    taken = {"ways": ways, "unsure": unsure, "run": None if account else payer}
    ledger.event(_command(job), TAKEN, taken)
    if (record := find(fixed(_with(job, taken)), ledger)) is not None and not account:
        await ledger.attempt(payer, "", PROBE, ledger.spent(payer), run=record.run_id)  # a run that was there before
    return taken


def _payer(job: Job, ledger: Ledger) -> str:
    """The id of the run that pays: chosen before anything is asked, and the same after a kill."""
    begun = ledger.latest(_command(job), BEGUN)
    if begun is not None and all(run.run_id != begun["run"] for run in ledger.runs()):
        return str(begun["run"])
    run_id = ledger.new_run_id()
    ledger.event(_command(job), BEGUN, {"run": run_id})
    return run_id
