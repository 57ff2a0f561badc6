"""The blind mix recomputed: the error of its stopping tables, pushed forwards (`forwards`), for the worst number of bad
rows, as stated and as found here, and for a grid of others.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_CEILING, Context, Decimal
from fractions import Fraction

import numpy as np
from msgspec import convert

from smart_llm.certificates.checks import Given, Promise, Round, allowance, digest, likely
from smart_llm.certificates.checks.forwards import CLOSE, error, where
from smart_llm.certificates.checks.mix_evidence import Finalist, FixedTables, MixEvidence, ShownRows
from smart_llm.certificates.parts import SharedRows, StatedRule
from smart_llm.types import AGREE, BAD, CHOSEN, DEFER, ERROR, LESSON, Json

GRID = 12
"""Numbers of bad rows, besides the worst one, for which the error is recomputed."""
DIGITS = 4
"""Of an error, as stated: so few that no other number in the neighbourhood would do."""
ROUNDING = 1e-13
"""What a table that can hardly err may state, per row, beyond what it errs: it rounds up."""
TIE = 1e-9
"""Reference calls: savings closer to each other than this are the same."""


def read(evidence: Json) -> MixEvidence:
    """The evidence as a value; `ValueError` where it does not fit."""
    return convert(evidence, MixEvidence)


def check(evidence: MixEvidence, claim: Promise) -> list[str]:
    """Problems with the evidence."""
    problems = _counts(evidence, claim)
    guesses = [each.guess for each in evidence.finalists]
    shown = evidence.shown and evidence.shown.to_json()
    if evidence.pinned != digest(guesses, evidence.candidate, shown, evidence.withheld):
        problems.append("the candidate, what it showed, why it is withheld or what was guessed of prices was changed")
    if not evidence.finalists:
        told = [evidence.candidate, evidence.shown, evidence.withheld, evidence.granted]
        idle = told == [None, None, None, 0] and evidence.profiled.rows == 0
        return problems + ["no finalist, yet something is said of one"] * (not idle)
    for each in evidence.finalists:
        problems += [f"{each.candidate}: {problem}" for problem in (_table(evidence, each) or _place(evidence, each))]
    return problems or _granted(evidence, claim) or _errors(evidence, claim)


def rule(evidence: MixEvidence) -> StatedRule:
    """The share of the rows left, in the hashed order."""
    chosen = evidence.candidate
    shares = (SharedRows(chosen, evidence.granted),) if chosen is not None and evidence.granted else ()
    return StatedRule(shares=shares, order="hashed")


def profiled(evidence: MixEvidence) -> int:
    """Rows of pilot and evidence."""
    return evidence.pilot.rows + evidence.profiled.rows


def given(evidence: MixEvidence) -> list[Given]:
    """What the candidate did on all rows profiled: a blind share is like all of them."""
    shown = evidence.shown
    return [] if shown is None or evidence.candidate is None else [(evidence.candidate, shown.agreed, shown.bad)]


def reserve(evidence: MixEvidence) -> int | None:
    """A mix takes errors of the pilot out of its allowance, so its reserve stays whole."""
    return None


# --------------------------------------------------------------------------- sums


def _counts(evidence: MixEvidence, claim: Promise) -> list[str]:
    pilot, profiled, problems = evidence.pilot, evidence.profiled, []
    if evidence.floor != float(claim.floor):
        problems.append("the floor is not the claim's")
    if evidence.allowance != allowance(claim):
        problems.append(f"allowance {evidence.allowance} is not the claim's {allowance(claim)}")
    if evidence.population + pilot.rows != claim.rows or not 0 <= pilot.errors <= pilot.rows:
        problems.append("pilot and population do not add up to the table")
    if profiled.rows + evidence.left != evidence.population:
        problems.append("rows profiled and left do not add up to the population")
    if profiled.errors + profiled.answered != profiled.rows or profiled.errors < 0:
        problems.append("rows profiled and those without an answer do not add up")
    if evidence.left < 0 or pilot.rows < 0 or profiled.rows < 0:
        problems.append("there are fewer rows than none")
    if not 0 <= evidence.spare <= max(0, evidence.allowance - pilot.errors):
        problems.append("more is set aside for errors than is allowed")
    return problems


def _table(evidence: MixEvidence, design: Finalist) -> list[str]:
    """The table is one: increasing looks, shares that there are rows for, an end."""
    rows, looks, shares = evidence.population, design.looks, design.shares
    spared = design.allowance + evidence.spare
    if design.allowance < 0 or spared != evidence.allowance - evidence.pilot.errors:
        return ["allowance, errors and what is set aside do not add up"]
    if sorted(set(looks)) != looks or looks[0] != 0 or looks[-1] > rows or len(looks) != len(shares):
        return ["the looks are not increasing, or not as many as the table has"]
    if [rows - seen for seen in looks] != design.left or design.worst.bad + design.worst.good != rows:
        return ["the rows left and those seen or bad do not add up"]
    if [sum(each) for each in shares] != design.sums:
        return ["the shares do not add up to their sums"]
    whole = all(-1 <= r <= rows - n for n, each in zip(looks, shares, strict=True) for r in each)
    return [] if whole and -1 not in shares[-1] else ["the table has shares that cannot be, or no end"]


def _place(evidence: MixEvidence, design: Finalist) -> list[str]:
    """Where a finalist stands in its table."""
    stop = design.stop
    bad, seen = stop.bad, stop.seen
    if stop.look < 0 or seen != design.looks[stop.look] or not 0 <= bad <= seen <= evidence.profiled.rows:
        return ["the counts at the end do not fit the look"]
    if stop.fine != seen - bad:
        return ["the counts at the end do not add up"]
    share = _share(evidence, design, stop.look, bad)
    if stop.given_up is not (share < 0):
        return ["whether it was given up does not follow from its table"]
    due = min(design.allowance, evidence.population - seen) if share < 0 else share
    return [] if stop.share == due else ["the share is not the table's"]


def _granted(evidence: MixEvidence, claim: Promise) -> list[str]:
    """What the chosen finalist's table, the errors and the floor allow, of the rows that are still there."""
    chosen = [each for each in evidence.finalists if each.candidate == evidence.candidate]
    if len(chosen) != 1:
        return ["the candidate is not one of the finalists"]
    shown = evidence.shown
    if shown is None:
        return ["nothing is said of what the candidate showed"]
    rows, agreed, bad, deferred = shown.rows, shown.agreed, shown.bad, shown.deferred
    if min(rows, agreed, bad, deferred) < 0 or rows > evidence.pilot.rows + evidence.profiled.rows:
        return ["the rows shown of the candidate are more than were asked"]
    if rows != agreed + bad + deferred:
        return ["the rows shown of the candidate do not add up"]
    if bad < chosen[0].stop.bad:
        return ["the candidate was bad on more rows of the evidence than in all"]
    if evidence.withheld not in (None, "no gain", "below the floor"):
        return ["it is withheld for no known reason"]
    if evidence.withheld != "no gain" and (evidence.withheld is None) != likely(agreed, bad, claim.floor):
        return ["whether the candidate is above the floor does not follow from what it showed"]
    due = 0 if evidence.withheld else _usable(evidence, chosen[0])
    return [] if evidence.granted == due else ["the rows granted are not what the table and the errors allow"]


