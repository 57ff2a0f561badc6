"""Recorded answers as a population: the table `smart replay` reads, checked, and turned into marks and costs.

Long form, one line per item and model, in any file that a run reads (or any frame): `item_id`, `model`, `answer`
(null: it broke the output contract), `cost_usd`, and, where there is one, `score` (the model's own confidence, higher
is surer), and `input` (the text of the item, on the reference's lines).
Answers are already parsed, so equivalence is equality of strings unless the caller knows better.
Rows stand in the order in which items first appear: the file order that the published procedure hands out rows in.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import narwhals as nw
import numpy as np
import polars as pl

from smart_llm.errors import InputError
from smart_llm.scores.traits import answer_key, words_of
from smart_llm.simulation.drive import Population
from smart_llm.simulation.taught import School
from smart_llm.tables.manner import USUAL, Manner
from smart_llm.tables.reading import SEPARATORS, read
from smart_llm.types import AGREE, BAD, DEFER, ERROR, Marks, Traits

Equivalent: TypeAlias = Callable[[str, str], bool]
"""(candidate's answer, reference's answer) → do they count as the same?"""

TEXT = {"item_id": pl.String, "model": pl.String, "answer": pl.String}
NUMBERS = {"cost_usd": pl.Float64, "score": pl.Float64}
READERS: dict[str, Callable[[Path], pl.DataFrame]] = {
    ".parquet": lambda path: pl.read_parquet(path),
    ".jsonl": lambda path: pl.read_ndjson(path, infer_schema_length=None, schema_overrides=TEXT),
}
"""Of formats that say themselves what type a value has; all others are read as the tables of runs are."""
LEARNED = "learned"
"""The candidate that is taught in the run; it is in no recorded table."""
LIVE = ("function:", "regex:", f"{LEARNED}?")
"""What candidates begin with that no recorded table can answer for."""
FEWEST = 200
"""Different texts that are worth teaching anything with."""
DECIMAL_COMMA = r"^\s*-?\d*,\d+\s*$"


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recorded table, checked: the models in column order of the population (reference first). school: what a
    candidate is taught from, where one is to be."""

    items: tuple[str, ...]
    models: tuple[str, ...]
    population: Population
    school: School | None = None


def load(
    source: Any,
    *,
    reference: str,
    candidates: Sequence[str] | None = None,
    equivalent: Equivalent | None = None,
    manner: Manner = USUAL,
    text: Sequence[str] = (),
) -> Recorded:
    """Read and check a recorded table (a path or a frame); `candidates` None means every other model in it. manner: how
    a file is read; what was guessed is a warning. text: columns that hold what the items say, in place of `input`."""
    lines = _typed(_worded(_read(source, manner), text))
    taught = LEARNED in (candidates or ()) and LEARNED not in lines["model"]
    models = _chosen(lines, reference, candidates, taught=taught)
    lines = lines.filter(pl.col("model").is_in(models))
    items = lines.select("item_id").unique(maintain_order=True)
    columns = [_column(lines, items, model) if model != LEARNED or not taught else _silent(items) for model in models]
    marks = np.stack([_marks(column["answer"], columns[0]["answer"], equivalent) for column in columns], axis=1)
    marks[:, 0] = np.where(columns[0]["answer"].is_null(), ERROR, AGREE)
    cost = np.stack([column["cost_usd"].to_numpy() for column in columns], axis=1)
    score = np.stack([column["score"].to_numpy() for column in columns], axis=1)
    population = Population(marks, cost, score, _traits([column["answer"] for column in columns], columns[0]["input"]))
    school = _school(columns[0], models.index(LEARNED), equivalent) if taught else None
    return Recorded(tuple(items["item_id"]), tuple(models), population, school)


def _worded(lines: pl.DataFrame, text: Sequence[str]) -> pl.DataFrame:
    """With these columns as the text of the items, where any are named."""
    if not text:
        return lines
    if missing := [name for name in text if name not in lines.columns]:
        raise InputError(f"--text {missing[0]}: no such column; it has {', '.join(lines.columns)}.")
    cells = [pl.col(name).cast(pl.String).fill_null("") for name in text]
    return lines.with_columns(input=pl.concat_str(cells, separator="\n"))


def _silent(items: pl.DataFrame) -> pl.DataFrame:
    """The lines of a candidate that has not said anything yet."""
    nothing = {"answer": pl.lit(None, pl.String), "cost_usd": pl.lit(0.0), "score": pl.lit(float("nan"))}
    return items.with_columns(**nothing)


