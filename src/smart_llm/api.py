"""The Python API: `run`, `arun`, `plan`, `aplan`. Async is written once; the others are thin edges over it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Unpack

from smart_llm import models as model_specs
from smart_llm.engine import outputs
from smart_llm.engine.asked import Options, Place, default_ledger, job_of, made, means_of, models_of
from smart_llm.engine.batch import by_batch
from smart_llm.engine.job import Job
from smart_llm.engine.means import Means
from smart_llm.engine.outputs import Output
from smart_llm.engine.pilot import buy as buy_pilot
from smart_llm.engine.plan import Plan, draw_up
from smart_llm.engine.ray import options_of
from smart_llm.engine.ray.choice import delivering
from smart_llm.engine.run import Finished, Unfinished, execute
from smart_llm.engine.signals import stopping, wait
from smart_llm.events import nobody
from smart_llm.ledger import Ledger, Reader
from smart_llm.providers.batch import known
from smart_llm.reports import runs
from smart_llm.reports.certificate import Certificate
from smart_llm.reports.listening import listening
from smart_llm.reports.make import check as check_page
from smart_llm.reports.make import make, report
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

    def report(self, path: Place) -> None:
        """Write the run's report: one HTML page that needs nothing else. `InputError` where it cannot be written."""
        report(self.run_id, path, ledger=self.ledger, task=self.task)


async def arun(
    table: Any,
    task: Task,
    *,
    reference: str,
    candidates: Sequence[str],
    agreement: float | str = "0.95",
    confidence: float | str = "0.95",
    **options: Unpack[Options],
) -> Run[Any]:
    """Answer every row: at least `agreement` of the answers equivalent to the reference's, with `confidence`.

    table: a path (CSV, TSV, JSONL, JSON, Parquet, Excel), a pandas, polars or Arrow table, a DuckDB relation, or dicts.
    reference, candidates: models as `provider:model`. Options: see `Options`.
    Raises `InputError` before anything is spent, `Refused`, `BudgetExhausted` or `Interrupted` when the run must stop:
    run again to go on; what was bought is kept.
    """
    models = models_of(reference, candidates, options)
    job = job_of(table, task, models, (str(agreement), str(confidence)), options)
    source, given = job.table, options.get("providers") or {}
    ray = options_of(options.get("engine", "local"), options.get("workers"), options.get("partition"))
    output = outputs.checked(options.get("output"), source, options.get("safe_csv", False), on_ray=ray is not None)
    if page := options.get("report"):
        check_page(page)
    providers = {**made(job, given), **given}
    batch = options.get("batch", False)
    if batch:
        told, timeout = options.get("on_event", nobody), options.get("timeout", 120.0)
        job = replace(job, batch=await by_batch(job.models, providers, seconds=timeout, tell=told))
    path = Path(options.get("ledger") or default_ledger(source))
    with (
        delivering(ray, source, given, output) as delivery,
        Ledger.open(path, store_text=options.get("store_text", True)) as ledger,
        stopping() as stop,
        listening(options.get("on_event"), options.get("progress"), options.get("budget"), stop) as tell,
    ):
        means = replace(means_of(ledger, providers, stop, tell, options), deliver=delivery)
        finished = await _execute(job, means, output, page)
    done = _delivered(job, finished, output, path, options)
    delivery.written(finished.certificate)
    if page:
        done.report(page)
    return done


def run(
    table: Any,
    task: Task,
    *,
    reference: str,
    candidates: Sequence[str],
    agreement: float | str = "0.95",
    confidence: float | str = "0.95",
    **options: Unpack[Options],
) -> Run[Any]:
    """`arun`, waited for; works inside a running event loop (a notebook) too."""
    return wait(
        arun(
            table,
            task,
            reference=reference,
            candidates=candidates,
            agreement=agreement,
            confidence=confidence,
            **options,
        )
    )


async def aplan(
    table: Any,
    task: Task,
    *,
    reference: str,
    candidates: Sequence[str],
    agreement: float | str = "0.95",
    confidence: float | str = "0.95",
    pilot: int | None = None,
    brief: bool = False,
    **options: Unpack[Options],
) -> Plan:
    """What `arun` with the same arguments would do and cost. Nothing is spent and nothing written without `pilot`.

    pilot: ask the reference and every candidate about this many rows first. The run delivers those answers, but these
    rows are never evidence, under this or a later prompt. `self_check` rows of the pilot (which it makes at least as
    long) are asked of the reference twice. brief: only the agreement asked for, with less simulating.
    Raises `InputError`; with `pilot` also what `arun` raises.
    """
    models = models_of(reference, candidates, options)
    job = job_of(table, task, models, (str(agreement), str(confidence)), options)
    given, check = options.get("providers") or {}, options.get("self_check", 0)
    if options.get("batch"):
        job = replace(job, batch=frozenset(model.name for model in job.models if _batchable(model)))
    path = Path(options.get("ledger") or default_ledger(job.table))
    if pilot is not None or (check and not brief):
        await _pilot(job, path, max(pilot or 0, check), options)
    local = [model for model in job.models if model.provider == "local" and model.name not in given]
    providers = {**model_specs.make_providers(local), **given}
    try:
        with _reading(path) as reader:
            return await draw_up(
                job,
                reader,
                providers,
                concurrency=options.get("concurrency", 64),
                budget=options.get("budget"),
                self_check=check,
                brief=brief,
            )
    finally:
        for provider in providers.values():
            await provider.close()


def plan(
    table: Any,
    task: Task,
    *,
    reference: str,
    candidates: Sequence[str],
    agreement: float | str = "0.95",
    confidence: float | str = "0.95",
    pilot: int | None = None,
    brief: bool = False,
    **options: Unpack[Options],
) -> Plan:
    """`aplan`, waited for; works inside a running event loop (a notebook) too."""
    return wait(
        aplan(
            table,
            task,
            reference=reference,
            candidates=candidates,
            agreement=agreement,
            confidence=confidence,
            pilot=pilot,
            brief=brief,
            **options,
        )
    )


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
    providers = {**made(job, options.get("providers") or {}), **(options.get("providers") or {})}
    try:
        with (
            Ledger.open(path, store_text=options.get("store_text", True)) as ledger,
            stopping() as stop,
            listening(options.get("on_event"), options.get("progress"), options.get("budget"), stop) as tell,
        ):
            await buy_pilot(job, means_of(ledger, providers, stop, tell, options), rows)
    finally:
        for provider in {id(provider): provider for provider in providers.values()}.values():
            await provider.close()


def _delivered(job: Job, finished: Finished, output: Output, ledger: Path, options: Options) -> Run[Any]:
    """The finished run, with its answers where they belong."""
    safe, explode = options.get("safe_csv", False), options.get("explode", False)
    return Run(
        outputs.deliver(job, finished, output, safe=safe, explode=explode),
        finished.certificate,
        finished.cost,
        finished.saving,
        finished.run_id,
        ledger,
        job.task,
        outputs.objects(job, finished),
    )


async def _execute(job: Job, means: Means, output: Output, page: Place | None) -> Finished:
    """Run; a run that stops early leaves a pending certificate, and a report, where the whole ones would be."""
    try:
        return await execute(job, means)
    except Unfinished as stopped:
        if output is not None and stopped.certificate.status == "pending":  # a finished run's stands there
            outputs.keep(stopped.certificate, output)
        if page is not None:
            run = next(run for run in means.ledger.runs() if run.plan_hash == stopped.certificate.plan_hash)
            make(means.ledger, run, page, job.task)
        raise stopped.reason from None
    finally:
        for provider in {id(provider): provider for provider in means.providers.values()}.values():
            await provider.close()
