"""`smart/2024` recomputed: intervals by beta quantiles, standings from them, the mix by a linear-programming solver.

What is checked is that the published method was followed, not that its claim holds: the method has known faults
(see `procedures.smart_2024`). With the ledger every look is made again: who was asked, in which order of prices, until
when. Left open is when profiling was no longer expected to pay.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations, permutations, product
from math import isclose, prod
from typing import TypeAlias

import numpy as np
from msgspec import convert
from msgspec.structs import replace
from scipy.optimize import linprog
from scipy.special import betaincinv

from smart_llm.certificates.checks import Given, Promise, Round
from smart_llm.certificates.parts import SharedRows, StatedRule
from smart_llm.types import AGREE, Json
from smart_llm.types.values import Value

LEVELS = [Fraction(level, 100) for level in range(95, 100)]
BATCH = 10
"""Rows of a look."""
FORECAST = 100
"""Rows from which on profiling may be given up."""


class ModelSeen(Value, frozen=True, kw_only=True):
    """A model at its last look. price: USD of a call, None where there was none."""

    model: str
    index: int
    standing: str
    calls: int
    agreeing: int
    lower: float
    upper: float
    spent: float
    price: float | None


class LevelShare(Value, frozen=True, kw_only=True):
    """A share of the rows left, and the lower limit of its model's agreement at this level."""

    model: str
    rows: int
    level: float | None
    lower: float


class PublishedEvidence(Value, frozen=True, kw_only=True):
    """All of it. models: cheapest first."""

    variant: str
    agreement: str
    confidence: str
    profiled: int
    models: tuple[ModelSeen, ...]
    shares: tuple[LevelShare, ...]


def read(evidence: Json) -> PublishedEvidence:
    """The evidence as a value; `ValueError` where it does not fit."""
    return convert(evidence, PublishedEvidence)


def check(evidence: PublishedEvidence, claim: Promise) -> list[str]:
    """Problems with the evidence."""
    models = evidence.models
    if Fraction(evidence.agreement) != Fraction(claim.agreement):
        return ["the agreement is not the claim's"]
    if Fraction(evidence.confidence) != Fraction(claim.confidence):
        return ["the confidence is not the claim's"]
    if sorted(each.index for each in models) != list(range(len(models))):
        return ["the models' indices are not 0 to m, each once"]
    problems = [f"{each.model}: {what}" for each in models for what in _model(each, evidence, claim)]
    if problems:
        return problems
    ended = _ended(evidence, claim)
    shares = _mix if evidence.variant == "model-mix" else _cheapest
    return ended + shares(evidence, claim)


def _ended(evidence: PublishedEvidence, claim: Promise) -> list[str]:
    """Profiling ends after a whole look: with the rows, with the last candidate in question, or, where it may be given
    up, after a hundred rows."""
    profiled, whole = evidence.profiled, evidence.profiled == claim.rows
    standing = [each.standing for each in evidence.models]
    open_ = "dropped" in standing[: standing.index("satisfied")]
    given_up = evidence.variant != "profile-all" and profiled >= FORECAST
    if (profiled % BATCH and not whole) or (open_ and not whole and not given_up):
        return ["profiling ended too soon"]
    return []


def recount(evidence: PublishedEvidence, rounds: Sequence[Round], fixed: Json, names: Sequence[str]) -> list[str]:
    """Calls, agreements and spend counted again, and every look made again: who was asked, and in which order."""
    if len(evidence.models) != len(names):
        return [f"ledger: the models are {', '.join(names)}"]
    problems = []
    for each in evidence.models:
        asked = [round for round in rounds if each.index in round.models]
        marks = [round.marks[:, each.index] for round in asked]
        counts = sum(map(len, marks)), sum(int((column == AGREE).sum()) for column in marks)
        if counts != (each.calls, each.agreeing):
            problems.append(f"ledger: {each.model} has (calls, agreeing) {counts}, the evidence says otherwise")
        if not isclose(_spent(asked, each.index), each.spent, rel_tol=1e-9):
            problems.append(f"ledger: {each.model} has not cost what the evidence says")
        if each.model != names[each.index]:
            problems.append(f"ledger: model {each.index} is {names[each.index]}, not {each.model}")
    if sum(len(round.marks) for round in rounds) != evidence.profiled:
        problems.append("ledger: other rows were profiled than the evidence says")
    return problems or _looks(evidence, rounds)


def _spent(asked: Sequence[Round], model: int) -> float:
    if any(round.answers is None for round in asked):
        raise ValueError("what the answers cost is not known")
    return sum(float(round.answers.cost[:, model].sum()) for round in asked if round.answers is not None)


