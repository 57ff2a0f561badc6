"""`ladder/2` recomputed: the error of its stopping table, pushed forwards.

The procedure computes the error backwards (what happened before a count does not depend on the number of bad rows) and
tails as running sums over that number. Here the counts of one population are pushed forward from look to look, for the
worst number of bad rows and for a grid of others; binomials come from the beta function, tails are summed over counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln

from smart_llm.types import BAD, ERROR, Json
from smart_llm.verifying import Round, allowance

GRID = 12
"""Numbers of bad rows, besides the worst one, for which the error is recomputed."""
CLOSE = 5e-6
"""How far, relatively, two computations of one error may be apart."""
ROUNDING = 1e-13
"""What a table that can hardly err may state, per row, beyond what it errs: it rounds up."""
FAINT = 1e-16
"""Probabilities not followed further."""


def check(evidence: Mapping[str, Json], claim: Mapping[str, Json]) -> list[str]:
    """Problems with the evidence."""
    if evidence["candidate"] is None:
        return [] if set(evidence) == {"candidate"} else ["no candidate, yet there is evidence"]
    problems = [*_counts(evidence, claim), *_table(evidence), *_stopped(evidence)]
    return problems or _errors(evidence, claim)


def rule(evidence: Mapping[str, Json]) -> Json:
    """The share of the rows left, in the hashed order."""
    granted = evidence.get("granted", 0)
    shares = [{"model": evidence["candidate"], "rows": granted}] if granted else []
    return {"shares": shares, "order": "hashed"}


# --------------------------------------------------------------------------- sums


def _counts(evidence: Mapping[str, Json], claim: Mapping[str, Json]) -> list[str]:
    pilot, design, problems = evidence["pilot"], evidence["design"], []
    if evidence["allowance"] != allowance(claim):
        problems.append(f"allowance {evidence['allowance']} is not the claim's {allowance(claim)}")
    if evidence["population"] + pilot["rows"] != claim["rows"] or not 0 <= pilot["errors"] <= pilot["rows"]:
        problems.append("pilot and population do not add up to the table")
    left = max(0, evidence["allowance"] - pilot["errors"])
    if design["allowance"] + evidence["spare"] != left or not 0 <= evidence["spare"] <= left:
        problems.append("allowance, errors and what is set aside do not add up")
    return problems


def _table(evidence: Mapping[str, Json]) -> list[str]:
    """The table is one: increasing looks, shares that there are rows for, an end."""
    design, rows = evidence["design"], evidence["population"]
    looks, shares = design["looks"], design["shares"]
    if sorted(set(looks)) != looks or looks[0] != 0 or looks[-1] > rows or len(looks) != len(shares):
        return ["the looks are not increasing, or not as many as the table has"]
    if [rows - seen for seen in looks] != design["left"] or design["worst"]["bad"] + design["worst"]["good"] != rows:
        return ["the rows left and those seen or bad do not add up"]
    if [sum(each) for each in shares] != design["sums"]:
        return ["the shares do not add up to their sums"]
    whole = all(type(r) is int and -1 <= r <= rows - n for n, each in zip(looks, shares, strict=True) for r in each)
    return [] if whole and -1 not in shares[-1] else ["the table has shares that cannot be, or no end"]


def _stopped(evidence: Mapping[str, Json]) -> list[str]:
    """Where the table was left, and what that grants."""
    stop, design = evidence["stop"], evidence["design"]
    bad, errors, seen = stop["bad"], stop["errors"], stop["seen"]
    if seen != design["looks"][stop["look"]] or stop["look"] < 0 or not 0 <= errors <= bad <= seen:
        return ["the counts at the end do not fit the look"]
    if stop["fine"] != seen - bad or stop["answered"] != seen - errors:
        return ["the counts at the end do not add up"]
    if stop["share"] != _share(evidence, stop["look"], bad) or stop["share"] < 0:
        return ["the share is not the table's"]
    due = stop["share"]
    if errors > evidence["spare"]:
        due = min(due, max(0, design["allowance"] + evidence["spare"] - errors))
    due = 0 if evidence["withheld"] else due
    return [] if evidence["granted"] == due else ["the rows granted are not what the table and the errors allow"]


def _share(evidence: Mapping[str, Json], look: int, bad: int) -> int:
    row, design = evidence["design"]["shares"][look], evidence["design"]
    floor = min(design["allowance"], evidence["population"] - design["looks"][look])
    return int(row[bad] if bad < len(row) else floor)


# --------------------------------------------------------------------------- the error


def _errors(evidence: Mapping[str, Json], claim: Mapping[str, Json]) -> list[str]:
    """The worst error is what the table has, at most α, and nowhere above on the grid."""
    design, rows = evidence["design"], evidence["population"]
    worst, stated = design["worst"]["bad"], design["worst"]["error"]
    if stated == 0.0:
        safe = all(r <= design["allowance"] for each in design["shares"] for r in each)
        return [] if safe and worst == min(rows, design["allowance"] + 1) else ["the table can err, its error is not 0"]
    if not design["allowance"] < worst <= rows or Fraction(stated) > 1 - Fraction(claim["confidence"]):
        return ["the worst error is above what the confidence allows, or not at a number of bad rows that can be"]
    if not abs(error(design, rows, worst) - stated) <= CLOSE * stated + ROUNDING * rows:
        return ["the error at the worst number of bad rows is not the one stated"]
    spots = np.unique(np.geomspace(design["allowance"] + 1, rows, GRID).astype(int)).tolist()
    near = [worst + step for step in (-1, 1) if design["allowance"] < worst + step <= rows]
    above = [bad for bad in [*near, *spots] if error(design, rows, bad) > stated * (1 + CLOSE)]
    return [f"with {above[0]} bad rows the error is larger than stated"] if above else []


def error(design: Mapping[str, Json], rows: int, bad: int) -> float:
    """P(more than the allowance of bad rows is handed over) if `bad` of `rows` are bad: forwards, look by look."""
    looks, total = design["looks"], 0.0
    going: NDArray[np.float64] = np.ones(1)
    counts = np.zeros(1, np.int64)
    for k, (seen, shares) in enumerate(zip(looks, design["shares"], strict=True)):
        if k:
            going, counts = _onward(going, counts, (rows - looks[k - 1], bad, seen - looks[k - 1]), len(shares))
        share = np.array(shares, np.int64)[counts]
        risky = (share > design["allowance"]) & (going > FAINT)
        tails = [
            _tail(rows - seen, bad - d, r, design["allowance"])
            for d, r in zip(counts[risky].tolist(), share[risky].tolist(), strict=True)
        ]
        total += float(going[risky] @ np.array(tails, float))
        alive = (share < 0) & (going > FAINT)
        going, counts = going[alive], counts[alive]
        if not len(counts):
            break
    return total


def _onward(
    going: NDArray[np.float64], counts: NDArray[np.int64], draw: tuple[int, int, int], size: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The counts after `draw` = (rows left, bad rows in all, rows drawn); counts of `size` and more stop safely."""
    left, bad, drawn = draw
    mean = [drawn * max(0, bad - int(d)) / left for d in (counts[-1], counts[0])]
    first = max(0, int(mean[0] - 12 * mean[0] ** 0.5 - 60))
    last = min(drawn, int(mean[1] + 12 * mean[1] ** 0.5 + 60))
    later = np.arange(min(size, counts[0] + first), min(size, counts[-1] + last + 1))
    chance = _chance(left, bad - counts[:, None], drawn, later[None, :] - counts[:, None])
    return going @ chance, later


