"""`ladder/6` recomputed: hypergeometric tails by scipy, and sums that must add up.

Evidence of a blind mix is checked as such (`mix`). Evidence of a cascade names its tiers and its gate as they were
before the look, the look (credit, rows), which must be the smallest that keeps the level, the stopping row (tier,
score, u), and what the rows before it showed of each tier's candidate. With the ledger, tiers, gate and look must be
those recorded before the look was made, and the stopping row, what stands before it and whether delivering that pays
are found again from the answers (`walk`).
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from math import isclose
from typing import TypeAlias

import numpy as np
from msgspec import convert
from msgspec.structs import replace

from smart_llm.certificates.checks import Given, Promise, Round, allowance, digest, likely, mix, walk
from smart_llm.certificates.checks.mix_evidence import MixEvidence
from smart_llm.certificates.parts import StatedGate, StatedRule, StatedTier
from smart_llm.types import ERROR, Floats, Json
from smart_llm.types.values import Number, Value

SLACK = 1e-7  # relative: the procedure's logarithms against scipy's


class TierShown(Value, frozen=True, kw_only=True):
    """What the rows before the stopping row showed of a tier's candidate."""

    model: str
    agreed: int
    bad: int


class FixedLook(Value, frozen=True, kw_only=True):
    """What was decided before the look. before: of a table that grew, rows, credit and rows looked at of the looks
    behind the rows there were; excess: where the first of these were left to a mix, pairs (count, chance): it hands
    over more bad rows than the count with that chance at most."""

    pilot: int
    pilot_errors: int
    rows_left: int
    allowance: int
    reserve: int
    tiers: tuple[StatedTier, ...]
    gate: StatedGate | None
    credit: int
    looked: int
    level: float
    before: tuple[tuple[int, int, int], ...] = ()
    excess: tuple[tuple[int, float], ...] = ()

    @property
    def continues(self) -> bool:
        """Whether rows were there before that are delivered as they were."""
        return bool(self.before or self.excess)


class CascadeEvidence(FixedLook, frozen=True, kw_only=True):
    """The evidence of a cascade. stop: tier, score and blank score of the stopping row; kept: tiers delivered."""

    errors: int
    unplaced: int
    credit_left: int
    certified: bool
    stop: tuple[int, Number, int] | None
    shown: tuple[TierShown, ...]
    kept: int
    granted: bool
    pinned: str

    @property
    def fixed(self) -> FixedLook:
        """The part that was decided before the look."""
        return FixedLook(**{name: getattr(self, name) for name in FixedLook.__struct_fields__})


class MixInstead(Value, frozen=True):
    """The evidence of a mix."""

    mix: MixEvidence


Evidence: TypeAlias = CascadeEvidence | MixInstead


def read(evidence: Json) -> Evidence:
    """The evidence as a value; `ValueError` where it does not fit."""
    return convert(evidence, MixInstead) if "mix" in evidence else convert(evidence, CascadeEvidence)


def check(evidence: Evidence, claim: Promise) -> list[str]:
    """Problems with the evidence."""
    if isinstance(evidence, MixInstead):
        return mix.check(evidence.mix, claim)
    return [*_population(evidence, claim), *_look(evidence, claim)] or _stop(evidence, claim)


def recount(evidence: Evidence, rounds: Sequence[Round], fixed: Json, names: Sequence[str]) -> list[str]:
    """Problems with the counts: rows and errors of the pilot and of the look, what was decided before the look, and
    what the look decided, as the ledger has them."""
    if isinstance(evidence, MixInstead):
        return mix.recount(evidence.mix, rounds, fixed, names)
    *pilot, look = [each for each in rounds if not each.stage.endswith("again")]
    told = [evidence.pilot, evidence.pilot_errors, evidence.looked, evidence.errors]
    found = [sum(len(each.marks) for each in pilot), sum(map(_lost, pilot)), len(look.marks), _lost(look)]
    called = {name for tier in evidence.tiers for name in (tier.model, *tier.peers)}
    problems = [
        *[f"ledger: rows and errors of pilot and look are {found}, not {told}"] * (found != told),
        *["ledger: the look did not ask every candidate of the tiers"]
        * ({names[model] for model in look.models} not in _asked(evidence, names[0], called)),
        *["ledger: tiers, gate and look are not those recorded before the look"]
        * (fixed is None or evidence.fixed != convert(fixed, FixedLook)),
    ]
    if problems or _unreadable(evidence, look):
        return problems
    return _walked(evidence, walk.Look.of(evidence.tiers, evidence.gate, look, names))


