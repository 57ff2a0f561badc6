"""What the options make of a table and a task: models, a checked job, what is worked with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from smart_llm import tables
from smart_llm.engine import outputs
from smart_llm.engine.given import given as labels_of
from smart_llm.engine.job import Job, check
from smart_llm.engine.options import Options, Retry
from smart_llm.engine.session import Session
from smart_llm.engine.spelled import NO_WAY, spelled_out, with_learned
from smart_llm.errors import InputError, meant
from smart_llm.events import Listener, Stop
from smart_llm.files import user_dir
from smart_llm.ledger import Ledger
from smart_llm.procedures import DEFAULT, described
from smart_llm.providers import making
from smart_llm.providers import specs as model_specs
from smart_llm.providers.base import Provider
from smart_llm.providers.candidate import Candidate
from smart_llm.providers.enforced import AUTO
from smart_llm.providers.fake import FakeProvider
from smart_llm.tasks import Task
from smart_llm.types import Model


def _source(table: Any, task: Task, options: Options) -> tables.Table:
    """The table as it is read, cut and rid of empty rows, as the options say."""
    manner = tables.Manner(options.encoding, options.quotes, options.header)
    source = tables.open_table(table, manner, answer=options.answer_column)
    source = source.head(options.rows)
    if options.explode:
        outputs.check_explode(task, source)
    return source.without_empty(task.columns(source.columns)) if options.skip_empty else source


def job_of(table: Any, task: Task, options: Options) -> Job:
    """What was asked for, checked."""
    models = _models(options)
    if not isinstance(task, Task):
        raise InputError(
            f"task: give a smart.Task, not {type(task).__name__}: smart.Task('Spam? {{text}}', labels=['yes', 'no'])."
        )
    source = _source(table, task, options)
    remarks, before = list[str](), len(models)
    if options.ways == "auto":
        models = spelled_out(models, task, source)
        plain = options.per_label is None and options.engine == "local" and not options.batch
        if plain and described(options.procedure) == DEFAULT:
            models = with_learned(models, task, source)
        remarks = [NO_WAY] * (len(models) == before)
    per_label, named = options.per_label, options.id_column
    if named is not None and named not in source.columns:
        shown = ", ".join(source.columns[:20])
        raise InputError(f"--id-column {named}: there is no such column; {shown}.{meant(named, source.columns)}")
    return check(
        Job(
            source,
            task,
            models,
            str(options.agreement),
            str(options.confidence),
            options.procedure,
            options.seed,
            str(per_label) if per_label is not None else None,
            str(options.floor),
            given=labels_of(options.taught_by, task, source, models),
            notes=tuple(remarks),
        )
    )


def session_of(
    ledger: Ledger, providers: Mapping[str, Provider], stop: Stop, tell: Listener, options: Options
) -> Session:
    """What is worked with."""
    return Session(
        ledger,
        providers,
        options.budget,
        options.concurrency,
        options.timeout,
        options.patience,
        tell,
        stop,
        options.batches,
        self_check=options.self_check,
        retry=cast("Retry | None", options.retry),
        output=Path(options.output) if options.output else None,
        id_column=options.id_column,
    )


def _models(options: Options) -> tuple[Model, ...]:
    """The models meant, reference first; `InputError` for a spec that means none."""
    book = model_specs.read_book(options.models) if options.models else None
    asked = (options.reference, *options.candidates)
    reference, *candidates = [making.placed(_meant(each, book)) for each in asked]
    given = options.providers or {}
    unasked = not described(options.procedure).candidates  # so there is nothing to learn of them, or to pay for it
    own = [unasked or _brought(m, given) or m.way.pack > 1 for m in candidates]  # packs are told a schema in any case
    candidates = [m if as_it_is else making.asking(m) for m, as_it_is in zip(candidates, own, strict=True)]
    if odd := [m.name for m in (reference, *candidates) if m.enforce == AUTO and _brought(m, given)]:
        raise InputError(f"{odd[0]}: enforce=auto asks a server, and here a provider of yours answers; leave it out.")
    return tuple(_of_process(model, given) for model in (reference, *candidates))


def _meant(given: str | Candidate, book: Mapping[str, str] | None) -> Model:
    """The model behind a spec, or the function behind a candidate."""
    own = given.function if isinstance(given, Candidate) else None
    return own or model_specs.resolve(str(given), book=book)


def _brought(model: Model, given: Mapping[str, Provider]) -> Provider | None:
    """The provider that the caller has for this model, if any."""
    return given.get(model.name) or given.get(model.name.partition("?")[0])


def _of_process(model: Model, given: Mapping[str, Provider]) -> Model:
    """The model; where a `FakeProvider` answers for it, as one of this process alone, unless its answers are kept."""
    provider = _brought(model, given)
    return replace(model, at=provider.at) if isinstance(provider, FakeProvider) and provider.at else model


def providers_of(job: Job, options: Options) -> dict[str, Provider]:
    """A provider for every model: those that the caller brought, and ours for the others."""
    given = options.providers or {}
    return {**made(job, given), **given}


def brought(models: Sequence[Model], given: Mapping[str, Provider]) -> dict[str, Provider]:
    """By model: the provider that the caller brought for it. What was brought under a model's bare name serves every
    setting of it that was not brought itself."""
    found = {model.name: _brought(model, given) for model in models}
    return {name: provider for name, provider in found.items() if provider is not None}


def made(job: Job, given: Mapping[str, Provider]) -> dict[str, Provider]:
    """A provider for every model that the caller did not bring one for under its very name."""
    names = {each for model in job.models for each in (model.name, model.name.partition("?")[0])}
    theirs = brought(job.models, given)
    if len(theirs) < len(job.models) and (odd := sorted(given.keys() - names)):
        raise InputError(f"providers: {odd[0]} is no model of this run.{meant(odd[0], names)}")
    wanted = [model for model in job.models if model.name not in theirs]
    return making.make_providers(wanted, prefix=job.task.prefix(job.table.columns)) | theirs


def ledger_of(table: tables.Table, options: Options) -> Path:
    """The one named; else beside the table it belongs to; for frames, named by their content, in the user's folder."""
    if options.ledger:
        return Path(options.ledger)
    if table.path is not None:
        return table.path.with_name(table.path.name + ".ledger.db")
    folder = user_dir() / "ledgers"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{table.table_hash.replace(':', '-')}.ledger.db"
