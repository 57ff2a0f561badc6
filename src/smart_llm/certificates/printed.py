"""What a certificate prints beside its evidence: counts, limits and money must fit one another, and the evidence.

None of it decides anything, and only the ledger tells whether it is true. But people read these lines first, so a
change to any one of them is detected.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import fsum, isclose

from smart_llm.certificates import checks
from smart_llm.certificates.certificate import Certificate
from smart_llm.certificates.parts import Cost
from smart_llm.certificates.self_agreement import self_agreement
from smart_llm.certificates.taught import LEARNED
from smart_llm.types import Standing

TAIL = 0.05
"""On each side of the limits of a candidate's agreement that are shown."""
CLOSE = 1e-6


def printed(c: Certificate) -> list[str]:
    """Problems with what is printed, one line each."""
    problems = [*_money(c.cost), *(problem for each in c.delivered.standings for problem in _limits(each))]
    if tuple(each.model for each in c.delivered.standings) != c.plan.candidates:
        problems.append("delivered: the candidates are not the plan's")
    if (told := c.self_agreement) is not None:
        if not 0 <= told.agreeing <= told.rows:
            return [*problems, "self_agreement: the counts do not fit"]
        same = self_agreement([True] * told.agreeing + [False] * (told.rows - told.agreeing))
        problems += ["self_agreement: the limits do not follow from the counts"] * (same != told)
    return problems if c.status == "pending" else [*problems, *_counted(c)]


def _counted(c: Certificate) -> Iterator[str]:
    """The counts against those of the evidence."""
    profiled = checks.profiled(c.procedure.name, c.evidence)
    if profiled not in (None, c.delivered.profiled):
        yield f"delivered: {c.delivered.profiled} rows profiled, the evidence says {profiled}"
    stand = {each.model: each for each in c.delivered.standings}
    for model, agreed, bad in checks.given(c.procedure.name, c.evidence):
        if model == LEARNED:  # it was judged on its pilot's rows, too, before it could be asked about them
            continue
        if agreed > stand[model].agreeing or bad > stand[model].profiled - stand[model].agreeing:
            yield f"delivered: {model} agreed on {agreed} rows and not on {bad}, the counts of all rows do not fit"


def _limits(each: Standing) -> Iterator[str]:
    """The limits follow from the counts (Jeffreys)."""
    from scipy.special import betaincinv

    asked, agreeing = each.profiled, each.agreeing
    if not 0 <= agreeing <= asked:
        yield f"delivered: {each.model} agreed on {agreeing} of {asked} rows"
        return
    a, b = agreeing + 0.5, asked - agreeing + 0.5
    lower = betaincinv(a, b, TAIL) if agreeing else 0.0
    upper = betaincinv(a, b, 1 - TAIL) if agreeing < asked else 1.0
    if not (isclose(lower, each.lower, abs_tol=CLOSE) and isclose(upper, each.upper, abs_tol=CLOSE)):
        yield f"delivered: the limits of {each.model} do not follow from {agreeing} of {asked} rows"


def _money(cost: Cost) -> Iterator[str]:
    """Parts add up, and the saving is a quotient."""
    asked = fsum(cost.by_model.values())
    sums = {
        "stages": cost.set_aside + cost.profiling + cost.delivery + cost.self_check,
        "models": asked + cost.self_check,
        "paid and reused": cost.paid + cost.reused,
    }
    for name, found in sums.items():
        if not isclose(found, cost.total, rel_tol=CLOSE, abs_tol=1e-9):
            yield f"cost: {name} do not add up to the total"
    if not isclose(cost.saving * cost.total if cost.total else cost.saving, cost.reference_only if cost.total else 1.0,
                   rel_tol=CLOSE, abs_tol=1e-9):  # fmt: skip
        yield "cost: the saving does not follow from what the reference alone would cost"