def _asked(evidence: CascadeEvidence, reference: str, called: set[str]) -> list[set[str]]:
    """Whom the look may have asked: no candidate need be, where it is at all rows that were added."""
    alone = evidence.continues and evidence.looked == evidence.rows_left
    return [{reference, *called}, *[{reference}] * alone]


def _unreadable(evidence: CascadeEvidence, look: Round) -> bool:
    """Whether the gate goes by words that the ledger was told not to keep: then nobody can walk the look again."""
    words = evidence.gate is not None and any(name.startswith("word:") for name, _ in evidence.gate.score)
    traits = look.answers.traits if look.answers is not None else None
    return words and traits is not None and (traits.words is None or bool(np.isnan(traits.words).any()))


def _walked(evidence: CascadeEvidence, look: walk.Look) -> list[str]:
    """Everything the look decided, found again row by row. Whether delivering pays is left open where it is a tie."""
    certified, tiers = evidence.certified, evidence.tiers
    stop, ahead = look.until(evidence.credit_left) if certified else (None, list(look.rows))
    reached = tiers[: len(tiers) if stop is None else stop[0] + 1]
    shown = tuple(
        TierShown(model=tier.model, **walk.showed([row for row in ahead if row.tier == number]))
        for number, tier in enumerate(reached)
    )
    found: list[tuple[str, object, object]] = [
        ("unplaced", len(look.unplaced), evidence.unplaced),
        ("stop", stop, evidence.stop),
        ("shown", shown, evidence.shown),
    ]
    problems = [f"ledger: {name} is {a}, the evidence says {b}" for name, a, b in found if a != b]
    if not problems and certified and evidence.kept:
        pays = walk.pays(*look.money(evidence.kept, ahead, stop))
        problems += ["ledger: whether delivering pays is not what the evidence says"] * (
            pays not in (None, evidence.granted)
        )
    return problems


def _lost(each: Round) -> int:
    return int((each.marks[:, 0] == ERROR).sum())


def rule(evidence: Evidence) -> StatedRule:
    """The rule as the certificate shows it."""
    if isinstance(evidence, MixInstead):
        return mix.rule(evidence.mix)
    if not evidence.granted:
        return StatedRule(shares=(), order="hashed")
    tiers = delivered(evidence.tiers, evidence.stop)[: evidence.kept]
    return StatedRule(tiers=tuple(tiers), gate=evidence.gate)


def delivered(tiers: Sequence[StatedTier], stop: tuple[int, Number, int] | None) -> list[StatedTier]:
    """The tiers that deliver anything, the last of them as far as the stopping row (tier, score, u)."""
    if stop is None:
        return list(tiers)
    number, score, u = stop
    return [*tiers[:number], replace(tiers[number], stop=(score, u))]


def profiled(evidence: Evidence) -> int:
    """Rows of pilot and look."""
    if isinstance(evidence, MixInstead):
        return mix.profiled(evidence.mix)
    return evidence.pilot + evidence.looked


def given(evidence: Evidence) -> list[Given]:
    """What the rows before the stopping row showed, tier by tier."""
    if isinstance(evidence, MixInstead):
        return mix.given(evidence.mix)
    return [(each.model, each.agreed, each.bad) for each in evidence.shown]


def reserve(evidence: Evidence) -> int | None:
    """What is left of the reserve after the pilot."""
    return None if isinstance(evidence, MixInstead) else evidence.reserve


def _population(evidence: CascadeEvidence, claim: Promise) -> list[str]:
    problems, errors, reserve = [], evidence.pilot_errors, claim.reserve
    if evidence.pilot + evidence.rows_left != claim.rows or not 0 <= errors <= evidence.pilot:
        problems.append("pilot rows and rows left do not add up to the table")
    if evidence.allowance != allowance(claim) - max(0, errors - reserve):
        problems.append(f"allowance {evidence.allowance} does not follow from the claim and the pilot's errors")
    if evidence.reserve != max(0, reserve - errors):
        problems.append("the reserve does not follow from the claim and the pilot's errors")
    return problems