def _looks(evidence: PublishedEvidence, rounds: Sequence[Round]) -> list[str]:
    """Every look asks all candidates that are still unknown and no more expensive than the cheapest satisfied model,
    cheapest first. (Those of its own price may stand after it: that much is not known of prices.)"""
    order = [each.index for each in evidence.models]
    settled = {m: _settled(evidence, rounds, m) for m in order}
    for number, round in enumerate(rounds):
        unknown = [m for m in order if settled[m][0] > number]
        satisfied = (k for k, m in enumerate(order) if settled[m][0] <= number and settled[m][1] == "satisfied")
        bar, asked = next(satisfied), list(round.models[1:])
        due = [m for m in unknown if order.index(m) < bar]
        first = number > 0 or asked == order[: order.index(0)]
        if not first or asked != unknown[: len(asked)] or len(asked) < len(due) or round.models[0] != 0:
            return [f"ledger: at look {number + 1} models {asked} were asked, not {due}"]
        if len(round.marks) != BATCH and number + 1 < len(rounds):
            return [f"ledger: look {number + 1} is of {len(round.marks)} rows, not {BATCH}"]
    return []


def _settled(evidence: PublishedEvidence, rounds: Sequence[Round], model: int) -> tuple[int, str]:
    """After how many looks a model was settled, and how: the reference from the start, others perhaps never."""
    if model == 0:
        return -1, "satisfied"
    marks = [round.marks[:, model] == AGREE for round in rounds if model in round.models]
    if not marks:
        return len(rounds) + 1, "unknown"
    calls, hits = np.cumsum([len(each) for each in marks]), np.cumsum([each.sum() for each in marks])
    side, agreement = float((1 + Fraction(evidence.confidence)) / 2), float(Fraction(evidence.agreement))
    with np.errstate(invalid="ignore"):
        low = np.where(hits > 0, betaincinv(hits, calls - hits + 1, 1 - side), 0.0)
        high = np.where(hits < calls, betaincinv(hits + 1, calls - hits, side), 1.0)
    places = np.flatnonzero((low >= agreement) | (high < agreement))
    if not len(places):
        return len(rounds) + 1, "unknown"
    return int(places[0]) + 1, "satisfied" if low[places[0]] >= agreement else "invalid"


def rule(evidence: PublishedEvidence) -> StatedRule:
    """Shares of the rows left, in file order."""
    return StatedRule(shares=tuple(SharedRows(s.model, s.rows) for s in evidence.shares), order="file")


def profiled(evidence: PublishedEvidence) -> int:
    """Rows profiled."""
    return evidence.profiled


def given(evidence: PublishedEvidence) -> list[Given]:
    """Its shares are of rows like all those profiled; it says so by its standings."""
    return []


def reserve(evidence: PublishedEvidence) -> int | None:
    """The published system has none."""
    return None


def _model(each: ModelSeen, evidence: PublishedEvidence, claim: Promise) -> list[str]:
    """Counts in range, limits and price derived from them, standing derived from the limits."""
    calls, agreeing, profiled = each.calls, each.agreeing, evidence.profiled
    problems = []
    if not 0 <= agreeing <= calls <= profiled <= claim.rows or (calls % 10 and calls != profiled):
        problems.append("counts out of range")
    if each.index == 0 and calls != profiled:
        problems.append("the reference answers every profiled row")
    if not _limits_follow(each, float(Fraction(claim.confidence))):
        problems.append("the limits do not follow from the counts")
    if (each.price is None) != (calls == 0) or not isclose(each.spent, (each.price or 0.0) * calls):
        problems.append("price, calls and spend do not fit")
    if each.standing != _standing(each, float(Fraction(claim.agreement))):
        problems.append("the standing does not follow from the limits")
    return problems


def _limits_follow(each: ModelSeen, confidence: float) -> bool:
    low, high = _lower(each, (1 + confidence) / 2), _upper(each, (1 + confidence) / 2)
    return isclose(low, each.lower, rel_tol=1e-9) and isclose(high, each.upper, rel_tol=1e-9)


def _lower(each: ModelSeen, side: float) -> float:
    hits, misses = each.agreeing, each.calls - each.agreeing
    return float(betaincinv(hits, misses + 1, 1 - side)) if hits else 0.0


def _upper(each: ModelSeen, side: float) -> float:
    hits, misses = each.agreeing, each.calls - each.agreeing
    return float(betaincinv(hits + 1, misses, side)) if misses else 1.0


def _standing(each: ModelSeen, agreement: float) -> str:
    if each.index == 0 or (each.calls and each.lower >= agreement):
        return "satisfied"
    return "invalid" if each.upper < agreement else "dropped"


