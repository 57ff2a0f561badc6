"""The options of the verbs, each written once."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smart_llm.cli.dollars import dollars
from smart_llm.client.batch.options import BatchOptions
from smart_llm.engine.options import DEFAULT, OPTIONS, Options
from smart_llm.errors import InputError
from smart_llm.files import small_text, unreadable

if TYPE_CHECKING:
    from smart_llm.tasks import Task

SAME = (
    "When two answers count as the same: label, text, number, json, json-exact or exact (for any kind of answer). "
    "Default: the first one that fits the kind of answer."
)
Table = Annotated[
    str,
    typer.Argument(
        metavar="TABLE",
        help="A CSV, TSV, JSONL, JSON, Parquet or Excel file, also .gz or .zst, or a folder; - reads stdin.",
    ),
]
Encoding = Annotated[str | None, typer.Option(help="The encoding of the table's text. Default: detected.")]
Quotes = Annotated[
    str, typer.Option(help="How quotes in the table are read: auto, double, backslash or none (as plain text).")
]
Header = Annotated[
    bool | None,
    typer.Option("--header/--no-header", help="Whether the first line names the columns. Default: detected."),
]
Reference = Annotated[str, typer.Option(help="The model whose answers define the promise.", show_default=False)]
Candidates = Annotated[
    list[str] | None,
    typer.Option(
        "--candidate",
        help="A cheaper model, or learned, function:FILE.py:NAME, regex:PATTERN=ANSWER. May be repeated.",
    ),
]
Agreement = Annotated[
    str, typer.Option(help="The share of answers that must be equivalent to the reference's, between 0 and 1.")
]
Confidence = Annotated[str, typer.Option(help="The probability with which the promise is to hold, between 0 and 1.")]
Procedure = Annotated[
    str, typer.Option(help="How to certify: ladder, per-label, smart/2024[:VARIANT] or reference-only.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object on stdout.")]
Yes = Annotated[
    bool, typer.Option("--yes", help="Do not ask before spending. Without a terminal, nobody is asked anyway.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """What every row is asked, and what counts as an answer."""

    prompt: Annotated[
        str | None, typer.Option(help="The question about every row, with {column} where a cell goes.")
    ] = None
    prompt_file: Annotated[Path | None, typer.Option(help="A file that contains the prompt.")] = None
    labels: Annotated[str | None, typer.Option(help="The allowed answers, separated by commas.")] = None
    answer: Annotated[
        str | None, typer.Option(help="The kind of answer, where there are no labels: text, number or json.")
    ] = None
    schema: Annotated[Path | None, typer.Option(help="A file with the JSON schema of the answer.")] = None
    equivalence: Annotated[str | None, typer.Option(help=SAME)] = None
    tolerance: Annotated[
        float | None, typer.Option(help="How far apart equal numbers a and b may be: |a−b| ≤ NUMBER·max(1,|a|,|b|).")
    ] = None
    system: Annotated[str | None, typer.Option(help="The system message.")] = None
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
            help="Where to write the answered table: a file or, with Ray, a folder. CSV and TSV are written in "
            "UTF-8, with the separator, line ends and byte order mark of the table."
        ),
    ] = None
    budget: Annotated[str | None, typer.Option(help="The most the run may spend, in US dollars.")] = None
    seed: Annotated[
        int | None,
        typer.Option(
            help="A number that decides the random order, together with the whole task. Default: drawn at random."
        ),
    ] = None
    rows: Annotated[int | None, typer.Option(help="Use only the first N rows.")] = None
    per_label: Annotated[str | None, typer.Option(help="Also promise this agreement for every common label.")] = None
    floor: Annotated[str, typer.Option(help="Deliver no candidate that may agree on less than this share.")] = DEFAULT[
        "floor"
    ]
    procedure: Procedure = DEFAULT["procedure"]
    ways: Annotated[
        str,
        typer.Option(
            help="given: ask as the candidates say. auto: also try packs of rows, shortened texts, and learned where "
            "it is installed."
        ),
    ] = DEFAULT["ways"]
    ledger: Annotated[
        Path | None, typer.Option(help="The file that records the run. Default: TABLE.ledger.db beside the table.")
    ] = None
    models: Annotated[Path | None, typer.Option(help="A TOML file of models and prices.")] = None
    concurrency: Annotated[int, typer.Option(help="The most calls in flight per model.")] = DEFAULT["concurrency"]
    timeout: Annotated[float, typer.Option(help="How long a call may take.")] = DEFAULT["timeout"]
    patience: Annotated[
        float,
        typer.Option(help="How long to wait for a model that answers no call; one that never has, half a minute."),
    ] = DEFAULT["patience"]
    batch: Annotated[bool, typer.Option(help="Ask by batch: at the batch price, with answers within a day.")] = False
    batch_poll: Annotated[float, typer.Option(help="How long to wait, at first, between checks of a batch.")] = (
        BatchOptions().poll
    )
    batch_rows: Annotated[int, typer.Option(help="The most rows that may wait for batches at once.")] = (
        BatchOptions().rows
    )
    self_check: Annotated[
        int, typer.Option(help="Ask the reference twice about N rows, to see how often it agrees with itself.")
    ] = DEFAULT["self_check"]
    retry: Annotated[
        str | None,
        typer.Option(
            help="What to ask again: errors (calls that failed) or broken (these, and answers that could not be read)."
        ),
    ] = None
    engine: Annotated[str, typer.Option(help="Where to run: local, ray, or ray:ADDRESS of a cluster.")] = DEFAULT[
        "engine"
    ]
    workers: Annotated[int | None, typer.Option(help="With Ray: how many workers ask. Default: one per CPU.")] = None
    partition: Annotated[int | None, typer.Option(help="With Ray: how many rows a worker gets at a time.")] = None
    no_store_text: Annotated[bool, typer.Option(help="Keep the text of rows out of the ledger and the report.")] = False
    report: Annotated[Path | None, typer.Option(help="Also write a report to this HTML file.")] = None
    id_column: Annotated[str | None, typer.Option(help="The column whose value names a row in the report.")] = None
    encoding: Encoding = None
    quotes: Quotes = DEFAULT["quotes"]
    header: Header = None
    answer_column: Annotated[
        str, typer.Option(help="The name of the column of answers. NAME_by and NAME_status are added, too.")
    ] = DEFAULT["answer_column"]
    skip_empty: Annotated[bool, typer.Option(help="Do not ask about rows whose cells in the prompt are empty.")] = False
    explode: Annotated[bool, typer.Option(help="Also write every field of a JSON answer as a column.")] = False
    learn_from: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LEDGER|FILE:COLUMN",
            help="Labels that learned is taught with beforehand: another ledger's answers of the reference, or a "
            "column of a file; repeat for several.",
        ),
    ] = None
    safe_csv: Annotated[bool, typer.Option(help="Write cells that look like formulas as text.")] = False

    @property
    def dollars(self) -> float | None:
        """The budget, in US dollars."""
        return None if self.budget is None else dollars("--budget", self.budget)

    def options(self, **more: Any) -> Options:
        """As `smart.run` knows them, checked; more: those that are not given as they are."""
        known = {field.name: getattr(self, field.name) for field in fields(self) if field.name in OPTIONS}
        known["budget"] = self.dollars
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
        if source.name in ("", ".."):
            raise InputError(f"{source}: say where the answers are to go, with --output.")
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
    if len(labels) == 1 and (meant := separated(labels[0]) or labels[0].split()):
        if len(meant) == 1:
            raise InputError(f"--labels {given!r}: give at least two, separated by commas.")
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
