"""The Python API: `run`, `arun`, `plan`, `aplan`. Async is written once; the others are thin edges over it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypedDict, Unpack, overload

from smart_llm import models as model_specs
from smart_llm import tables
from smart_llm.engine.batch import BatchOptions, by_batch
from smart_llm.engine.job import Job, check
from smart_llm.engine.pilot import buy as buy_pilot
from smart_llm.engine.plan import Plan, draw_up
from smart_llm.engine.pool import Stop
from smart_llm.engine.ray import options_of
from smart_llm.engine.ray.choice import delivering
from smart_llm.engine.ray.sources import Folder
from smart_llm.engine.run import Finished, Means, Unfinished, execute, write_certificate
from smart_llm.engine.signals import stopping, wait
from smart_llm.errors import InputError
from smart_llm.events import Listener, nobody
from smart_llm.folders import user_dir
from smart_llm.ledger import Ledger, Reader
from smart_llm.providers.base import Provider
from smart_llm.providers.batch import known
from smart_llm.reports.certificate import Certificate
from smart_llm.reports.listening import listening
from smart_llm.reports.make import check as check_page
from smart_llm.reports.make import make, report
from smart_llm.tables.places import is_address
from smart_llm.tasks import Task
from smart_llm.types import Model

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    Frame = TypeVar("Frame", default=Any)
else:
    from typing import TypeVar

    Frame = TypeVar("Frame")

CERTIFICATE = ".certificate.json"
"""What the certificate's name adds to the output's."""
Place: TypeAlias = str | os.PathLike[str]
Rows: TypeAlias = Sequence[Mapping[str, Any]] | Iterator[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Run(Generic[Frame]):
    """A finished run. table: the kind of frame that came in (for a path: the path written, or a polars frame), with
    `answer`, `answered_by`, `status`. cost: USD. saving: reference-only cost ÷ cost."""

    table: Frame
    certificate: Certificate
    cost: float
    saving: float
    run_id: str
    ledger: Path
    task: Task

    def report(self, path: Place) -> None:
        """Write the run's report: one HTML page that needs nothing else. `InputError` where it cannot be written."""
        report(self.run_id, path, ledger=self.ledger, task=self.task)


class Options(TypedDict, total=False):
    """Options of `run` and `arun`; all have defaults.

    report: where a report of the run goes, also of one that was stopped. safe_csv: cells that a spreadsheet would take
    for formulas are written as text. on_event: a function that hears the run's events; if it raises, the run is
    stopped cleanly and the exception comes out. progress: show how the run goes, on stderr or in the notebook; by
    default on a terminal or in a notebook, if there is no `on_event`. engine: `local`, `ray` or `ray:ADDRESS`; workers,
    partition: its actors, and rows handed to one at a time.
    """

    output: str | Path | None
    budget: float | None
    seed: int | None
    per_label: float | str | None
    rows: int | None
    procedure: str
    ledger: str | Path | None
    models: str | Path | None
    providers: Mapping[str, Provider] | None
    concurrency: int
    timeout: float
    self_check: int
    store_text: bool
    report: str | Path | None
    safe_csv: bool
    batch: bool | BatchOptions
    on_event: Listener
    progress: bool | None
    engine: str
    workers: int | None
    partition: int | None


