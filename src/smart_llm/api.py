"""The Python door: `run`, `arun`, `plan`, `aplan`. Each makes one frozen `Options` of its keywords, and hands it on.

They are quick to import: `execution`, which does the work, comes when one of them is called.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING
from typing import TYPE_CHECKING, Any, TypeAlias, Unpack, overload

from smart_llm.engine.options import OPTIONS, Asked, Options, check_whole

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    from smart_llm.engine.options import Place
    from smart_llm.execution import Run
    from smart_llm.planning.plan import Plan
    from smart_llm.tasks import Task

    Frame = TypeVar("Frame", default=Any)
    Function = TypeVar("Function", bound=Callable[..., Any])

Rows: TypeAlias = Sequence[Mapping[str, Any]] | Iterator[Mapping[str, Any]]


def _documented(function: Function) -> Function:
    """The function, with a signature that shows every option and its default: for `help` and notebooks."""
    *own, _ = inspect.signature(function).parameters.values()
    own += [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=field.type,
        )
        for name, field in OPTIONS.items()
    ]
    function.__signature__ = inspect.Signature(own, return_annotation=function.__annotations__["return"])  # type: ignore[attr-defined]
    return function


@overload
async def arun(table: Place, task: Task, **options: Unpack[Asked]) -> Run[Any]: ...
@overload
async def arun(table: Rows, task: Task, **options: Unpack[Asked]) -> Run[list[dict[str, Any]]]: ...
@overload
async def arun(table: Frame, task: Task, **options: Unpack[Asked]) -> Run[Frame]: ...
@_documented
async def arun(table: Any, task: Task, **options: Unpack[Asked]) -> Run[Any]:
    """`run`, awaited: the same arguments, for programs that are asynchronous themselves."""
    given = Options.of(options)
    from smart_llm import execution

    return await execution.run(table, task, given)


@overload
def run(table: Place, task: Task, **options: Unpack[Asked]) -> Run[Any]: ...
@overload
def run(table: Rows, task: Task, **options: Unpack[Asked]) -> Run[list[dict[str, Any]]]: ...
@overload
def run(table: Frame, task: Task, **options: Unpack[Asked]) -> Run[Frame]: ...
@_documented
def run(table: Any, task: Task, **options: Unpack[Asked]) -> Run[Any]:
    """Answer every row of a table, as cheaply as the promise allows: with `confidence`, at least `agreement` of the
    answers are what the reference would have said.

    What is asked, and of whom:

    table: a path (CSV, TSV, JSONL, Parquet) or a folder of such files, a pandas, polars or Arrow table, a DuckDB
        relation, or dicts. What comes back in `Run.table` is of the same kind, with `answer`, `answered_by`, `status`.
    task: a `smart.Task`: the prompt, what counts as an answer, when two answers are the same.
    reference, candidates: models as `provider:model`, such as "openai:gpt-4.1"; candidates are a list of these, or of
        `smart.Candidate`, which also says how a model is asked (packs of rows, a prompt of its own, part of a text), or
        is a function of your own, or regular expressions; "learned" is taught in the run.

    Options, the promise:

    agreement, confidence: shares between 0 and 1; a text such as "0.95" is taken exactly.
    per_label: promise this agreement for every common label, too.
    floor: deliver no candidate that may agree on less than this share (0.5).
    procedure: "ladder" (the default), "reference-only", or one of the paper's, "smart/2024".
    ways: "auto" also tries every candidate in packs of rows, and with the beginning of long texts, and adds "learned"
        where scikit-learn is installed; "given" does not.
    learn_from: labels that "learned" is taught with beforehand, beside the ledger's: another ledger, or "FILE:COLUMN".
    seed: of the order in which rows are profiled; drawn if not given.
    self_check: ask the reference twice about this many rows, to see how often it agrees with itself.

    Options, money and time:

    budget: US dollars, a hard stop. concurrency: calls in flight per model, at most (64).
    timeout: seconds a call may take (120). patience: seconds that a model which answers nobody is waited for (600).
    retry: ask again what failed ("errors") or broke the output contract ("broken"), once its cause is fixed.
    batch: ask by batch, at about half the price, within a day; True, or `BatchOptions`.

    Options, the table and what is written:

    encoding, quotes ("auto", "double", "backslash", "none"), header: of a file; detected if not given.
    skip_empty: rows whose cells in the prompt are all empty are not asked. rows: only the first of this many.
    answer_column: what the column of answers is called, if not `answer`. explode: fields of JSON answers as columns.
    output: the file for the answered table, with a certificate beside it.
    report: a file for the report, one HTML page, also where the run is stopped.
    ledger: the file that remembers every answer; by default beside the table, or in your own folder for frames.
    store_text: False keeps the text of rows out of ledger and report.
    id_column: the column by which the report calls a row, beside its number. It decides nothing.
    safe_csv: write cells that a spreadsheet would take for formulas as text.

    Options, the rest:

    models: a TOML file of models and prices. providers: your own, by the name of the model (`smart.FakeProvider`).
    progress: show how the run goes; by default on a terminal or in a notebook, if there is no `on_event`.
    on_event: a function that hears the run's events; if it raises, the run stops cleanly and the exception comes out.
    engine: "local", "ray", or "ray:ADDRESS"; workers, partition: its actors, and rows handed to one at a time.

    Raises `InputError` before anything is spent; `Refused`, `BudgetExhausted` or `Interrupted` when the run must stop:
    call it again to go on, what was bought is kept. Works inside a running event loop (a notebook) too.
    """
    given = Options.of(options)
    from smart_llm import execution
    from smart_llm.engine.signals import wait

    return wait(execution.run(table, task, given))


@_documented
async def aplan(table: Any, task: Task, *, pilot: int | None = None, **options: Unpack[Asked]) -> Plan:
    """`plan`, awaited: the same arguments."""
    given = Options.of(options, "pilot")
    check_whole("pilot", pilot)
    from smart_llm import execution

    return await execution.plan(table, task, given, pilot=pilot)


@_documented
def plan(table: Any, task: Task, *, pilot: int | None = None, **options: Unpack[Asked]) -> Plan:
    """What `run` with the same arguments would do and cost. Nothing is spent and nothing written without `pilot`.

    pilot: ask the reference and every candidate about this many rows first. The run delivers those answers, but these
    rows are never evidence, under this or a later prompt. `self_check` rows of the pilot (which it makes at least as
    long) are asked of the reference twice. All other arguments are those of `run`. Raises `InputError`; with `pilot`
    also what `run` raises.
    """
    given = Options.of(options, "pilot")
    check_whole("pilot", pilot)
    from smart_llm import execution
    from smart_llm.engine.signals import wait

    return wait(execution.plan(table, task, given, pilot=pilot))
