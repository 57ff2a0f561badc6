"""`ladder/4` recomputed: one hypergeometric tail by scipy, and sums that must add up.

Evidence of a blind mix is checked as such (`mix`). Evidence of a cascade names its tiers and its gate as they were
before the look, the look (credit, rows), which must be the smallest that keeps the level, the stopping row (tier,
score, u), and what the rows before it showed of each tier's candidate. With the ledger, tiers, gate and look must be
those recorded before the look was made, and the stopping row is found again from the answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from hashlib import blake2b
from math import isclose, isnan

from scipy.stats import hypergeom

from smart_llm.types import BAD, DEFER, ERROR, Json
from smart_llm.verifying import Round, allowance, likely, mix
from smart_llm.verifying.scores import score_of

SLACK = 1e-7  # relative: the procedure's logarithms against scipy's
DECIDED = ("pilot", "pilot_errors", "rows_left", "allowance", "reserve", "tiers", "gate", "credit", "looked", "level")
"""Fields of the evidence that were decided before the look."""


def check(evidence: Mapping[str, Json], claim: Mapping[str, Json]) -> list[str]:
    """Problems with the evidence."""
    if "mix" in evidence:
        extra = sorted(set(evidence) - {"mix"})
        return [f"a mix with evidence of something else: {extra}"] * bool(extra) + mix.check(evidence["mix"], claim)
    return [*_population(evidence, claim), *_look(evidence, claim), *_stop(evidence, claim)]


def recount(evidence: Mapping[str, Json], rounds: Sequence[Round], fixed: Json, names: Sequence[str]) -> list[str]:
    """Problems with the counts: rows and errors of the pilot and of the look, what was decided before the look, and
    where its stopping row is, as the ledger has them."""
    if "mix" in evidence:
        return mix.recount(evidence["mix"], rounds, fixed, names)
    *pilot, look = [each for each in rounds if not each.stage.endswith("again")]
    told = [evidence[name] for name in ("pilot", "pilot_errors", "looked", "errors")]
    found = [sum(len(each.marks) for each in pilot), sum(map(_lost, pilot)), len(look.marks), _lost(look)]
    called = {name for tier in evidence["tiers"] for name in (tier["model"], *tier["peers"])}
    problems = [
        *[f"ledger: rows and errors of pilot and look are {found}, not {told}"] * (found != told),
        *["ledger: the look did not ask every candidate of the tiers"]
        * ({names[model] for model in look.models} != {names[0], *called}),
        *["ledger: tiers, gate and look are not those recorded before the look"]
        * ({name: evidence[name] for name in DECIDED} != fixed),
    ]
    return problems or _walked(evidence, look, names)


def _walked(evidence: Mapping[str, Json], look: Round, names: Sequence[str]) -> list[str]:
    """The stopping row and what stands before it, row by row."""
    rows = sorted(_standing(evidence, look, names), key=lambda row: (row[0], -row[1], row[2]))
    bad = [place for place, row in enumerate(rows) if row[3]]
    spare = evidence["credit_left"]
    stop = list(rows[bad[spare]][:3]) if 0 <= spare < len(bad) else None
    if spare >= 0 and stop != evidence["stop"] and (evidence["granted"] or evidence["stop"] is not None):
        return [f"ledger: the stopping row is {stop}, the evidence says {evidence['stop']}"]
    ahead = rows[: bad[spare]] if stop is not None else rows
    last = len(evidence["tiers"]) if stop is None else stop[0] + 1
    shown = [
        {
            "model": tier["model"],
            "agreed": sum(row[0] == number and not row[3] for row in ahead),
            "bad": sum(row[0] == number and row[3] for row in ahead),
        }
        for number, tier in enumerate(evidence["tiers"][:last])
    ]
    if evidence["granted"] and shown != evidence["shown"]:
        return [f"ledger: the rows before the stopping row showed {shown}, the evidence says {evidence['shown']}"]
    return []


def _standing(evidence: Mapping[str, Json], look: Round, names: Sequence[str]) -> list[tuple[int, float, int, bool]]:
    """(tier, score, u, bad) of every row of the look that a tier takes."""
    assert look.answers is not None
    assert look.u is not None
    gate, places = evidence["gate"], []
    tiers = [(list(names).index(tier["model"]), tier) for tier in evidence["tiers"]]
    for k in range(len(look.marks)):
        if gate is not None and not score_of(gate["score"], look.answers, k, 0) >= gate["floor"]:
            continue
        u = int(look.u[k])
        for number, (model, tier) in enumerate(tiers):
            score = score_of(tier["score"], look.answers, k, model)
            if look.marks[k, model] == DEFER or isnan(score):
                continue
            if tier["stop"] is None or (-score, u) < (-tier["stop"][0], tier["stop"][1]):
                places.append((number, score, u, bool(look.marks[k, model] == BAD)))
                break
    return places


def _lost(each: Round) -> int:
    return int((each.marks[:, 0] == ERROR).sum())


def rule(evidence: Mapping[str, Json]) -> Json:
    """The rule as the certificate shows it."""
    if "mix" in evidence:
        return mix.rule(evidence["mix"])
    if not evidence["granted"]:
        return {"shares": [], "order": "hashed"}
    gate = {"gate": evidence["gate"]} if evidence["gate"] else {}
    return {"tiers": delivered(evidence["tiers"], evidence["stop"])[: evidence["kept"]], **gate}


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
    problems += _place(evidence["tiers"], evidence["stop"]) + _kept(evidence, claim)
    pinned = repr(tuple(evidence[name] for name in ("tiers", "gate", "stop", "shown"))).encode()
    if evidence["pinned"] != blake2b(pinned, digest_size=8).hexdigest():
        problems.append("the stopping row, the tiers, the gate or what they showed was changed")
    if evidence["granted"] and (left < 0 or not evidence["kept"]):
        problems.append("granted without credit left or a tier to deliver")
    alpha = float(1 - Decimal(claim["confidence"]))
    if evidence["granted"] and errors and not problems and not covered(evidence, alpha):
        problems.append("rows without an answer are not covered")
    return problems


def _kept(evidence: Mapping[str, Json], claim: Mapping[str, Json]) -> list[str]:
    """The tiers delivered are those up to the first whose candidate is not likely to be above the floor, and no more
    bad rows stand before the stopping row than there is credit."""
    tiers, shown, stop = evidence["tiers"], evidence["shown"], evidence["stop"]
    last = len(tiers) if stop is None else stop[0] + 1
    if [each["model"] for each in shown] != [tier["model"] for tier in tiers[:last]]:
        return ["what the tiers showed is not of the tiers there are"]
    if min((min(each["agreed"], each["bad"]) for each in shown), default=0) < 0:
        return ["fewer rows than none were shown"]
    bad, rows = sum(each["bad"] for each in shown), sum(each["agreed"] + each["bad"] for each in shown)
    if rows + evidence["errors"] > evidence["looked"] + bad:
        return ["more rows were shown than looked at"]
    if evidence["granted"] and (bad > evidence["credit_left"] or (stop is not None and bad < evidence["credit_left"])):
        return ["the bad rows before the stopping row are not the credit there is"]
    enough = [likely(each["agreed"], each["bad"], claim) for each in shown]
    due = enough.index(False) if False in enough else last
    wrong = evidence["kept"] != due and (evidence["granted"] or evidence["kept"] != 0)
    return ["the tiers kept do not follow from what they showed"] * wrong


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