def _tail(left: int, bad: int, drawn: int, allowed: int) -> float:
    """P(more than `allowed` bad rows among `drawn` of `left` rows, `bad` of them bad)."""
    most = min(bad, drawn)
    if drawn >= left or most <= allowed:
        return float(most > allowed)
    mean = drawn * bad / left
    far = int(max(mean, allowed) + 12 * mean**0.5 + 60)
    return float(_chance(left, bad, drawn, np.arange(allowed + 1, min(most, far) + 1)).sum())


def _chance(left: int, bad: NDArray[np.int64] | int, drawn: int, found: NDArray[np.int64]) -> NDArray[np.float64]:
    """P(`found` bad rows among `drawn` of `left` rows of which `bad` are bad), 0 where impossible."""
    bad, found = np.broadcast_arrays(bad, found)
    possible = (found >= 0) & (found <= bad) & (drawn - found >= 0) & (drawn - found <= left - bad) & (bad >= 0)
    k, n = np.where(possible, found, 0), np.where(possible, bad, 0)
    rest = np.where(possible, drawn - found, 0)
    logs = _choose(n, k) + _choose(left - n, rest) - _choose(np.array(left), np.array(drawn))
    return np.where(possible, np.exp(logs), 0.0)


def _choose(n: NDArray[np.int64], k: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(-np.log1p(n) - betaln(n - k + 1.0, k + 1.0))


# --------------------------------------------------------------------------- the ledger


def recount(evidence: Mapping[str, Json], rounds: Sequence[Round]) -> list[str]:
    """Pilot and evidence counted again, and every look at which the table was not left."""
    if evidence["candidate"] is None:
        return ["ledger: rows were profiled, the evidence says none"] if rounds else []
    pilot = [each for each in rounds if each.stage == "pilot"]
    later = [each for each in rounds if each.stage == "profile"]
    seen = sum(len(each.marks) for each in pilot)
    lost = sum(int((each.marks[:, 0] == ERROR).sum()) for each in pilot)
    problems = []
    if (seen, lost) != (evidence["pilot"]["rows"], evidence["pilot"]["errors"]):
        problems.append(f"ledger: {seen} pilot rows, {lost} without an answer; the evidence says otherwise")
    if len({each.models for each in later}) > 1:
        problems.append("ledger: the evidence is of more than one candidate")
    return problems + _path(evidence, later)


def _path(evidence: Mapping[str, Json], rounds: Sequence[Round]) -> list[str]:
    stop, looks = evidence["stop"], evidence["design"]["looks"]
    seen = bad = errors = look = 0
    for each in rounds:
        if _share(evidence, look, bad) != -1:
            return ["ledger: rows were profiled after the table said stop"]
        lost, candidate = each.marks[:, 0] == ERROR, each.models[-1]
        seen, look = seen + len(each.marks), look + 1
        bad, errors = bad + int(((each.marks[:, candidate] == BAD) | lost).sum()), errors + int(lost.sum())
        if look >= len(looks) or seen != looks[look]:
            return ["ledger: the rows were not looked at when the table says"]
    found = (look, bad, errors)
    wanted = (stop["look"], stop["bad"], stop["errors"])
    return [] if found == wanted else [f"ledger: look, bad, errors are {found}, the evidence says {wanted}"]
