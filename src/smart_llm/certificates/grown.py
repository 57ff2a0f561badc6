"""A run that continues an earlier one, looked at again: that one had decided what is named, and its certificate holds.

What is continued is named by what it had decided before its look. Its certificate may still change: rows without an
answer may be asked again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from msgspec import ValidationError, convert
from msgspec.structs import replace

from smart_llm.certificates.certificate import Certificate, stored
from smart_llm.certificates.checks.ladder import CascadeEvidence, FixedLook, read
from smart_llm.errors import LedgerError
from smart_llm.ledger import Reader, canonical, tagged
from smart_llm.ledger.entries import FIXED
from smart_llm.procedures import DEFAULT
from smart_llm.types import Json
from smart_llm.types.plan import Command

Verified: TypeAlias = Callable[[Json], Sequence[str]]
"""What does not hold of a certificate, with the ledger."""


def design(reader: Reader, run_id: str) -> tuple[FixedLook, str] | None:
    """What a run had decided before its look, and the hash of it; None where it has decided on none (yet)."""
    fixed = [each.payload["fixed"] for each in reader.events(run_id) if each.kind == FIXED]
    told = next((each for each in fixed if each is not None), None)
    try:
        return None if told is None else (convert(told, FixedLook), tagged(canonical(told)))
    except ValidationError:
        return None  # it is a mix


def stated(c: Certificate) -> list[str]:
    """The looks behind the rows that are delivered again are those that the plan names; there are some."""
    told, named = _look(c), c.plan.grown.looks if c.plan.grown else ()
    shown = told.before if told is not None else ()
    unseen = c.plan.grown is not None and c.status != "pending" and not shown
    return ["evidence: the earlier looks are not those of the plan"] * (unseen or (told is not None and shown != named))


def _look(c: Certificate) -> CascadeEvidence | None:
    """The evidence of a certificate, where it is a look of the default procedure."""
    if c.status == "pending" or c.procedure.name != DEFAULT.name:
        return None
    told = read(c.evidence)
    return told if isinstance(told, CascadeEvidence) else None


def continued(c: Certificate, reader: Reader, verified: Verified) -> list[str]:
    """The ledger holds the run that is continued, as it was named; it fits, and its own certificate holds."""
    named = c.plan.grown
    if named is None:
        return []
    run = next((run for run in reader.runs() if run.run_id == named.run), None)
    decided = None if run is None else design(reader, run.run_id)
    if run is None or run.certificate is None or decided is None or decided[1] != named.design:
        return [f"ledger: run {named.run}, which is continued, is not the one that was named"]
    try:
        earlier = stored(run.certificate)
    except LedgerError as error:
        return [f"run {named.run}, which is continued: {error}"]
    problems = [f"run {named.run}, which is continued: {problem}" for problem in verified(run.certificate)]
    return [*_fits(c, earlier), *problems]


def _fits(c: Certificate, earlier: Certificate) -> list[str]:
    """It is of the same command, on fewer rows, and this one's tiers are its tiers."""
    named, told, before = c.plan.grown, _look(c), _look(earlier)
    if named is None or told is None or before is None:
        return ["ledger: the run that is continued had no look"]
    own = (before.rows_left, before.credit, before.looked)
    same = {
        "command": _anyhow(earlier.plan.command) == _anyhow(c.plan.command),
        "rows": earlier.claim.rows == named.rows < c.claim.rows,
        "looks": (*(earlier.plan.grown.looks if earlier.plan.grown else ()), own) == named.looks,
        "tiers": (told.tiers, told.gate) == (before.tiers, before.gate),
        "pilot": not before.pilot_errors,
    }
    return [f"ledger: the run that is continued does not fit: {name}" for name, fits in same.items() if not fits]


def _anyhow(command: Command) -> Command:
    """Without what may differ: the table, the seed, and whether it is asked by batch."""
    return replace(command, table="", rows=0, asked_seed=None, batch=False)