@overload
async def arun(
    table: Place,
    task: Task,
    *,
    reference: str,
    candidates: Sequence[str],
    agreement: float | str = ...,
    confidence: float | str = ...,
    **options: Unpack[Options],
) -> Run[Any]: ...
@overload
async def arun(
    table: Rows,
    task: Task,
    *,
    reference: str,
    candidates: Sequence[str],
    agreement: float | str = ...,
    confidence: float | str = ...,
    **options: Unpack[Options],
) -> Run[list[dict[str, Any]]]: ...
@overload
async def arun(
    table: Frame,
    task: Task,
    *,
    reference: str,
    candidates: Sequence[str],
    agreement: float | str = ...,
    confidence: float | str = ...,
    **options: Unpack[Options],
) -> Run[Frame]: ...
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

    table: a path (CSV, TSV, JSONL, Parquet), a pandas, polars or Arrow table, a DuckDB relation, or dicts.
    reference, candidates: models as `provider:model`. Options: see `Options`.
    Raises `InputError` before anything is spent, `Refused`, `BudgetExhausted` or `Interrupted` when the run must stop:
    run again to go on; what was bought is kept.
    """
    models = _models(reference, candidates, options)
    job = _job(table, task, models, (str(agreement), str(confidence)), options)
    source, given = job.table, options.get("providers") or {}
    ray = options_of(options.get("engine", "local"), options.get("workers"), options.get("partition"))
    output = _checked_output(options.get("output"), source, options.get("safe_csv", False), on_ray=ray is not None)
    if page := options.get("report"):
        check_page(page)
    providers = {**_made(job, given), **given}
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
        means = replace(_means(ledger, providers, stop, tell, options), deliver=delivery)
        finished = await _execute(job, means, output, page)
    delivered = _deliver(source, finished, output, options.get("safe_csv", False))
    delivery.written(finished.certificate)
    done = Run(
        delivered,
        finished.certificate,
        finished.cost,
        finished.saving,
        finished.run_id,
        path,
        task,
    )
    if page:
        done.report(page)
    return done


@overload
def run(
    table: Place,
    task: Task,
    *,
    reference: str,
    candidates: Sequence[str],
    agreement: float | str = ...,
    confidence: float | str = ...,
    **options: Unpack[Options],
) -> Run[Any]: ...
@overload
def run(
    table: Rows,
    task: Task,
    *,
    reference: str,
    candidates: Sequence[str],
    agreement: float | str = ...,
    confidence: float | str = ...,
    **options: Unpack[Options],
) -> Run[list[dict[str, Any]]]: ...
@overload
def run(
    table: Frame,
    task: Task,
    *,
    reference: str,
    candidates: Sequence[str],
    agreement: float | str = ...,
    confidence: float | str = ...,
    **options: Unpack[Options],
) -> Run[Frame]: ...
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

    pilot: ask the reference and every candidate about so many rows first. The run delivers those answers, but these
    rows are never evidence, under this or a later prompt. `self_check` rows of the pilot (which it makes at least as
    long) are asked of the reference twice. brief: only the agreement asked for, with less simulating.
    Raises `InputError`; with `pilot` also what `arun` raises.
    """
    models = _models(reference, candidates, options)
    job = _job(table, task, models, (str(agreement), str(confidence)), options)
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
    providers = {**_made(job, options.get("providers") or {}), **(options.get("providers") or {})}
    try:
        with (
            Ledger.open(path, store_text=options.get("store_text", True)) as ledger,
            stopping() as stop,
            listening(options.get("on_event"), options.get("progress"), options.get("budget"), stop) as tell,
        ):
            await buy_pilot(job, _means(ledger, providers, stop, tell, options), rows)
    finally:
        for provider in {id(provider): provider for provider in providers.values()}.values():
            await provider.close()


def default_ledger(table: tables.Table) -> Path:
    """Beside the table it belongs to; for frames, named by their content, in the user's folder."""
    if table.path is not None:
        return table.path.with_name(table.path.name + ".ledger.db")
    folder = user_dir() / "ledgers"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{table.table_hash.replace(':', '-')}.ledger.db"


def certificate_path(output: Path) -> Path:
    """Where the certificate of an output stands."""
    return output.with_name(output.name + CERTIFICATE)


def _check_options(options: Options) -> None:
    budget, concurrency = options.get("budget"), options.get("concurrency", 64)
    if budget is not None and not 0 < budget < float("inf"):
        raise InputError(f"--budget {budget}: give USD, more than 0.")
    if not options.get("timeout", 120.0) > 0:
        raise InputError(f"--timeout {options.get('timeout')}: give seconds, more than 0.")
    batch = options.get("batch", False)
    if batch and options.get("engine", "local") != "local":
        raise InputError("--batch and --engine ray: workers on Ray ask by calls; give one of the two.")
    if isinstance(batch, BatchOptions) and not (batch.poll > 0 and batch.rows >= 1):
        raise InputError("--batch-poll, --batch-rows: give seconds, more than 0, and at least 1 row.")
    if options.get("self_check", 0) < 0:
        raise InputError(f"--self-check {options.get('self_check')}: give a number of rows.")
    if concurrency < 1:
        raise InputError(f"--concurrency {concurrency}: at least 1 call in flight.")


