"""What the user asked for: options of the Python API, checked, and what they make of a table and a task."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Integral, Real
from pathlib import Path
from typing import Any, TypeAlias, TypedDict, cast

from smart_llm import models as model_specs
from smart_llm import tables
from smart_llm.engine import outputs
from smart_llm.engine.batch import BatchOptions
from smart_llm.engine.job import Job, check
from smart_llm.engine.means import Means
from smart_llm.engine.pool import Stop
from smart_llm.engine.retry import Retry
from smart_llm.errors import InputError, meant
from smart_llm.events import Listener
from smart_llm.folders import user_dir
from smart_llm.ledger import Ledger
from smart_llm.providers.base import Provider
from smart_llm.providers.fake import FakeProvider
from smart_llm.tasks import Task
from smart_llm.types import Model

Place: TypeAlias = str | os.PathLike[str]


class Options(TypedDict, total=False):
    """Options of `run` and `arun`; all have defaults.

    report: where a report of the run goes, also of one that was stopped. safe_csv: cells that a spreadsheet would take
    for formulas are written as text. on_event: a function that hears the run's events; if it raises, the run is
    stopped cleanly and the exception comes out. patience: seconds that a model which answers nobody is waited for until
    the run stops; run again to go on. progress: show how the run goes, on stderr or in the notebook; by
    default on a terminal or in a notebook, if there is no `on_event`. engine: `local`, `ray` or `ray:ADDRESS`; workers,
    partition: its actors, and rows handed to one at a time.

    Of a file: encoding, quotes (`auto`, `double`, `backslash`, `none`) and header (whether the first line names the
    columns) are found out unless given. answer_column: what the column of answers is called, `answer` unless given;
    under another name the others are called NAME_by and NAME_status. skip_empty: rows whose cells in the prompt are all
    empty are not asked, and delivered without an answer. explode: every field of a JSON answer is also a column of its
    own.
    """

    output: str | Path | None
    budget: float | None
    seed: int | None
    per_label: float | str | None
    floor: float | str
    rows: int | None
    procedure: str
    ledger: str | Path | None
    models: str | Path | None
    providers: Mapping[str, Provider] | None
    concurrency: int
    timeout: float
    patience: float
    self_check: int
    retry: Retry | str | None
    store_text: bool
    report: str | Path | None
    safe_csv: bool
    id_column: str | None
    batch: bool | BatchOptions
    on_event: Listener
    progress: bool | None
    engine: str
    workers: int | None
    partition: int | None
    encoding: str | None
    quotes: str
    header: bool | None
    answer_column: str
    skip_empty: bool
    explode: bool


NUMBERS = ("budget", "concurrency", "timeout", "patience", "self_check")
WHOLE = ("seed", "rows", "concurrency", "self_check", "workers", "partition")
"""Options that are numbers, and of these the whole ones."""


def _check_kinds(options: Options) -> None:
    """What is spelt wrong, or is no number; an option nobody looks at would be a silent mistake."""
    given: Mapping[str, object] = {**options}
    for name, value in given.items():
        if name not in Options.__annotations__:
            raise TypeError(f"there is no option {name!r}.{meant(name, Options.__annotations__)}")
        kind = Integral if name in WHOLE else Real
        number = isinstance(value, kind) and not isinstance(value, bool)
        if name in (*NUMBERS, *WHOLE) and value is not None and not number:
            raise InputError(f"{name}: give a {'whole ' if name in WHOLE else ''}number, not {value!r}.")


def _check_options(options: Options) -> None:
    _check_kinds(options)
    budget, concurrency = options.get("budget"), options.get("concurrency", 64)
    if budget is not None and not 0 < budget < float("inf"):
        raise InputError(f"--budget {budget}: give USD, more than 0.")
    if not options.get("timeout", 120.0) > 0:
        raise InputError(f"--timeout {options.get('timeout')}: give seconds, more than 0.")
    if not options.get("patience", 600.0) > 0:
        raise InputError(f"--patience {options.get('patience')}: give seconds, more than 0.")
    batch = options.get("batch", False)
    if batch and options.get("engine", "local") != "local":
        raise InputError("--batch and --engine ray: workers on Ray ask by calls; give one of the two.")
    if isinstance(batch, BatchOptions) and not (batch.poll > 0 and batch.rows >= 1):
        raise InputError("--batch-poll, --batch-rows: give seconds, more than 0, and at least 1 row.")
    if options.get("self_check", 0) < 0:
        raise InputError(f"--self-check {options.get('self_check')}: give a number of rows.")
    if options.get("retry") not in (None, "errors", "broken"):
        raise InputError(f"--retry {options.get('retry')}: errors or broken.")
    if concurrency < 1:
        raise InputError(f"--concurrency {concurrency}: at least 1 call in flight.")


def _source(table: Any, task: Task, options: Options) -> tables.Table:
    """The table as it is read, cut and rid of empty rows, as the options say."""
    manner = tables.Manner(options.get("encoding"), options.get("quotes", "auto"), options.get("header"))
    source = tables.open_table(table, manner, answer=options.get("answer_column", tables.ADDED[0]))
    source = source.head(options.get("rows"))
    if options.get("explode"):
        outputs.check_explode(task, source)
    return source.without_empty(task.columns(source.columns)) if options.get("skip_empty") else source


def job_of(table: Any, task: Task, models: tuple[Model, ...], promise: tuple[str, str], options: Options) -> Job:
    """What was asked for, checked. promise: agreement and confidence."""
    _check_options(options)
    if not isinstance(task, Task):
        raise InputError(
            f"task: give a smart.Task, not {type(task).__name__}: smart.Task('Spam? {{text}}', labels=['yes', 'no'])."
        )
    source = _source(table, task, options)
    per_label, named = options.get("per_label"), options.get("id_column")
    if named is not None and named not in source.columns:
        shown = ", ".join(source.columns[:20])
        raise InputError(f"--id-column {named}: there is no such column; {shown}.{meant(named, source.columns)}")
    return check(
        Job(
            source,
            task,
            models,
            *promise,
            options.get("procedure", "ladder"),
            options.get("seed"),
            str(per_label) if per_label is not None else None,
            str(options.get("floor", "0.5")),
        )
    )


def means_of(ledger: Ledger, providers: Mapping[str, Provider], stop: Stop, tell: Listener, options: Options) -> Means:
    """What is worked with."""
    batch = options.get("batch", False)
    return Means(
        ledger,
        providers,
        options.get("budget"),
        options.get("concurrency", 64),
        options.get("timeout", 120.0),
        options.get("patience", 600.0),
        tell,
        stop,
        batch if isinstance(batch, BatchOptions) else BatchOptions(),
        self_check=options.get("self_check", 0),
        retry=cast("Retry | None", options.get("retry")),
        output=Path(output) if (output := options.get("output")) else None,
        id_column=options.get("id_column"),
    )


def models_of(reference: str, candidates: Sequence[str], options: Options) -> tuple[Model, ...]:
    """The models meant, reference first; `InputError` for a spec that means none."""
    _check_specs(reference, candidates)
    book = model_specs.read_book(path) if (path := options.get("models")) else None
    models = [model_specs.placed(model_specs.resolve(spec, book=book)) for spec in (reference, *candidates)]
    return tuple(_of_process(model, options.get("providers") or {}) for model in models)


def _of_process(model: Model, given: Mapping[str, Provider]) -> Model:
    """The model; where a `FakeProvider` answers for it, as one of this process alone, unless its answers are kept."""
    provider = given.get(model.name) or given.get(model.name.partition("?")[0])
    return replace(model, at=provider.at) if isinstance(provider, FakeProvider) and provider.at else model


def _check_specs(reference: object, candidates: object) -> None:
    """The mistakes that would otherwise be taken for models with odd names."""
    if not isinstance(reference, str):
        raise InputError(
            f"reference: give one model as a text, such as 'openai:gpt-4.1', not {type(reference).__name__}."
        )
    if isinstance(candidates, str):
        raise InputError(f"candidates: give a list of models, candidates=[{candidates!r}], not a text.")
    if not isinstance(candidates, Sequence | set | frozenset):
        raise InputError(f"candidates: give a list of models, not {type(candidates).__name__}.")
    if wrong := [each for each in candidates if not isinstance(each, str)]:
        raise InputError(f"candidates: every model is a text, such as 'openai:gpt-4.1-mini', not {wrong[0]!r}.")


def made(job: Job, given: Mapping[str, Provider]) -> dict[str, Provider]:
    """Providers for the models the caller brought none for. What was brought under a model's bare name serves every
    setting of it that was not brought itself."""
    bare = {model.name: model.name.partition("?")[0] for model in job.models if model.name not in given}
    brought = {name: given[plain] for name, plain in bare.items() if plain in given}
    names = {*(model.name for model in job.models), *bare.values()}
    if len(bare) > len(brought) and (odd := sorted(given.keys() - names)):
        raise InputError(f"providers: {odd[0]} is no model of this run.{meant(odd[0], names)}")
    wanted = [model for model in job.models if model.name in bare and model.name not in brought]
    return model_specs.make_providers(wanted, prefix=job.task.prefix(job.table.columns)) | brought


def default_ledger(table: tables.Table) -> Path:
    """Beside the table it belongs to; for frames, named by their content, in the user's folder."""
    if table.path is not None:
        return table.path.with_name(table.path.name + ".ledger.db")
    folder = user_dir() / "ledgers"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{table.table_hash.replace(':', '-')}.ledger.db"
