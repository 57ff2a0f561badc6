"""The options of the verbs, each written once."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smart_llm.client.batch.options import BatchOptions
from smart_llm.engine.options import DEFAULT, OPTIONS, Options
from smart_llm.errors import InputError
from smart_llm.files import small_text, unreadable

if TYPE_CHECKING:
    from smart_llm.tasks import Task

SAME = (
    "When two answers count as the same: label (for labels), text (texts), number (numbers), json or json-exact "
    "(JSON), exact (any). Default: the first that goes with the kind of answer."
)
Table = Annotated[
    str,
    typer.Argument(
        metavar="TABLE", help="CSV, TSV, JSONL, JSON, Parquet or Excel, also .gz or .zst, or a folder; - reads stdin."
    ),
]
Encoding = Annotated[str | None, typer.Option(help="Of the table's text; detected if not given.")]
Quotes = Annotated[
    str, typer.Option(help="What quotes in the table mean: auto, double, backslash or none (plain text).")
]
Header = Annotated[
    bool | None,
    typer.Option("--header/--no-header", help="Whether the first line names columns; detected if not given."),
]
Reference = Annotated[str, typer.Option(help="The model whose answers define the promise.", show_default=False)]
Candidates = Annotated[list[str] | None, typer.Option("--candidate", help="A cheaper model; repeat for several.")]
Agreement = Annotated[str, typer.Option(help="Share of answers equivalent to the reference's, in (0, 1).")]
Confidence = Annotated[str, typer.Option(help="How sure to be of it, in (0, 1).")]
Procedure = Annotated[str, typer.Option(help="ladder, per-label, smart/2024[:VARIANT] or reference-only.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object on stdout.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask before spending.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """What every row is asked, and what counts as an answer."""

    prompt: Annotated[str | None, typer.Option(help="Text with {column} places.")] = None
    prompt_file: Annotated[Path | None, typer.Option(help="The prompt, from a file.")] = None
    labels: Annotated[str | None, typer.Option(help="The allowed answers: a,b,c.")] = None
    answer: Annotated[str | None, typer.Option(help="text, number or json.")] = None
    schema: Annotated[Path | None, typer.Option(help="JSON schema of the answer.")] = None
    equivalence: Annotated[str | None, typer.Option(help=SAME)] = None
    tolerance: Annotated[float | None, typer.Option(help="For numbers: |a−b| ≤ t·max(1,|a|,|b|).")] = None
    system: Annotated[str | None, typer.Option(help="System message.")] = None
    max_tokens: Annotated[int | None, typer.Option(help="The longest answer, in tokens.")] = None

    def task(self) -> Task:
        """The task they describe; `InputError` says which option is wrong."""
        from smart_llm.tasks import Task

        return Task(
            self._prompt(),
            labels=_labels(self.labels) if self.labels is not None else None,
            answer=self.answer,
            schema=_schema(self.schema),
            equivalence=self.equivalence,
            tolerance=self.tolerance,
            system=self.system,
            max_tokens=self.max_tokens,
        )

    def _prompt(self) -> str:
        if (self.prompt is None) == (self.prompt_file is None):
            raise InputError("Give the prompt once: --prompt TEXT or --prompt-file FILE.")
        return self.prompt if self.prompt is not None else _read(self.prompt_file, "--prompt-file")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Models, promise, and how it is to be carried out."""

    reference: Reference
    candidate: Candidates = None
    agreement: Agreement = DEFAULT["agreement"]
    confidence: Confidence = DEFAULT["confidence"]
    output: Annotated[
        str | None,
        typer.Option(
            help="Where the answered table goes: a file; with Ray also a folder. CSV and TSV are written in "
            "UTF-8, with separator, line ends and byte order mark as in the table."
        ),
    ] = None
    budget: Annotated[float | None, typer.Option(help="USD; a hard stop.")] = None
    seed: Annotated[
        int | None, typer.Option(help="Of the profiling order, beside all that decides answers; drawn if not given.")
    ] = None
    rows: Annotated[int | None, typer.Option(help="Only the first ROWS rows.")] = None
    per_label: Annotated[str | None, typer.Option(help="Also promise this agreement for every common label.")] = None
    floor: Annotated[str, typer.Option(help="Deliver no candidate that may agree on less than this share.")] = DEFAULT[
        "floor"
    ]
    procedure: Procedure = DEFAULT["procedure"]
    ways: Annotated[str, typer.Option(help="auto: also ask each candidate in packs of rows.")] = DEFAULT["ways"]
    ledger: Annotated[Path | None, typer.Option(help="Default: TABLE.ledger.db beside the table.")] = None
    models: Annotated[Path | None, typer.Option(help="TOML file of models and prices.")] = None
    concurrency: Annotated[int, typer.Option(help="Calls in flight per model, at most.")] = DEFAULT["concurrency"]
    timeout: Annotated[float, typer.Option(help="Seconds a call may take.")] = DEFAULT["timeout"]
    patience: Annotated[float, typer.Option(help="Seconds to wait for a model that answers nobody.")] = DEFAULT[
        "patience"
    ]
    batch: Annotated[bool, typer.Option(help="Ask by batch, at the batch price, within a day.")] = False
    batch_poll: Annotated[float, typer.Option(help="Seconds between looks at a batch, at first.")] = BatchOptions().poll
    batch_rows: Annotated[int, typer.Option(help="Rows that wait for batches at once, at most.")] = BatchOptions().rows
    self_check: Annotated[int, typer.Option(help="Ask the reference twice about N rows.")] = DEFAULT["self_check"]
    retry: Annotated[
        str | None, typer.Option(help="Ask again: errors (calls that failed), or broken (these, and answers unread).")
    ] = None
    engine: Annotated[str, typer.Option(help="local, ray, or ray:ADDRESS of a cluster.")] = DEFAULT["engine"]
    workers: Annotated[int | None, typer.Option(help="With Ray: actors that ask. Default: one per CPU.")] = None
    partition: Annotated[int | None, typer.Option(help="With Ray: rows handed to an actor at a time.")] = None
    no_store_text: Annotated[bool, typer.Option(help="Keep row text out of ledger and report.")] = False
    report: Annotated[Path | None, typer.Option(help="Also write a report: one HTML file.")] = None
    id_column: Annotated[str | None, typer.Option(help="The column by which the report calls a row.")] = None
    encoding: Encoding = None
    quotes: Quotes = DEFAULT["quotes"]
    header: Header = None
    answer_column: Annotated[
        str, typer.Option(help="Name of the column of answers; then also NAME_by, NAME_status.")
    ] = DEFAULT["answer_column"]
    skip_empty: Annotated[bool, typer.Option(help="Do not ask about rows that are empty in the prompt.")] = False
    explode: Annotated[bool, typer.Option(help="Every field of a JSON answer also as a column.")] = False
    learn_from: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LEDGER|FILE:COLUMN",
            help="Labels that learned is taught with beforehand: another ledger's answers of the reference, or a "
            "column of a file; repeat for several.",
        ),
    ] = None
    safe_csv: Annotated[bool, typer.Option(help="Write cells that look like formulas as text.")] = False

    def options(self, **more: Any) -> Options:
        """As `smart.run` knows them, checked; more: those that are not given as they are."""
        known = {field.name: getattr(self, field.name) for field in fields(self) if field.name in OPTIONS}
        known["candidates"], known["store_text"] = self.candidate or [], not self.no_store_text
        if self.batch:
            known["batch"] = BatchOptions(poll=self.batch_poll, rows=self.batch_rows)
        return Options(**{**known, **more})


