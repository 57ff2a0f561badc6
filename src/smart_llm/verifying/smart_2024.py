"""`smart/2024` recomputed: intervals by beta quantiles, standings from them, the mix by a linear-programming solver.

What is checked is that the published method was followed, not that its claim holds: the method has known faults
(see `procedures.smart_2024`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import combinations, product
from math import isclose, prod

import numpy as np
from scipy.optimize import linprog
from scipy.stats import beta

from smart_llm.types import AGREE, Json
from smart_llm.verifying import Round

LEVELS = [Fraction(level, 100) for level in range(95, 100)]


def check(evidence: Mapping[str, Json], claim: Mapping[str, Json]) -> list[str]:
    """Problems with the evidence."""
    models = evidence["models"]
    if sorted(each["index"] for each in models) != list(range(len(models))):
        return ["the models' indices are not 0 to m, each once"]
    problems = [f"{each['model']}: {what}" for each in models for what in _model(each, evidence, claim)]
    if problems:
        return problems
    shares = _mix if evidence["variant"] == "model-mix" else _cheapest
    return shares(evidence, claim)


def recount(evidence: Mapping[str, Json], rounds: Sequence[Round], fixed: Json, names: Sequence[str]) -> list[str]:
    """Calls and agreements counted again, round by round."""
    problems = []
    for each in evidence["models"]:
        asked = [round.marks[:, each["index"]] for round in rounds if each["index"] in round.models]
        counts = sum(len(marks) for marks in asked), sum(int((marks == AGREE).sum()) for marks in asked)
        if counts != (each["calls"], each["agreeing"]):
            problems.append(f"ledger: {each['model']} has (calls, agreeing) {counts}, the evidence says otherwise")
    return problems


def rule(evidence: Mapping[str, Json]) -> Json:
    """Shares of the rows left, in file order."""
    return {"shares": [{"model": s["model"], "rows": s["rows"]} for s in evidence["shares"]], "order": "file"}


def _model(each: Mapping[str, Json], evidence: Mapping[str, Json], claim: Mapping[str, Json]) -> list[str]:
    """Counts in range, limits and price derived from them, standing derived from the limits."""
    calls, agreeing, profiled = each["calls"], each["agreeing"], evidence["profiled"]
    problems = []
    if not 0 <= agreeing <= calls <= profiled <= claim["rows"] or (calls % 10 and calls != profiled):
        problems.append("counts out of range")
    if each["index"] == 0 and calls != profiled:
        problems.append("the reference answers every profiled row")
    if not _limits_follow(each, float(Fraction(claim["confidence"]))):
        problems.append("the limits do not follow from the counts")
    if (each["price"] is None) != (calls == 0) or not isclose(each["spent"], (each["price"] or 0.0) * calls):
        problems.append("price, calls and spend do not fit")
    if each["standing"] != _standing(each, float(Fraction(claim["agreement"]))):
        problems.append("the standing does not follow from the limits")
    return problems


def _limits_follow(each: Mapping[str, Json], confidence: float) -> bool:
    low, high = _lower(each, (1 + confidence) / 2), _upper(each, (1 + confidence) / 2)
    return isclose(low, each["lower"], rel_tol=1e-9) and isclose(high, each["upper"], rel_tol=1e-9)


def _lower(each: Mapping[str, Json], side: float) -> float:
    hits, misses = each["agreeing"], each["calls"] - each["agreeing"]
    return float(beta.ppf(1 - side, hits, misses + 1)) if hits else 0.0


def _upper(each: Mapping[str, Json], side: float) -> float:
    hits, misses = each["agreeing"], each["calls"] - each["agreeing"]
    return float(beta.ppf(side, hits + 1, misses)) if misses else 1.0


def _standing(each: Mapping[str, Json], agreement: float) -> str:
    if each["index"] == 0 or (each["calls"] and each["lower"] >= agreement):
        return "satisfied"
    return "invalid" if each["upper"] < agreement else "dropped"


def _cheapest(evidence: Mapping[str, Json], claim: Mapping[str, Json]) -> list[str]:
    """profile-all, profile-smart: everything left to the cheapest satisfied model (the list is cheap to dear)."""
    left = claim["rows"] - evidence["profiled"]
    best = next(each for each in evidence["models"] if each["standing"] == "satisfied")
    share = {"model": best["model"], "rows": left, "level": None, "lower": best["lower"]}
    due = [share] if best["index"] and left else []
    return [] if evidence["shares"] == due else ["the rows left do not go to the cheapest satisfied model"]


# --------------------------------------------------------------------------- the mix


def _mix(evidence: Mapping[str, Json], claim: Mapping[str, Json]) -> list[str]:
    """model-mix: the shares are allowed, as large as allowed, and no mix is cheaper by more than rounding."""
    left, shares = claim["rows"] - evidence["profiled"], evidence["shares"]
    if not left:
        return ["shares of no rows"] if shares else []
    models = {each["model"]: each for each in evidence["models"]}
    needed = (Fraction(claim["agreement"]) * claim["rows"] - evidence["profiled"]) / left
    problems = [] if _levels_follow(shares, models, claim) else ["the shares' levels or limits do not follow"]
    if shares and not _rows_follow(shares, float(needed), left):
        problems.append("the shares are not what their limits allow")
    reference = next(each for each in evidence["models"] if each["index"] == 0)
    price = reference["price"] or 0.0
    taken = sum(share["rows"] * (models[share["model"]]["price"] - price) for share in shares)
    if taken > _least(evidence, claim, float(needed)) * left + 2 * price:
        problems.append("a cheaper mix is allowed")
    return problems


def _levels_follow(shares: list[Json], models: Mapping[str, Json], claim: Mapping[str, Json]) -> bool:
    levels = [Fraction(str(share["level"])) for share in shares]
    confidence = Fraction(claim["confidence"])
    alone = [level for level in LEVELS if level >= confidence][:1]
    enough = {0: True, 1: levels == alone, 2: prod(levels) >= confidence}.get(len(levels), False)
    return enough and all(
        level in LEVELS and isclose(share["lower"], _lower(models[share["model"]], float((1 + level) / 2)))
        for share, level in zip(shares, levels, strict=True)
    )


def _rows_follow(shares: list[Json], needed: float, left: int) -> bool:
    """The bolder model gets the largest share the safer one (or the reference) makes up for."""
    if len(shares) == 1 and shares[0]["lower"] >= needed:
        return bool(shares[0]["rows"] == left)
    safe, bold = shares if len(shares) == 2 else ({"lower": 1.0, "rows": left - shares[0]["rows"]}, shares[0])
    part = np.linalg.solve([[1.0, 1.0], [safe["lower"], bold["lower"]]], [1.0, needed])[1]
    return bool(bold["rows"] == int(part * left + 1e-9) and safe["rows"] == left - bold["rows"])


def _least(evidence: Mapping[str, Json], claim: Mapping[str, Json], needed: float) -> float:
    """Least USD per row left of any allowed mix, less the reference's price."""
    called = [each for each in evidence["models"] if each["index"] and each["calls"]]
    confidence = Fraction(claim["confidence"])
    price = next(each["price"] for each in evidence["models"] if each["index"] == 0)
    best = 0.0
    for size in (1, 2):
        pairs = product(combinations(called, size), product(LEVELS, repeat=size))
        for chosen, levels in ((c, levels) for c, levels in pairs if prod(levels) >= confidence):
            lower = [_lower(each, float((1 + level) / 2)) for each, level in zip(chosen, levels, strict=True)]
            costs = [each["price"] - price for each in chosen]
            solved = linprog(
                [0.0, *costs], A_ub=[[-1.0, *(-a for a in lower)]], b_ub=[-needed], A_eq=[[1.0] * (size + 1)], b_eq=[1]
            )
            best = min(best, float(solved.fun or 0.0) if solved.status == 0 else 0.0)
    return best
