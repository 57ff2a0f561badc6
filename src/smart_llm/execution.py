"""What `run` and `plan` do, from checked options to the written table. Async is written once; `api` is the door."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic

from smart_llm.certificates.certificate import Certificate
from smart_llm.client.batch.client import by_batch
from smart_llm.engine import outputs
from smart_llm.engine.job import Job
from smart_llm.engine.learning import learned, remembered
from smart_llm.engine.opening import job_of, ledger_of, providers_of, session_of
from smart_llm.engine.options import Options, Place
from smart_llm.engine.outputs import Output
from smart_llm.engine.pilot import account_of
from smart_llm.engine.pilot import buy as buy_pilot
from smart_llm.engine.run import Finished, Unfinished, execute
from smart_llm.engine.session import Session
from smart_llm.engine.signals import stopping
from smart_llm.errors import InputError
from smart_llm.events import Said, nobody
from smart_llm.garbage import rarely
from smart_llm.ledger import Ledger, Reader
from smart_llm.planning.draw_up import QUICK, THOROUGH, Scope, draw_up
from smart_llm.planning.plan import Plan
from smart_llm.providers import making
from smart_llm.providers.base import Provider
from smart_llm.providers.batch import known
from smart_llm.providers.specs import LEARNED
from smart_llm.ray import options_of
from smart_llm.ray.choice import check_ways, delivering
from smart_llm.reports import runs
from smart_llm.reports.kept import kept
from smart_llm.reports.progress.listening import listening
from smart_llm.reports.report import check as check_page
from smart_llm.reports.report import make, report
from smart_llm.tasks import Task
from smart_llm.types import Model

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    Frame = TypeVar("Frame", default=Any)
else:
    from typing import TypeVar

    Frame = TypeVar("Frame")


@dataclass(frozen=True, slots=True, repr=False)
class Run(Generic[Frame]):
    """A finished run. table: the kind of frame that came in (for a path: the path written, or a polars frame), with
    `answer`, `answered_by`, `status`. cost: USD. saving: reference-only cost ÷ cost. answers: one a row, as what the
    task was given: members of an Enum, objects of a pydantic model, numbers, dicts; None where there is none."""

    table: Frame
    certificate: Certificate
    cost: float
    saving: float
    run_id: str
    ledger: Path
    task: Task
    answers: Sequence[Any] = ()

    def __repr__(self) -> str:
        return runs.brief(self.certificate, self.run_id)

    def _repr_html_(self) -> str:
        return runs.html(self.certificate, self.run_id, self.table)

    def report(self, path: Place | None = None) -> Path:
        """Write the run's report, by default report-RUN.html in this folder: one HTML page that needs nothing else.
        `InputError` where it cannot be written."""
        return report(self, path)


async def run(table: Any, task: Task, options: Options) -> Run[Any]:
    """Answer every row. Raises `InputError` before anything is spent; `Refused`, `BudgetExhausted` or `Interrupted`
    when the run must stop."""
    job = job_of(table, task, options)
    ray = options_of(options.engine, options.workers, options.partition)
    if ray is not None:
        check_ways(job.models)
    output = outputs.checked(options.output, job.table, options.safe_csv, on_ray=ray is not None)
    if options.report:
        check_page(options.report)
    providers, path = providers_of(job, options), ledger_of(job.table, options)
    if options.batch:
        told = options.on_event or nobody
        job = replace(job, batch=await by_batch(job.models, providers, seconds=options.timeout, tell=told))
    with (
        delivering(ray, job.table, options.providers or {}, output) as delivery,
        _working(path, providers, options) as session,
    ):
        finished = await _execute(job, replace(session, deliver=delivery), output, options.report)
        if there := outputs.make_way(finished.certificate, output):
            session.tell(Said(there))
    done = _delivered(job, finished, output, path, options)
    delivery.written(finished.certificate)
    if options.report:
        done.report(options.report)
    return done


async def plan(table: Any, task: Task, options: Options, *, pilot: int | None = None) -> Plan:
    """What `run` with the same arguments would do and cost. Nothing is spent and nothing written without `pilot` or
    `self_check`: rows that all models, or the reference a second time, are asked about first."""
    job, rows = job_of(table, task, options), max(pilot or 0, options.self_check)
    return await _planned(job, options, THOROUGH, None if pilot is None and not options.self_check else rows)


async def outline(table: Any, task: Task, options: Options, *, pilot: int | None = None) -> Plan:
    """The same for the agreement asked for alone, with less simulating: for a question before money is spent."""
    return await _planned(job_of(table, task, options), options, QUICK, pilot)


async def _planned(job: Job, options: Options, scope: Scope, pilot: int | None) -> Plan:
    """The plan of a checked job, after a pilot of the given number of rows."""
    if options.batch:
        job = replace(job, batch=frozenset(model.name for model in job.models if _batchable(model)))
    path, given = ledger_of(job.table, options), options.providers or {}
    if pilot is not None:
        job = _untaught(job, options)
        await _pilot(job, path, max(pilot, options.self_check), options)
    local = [model for model in job.models if model.provider == "local" and model.name not in given]
    providers = {**making.make_providers(local), **given}
    try:
        with _reading(path) as reader:
            return await draw_up(
                remembered(job, reader),
                reader,
                providers,
                concurrency=options.concurrency,
                budget=options.budget,
                self_check=options.self_check,
                scope=scope,
            )
    finally:
        await _close(providers.values())


def _untaught(job: Job, options: Options) -> Job:
    """Without the candidate that is taught in the run, which no pilot can ask; `InputError` where the user named it."""
    if any(str(each).partition("?")[0] == LEARNED for each in options.candidates):
        raise InputError("--pilot: learned is taught in the run and cannot be piloted; plan without one of the two.")
    return replace(job, models=tuple(model for model in job.models if model.name != LEARNED))


@contextlib.contextmanager
def _working(path: Path, providers: dict[str, Provider], options: Options) -> Iterator[Session]:
    """Ledger, signals and listeners, as long as something is bought."""
    with (
        rarely(),
        Ledger.open(path, store_text=options.store_text) as ledger,
        stopping() as stop,
        listening(options.on_event, options.progress, options.budget, stop) as tell,
    ):
        yield session_of(ledger, providers, stop, tell, options)


async def _close(providers: Iterable[Provider]) -> None:
    """Close every provider once."""
    for provider in {id(provider): provider for provider in providers}.values():
        await provider.close()


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[Reader | None]:
    """The ledger, where there is one; none is made."""
    if not path.is_file():
        yield None
        return
    with Reader.open(path) as reader:
        yield reader


def _batchable(model: Model) -> bool:
    """Whether a model may be asked by batch, as far as is known without asking: addresses of one's own often can."""
    return known(model) or "@" in model.name


