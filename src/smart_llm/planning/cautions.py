"""What to know before paying: one sentence each, none where all is well. Each check is a function of the facts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from smart_llm.certificates.parts import SelfAgreement
from smart_llm.engine.job import ENOUGH, Job, beforehand
from smart_llm.engine.live import Live
from smart_llm.procedures import described
from smart_llm.providers.rules import FUNCTION, REGEX
from smart_llm.scores.traits import answer_key
from smart_llm.text.numbers import count, usd
from smart_llm.types.share import allowed

if TYPE_CHECKING:
    from smart_llm.engine.pilot import Known
    from smart_llm.planning.plan import Line, Planned

LOOKED_AT = 4096
"""Rows whose cells are looked at."""
MANY = 0.05
"""A column that is empty in more of the rows than this is worth a word; so are more repeated prompts than this."""
LONG, FAR = 10_000, 20
"""A row is very long if it has this many characters and is this many times as long as the median."""
HARDLY = 0.97
"""Of reference-only cost: a run expected to cost more hardly pays."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the checks look at. asked: costs at the agreement asked for; check: self-agreement; budget: USD."""

    job: Job
    live: Live
    models: tuple[Planned, ...]
    asked: Line
    reference_only: float
    seen: Known | None
    check: SelfAgreement | None
    budget: float | None


def cautions(facts: Facts) -> Iterator[str]:
    """All that apply, the most costly first."""
    for check in CHECKS:
        yield from check(facts)


def _beforehand(facts: Facts) -> Iterator[str]:
    yield from beforehand(facts.job)


def _ceiling(facts: Facts) -> Iterator[str]:
    check, target = facts.check, float(Fraction(facts.job.agreement))
    if not check or not check.rows:
        return
    share = check.agreeing / check.rows
    if target > share:
        surely = " surely" if target > check.upper else ""
        yield (
            f"The reference agrees with itself on {check.agreeing} of {check.rows} rows asked twice (at most "
            f"{check.upper:.3f}): agreement {facts.job.agreement} is{surely} above that ceiling, so hardly any "
            "candidate can reach it. Lower the agreement, or make the prompt say more exactly what is wanted."
        )


def _prices(facts: Facts) -> Iterator[str]:
    reference, *candidates = facts.models
    for each in candidates:
        if each.cost >= reference.cost:
            yield f"{each.name} costs as much a row as {reference.name} or more: it will not be used."


def _thoughts(facts: Facts) -> Iterator[str]:
    thinking = [model.name for model in facts.job.models if model.thinking]
    if thinking and facts.seen is None:
        yield (
            f"{', '.join(thinking)} may think before answering, and thoughts are billed: how many is a guess here. "
            "--pilot 50 tells; ?effort=low asks for fewer."
        )


def _allowance(facts: Facts) -> Iterator[str]:
    if not _allowed(facts):
        rows = count(facts.job.table.rows, "row")
        yield f"Agreement {facts.job.agreement} on {rows} allows no row to differ: the reference answers all."


def _allowed(facts: Facts) -> int:
    """Rows that may differ."""
    return allowed(facts.job.table.rows, Fraction(facts.job.agreement))


def _size(facts: Facts) -> Iterator[str]:
    asked, alone = facts.asked, facts.reference_only
    if described(facts.job.procedure).candidates and _allowed(facts) and asked.cost >= HARDLY * alone:
        why = "the table is small" if facts.job.table.rows < 1000 else "the target is high for these candidates"
        yield f"Profiling will hardly pay ({why}): expected cost is {asked.cost / alone:.2f} of the reference alone."


def _budget(facts: Facts) -> Iterator[str]:
    budget, asked = facts.budget, facts.asked
    if budget is not None and budget < asked.high:
        likely = (
            f"less than the expected cost ({usd(asked.cost)})"
            if budget < asked.cost
            else "within the interval of the cost"
        )
        yield (
            f"The budget of ${budget:g} is {likely}: the run may stop before the end. What it bought is kept, and the "
            "same command with a larger budget goes on."
        )