def _usable(evidence: MixEvidence, design: Finalist) -> int:
    """The rows of a finalist's share that are still there, as far as there are not too many without an answer."""
    errors, due = evidence.profiled.errors, min(design.stop.share, evidence.left)
    if errors > evidence.spare:
        due = min(due, max(0, design.allowance + evidence.spare - errors))
    return int(due)


def _share(evidence: MixEvidence, design: Finalist, look: int, bad: int) -> int:
    row = design.shares[look]
    floor = min(design.allowance, evidence.population - design.looks[look])
    return int(row[bad] if bad < len(row) else floor)


# --------------------------------------------------------------------------- the error


def _errors(evidence: MixEvidence, claim: Promise) -> list[str]:
    """The finalists' worst errors add up to at most α, and each is what its table has."""
    stated = sum(Fraction(repr(each.worst.error)) for each in evidence.finalists)
    if stated > 1 - Fraction(claim.confidence):
        return ["the errors of the finalists' tables add up to more than the confidence allows"]
    return [
        f"{each.candidate}: {problem}" for each in evidence.finalists for problem in _worst(each, evidence.population)
    ]


def _worst(design: Finalist, rows: int) -> list[str]:
    """The error stated is the table's, where it says, and nowhere above: neither where it is largest nor on a grid."""
    worst, stated = design.worst.bad, design.worst.error
    if stated == 0.0:
        safe = all(r <= design.allowance for each in design.shares for r in each)
        return [] if safe and worst == min(rows, design.allowance + 1) else ["the table can err, its error is not 0"]
    if not design.allowance < worst <= rows or not 0 < stated < 1:
        return ["the worst error is not at a number of bad rows that can be"]
    found = error(design, rows, worst)
    least, most = _stated(found * (1 - CLOSE)), _stated(found * (1 + CLOSE) + ROUNDING * rows)
    if len(Decimal(repr(stated)).normalize().as_tuple().digits) > DIGITS or not least <= stated <= most:
        return ["the error at the worst number of bad rows is not the one stated"]
    spots = np.unique(np.geomspace(design.allowance + 1, rows, GRID).astype(int)).tolist()
    near = [worst + step for step in (-1, 1) if design.allowance < worst + step <= rows]
    peak = where(design, rows, np.array([design.allowance]))
    above = [bad for bad in [*near, *peak, *spots] if error(design, rows, bad) > stated * (1 + CLOSE)]
    return [f"with {above[0]} bad rows the error is larger than stated"] if above else []


