"""What a ledger knows of one run, frozen: everything a report is made of, read in one go.

Works at any time: while the run goes on, after it was stopped or killed, years later. What is not there is None.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version

from smart_llm.certificates.certificate import Certificate, stored
from smart_llm.certificates.recount import rebuilt, recorded
from smart_llm.errors import InputError
from smart_llm.ledger import Reader, RunRecord
from smart_llm.ledger.entries import ABOUT, GIVEN, IDS
from smart_llm.ledger.reader import Spent
from smart_llm.reports.profiling import Profiling, look
from smart_llm.tasks import Task
from smart_llm.text.names import in_short
from smart_llm.types.plan import FrozenPlan

LAST = "last"
"""The name of the newest run."""


@dataclass(frozen=True, slots=True)
class Facts:
    """One run. certificate: pending or final, None while there is none. table, output: file names, where there are
    files. columns: those of the prompt. lost: USD, at most, of calls that brought no answer. ended: when the latest
    answer was bought, in seconds since 1970. complete: profiling has come to its end. profiling: None where the
    task has functions of the user's own, which a ledger does not hold. software: that of whoever reads. given: rows
    delivered each label. ids: what rows are called in their own table, by position."""

    run: RunRecord
    plan: FrozenPlan
    certificate: Certificate | None
    ledger: str
    table: str | None
    output: str | None
    columns: tuple[str, ...]
    account: tuple[Spent, ...]
    lost: float
    ended: float | None
    complete: bool
    profiling: Profiling | None
    software: str
    given: Mapping[str, int]
    ids: Mapping[str, str]

    def short(self, text: str) -> str:
        """A text, or a name, with the models in it called by their names without addresses, where these tell them
        apart."""
        return in_short(text, [model.name for model in self.plan.models])

    def row(self, position: int) -> str:
        """What to call a row: its number, and its own name where it has one."""
        own = self.ids.get(str(position))
        return f"{position + 1:,}" + (f" ({own})" if own is not None else "")


def read(reader: Reader, run: RunRecord, task: Task | None = None) -> Facts:
    """The facts of a run. task: needed only where the task has functions of the user's own."""
    told, plan = reader.latest(run.run_id, ABOUT) or {}, run.plan
    asks, complete = recorded(reader.events(run.run_id))
    reads = task or rebuilt(plan.task)
    return Facts(
        run,
        plan,
        None if run.certificate is None else stored(run.certificate),
        reader.path.name,
        told.get("table") or named_by(reader.path.name),
        told.get("output"),
        tuple(told.get("columns", ())),
        tuple(reader.account(run.run_id)),
        reader.lost(run.run_id),
        reader.last_answer(run.run_id),
        complete,
        look(plan, asks, reader, reads) if reads is not None else None,
        version("smart-llm"),
        reader.latest(run.run_id, GIVEN) or {},
        (reader.latest(run.run_id, IDS) or {}).get("ids", {}),
    )


def find(runs: Iterable[RunRecord], name: str) -> RunRecord:
    """The run of this id, or the only one whose id begins so; `last` is the newest. `InputError`: none, or several."""
    known = sorted(runs, key=lambda run: run.started)
    if not known:
        raise InputError("there are no runs here yet: name the ledger with --ledger FILE")
    if name == LAST:
        return known[-1]
    fits = [run for run in known if run.run_id == name] or [run for run in known if run.run_id.startswith(name)]
    if len(fits) == 1:
        return fits[0]
    shown = ", ".join(run.run_id for run in (fits or known)[-5:])
    raise InputError(f"{name}: {'several runs begin so' if fits else 'there is no such run'}; there are {shown}.")


def named_by(ledger: str) -> str | None:
    """The table a ledger is named after; None where it is not."""
    name = ledger.removesuffix(".ledger.db")
    return name if name != ledger and not name.startswith("b2-") else None