def _school(reference: pl.DataFrame, column: int, equivalent: Equivalent | None) -> School:
    """What a candidate is taught from; `InputError` where there are no texts."""
    texts = reference["input"]
    if texts.null_count() == len(texts):
        raise InputError("--candidate learned: the recorded table has no texts; name their columns by --text COLUMN.")
    if texts.n_unique() < FEWEST:
        raise InputError(
            f"--candidate learned: {texts.n_unique():,} different texts are too few to learn from; at least {FEWEST}."
        )
    return School.of(texts.fill_null("").to_list(), reference["answer"].to_list(), column, equivalent)


def _traits(answers: Sequence[pl.Series], inputs: pl.Series) -> Traits:
    """What scores may look at besides the models' own: which answers are equal, how long they and the inputs are."""
    known = pl.concat(answers).unique()
    keys = {answer: answer_key(answer) for answer in known}
    key = np.array([[keys[answer] for answer in column] for column in answers], np.int64).T
    length = np.stack([column.str.len_chars().cast(pl.Float64).fill_null(np.nan).to_numpy() for column in answers], 1)
    words = None if inputs.null_count() else np.stack([words_of(text) for text in inputs])
    return Traits(key, length, inputs.str.len_chars().cast(pl.Float64).fill_null(np.nan).to_numpy(), words)