def _look(evidence: CascadeEvidence, claim: Promise) -> list[str]:
    rows, allowed, credit, looked = evidence.rows_left, evidence.allowance, evidence.credit, evidence.looked
    if evidence.continues:
        return _together(evidence, claim)
    if not (0 < looked <= rows and credit >= 0 and allowed >= 0 and allowed + 1 + credit <= rows):
        return ["there is no such look"]
    alpha, level = _alpha(claim), _tail(rows, allowed, credit, looked)
    problems = []
    if not isclose(evidence.level, level, rel_tol=SLACK):
        problems.append(f"the look's level is {level:.6g}, not {evidence.level:.6g}")
    if level > alpha:
        problems.append(f"a look at {looked} rows does not keep the level {alpha}")
    if _tail(rows, allowed, credit, looked - 1) <= alpha * (1 - SLACK):
        problems.append(f"{looked} rows are more than credit {credit} needs")
    return problems


def _together(evidence: CascadeEvidence, claim: Promise) -> list[str]:
    """The looks at a table that grew keep the level together, counted here without a grid."""
    looks, excess = (*evidence.before, (evidence.rows_left, evidence.credit, evidence.looked)), evidence.excess
    counts, chances = [count for count, _ in excess], [chance for _, chance in excess]
    if counts != sorted({*counts}) or chances != sorted(chances, reverse=True) or not all(0 <= p <= 1 for p in chances):
        return ["how likely the mix is to hand over more bad rows does not fall as there are more"]
    if any(not 0 <= credit < looked <= rows for rows, credit, looked in looks):
        return ["there are no such looks"]
    if sum(rows for rows, _, _ in evidence.before) > claim.set_aside:
        return ["the earlier looks are at more rows than were set aside"]
    level = _beyond(looks, evidence.allowance, excess)
    if level > evidence.level * (1 + SLACK) or evidence.level > _alpha(claim):
        return [f"the looks do not keep the level {_alpha(claim)} together: {level:.6g}"]
    lost = evidence.errors > evidence.reserve and evidence.certified
    return ["more rows of the look have no answer than were set aside"] * lost


def _beyond(looks: Sequence[tuple[int, int, int]], most: int, excess: Sequence[tuple[int, float]] = ()) -> float:
    """How likely more than `most` bad rows are delivered in all parts together, at the worst. excess: of the part
    before them that was left to a mix, if there was one."""
    mixed = [_mixed(excess, most)] if excess else []
    first, *others = *mixed, *(_own(look, most) for look in looks)
    for own in others[:-1]:
        first = _summed(first, own)
    own = others[-1]
    return float(own[-1] + (own[:-1] - own[1:]) @ first[:0:-1])


def _own(look: tuple[int, int, int], most: int) -> Floats:
    """Shape (most + 2,): how likely more than −1, 0, …, `most` bad rows of a part are delivered, at the worst."""
    from scipy.stats import hypergeom

    rows, credit, looked = look
    own = np.asarray(hypergeom.cdf(credit, rows, np.minimum(rows, np.arange(most + 2) + credit), looked), np.float64)
    own[0] = 1.0
    return own


def _mixed(excess: Sequence[tuple[int, float]], most: int) -> Floats:
    """The same of a mix, as far as it is known."""
    own = np.ones(most + 2)
    for count, chance in excess:
        own[count + 1 :] = chance
    return own


def _summed(first: Floats, own: Floats) -> Floats:
    """The same of two parts together: for every total, over what the first part has reached at least."""
    from scipy.signal import fftconvolve

    added = fftconvolve(own[:-1] - own[1:], first[1:])[: len(own) - 1]
    return np.asarray(np.minimum(1.0, np.r_[1.0, own[1:] + np.maximum(added, 0.0) + 1e-12]), np.float64)


def _alpha(claim: Promise) -> float:
    return float(1 - Decimal(claim.confidence))


def _tail(rows: int, allowed: int, credit: int, looked: int) -> float:
    from scipy.stats import hypergeom  # a second to load, and a run that issues a certificate does not need it

    return float(hypergeom.cdf(credit, rows, min(rows, allowed + 1 + credit), looked))