async def _pilot(job: Job, path: Path, rows: int, options: Options) -> None:
    """Buy a pilot into the job's ledger."""
    providers = providers_of(job, options)
    try:
        with _working(path, providers, options) as session:
            job, session = await learned(job, session, account=account_of(job))
            providers = dict(session.providers)
            await buy_pilot(job, session, rows)
    finally:
        await _close(providers.values())


def _delivered(job: Job, finished: Finished, output: Output, ledger: Path, options: Options) -> Run[Any]:
    """The finished run, with its answers where they belong."""
    return Run(
        outputs.deliver(job, finished, output, safe=options.safe_csv, explode=options.explode),
        finished.certificate,
        finished.cost,
        finished.saving,
        finished.run_id,
        ledger,
        job.task,
        outputs.objects(job, finished),
    )


def _left(c: Certificate, run_id: str, ledger: Ledger, output: Output, page: Place | None) -> Iterator[str]:
    """What is there of a run that stopped."""
    if c.status != "pending":
        return iter(())
    if isinstance(output, Path):
        return kept(run_id, ledger, page, output=str(output), certificate=str(outputs.certificate_path(output)))
    return kept(run_id, ledger, page, parts=output.at if output is not None else None)


async def _execute(job: Job, session: Session, output: Output, page: Place | None) -> Finished:
    """Run; a run that stops early leaves a pending certificate, and a report, where the whole ones would be."""
    try:
        job, session = await learned(job, session)
        return await execute(job, session)
    except Unfinished as stopped:
        if output is not None and stopped.certificate.status == "pending":  # a finished run's stands there
            if there := outputs.make_way(stopped.certificate, output):
                stopped.reason.add_note(there)
            outputs.keep(stopped.certificate, output)
        run = next(run for run in session.ledger.runs() if run.plan_hash == stopped.certificate.plan_hash)
        if page is not None:
            make(session.ledger, run, page, job.task)
        for line in _left(stopped.certificate, run.run_id, session.ledger, output, page):
            stopped.reason.add_note(line)
        raise stopped.reason from None
    finally:
        await _close(session.providers.values())