def _read(source: Any, manner: Manner) -> pl.DataFrame:
    """The table behind a path or a frame, as it is."""
    if not isinstance(source, str | Path):
        return _frame(source)
    path = Path(source)
    ending = {".ndjson": ".jsonl", ".pq": ".parquet"}.get(path.suffix.lower(), path.suffix.lower())
    if ending not in READERS or manner.encoding is not None:
        return _as_tables_are(path, manner)
    if not path.is_file():
        raise InputError(f"{path}: no such file.")
    try:
        return READERS[ending](path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{path}: cannot be read as {ending[1:]}: {str(error).splitlines()[0]}") from error


def _as_tables_are(path: Path, manner: Manner) -> pl.DataFrame:
    """Any file that a run reads, in any encoding; where its cells are texts, an empty one is none, and a number may be
    written with a decimal comma if cells are separated by something else."""
    table = read(path, manner)
    for note in table.notes:
        warnings.warn(note, stacklevel=6)
    frame = table.frame if isinstance(table.frame, pl.DataFrame) else table.frame.lazy().collect()
    if table.format not in SEPARATORS:
        return frame
    frame = frame.with_columns(pl.col(pl.String).replace("", None))
    numbers = [pl.col(name) for name in NUMBERS if name in frame.columns] if table.separator != "," else []
    comma = [pl.when(n.str.contains(DECIMAL_COMMA)).then(n.str.replace(",", ".")).otherwise(n) for n in numbers]
    return frame.with_columns(comma)


def _frame(source: Any) -> pl.DataFrame:
    """A polars frame from a pandas, Arrow or polars one, or from a list of dicts."""
    if nw.dependencies.is_pandas_dataframe(source):
        return _pandas(source)
    try:
        if isinstance(source, list):
            return pl.DataFrame([_filled(each) for each in source], infer_schema_length=None)
        if isinstance(source, pl.LazyFrame):
            return source.collect()
        frame: pl.DataFrame = nw.from_native(source, eager_only=True).to_polars()
    except (TypeError, pl.exceptions.PolarsError) as error:
        raise InputError(
            f"recorded table: a path, a frame or a list of dicts is read, not {type(source).__name__} "
            f"({str(error).splitlines()[0][:120]})."
        ) from None
    return frame


def _filled(row: Any) -> Any:
    """A dict as it is, but None for "not a number", which is how pandas writes a missing answer into one."""
    if not isinstance(row, Mapping):
        return row
    return {name: None if isinstance(value, float) and value != value else value for name, value in row.items()}


def _pandas(frame: Any) -> pl.DataFrame:
    """A pandas frame, value by value: narwhals would want pyarrow for its texts. Columns that are not needed stay
    empty."""
    columns: dict[str, list[Any]] = {}
    for name in frame.columns:
        column = frame[name].astype(object)
        needed = name in {*TEXT, *NUMBERS, "input"}
        columns[str(name)] = column.where(column.notna(), None).tolist() if needed else [None] * len(frame)
    return pl.DataFrame({name: pl.Series(values, strict=False) for name, values in columns.items()})


def _typed(lines: pl.DataFrame) -> pl.DataFrame:
    """The five columns with their types; says which are missing or cannot be read."""
    needed = [*TEXT, "cost_usd"]
    missing = [name for name in needed if name not in lines.columns]
    if missing:
        raise InputError(
            f"recorded table: no column {', '.join(missing)}; it has {', '.join(lines.columns)}. A replay reads "
            "answers that models have given, one line for every row and model: item_id (which row), model, answer, "
            "cost_usd and perhaps score (how sure it was)."
        )
    if "score" not in lines.columns:
        lines = lines.with_columns(score=pl.lit(None, pl.Float64))
    if "input" not in lines.columns:
        lines = lines.with_columns(input=pl.lit(None, pl.String))
    kinds = {**TEXT, **NUMBERS, "input": pl.String}
    try:
        typed = lines.select([pl.col(name).cast(kind) for name, kind in kinds.items()])
    except pl.exceptions.PolarsError as error:
        raise InputError(f"recorded table: {str(error).splitlines()[0]}") from error
    _refuse(typed, pl.col("item_id").is_null() | pl.col("model").is_null(), "has no item_id or no model")
    _refuse(typed, ~pl.col("cost_usd").is_finite().fill_null(False) | (pl.col("cost_usd") < 0), "has no valid cost_usd")
    return typed.with_columns(pl.col("score").fill_null(float("nan")))


def _refuse(lines: pl.DataFrame, wrong: pl.Expr, what: str) -> None:
    """InputError for the first line that is wrong."""
    places = lines.select(wrong.arg_true()).to_series()
    if len(places):
        item, model = lines["item_id"][places[0]], lines["model"][places[0]]
        raise InputError(f"recorded table, line {places[0] + 1} (item {item}, model {model}): {what}.")


def _chosen(
    lines: pl.DataFrame, reference: str, candidates: Sequence[str] | None, *, taught: bool = False
) -> list[str]:
    """Reference first, then the candidates; every one must be in the table, once."""
    present = lines["model"].unique(maintain_order=True).to_list()
    chosen = [reference, *(candidates if candidates is not None else [m for m in present if m != reference])]
    for option, name in zip(["--reference", *["--candidate"] * len(chosen)], chosen, strict=False):
        if name not in present and str(name).startswith(LIVE):
            raise InputError(
                f"{option} {name}: it answers in live runs only; a replay takes the models in the table, and {LEARNED}."
            )
        if name not in present and not (taught and name == LEARNED):
            raise InputError(f"{option} {name}: not in the recorded table; it has {', '.join(present) or 'no rows'}.")
    if reference in chosen[1:]:
        raise InputError(f"--candidate {reference}: this is the reference.")
    if len(set(chosen)) < len(chosen):
        raise InputError("--candidate: the same model is given twice.")
    if len(chosen) == 1:
        raise InputError(f"recorded table: no candidate; it holds only {reference}.")
    return chosen


def _column(lines: pl.DataFrame, items: pl.DataFrame, model: str) -> pl.DataFrame:
    """One model's lines in item order; refuses an item it answered twice or not at all."""
    own = lines.filter(pl.col("model") == model)
    twice = own.filter(pl.col("item_id").is_duplicated())
    if len(twice):
        raise InputError(f"recorded table: item {twice['item_id'][0]} has {model} more than once; keep one line.")
    absent = items.join(own, on="item_id", how="anti", maintain_order="left")
    if len(absent):
        raise InputError(
            f"recorded table: item {absent['item_id'][0]} lacks an answer of {model} ({len(absent)} such items); "
            "write a line with an empty answer where the model broke the output contract."
        )
    return items.join(own, on="item_id", how="left", maintain_order="left")


def _marks(answers: pl.Series, reference: pl.Series, equivalent: Equivalent | None) -> Marks:
    """Shape (N,): DEFER without an answer, else AGREE or BAD; BAD too where the reference has none."""
    same = (answers == reference).fill_null(False).to_numpy()
    if equivalent is not None:
        pairs = zip(answers, reference, strict=True)
        same = np.array([a is not None and b is not None and equivalent(a, b) for a, b in pairs], dtype=bool)
    return np.where(answers.is_null(), DEFER, np.where(same, AGREE, BAD)).astype(np.int8)