def _candidates(facts: Facts) -> Iterator[str]:
    for each in facts.models[1:]:
        own = each.name.startswith((FUNCTION, REGEX))
        if each.seen and each.seen["rows"] and each.seen["upper"] < 0.5:
            yield f"{each.name} agreed on {each.seen['agreeing']} of {each.seen['rows']} piloted rows: leave it out."
        if each.seen and not own and each.seen["deferred"] > 0.2 * (each.seen["rows"] + each.seen["deferred"]):
            yield f"{each.name} broke the output contract on {each.seen['deferred']} piloted rows: such are paid twice."


def _labels(facts: Facts) -> Iterator[str]:
    labels = facts.job.task.contract.labels or ()
    for label in labels:
        holds = [other for other in labels if other != label and _word_in(label, other)]
        if holds:
            yield (
                f"The label {label!r} stands inside {', '.join(map(repr, holds))}: a wordy reply may be read as the "
                "wrong one. Labels that share no word are safer."
            )


def _word_in(label: str, other: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(label.casefold())}", other.casefold()) is not None


def _columns(facts: Facts) -> Iterator[str]:
    table, task = facts.job.table, facts.job.task
    rows = np.unique(np.linspace(0, table.rows - 1, num=min(LOOKED_AT, table.rows)).astype(np.int64))
    columns = task.columns(table.columns)
    cells = table.cells_at(rows, columns)
    for column in columns:
        empty = sum(not row[column].strip() for row in cells) / len(rows)
        if empty > MANY:
            yield f"Column {column!r} is empty in about {empty * 100:.0f} % of the rows."


def _sizes(facts: Facts) -> Iterator[str]:
    """Rows with nothing in them, and rows that cost as much as many others."""
    table, columns = facts.job.table, facts.job.task.columns(facts.job.table.columns)
    lengths = np.array([sum(len(cell.strip()) for cell in row.values()) for row in table.cells(columns)])
    if empty := int((lengths == 0).sum()):
        yield (f"{_rows(empty)} empty in {', '.join(columns)}: asked about all the same, unless --skip-empty is given.")
    long = lengths > max(LONG, FAR * float(np.median(lengths)))
    if count := int(long.sum()):
        place = int(lengths.argmax())
        yield (
            f"{_rows(count)} far longer than the others, most of all row {place + 1:,} with {lengths[place]:,} "
            "characters: is a quote left open there? Models refuse what is too long for them."
        )


def _rows(count: int) -> str:
    return f"{count:,} rows are" if count > 1 else "1 row is"


def _repeats(facts: Facts) -> Iterator[str]:
    rows, distinct = facts.live.questions.rows, facts.live.questions.distinct
    if rows - distinct > MANY * rows:
        many = count(
            rows - distinct, "row asks what another row asks: it shares", "rows ask what another row asks: they share"
        )
        yield f"{many} its answer, which is paid for once."


def _rare(facts: Facts) -> Iterator[str]:
    job, seen = facts.job, facts.seen
    if job.per_label is None or job.task.contract.labels is None:
        return
    least = -(-job.table.rows // ENOUGH)
    if seen is None or seen.sheet.traits is None:
        yield f"The promise per label is for labels that the reference gives to {least:,} rows or more, no others."
        return
    keys = seen.sheet.traits.key[:, 0]
    rare = [label for label in job.task.contract.labels if (keys == answer_key(label)).mean() < 1 / ENOUGH]
    if rare:
        yield (
            f"Rare in the pilot: {', '.join(rare)}. The promise per label is for labels that the reference gives to "
            f"{least:,} rows or more; rarer ones have none, and a label about that common makes the promise expensive."
        )


CHECKS: tuple[Callable[[Facts], Iterator[str]], ...] = (
    _beforehand,
    _ceiling,
    _allowance,
    _size,
    _budget,
    _prices,
    _thoughts,
    _candidates,
    _labels,
    _columns,
    _sizes,
    _repeats,
    _rare,
)
