"""The runs of ledgers, in a few lines each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from smart_llm.certificates.certificate import stored
from smart_llm.errors import InputError, LedgerError
from smart_llm.files import user_dir
from smart_llm.ledger import Reader, RunRecord
from smart_llm.ledger.entries import ABOUT, GIVEN_UP
from smart_llm.reports.facts import LAST, find, named_by
from smart_llm.text.names import short_names
from smart_llm.text.numbers import count, moment, spending, usd
from smart_llm.text.safe import visible
from smart_llm.text.wrapping import USUAL, wrapped
from smart_llm.types import Json

SUFFIX = ".ledger.db"
QUESTION = 140
"""Characters of a question that are shown."""
LITTLE = 1.005
"""× cheaper: less is not worth a word."""


@dataclass(frozen=True, slots=True)
class Past:
    """One run. started: seconds since 1970. state: the certificate's status; `open` where there is none yet, `given up`
    where another run took its place. question: the prompt. cost: USD of its answers, whoever paid. paid: USD that the
    run has paid itself or may have paid; lost_at_most: the part of it for calls that brought no answer. reused: what
    answers of earlier runs cost that it took for nothing. saving: reference-only cost ÷ cost, of a run that has ended,
    so paid and re-used answers count alike."""

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
    lost_at_most: float
    reused: float
    saving: float | None

    def to_json(self) -> dict[str, Json]:
        """The fields as JSON values."""
        return asdict(self)


def near(folder: Path | None = None) -> list[Path]:
    """The ledgers in this folder, by whatever name they were given to `--ledger`, if it ends in .db."""
    found = sorted((folder or Path()).glob("*.db"))
    return [path for path in found if path.name.endswith(SUFFIX) or _is_ledger(path)]


def in_memory() -> list[Path]:
    """The ledgers of tables in memory, and of those that were read from stdin."""
    return sorted(path for folder in ("ledgers", "spool") for path in (user_dir() / folder).glob(f"*{SUFFIX}"))


def _is_ledger(path: Path) -> bool:
    try:
        with Reader.open(path):
            return True
    except (InputError, LedgerError):
        return False


def past(ledger: Path) -> list[Past]:
    """The runs of a ledger, oldest first, but for those of other versions (`unreadable`). `InputError`, `LedgerError`:
    as `Reader.open`."""
    with Reader.open(ledger) as reader:
        return [_past(reader, run) for run in reader.runs() if _is_readable(run)]


def unreadable(ledger: Path) -> list[str]:
    """One sentence for each run that another version of this program has recorded in another form."""
    with Reader.open(ledger) as reader:
        ids = [run.run_id for run in reader.runs() if not _is_readable(run)]
    return [f"{ledger}: run {each} was made by another version of smart-llm, and is not listed." for each in ids]


def _is_readable(run: RunRecord) -> bool:
    """Whether plan and certificate are of the form that this version reads."""
    try:
        return run.readable and (run.certificate is None or bool(stored(run.certificate)))
    except LedgerError:
        return False


def whereabouts(ledgers: Sequence[Path] | None, name: str) -> tuple[Path, str]:
    """The ledger and id of a run by its id, the beginning of it, or `last`: in these ledgers; None: in those of this
    folder and of tables in memory, the last one in those of this folder if they have any. A ledger that cannot be read
    is passed over where there are others."""
    if ledgers is None:
        if name == LAST and any(map(_has_runs, near())):
            return whereabouts(near(), name)
        return whereabouts([*near(), *in_memory()], name)
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


def _has_runs(ledger: Path) -> bool:
    try:
        with Reader.open(ledger) as reader:
            return bool(reader.runs())
    except (InputError, LedgerError):
        return False


def paid_by_all(ledger: Path) -> tuple[float, float]:
    """USD that all runs of a ledger have paid or may have paid, and the part of it for calls without an answer."""
    with Reader.open(ledger) as reader:
        runs = [run.run_id for run in reader.runs()]
        return sum(map(reader.spent, runs)), sum(map(reader.lost, runs))


def table(runs: Iterable[Past], width: int = USUAL) -> list[str]:
    """For people: a run in a few lines, none longer than `width`: what it is, what was asked, of whom."""
    return [line for each in runs for line in wrapped(_described(each), width, hang=4)]


def _described(each: Past) -> list[str]:
    free = f", answers for {usd(each.reused)} re-used" if each.reused else ""
    counted = " with both counted" if each.reused else ""
    saving = f", {each.saving:.2f}× cheaper{counted}" if each.saving is not None and each.saving >= LITTLE else ""
    names = short_names([each.reference, *each.candidates])
    question = " ".join(visible(each.question).split())
    return [
        f"{each.run}  {each.state}  {spending(each.paid, each.lost_at_most, 'paid')}{free}{saving}",
        f"  {each.table or '(a table in memory)'}, {count(each.rows, 'row')}, agreement {each.agreement}, "
        f"{moment(each.started)}",
        f"  {question if len(question) <= QUESTION else question[:QUESTION].rstrip() + '…'}",
        f"  {names[each.reference]} ← {', '.join(names[name] for name in each.candidates) or 'no candidate'}",
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
        "given up" if reader.latest(run.run_id, GIVEN_UP) is not None else c.status if c else "open",
        plan.agreement,
        plan.confidence,
        plan.task.prompt,
        plan.reference,
        plan.candidates,
        plan.procedure,
        c.cost.total if c else reader.spent(run.run_id),
        reader.spent(run.run_id),
        reader.lost(run.run_id),
        c.cost.reused if c else 0.0,
        c.cost.saving if c and c.status != "pending" else None,
    )