def _cheapest(evidence: PublishedEvidence, claim: Promise) -> list[str]:
    """profile-all, profile-smart: all that is left to the cheapest satisfied model (cheapest first)."""
    left = claim.rows - evidence.profiled
    best = next(each for each in evidence.models if each.standing == "satisfied")
    share = LevelShare(model=best.model, rows=left, level=None, lower=best.lower)
    due = (share,) if best.index and left else ()
    return [] if evidence.shares == due else ["the rows left do not go to the cheapest satisfied model"]


# --------------------------------------------------------------------------- the mix


def _mix(evidence: PublishedEvidence, claim: Promise) -> list[str]:
    """model-mix: the shares are those of the first cheapest mix, and by the solver no mix is cheaper by more than what
    whole rows cost."""
    left = claim.rows - evidence.profiled
    if not left:
        return ["shares of no rows"] if evidence.shares else []
    needed = float((Fraction(claim.agreement) * claim.rows - evidence.profiled) / left)
    price = next(each.price for each in evidence.models if each.index == 0) or 0.0
    saved, due = _cheapest_mix(evidence, claim, needed, left)
    if not _same(due, evidence.shares):
        return ["the shares are not those of the cheapest mix"]
    wrong = saved > _least(evidence, claim, needed) * left + 2 * price
    return ["a cheaper mix is allowed"] * wrong


def _same(due: Sequence[LevelShare], shares: Sequence[LevelShare]) -> bool:
    """Whether these shares are those, but for the last digits of a limit."""
    return len(due) == len(shares) and all(
        replace(one, lower=other.lower) == other and isclose(one.lower, other.lower)
        for one, other in zip(due, shares, strict=True)
    )


def _cheapest_mix(
    evidence: PublishedEvidence, claim: Promise, needed: float, left: int
) -> tuple[float, list[LevelShare]]:
    """What it costs more than the reference alone, in USD (never more than nothing), and its shares. Every model with
    the reference, then every ordered pair, at all levels that are enough; the first of the cheapest."""
    models = sorted(evidence.models, key=lambda each: each.index)
    confidence, called = Fraction(claim.confidence), [each for each in models if each.index and each.calls]
    alone = [level for level in LEVELS if level >= confidence][:1]
    options: list[tuple[tuple[ModelSeen, Fraction | None], tuple[ModelSeen, Fraction | None]]]
    options = [((models[0], None), (each, level)) for each in called for level in alone]
    levels = [(g, h) for g, h in product(LEVELS, LEVELS) if g * h >= confidence]
    options += [((safe, g), (bold, h)) for safe, bold in permutations(called, 2) for g, h in levels]
    best, least = list[LevelShare](), float((models[0]["price"] or 0.0) * left)
    none = least
    for option in options:
        shares = _split([_share(each, level) for each, level in option], needed, left)
        cost = sum(float(each.price or 0.0) * share.rows for share, each in shares)
        if shares and cost < least:
            best, least = [share for share, each in shares if each.index and share.rows], cost
    return least - none, best


Offer: TypeAlias = tuple[LevelShare, ModelSeen]
"""A share, and the model it is of."""


def _share(each: ModelSeen, level: Fraction | None) -> Offer:
    lower = 1.0 if level is None else _lower(each, float((1 + level) / 2))
    return LevelShare(model=each.model, rows=0, level=None if level is None else float(level), lower=lower), each


def _split(offers: Sequence[Offer], needed: float, left: int) -> list[Offer]:
    """The largest share for the second that the first makes up for; none where it cannot."""
    (safe, one), (bold, other) = offers
    if bold.lower >= needed:
        return [(replace(bold, rows=left), other)]
    if safe.lower < needed:
        return []
    rows = int((safe.lower - needed) / (safe.lower - bold.lower) * left + 1e-9)
    return [(replace(safe, rows=left - rows), one), (replace(bold, rows=rows), other)]


def _least(evidence: PublishedEvidence, claim: Promise, needed: float) -> float:
    """Least USD per row left of any allowed mix, less the reference's price."""
    called = [each for each in evidence.models if each.index and each.calls]
    confidence = Fraction(claim.confidence)
    price = next(each.price for each in evidence.models if each.index == 0) or 0.0
    best = 0.0
    for size in (1, 2):
        pairs = product(combinations(called, size), product(LEVELS, repeat=size))
        for chosen, levels in ((c, levels) for c, levels in pairs if prod(levels) >= confidence):
            lower = [_lower(each, float((1 + level) / 2)) for each, level in zip(chosen, levels, strict=True)]
            costs = [(each.price or 0.0) - price for each in chosen]
            solved = linprog(
                [0.0, *costs], A_ub=[[-1.0, *(-a for a in lower)]], b_ub=[-needed], A_eq=[[1.0] * (size + 1)], b_eq=[1]
            )
            best = min(best, float(solved.fun or 0.0) if solved.status == 0 else 0.0)
    return best