def _stop(evidence: CascadeEvidence, claim: Promise) -> list[str]:
    errors, nowhere, left = evidence.errors, evidence.unplaced, evidence.credit_left
    problems = []
    due = evidence.credit - errors - max(0, errors - evidence.reserve) - nowhere
    if left != due or min(errors, nowhere) < 0 or errors + nowhere > evidence.looked:
        problems.append("credit, errors, rows without a place and what is left of the credit do not add up")
    problems += _place(evidence.tiers, evidence.stop) + _kept(evidence, claim)
    told = evidence.to_json()
    if evidence.pinned != digest(told["tiers"], told["gate"], told["stop"], told["shown"]):
        problems.append("the stopping row, the tiers, the gate or what they showed was changed")
    if problems:
        return problems
    if evidence.continues:
        chance = 1.0 if left < 0 or errors > evidence.reserve else 0.0
    else:
        chance = 1.0 if left < 0 else with_errors(evidence) if errors else 0.0
    if evidence.certified is not (chance <= _alpha(claim)) and not isclose(chance, _alpha(claim), rel_tol=SLACK):
        return ["whether the look has credit for what it found does not follow"]
    idle = not evidence.certified or not evidence.kept
    return ["granted without credit left or a tier to deliver"] * (idle and evidence.granted is not False)


def _kept(evidence: CascadeEvidence, claim: Promise) -> list[str]:
    """The tiers delivered are those up to the first whose candidate is not likely to be above the floor, and no more
    bad rows stand before the stopping row than there is credit."""
    tiers, shown, stop = evidence.tiers, evidence.shown, evidence.stop
    last = len(tiers) if stop is None else stop[0] + 1
    if [each.model for each in shown] != [tier.model for tier in tiers[:last]]:
        return ["what the tiers showed is not of the tiers there are"]
    if min((min(each.agreed, each.bad) for each in shown), default=0) < 0:
        return ["fewer rows than none were shown"]
    bad, rows = sum(each.bad for each in shown), sum(each.agreed + each.bad for each in shown)
    if rows + evidence.errors > evidence.looked + bad:
        return ["more rows were shown than looked at"]
    if not evidence.certified:
        idle = stop is None and evidence.kept == 0
        return [] if idle else ["tiers are kept although the look has not enough credit"]
    if bad > evidence.credit_left or (stop is not None and bad != evidence.credit_left):
        return ["the bad rows before the stopping row are not the credit there is"]
    enough = [likely(each.agreed, each.bad, claim.floor) for each in shown]
    due = enough.index(False) if False in enough else last
    return ["the tiers kept do not follow from what they showed"] * (evidence.kept != due)


def _place(tiers: Sequence[StatedTier], stop: tuple[int, Number, int] | None) -> list[str]:
    """Tiers before the last have stops of their own, the last has none, and the stopping row is one its tier takes."""
    if not tiers or any(tier.stop is None for tier in tiers[:-1]) or tiers[-1].stop is not None:
        return ["only the last tier may be without a stop of its own"]
    if stop is None:
        return []
    number, score, u = stop
    if not 0 <= number < len(tiers):
        return ["the stopping row is in a tier that there is not"]
    own = tiers[number].stop
    if own is not None and (-score, u) >= (-own[0], own[1]):
        return ["the stopping row is not one its tier takes"]
    return []


def with_errors(evidence: CascadeEvidence) -> float:
    """The chance of more misses than allowed, however many rows have no answer (those that leave a promise at all)."""
    from scipy.stats import hypergeom

    rows, credit, looked, reserve = evidence.rows_left, evidence.credit, evidence.looked, evidence.reserve
    spare, worst = evidence.allowance + reserve, 0.0
    for lost in range(min(spare, rows - 1) + 1 if spare < rows else 0):
        seen = np.arange(max(0, looked - rows + lost), min(lost, looked, credit) + 1)
        left = credit - seen - np.maximum(0, seen - reserve)
        seen, left = seen[left >= 0], left[left >= 0]
        chance = hypergeom.pmf(seen, rows, lost, looked)
        bad = np.minimum(rows - lost, spare - lost + 1 + left)
        worst = max(worst, float(chance @ hypergeom.cdf(left, rows - lost, bad, looked - seen)))
    return worst