def _stated(error: float) -> float:
    """As evidence states it: rounded up."""
    return float(Context(prec=DIGITS, rounding=ROUND_CEILING).create_decimal_from_float(error))


# --------------------------------------------------------------------------- the ledger


def recount(evidence: MixEvidence, rounds: Sequence[Round], fixed: Json, names: Sequence[str]) -> list[str]:
    """Pilot and evidence counted again, every look of every finalist, what was decided before, and what the chosen
    candidate showed. fixed: what the ledger recorded before the evidence. names: reference first."""
    rounds = _heard(rounds)
    pilot = [each for each in rounds if _piloted(each)]
    later = [each for each in rounds if not _piloted(each)]
    problems = []
    fresh = [each for each in pilot if not each.stage.endswith("again")]
    for name, told, found in (("pilot", evidence.pilot, fresh), ("profiled", evidence.profiled, later)):
        rows = sum(len(each.marks) for each in found)
        lost = sum(int((each.marks[:, 0] == ERROR).sum()) for each in found)
        if (rows, lost) != (told.rows, told.errors):
            problems.append(f"ledger: {name}: {rows} rows, {lost} without an answer; the evidence says otherwise")
    if later and (fixed is None or evidence.fixed != convert(fixed, FixedTables)):
        problems.append("ledger: pilot and tables are not those recorded before the evidence was seen")
    for design in evidence.finalists:
        model = list(names).index(design.candidate)
        problems += [f"ledger: {design.candidate}: {each}" for each in _path(evidence, design, model, later)]
    return problems or _chosen(evidence, rounds, names)


def _piloted(one: Round) -> bool:
    """Whether its rows are no evidence: piloted, chosen to teach a candidate, or looked at to teach it."""
    return one.stage.startswith("pilot") or one.stage in (CHOSEN, LESSON)


