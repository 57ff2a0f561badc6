"""Recomputing a verdict from its evidence, with code that shares nothing with the procedures but their definitions.
(`forwards` asks a procedure's search where to look, and works out for itself what it finds there.)

Each module reads its evidence strictly (`read(evidence)`, a `ValueError` where it does not fit), and has functions of
what was read. `check(evidence, claim) -> list[str]`: what does not hold, empty when all does; `claim`
is what the certificate claims of the rows that were not set aside. `recount(evidence, rounds, fixed, names) ->
list[str]`: what differs from the ledger: from the answers that were bought (`rounds`) and from what was recorded before
the evidence was (`fixed`). `rule(evidence) -> StatedRule`: the rule that the evidence certifies, without the reference.

A check must reject evidence in which any one number was changed: every number is either derived from the others or
pinned by a number that is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from importlib import import_module
from types import ModuleType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from smart_llm.certificates.parts import Claim, StatedRule
from smart_llm.procedures import BY_NAME
from smart_llm.types import Answers, Ints, Json, Marks
from smart_llm.types.values import Value

Given: TypeAlias = tuple[str, int, int]
"""A candidate, rows on which it agreed, and rows on which it was bad."""


@dataclass(frozen=True, slots=True)
class Round:
    """One ask as the ledger has it. models: indices asked; marks: shape (n, 1 + m), codes of `smart_llm.types`, as they
    were recorded. positions: of its rows in the table. answers: the same with costs, scores and traits, read again
    (words only where text is stored); u: shape (n,), the rows' blank scores. None where a check has no use for them."""

    stage: str
    models: tuple[int, ...]
    marks: Marks
    positions: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    answers: Answers | None = None
    u: NDArray[np.uint64] | None = None


MALFORMED = (
    KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError, AssertionError, StopIteration,
    MemoryError,
)  # fmt: skip
"""What evidence that is none makes the checks end in."""


def check(procedure: str, evidence: Json, claim: Promise) -> list[str]:
    """Problems with a procedure's evidence; an unknown procedure is one (fail closed)."""
    variant = procedure.partition(":")[2]
    if not isinstance(evidence, Mapping) or (variant and evidence.get("variant") != variant):
        return [f"the evidence is not of {procedure}"]
    return _call(procedure, "check", evidence, claim)


def recount(procedure: str, evidence: Json, rounds: Sequence[Round], fixed: Json, names: Sequence[str]) -> list[str]:
    """Problems between a procedure's evidence and what the ledger says was decided before, asked and answered."""
    return _twice(rounds) + _call(procedure, "recount", evidence, rounds, fixed, names)


def rule(procedure: str, evidence: Json) -> StatedRule:
    """The rule a procedure's evidence certifies, as the certificate shows it but for the reference."""
    module = _module(procedure)
    stated: StatedRule = module.rule(module.read(evidence))
    return stated


def given(procedure: str, evidence: Json) -> list[Given]:
    """What the rows profiled that are like those a candidate was given showed of it: all of them for a blind share, for
    a routed one those before the stopping row."""
    module = _module(procedure)
    found: list[Given] = module.given(module.read(evidence))
    return found


def profiled(procedure: str, evidence: Json) -> int | None:
    """How many rows were profiled by a procedure's evidence; None where it does not say."""
    module = _module(procedure)
    rows: int | None = module.profiled(module.read(evidence))
    return rows


def covered(procedure: str, evidence: Json, reserve: int) -> int:
    """How many rows may end without an answer although profiling did not show it, under a rule with this evidence.

    A part of the allowance, the plan's reserve, is kept for them from the beginning. Procedures that deliver before a
    stopping row pay for rows of the pilot without an answer out of the same reserve, and say what is left of it.
    """
    module = _module(procedure)
    left: int | None = module.reserve(module.read(evidence))
    return reserve if left is None else min(reserve, left)


def _twice(rounds: Sequence[Round]) -> list[str]:
    """No row was asked about twice but where a round says so: a row that was decided on is no evidence later."""
    fresh = [each.positions for each in rounds if not each.stage.endswith("again")]
    rows = np.concatenate(fresh) if fresh else np.empty(0)
    return ["ledger: rows were asked about a second time"] * (len(np.unique(rows)) < len(rows))


def _call(procedure: str, function: str, evidence: Json, *arguments: Json) -> list[str]:
    if procedure not in BY_NAME:
        return [f"procedure {procedure!r} is not known to this version"]
    module = _module(procedure)
    try:
        with np.errstate(all="ignore"):  # numbers that cannot be are named, not warned of
            problems: list[str] = getattr(module, function)(module.read(evidence), *arguments)
    except MALFORMED as error:
        return [f"the evidence is malformed: {type(error).__name__} {error}"]
    return problems


def _module(procedure: str) -> ModuleType:
    return import_module(f"{__name__}.{BY_NAME[procedure].check}")


class Promise(Value, frozen=True, kw_only=True):
    """What is claimed of a population: a table without the rows set aside. agreement, confidence, floor, per_label:
    exact decimals."""

    rows: int
    agreement: str
    confidence: str
    floor: str = "0.5"
    reserve: int
    set_aside: int = 0
    set_aside_errors: int = 0
    per_label: str | None = None
    label_rows: int | None = None


def of_population(claim: Claim) -> Promise:
    """The claim as a procedure's evidence speaks of it: its rows are those that were not set aside beforehand."""
    return Promise(
        rows=claim.rows - claim.set_aside,
        agreement=claim.agreement,
        confidence=claim.confidence,
        floor=claim.floor,
        reserve=claim.reserve,
        set_aside=claim.set_aside,
        set_aside_errors=claim.set_aside_errors,
        per_label=claim.per_label,
        label_rows=claim.label_rows,
    )


def allowance(claim: Promise) -> int:
    """B less the reserve and rows set aside without an answer; negative where those are more."""
    return whole_allowance(claim.agreement, claim.rows + claim.set_aside) - claim.reserve - claim.set_aside_errors


def whole_allowance(agreement: str, rows: int) -> int:
    """B = N − ⌈agreement · N⌉ of a whole table, in integers, from the decimal text."""
    whole, _, decimals = agreement.partition(".")
    scale: int = 10 ** len(decimals)
    needed = -(-int(whole + decimals) * rows // scale)
    return rows - needed


def digest(*pinned: Json) -> str:
    """Of fields that no other field determines, whatever order their names stand in."""
    return blake2b(json.dumps(pinned, sort_keys=True).encode(), digest_size=8).hexdigest()


LIKELY = 0.75
"""How likely a candidate must be to agree on more than the floor of the rows it answers."""


def likely(agreed: int, bad: int, floor: str | float) -> bool:
    """Whether a candidate that showed so much may be delivered, by the posterior from Jeffreys' prior."""
    from scipy.special import betaincc  # a run that issues a certificate does not need it

    return bool(betaincc(agreed + 0.5, bad + 0.5, float(floor)) >= LIKELY)
