"""`ladder/3` recomputed: one hypergeometric tail by scipy, and sums that must add up.

Evidence of a blind mix is `ladder/2`'s own and is checked as such. Evidence of a cascade names its tiers and its gate
as they were before the look, the look (credit, rows), which must be the smallest that keeps the level, and the stopping
row (tier, score, u), all pinned by a digest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from hashlib import blake2b
from math import isclose

from scipy.stats import hypergeom

from smart_llm import verifying
from smart_llm.types import ERROR, Json
from smart_llm.verifying import Round, allowance

MIX = "ladder/2"
SLACK = 1e-7  # relative: the procedure's logarithms against scipy's


def check(evidence: Mapping[str, Json], claim: Mapping[str, Json]) -> list[str]:
    """Problems with the evidence."""
    if "mix" in evidence:
        extra = sorted(set(evidence) - {"mix"})
        return [f"a mix with evidence of something else: {extra}"] * bool(extra) + verifying.check(
            MIX, evidence["mix"], claim
        )
    return [*_population(evidence, claim), *_look(evidence, claim), *_stop(evidence, claim)]


def recount(evidence: Mapping[str, Json], rounds: Sequence[Round]) -> list[str]:
    """Problems with the counts: rows and errors of the pilot and of the look, as the ledger has them."""
    fresh = [each for each in rounds if not each.stage.endswith("again")]
    if "mix" in evidence:
        mix = evidence["mix"]
        return verifying.recount(MIX, mix, _restaged(fresh, mix["pilot"]["rows"]) if mix["finalists"] else fresh)
    *pilot, look = fresh
    told = [evidence[name] for name in ("pilot", "pilot_errors", "looked", "errors")]
    found = [sum(len(each.marks) for each in pilot), sum(map(_lost, pilot)), len(look.marks), _lost(look)]
    called = {name for tier in evidence["tiers"] for name in (tier["model"], *tier["peers"])}
    return [
        *[f"rows and errors of pilot and look are {found} in the ledger, not {told}"] * (found != told),
        *["the look did not ask every candidate of the tiers"] * (len(look.models) != 1 + len(called)),
    ]


def _lost(each: Round) -> int:
    return int((each.marks[:, 0] == ERROR).sum())


def _restaged(rounds: Sequence[Round], pilot: int) -> list[Round]:
    """The first `pilot` rows are the pilot, whatever was meant to be done with them when they were asked for."""
    out, rows = [], 0
    for each in rounds:
        out.append(replace(each, stage="pilot" if rows < pilot else "profile"))
        rows += len(each.marks)
    return out


def rule(evidence: Mapping[str, Json]) -> Json:
    """The rule as the certificate shows it."""
    if "mix" in evidence:
        return verifying.rule(MIX, evidence["mix"])
    if not evidence["granted"]:
        return {"shares": [], "order": "hashed"}
    gate = {"gate": evidence["gate"]} if evidence["gate"] else {}
    return {"tiers": delivered(evidence["tiers"], evidence["stop"]), **gate}


def delivered(tiers: Sequence[Json], stop: Json) -> list[Json]:
    """The tiers that deliver anything, the last of them as far as the stopping row (tier, score, u)."""
    if stop is None:
        return list(tiers)
    number, score, u = stop
    return [*tiers[:number], {**tiers[number], "stop": [score, u]}]


def _population(evidence: Mapping[str, Json], claim: Mapping[str, Json]) -> list[str]:
    problems, errors, reserve = [], evidence["pilot_errors"], claim["reserve"]
    if evidence["pilot"] + evidence["rows_left"] != claim["rows"] or not 0 <= errors <= evidence["pilot"]:
        problems.append("pilot rows and rows left do not add up to the table")
    if evidence["allowance"] != allowance(claim) - max(0, errors - reserve):
        problems.append(f"allowance {evidence['allowance']} does not follow from the claim and the pilot's errors")
    if evidence["reserve"] != max(0, reserve - errors):
        problems.append("the reserve does not follow from the claim and the pilot's errors")
    return problems


def _look(evidence: Mapping[str, Json], claim: Mapping[str, Json]) -> list[str]:
    rows, allowed, credit, looked = (evidence[name] for name in ("rows_left", "allowance", "credit", "looked"))
    if not (0 < looked <= rows and credit >= 0 and allowed >= 0 and allowed + 1 + credit <= rows):
        return ["there is no such look"]
    alpha, level = float(1 - Decimal(claim["confidence"])), _tail(rows, allowed, credit, looked)
    problems = []
    if not isclose(evidence["level"], level, rel_tol=SLACK):
        problems.append(f"the look's level is {level:.6g}, not {evidence['level']:.6g}")
    if level > alpha:
        problems.append(f"a look at {looked} rows does not keep the level {alpha}")
    if _tail(rows, allowed, credit, looked - 1) <= alpha * (1 - SLACK):
        problems.append(f"{looked} rows are more than credit {credit} needs")
    return problems


def _tail(rows: int, allowed: int, credit: int, looked: int) -> float:
    return float(hypergeom.cdf(credit, rows, min(rows, allowed + 1 + credit), looked))


def _stop(evidence: Mapping[str, Json], claim: Mapping[str, Json]) -> list[str]:
    errors, reserve, left = evidence["errors"], evidence["reserve"], evidence["credit_left"]
    problems = []
    if left != evidence["credit"] - errors - max(0, errors - reserve) or not 0 <= errors <= evidence["looked"]:
        problems.append("credit, errors and what is left of it do not add up")
    problems += _place(evidence["tiers"], evidence["stop"])
    pinned = repr(tuple(evidence[name] for name in ("tiers", "gate", "stop"))).encode()
    if evidence["pinned"] != blake2b(pinned, digest_size=8).hexdigest():
        problems.append("the stopping row, the tiers or the gate were changed")
    if evidence["granted"] and left < 0:
        problems.append("granted without credit left")
    if (
        evidence["granted"]
        and errors
        and not problems
        and not covered(evidence, float(1 - Decimal(claim["confidence"])))
    ):
        problems.append("rows without an answer are not covered")
    return problems


def _place(tiers: Sequence[Json], stop: Json) -> list[str]:
    """Tiers before the last have stops of their own, the last has none, and the stopping row is one its tier takes."""
    if not tiers or any(tier["stop"] is None for tier in tiers[:-1]) or tiers[-1]["stop"] is not None:
        return ["only the last tier may be without a stop of its own"]
    if stop is None:
        return []
    number, score, u = stop
    if not 0 <= number < len(tiers):
        return ["the stopping row is in a tier that there is not"]
    own = tiers[number]["stop"]
    if own is not None and (-score, u) >= (-own[0], own[1]):
        return ["the stopping row is not one its tier takes"]
    return []


def covered(evidence: Mapping[str, Json], alpha: float) -> bool:
    """However many rows have no answer: more misses than allowed at most at level alpha."""
    rows, credit, looked, reserve = (evidence[name] for name in ("rows_left", "credit", "looked", "reserve"))
    spare = evidence["allowance"] + reserve
    for lost in range(spare + 1):
        total = 0.0
        for seen in range(max(0, looked - rows + lost), min(lost, looked, credit) + 1):
            left = credit - seen - max(0, seen - reserve)
            if left >= 0:
                chance = float(hypergeom.pmf(seen, rows, lost, looked))
                total += chance * _tail(rows - lost, spare - lost, left, looked - seen)
        if total > alpha * (1 + SLACK):
            return False
    return True