def _heard(rounds: Sequence[Round]) -> list[Round]:
    """Without the lessons before the last: what a candidate said then, it says no longer."""
    last = max((k for k, each in enumerate(rounds) if each.stage == LESSON), default=-1)
    return [each for k, each in enumerate(rounds) if each.stage != LESSON or k == last]


def _chosen(evidence: MixEvidence, rounds: Sequence[Round], names: Sequence[str]) -> list[str]:
    """The candidate used is the finalist whose share saves most, and shows what the evidence says."""
    if not evidence.finalists:
        return []
    found = [_worth(evidence, each, list(names).index(each.candidate), rounds) for each in evidence.finalists]
    most = max(worth for worth, _, _ in found)
    best = next(k for k, (worth, _, _) in enumerate(found) if worth >= most - TIE)
    _, shown, withheld = found[best]
    pairs: list[tuple[str, object, object]] = [
        ("candidate", evidence.finalists[best].candidate, evidence.candidate),
        ("shown", shown, evidence.shown),
        ("withheld", withheld, evidence.withheld),
    ]
    return [f"ledger: {name} is {a}, the evidence says {b}" for name, a, b in pairs if a != b]


def _worth(
    evidence: MixEvidence, design: Finalist, model: int, rounds: Sequence[Round]
) -> tuple[float, ShownRows, str | None]:
    """What a finalist's share saves, in reference calls; what the finalist showed; why it is withheld, if it is."""
    asked = [each for each in rounds if model in each.models]
    marks = np.concatenate([each.marks for each in asked] or [np.zeros((0, model + 1), np.int8)])
    lost = marks[:, 0] == ERROR
    agreed = int(((marks[:, model] == AGREE) & ~lost).sum())
    bad, deferred = int(((marks[:, model] == BAD) | lost).sum()), int(((marks[:, model] == DEFER) & ~lost).sum())
    shown = ShownRows(rows=len(marks), agreed=agreed, bad=bad, deferred=deferred)
    gain = 1 - _price(design.guess, asked, model, len(marks)) - float(f"{deferred / max(1, len(marks)):.2g}")
    if gain <= 0:
        return 0.0, shown, "no gain"
    if not likely(agreed, bad, evidence.floor):
        return 0.0, shown, "below the floor"
    return gain * _usable(evidence, design), shown, None


def _price(guess: float, asked: Sequence[Round], model: int, calls: int) -> float:
    """Of a call, in reference calls, in steps of 5 %: what calls have cost, and half a call's worth of the guess."""
    costs = [each.answers.cost for each in asked if each.answers is not None]
    if len(costs) < len(asked):
        raise ValueError("what the answers cost is not known")
    spent, beside = (sum(float(cost[:, column].sum()) for cost in costs) for column in (model, 0))
    price = guess if not calls or beside <= 0 else (spent / beside * calls + guess / 2) / (calls + 0.5)
    return float(1.05 ** np.round(np.log(price) / np.log(1.05))) if price > 0 else 0.0


def _path(evidence: MixEvidence, design: Finalist, model: int, rounds: Sequence[Round]) -> list[str]:
    """One finalist's way through its table: asked in the first rounds, until it was settled or given up."""
    stop, looks = design.stop, design.looks
    asked = [model in each.models for each in rounds]
    if asked != sorted(asked, reverse=True):
        return ["it was not asked in the first rounds of the evidence"]
    seen = bad = look = 0
    for each in rounds[: sum(asked)]:
        if _share(evidence, design, look, bad) != -1:
            return ["rows were profiled after its table said stop"]
        seen, look = seen + len(each.marks), look + 1
        bad += int(((each.marks[:, model] == BAD) | (each.marks[:, 0] == ERROR)).sum())
        if look >= len(looks) or seen != looks[look]:
            return ["the rows were not looked at when its table says"]
    found = (look, bad)
    wanted = (stop.look, stop.bad)
    return [] if found == wanted else [f"look, bad are {found}, the evidence says {wanted}"]
