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
from smart_llm.certificates.checks.forwards import too_low
from smart_llm.certificates.checks.ladder import CascadeEvidence, Evidence, FixedLook, MixInstead, read
from smart_llm.certificates.checks.mix_evidence import FixedTables
from smart_llm.certificates.parts import StatedGate, StatedTier
from smart_llm.errors import LedgerError
from smart_llm.ledger import Reader, canonical, tagged
from smart_llm.ledger.entries import FIXED, GIVEN_UP
from smart_llm.procedures import DEFAULT
from smart_llm.types import Json
from smart_llm.types.plan import Command, GrownFrom

Verified: TypeAlias = Callable[[Json], Sequence[str]]
"""What does not hold of a certificate, with the ledger."""


def design(reader: Reader, run_id: str) -> tuple[FixedLook | FixedTables, str] | None:
    """What a run had decided before its evidence, and the hash of it; None where it has decided on nothing (yet)."""
    fixed = [each.payload["fixed"] for each in reader.events(run_id) if each.kind == FIXED]
    told = next((each for each in fixed if each is not None), None)
    if told is None:
        return None
    try:
        decided = convert(told, FixedTables) if "finalists" in told else convert(told, FixedLook)
    except ValidationError:
        return None
    return decided, tagged(canonical(told))


def answering(evidence: Evidence) -> tuple[tuple[StatedTier, ...], StatedGate | None]:
    """By what rows are answered that are added after a run with this evidence. After a mix it is the candidate that was
    used, or would have been, on rows that are picked at random."""
    if isinstance(evidence, CascadeEvidence):
        return evidence.tiers, evidence.gate
    model = evidence.mix.candidate
    return (() if model is None else (StatedTier(model=model, score=(), stop=None, peers=()),)), None


def stated(c: Certificate) -> list[str]:
    """The looks behind the rows that are delivered again are those that the plan names; there are some."""
    told, named = evidence_of(c), c.plan.grown
    shown = (told.excess, told.before) if isinstance(told, CascadeEvidence) else ((), ())
    fits = shown == ((named.excess, named.looks) if named is not None and c.status != "pending" else ((), ()))
    unseen = named is not None and c.status != "pending" and not any(shown)
    return ["evidence: the earlier looks are not those of the plan"] * (unseen or not fits)


def evidence_of(c: Certificate) -> Evidence | None:
    """The evidence of a certificate, where it is of the default procedure."""
    return None if c.status == "pending" or c.procedure.name != DEFAULT.name else read(c.evidence)


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
    return [*_before(c, run.run_id, reader), *(problems or _fits(c, earlier))]


def _before(c: Certificate, earlier: str, reader: Reader) -> list[str]:
    """When this run began, the other one had decided on its evidence, and had not been given up."""
    own = [event for run in reader.runs() if run.plan_hash == c.plan_hash for event in reader.events(run.run_id)]
    began = min((event.number for event in own), default=None)
    events = [event for event in reader.events(earlier) if began is None or event.number < began]
    decided = any(event.kind == FIXED and event.payload["fixed"] is not None for event in events)
    problems = ["had decided on no evidence yet"] * (not decided)
    problems += ["had been given up"] * any(event.kind == GIVEN_UP for event in events)
    return [f"ledger: run {earlier}, which is continued, {problem} when this one began" for problem in problems]


def _fits(c: Certificate, earlier: Certificate) -> list[str]:
    """It is of the same command, on fewer rows, and this one's tiers are its tiers, or its mix's candidate."""
    named, told, before = c.plan.grown, evidence_of(c), evidence_of(earlier)
    if named is None or not isinstance(told, CascadeEvidence) or before is None:
        return ["ledger: the run that is continued had no look"]
    same = {
        "command": _anyhow(earlier.plan.command) == _anyhow(c.plan.command),
        "rows": earlier.claim.rows == named.rows < c.claim.rows,
        "tables": earlier.plan.tables == named.tables,
        "looks": _behind(before, earlier.plan.grown, named),
        "tiers": (told.tiers, told.gate) == answering(before),
        "pilot": not (before.mix.pilot.errors if isinstance(before, MixInstead) else before.pilot_errors),
    }
    return [f"ledger: the run that is continued does not fit: {name}" for name, fits in same.items() if not fits]


def _behind(before: Evidence, further: GrownFrom | None, named: GrownFrom) -> bool:
    """Whether what is named is the look of the run that is continued, after what that one has named itself; or what the
    tables of its mix allow for. They are pushed forwards here."""
    if isinstance(before, MixInstead):
        tables = before.mix.finalists and named.excess and not named.looks
        return bool(tables) and not too_low(before.mix.finalists, named.excess)
    looks, excess = ((), ()) if further is None else (further.looks, further.excess)
    return (*looks, (before.rows_left, before.credit, before.looked)) == named.looks and excess == named.excess


def _anyhow(command: Command) -> Command:
    """Without what may differ: the table, the seed, and whether it is asked by batch."""
    return replace(command, table="", rows=0, asked_seed=None, batch=False)