def source_of(table: str) -> Path | str:
    """The table's file or folder, or its address elsewhere; stdin is spooled into the user's folder, so that the run
    can be continued."""
    from smart_llm.tables.storage import is_address

    if is_address(table):
        return table
    if table != "-":
        return Path(table)
    from smart_llm.files import user_dir
    from smart_llm.tables import spool

    return spool(sys.stdin.buffer, user_dir() / "spool")


def output_of(table: str, source: Path | str, how: RunOptions) -> Path | str:
    """Where the answers go: as asked; else TABLE.answers.SUFFIX beside the table, in the current folder for stdin, and
    for a folder a folder TABLE.answers (one Parquet file, where this process delivers)."""
    from smart_llm.tables.reading import named_as
    from smart_llm.tables.storage import is_address, is_folder

    if how.output is not None:
        return how.output if is_address(how.output) else Path(how.output)
    if isinstance(source, str):
        raise InputError(f"{source}: say where the answers are to go, with --output.")
    if is_folder(source):
        return source.with_name(f"{source.name}.answers{'.parquet' if how.engine == 'local' else ''}")
    name, suffix = named_as(source)
    return Path(f"answers{suffix}") if table == "-" else source.with_name(f"{name}.answers{suffix}")


def shares(option: str, pairs: list[str] | None) -> dict[str, float]:
    """NAME=SHARE pairs."""
    found = {}
    for pair in pairs or []:
        name, _, share = pair.rpartition("=")
        try:
            found[name] = float(share)
        except ValueError:
            found[name] = -1.0
        if not name or not 0 <= found[name] <= 1:
            raise InputError(f"{option} {pair}: write NAME=SHARE with a share from 0 to 1.")
    return found


def _labels(given: str) -> list[str]:
    """Separated by commas. InputError: by something else, as it seems."""
    from smart_llm.tasks.labels import separated

    labels = [label.strip() for label in given.split(",")]
    if len(labels) == 1 and (meant := separated(labels[0])):
        raise InputError(
            f"--labels {given!r}: separate them by commas; did you mean --labels {quote(','.join(meant))}?"
        )
    return labels


def _schema(path: Path | None) -> Any:
    if path is None:
        return None
    try:
        return json.loads(_read(path, "--schema"))
    except ValueError as error:
        raise InputError(f"--schema {path}: not JSON ({error}).") from None
    except RecursionError:
        raise InputError(f"--schema {path}: nested too deeply.") from None


def _read(path: Path | None, option: str) -> str:
    assert path is not None
    try:
        return small_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{option} {path}: cannot be read: {unreadable(error)}.") from None
