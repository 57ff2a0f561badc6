"""The runs of ledgers, in a few lines each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from smart_llm.certificates.certificate import stored
from smart_llm.errors import InputError, LedgerError
from smart_llm.files import user_dir
from smart_llm.ledger import Reader, RunRecord
from smart_llm.ledger.entries import ABOUT
from smart_llm.reports.facts import find, named_by
from smart_llm.text.numbers import count, moment, usd
from smart_llm.text.safe import visible
from smart_llm.text.wrapping import USUAL, wrapped
from smart_llm.types import Json

SUFFIX = ".ledger.db"
QUESTION = 140
"""Characters of a question that are shown."""


@dataclass(frozen=True, slots=True)
class Past:
    """One run. started: seconds since 1970. state: the certificate's status; `open` where there is none yet. question:
    the prompt. cost: USD of its answers, whoever paid. paid: USD that the
    run has paid itself. saving: reference-only cost ÷ cost, of a run that has ended."""

    run: str
    ledger: str
    started: float
    table: str | None
    rows: int
    state: str
    agreement: str
    confidence: str
    question: str
    reference: str
    candidates: tuple[str, ...]
    procedure: str
    cost: float
    paid: float
    saving: float | None

    def to_json(self) -> dict[str, Json]:
        """The fields as JSON values."""
        return asdict(self)


def here(folder: Path | None = None) -> list[Path]:
    """The ledgers somebody in this folder is likely to mean: those in it, and those of tables in memory."""
    folder = folder or Path()
    return [*sorted(folder.glob(f"*{SUFFIX}")), *sorted((user_dir() / "ledgers").glob(f"*{SUFFIX}"))]


def past(ledger: Path) -> list[Past]:
    """The runs of a ledger, oldest first, but for those of other versions (`unreadable`). `InputError`, `LedgerError`:
    as `Reader.open`."""
    with Reader.open(ledger) as reader:
        return [_past(reader, run) for run in reader.runs() if run.readable]


def unreadable(ledger: Path) -> list[str]:
    """One sentence for each run that another version of this program has recorded in another form."""
    with Reader.open(ledger) as reader:
        ids = [run.run_id for run in reader.runs() if not run.readable]
    return [f"{ledger}: run {each} was made by another version of smart-llm, and is not listed." for each in ids]


def whereabouts(ledgers: Sequence[Path], name: str) -> tuple[Path, str]:
    """The ledger and id of a run by its id, the beginning of it, or `last`. A ledger that cannot be read is passed
    over where there are others."""
    found: dict[str, tuple[Path, RunRecord]] = {}
    for path in ledgers:
        try:
            with Reader.open(path) as reader:
                found |= {run.run_id: (path, run) for run in reader.runs()}
        except (InputError, LedgerError):
            if len(ledgers) == 1:
                raise
    run = find((run for _, run in found.values()), name)
    return found[run.run_id][0], run.run_id


def paid_by_all(ledger: Path) -> float:
    """USD that all runs of a ledger have paid or may have paid."""
    with Reader.open(ledger) as reader:
        return sum(reader.spent(run.run_id) for run in reader.runs())


def table(runs: Iterable[Past], width: int = USUAL) -> list[str]:
    """For people: a run in a few lines, none longer than `width`: what it is, what was asked, of whom."""
    return [line for each in runs for line in wrapped(_described(each), width, hang=4)]


def _described(each: Past) -> list[str]:
    saving = f", {each.saving:.2f}× cheaper" if each.saving is not None else ""
    question = " ".join(visible(each.question).split())
    return [
        f"{each.run}  {each.state}  {usd(each.paid)} paid{saving}",
        f"  {each.table or '(a table in memory)'}, {count(each.rows, 'row')}, agreement {each.agreement}, "
        f"{moment(each.started)}",
        f"  {question if len(question) <= QUESTION else question[:QUESTION].rstrip() + '…'}",
        f"  {each.reference} ← {', '.join(each.candidates) or 'no candidate'}",
    ]


def _past(reader: Reader, run: RunRecord) -> Past:
    c, plan = None if run.certificate is None else stored(run.certificate), run.plan
    about = reader.latest(run.run_id, ABOUT) or {}
    return Past(
        run.run_id,
        str(reader.path),
        run.started,
        about.get("table") or named_by(reader.path.name),
        plan.rows,
        c.status if c else "open",
        plan.agreement,
        plan.confidence,
        plan.task.prompt,
        plan.reference,
        plan.candidates,
        plan.procedure,
        c.cost.total if c else reader.spent(run.run_id),
        reader.spent(run.run_id),
        c.cost.saving if c and c.status != "pending" else None,
    )
