"""Recomputing a verdict from its evidence, with code that shares nothing with the procedures but their definitions.

Each module has three functions. `check(evidence, claim) -> list[str]`: what does not hold, empty when all does; `claim`
has rows, agreement, confidence, floor (exact decimals as text) and reserve, and set_aside and set_aside_errors where
rows were set aside, which are not among its rows (`of_population`). `recount(evidence, rounds, fixed, names) ->
list[str]`: what differs from the ledger: from the answers that were bought (`rounds`) and from what was recorded before
the evidence was (`fixed`). `rule(evidence) -> dict`: the rule the evidence certifies, as the certificate shows it.

A check must reject evidence in which any one number was
changed: every number is either derived from the others or pinned by a number that is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from importlib import import_module

import numpy as np
from numpy.typing import NDArray

from smart_llm.procedures import BY_NAME
from smart_llm.types import Answers, Ints, Json, Marks


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
    KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError, AssertionError, StopIteration
)  # fmt: skip
"""What evidence that is none makes the checks end in."""


def check(procedure: str, evidence: Mapping[str, Json], claim: Mapping[str, Json]) -> list[str]:
    """Problems with a procedure's evidence; an unknown procedure is one (fail closed)."""
    variant = procedure.partition(":")[2]
    if not isinstance(evidence, Mapping) or (variant and evidence.get("variant") != variant):
        return [f"the evidence is not of {procedure}"]
    return _call(procedure, "check", evidence, claim)


def recount(
    procedure: str, evidence: Mapping[str, Json], rounds: Sequence[Round], fixed: Json, names: Sequence[str]
) -> list[str]:
    """Problems between a procedure's evidence and what the ledger says was decided before, asked and answered."""
    return _twice(rounds) + _call(procedure, "recount", evidence, rounds, fixed, names)


def _twice(rounds: Sequence[Round]) -> list[str]:
    """No row was asked about twice but where a round says so: a row that was decided on is no evidence later."""
    fresh = [each.positions for each in rounds if not each.stage.endswith("again")]
    rows = np.concatenate(fresh) if fresh else np.empty(0)
    return ["ledger: rows were asked about a second time"] * (len(np.unique(rows)) < len(rows))


def _call(procedure: str, function: str, *arguments: Json) -> list[str]:
    if procedure not in BY_NAME:
        return [f"procedure {procedure!r} is not known to this version"]
    module = import_module(f"{__name__}.{BY_NAME[procedure].check}")
    try:
        with np.errstate(all="ignore"):  # numbers that cannot be are named, not warned of
            problems: list[str] = getattr(module, function)(*arguments)
    except MALFORMED as error:
        return [f"the evidence is malformed: {type(error).__name__} {error}"]
    return problems


def allowance(claim: Mapping[str, Json]) -> int:
    """B = N − ⌈agreement · N⌉, less the reserve and rows set aside without an answer, in integers, from the claim's
    decimal text; negative where those are more. N: the rows and those set aside."""
    whole, _, decimals = str(claim["agreement"]).partition(".")
    scale, rows = 10 ** len(decimals), int(claim["rows"]) + int(claim.get("set_aside", 0))
    needed = -(-int(whole + decimals) * rows // scale)
    return rows - int(needed) - int(claim["reserve"]) - int(claim.get("set_aside_errors", 0))


def digest(*pinned: Json) -> str:
    """Of fields that no other field determines, whatever order their names stand in."""
    return blake2b(json.dumps(pinned, sort_keys=True).encode(), digest_size=8).hexdigest()


LIKELY = 0.75
"""How likely a candidate must be to agree on more than the floor of the rows it answers."""


def likely(agreed: int, bad: int, claim: Mapping[str, Json]) -> bool:
    """Whether a candidate that showed so much may be delivered, by the posterior from Jeffreys' prior."""
    from scipy.stats import beta  # a second to load

    return bool(beta.sf(float(claim.get("floor", "0.5")), agreed + 0.5, bad + 0.5) >= LIKELY)


def shaped(value: Json, shape: Json) -> bool:
    """Whether a piece of evidence has the fields it should have and no others. shape: for a dict, the shape of each
    field; for a list, that of all its entries; None: anything."""
    if isinstance(shape, dict):
        same = isinstance(value, dict) and value.keys() == shape.keys()
        return same and all(shaped(value[name], inner) for name, inner in shape.items())
    if isinstance(shape, list):
        return isinstance(value, list) and all(shaped(each, shape[0]) for each in value)
    return True


def of_population(claim: Mapping[str, Json]) -> dict[str, Json]:
    """The claim as a procedure's evidence speaks of it: its rows are those that were not set aside beforehand."""
    return {**claim, "rows": claim["rows"] - claim.get("set_aside", 0)}


def rule(procedure: str, evidence: Mapping[str, Json]) -> Json:
    """The rule a procedure's evidence certifies, as the certificate's `rule` shows it (without `else`)."""
    return import_module(f"{__name__}.{BY_NAME[procedure].check}").rule(evidence)