def _job(table: Any, task: Task, models: tuple[Model, ...], promise: tuple[str, str], options: Options) -> Job:
    """What was asked for, checked. promise: agreement and confidence."""
    _check_options(options)
    source = tables.open_table(table).head(options.get("rows"))
    per_label = options.get("per_label")
    return check(
        Job(
            source,
            task,
            models,
            *promise,
            options.get("procedure", "ladder"),
            options.get("seed"),
            str(per_label) if per_label is not None else None,
        )
    )


def _means(ledger: Ledger, providers: Mapping[str, Provider], stop: Stop, tell: Listener, options: Options) -> Means:
    """What is worked with."""
    batch = options.get("batch", False)
    return Means(
        ledger,
        providers,
        options.get("budget"),
        options.get("concurrency", 64),
        options.get("timeout", 120.0),
        tell,
        stop,
        batch if isinstance(batch, BatchOptions) else BatchOptions(),
        self_check=options.get("self_check", 0),
        output=Path(output) if (output := options.get("output")) else None,
    )


def _models(reference: str, candidates: Sequence[str], options: Options) -> tuple[Model, ...]:
    book = model_specs.read_book(path) if (path := options.get("models")) else None
    return tuple(model_specs.resolve(spec, book=book) for spec in (reference, *candidates))


def _made(job: Job, given: Mapping[str, Provider]) -> dict[str, Provider]:
    """Providers for the models the caller brought none for."""
    wanted = [model for model in job.models if model.name not in given]
    return model_specs.make_providers(wanted, prefix=job.task.prefix(job.table.columns))


def _checked_output(
    output: str | Path | None, table: tables.Table, safe: bool, *, on_ray: bool = False
) -> Path | Folder | None:
    """Where the answers go: a file, or, on Ray, a folder of files."""
    folder = on_ray and output is not None and _names_folder(output)
    if safe and (output is None or folder or tables.format_of(output) not in tables.SEPARATORS):
        raise InputError("--safe-csv: there is no CSV or TSV output; name one with --output, or leave it out.")
    if folder:
        place = Folder(str(output))
        place.prepare(table)
        return place
    if output is None:
        tables.check_columns(table)
        return None
    tables.check_output(Path(output), table)
    return Path(output)


def _names_folder(output: str | Path) -> bool:
    return is_address(output) or Path(output).suffix.lower() not in tables.FORMATS


def _keep(certificate: Certificate, output: Path | Folder) -> None:
    """The certificate, next to the output."""
    if isinstance(output, Folder):
        output.beside(CERTIFICATE, certificate.to_json() + "\n")
    else:
        write_certificate(certificate, certificate_path(output))


async def _execute(job: Job, means: Means, output: Path | Folder | None, page: Place | None) -> Finished:
    """Run; a run that stops early leaves a pending certificate, and a report, where the whole ones would be."""
    try:
        return await execute(job, means)
    except Unfinished as stopped:
        if output is not None:
            _keep(stopped.certificate, output)
        if page is not None:
            run = next(run for run in means.ledger.runs() if run.plan_hash == stopped.certificate.plan_hash)
            make(means.ledger, run, page, job.task)
        raise stopped.reason from None
    finally:
        for provider in {id(provider): provider for provider in means.providers.values()}.values():
            await provider.close()


def _deliver(table: tables.Table, finished: Finished, output: Path | Folder | None, safe: bool) -> Any:
    """The answered table: written (a folder's files are, by then), and given back as it came in."""
    columns = (finished.answers, finished.answered_by, finished.status)
    if isinstance(output, Path):
        (tables.write_harmless if safe else tables.write)(table, *columns, output)
    if output is not None:
        _keep(finished.certificate, output)
        if isinstance(output, Folder):
            return output.at if is_address(output) else Path(output.at)
        if table.path is not None or table.pieces:
            return output
    return tables.like_source(table, *columns)
