"""`per-label/3` recomputed: the table's credit by scipy's hypergeometric tail, every label's by its binomial one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from hashlib import blake2b
from math import isnan

from scipy.stats import binom, hypergeom

from smart_llm.types import BAD, DEFER, ERROR, Json
from smart_llm.verifying import Round, allowance, likely
from smart_llm.verifying.scores import score_of

SLACK = 1e-7  # relative: the procedure's logarithms against scipy's
ABSENT = Fraction(1, 10)
"""Of a label's α: for taking it for too rare to be promised anything."""


def check(evidence: Mapping[str, Json], claim: Mapping[str, Json]) -> list[str]:
    """Problems with the evidence."""
    if not evidence:
        return []
    problems = [*_population(evidence, claim), *_table(evidence, claim)]
    for label in evidence["labels"]:
        problems += _label(label, evidence, claim)
    if sum(label["seen"] for label in evidence["labels"]) + evidence["errors"] != evidence["looked"]:
        problems.append("the rows looked at are not those of the labels and of the errors")
    if sum(label["pilot"] for label in evidence["labels"]) + evidence["pilot_errors"] != evidence["pilot"]:
        problems.append("the pilot's rows are not those of the labels and of the errors")
    return problems + _stop(evidence, claim)


DECIDED = (
    "pilot",
    "pilot_errors",
    "rows_left",
    "allowance",
    "reserve",
    "candidate",
    "peers",
    "score",
    "looked",
    "share",
    "least",
)
"""Fields of the evidence that were decided before the look."""


def recount(evidence: Mapping[str, Json], rounds: Sequence[Round], fixed: Json, names: Sequence[str]) -> list[str]:
    """Rows, errors and labels of pilot and look, what was decided before the look, and the stopping row, as the ledger
    has them."""
    if not evidence:
        return []
    *pilot, look = rounds
    found = [*_rows(pilot), *_rows([look])]
    told = [evidence[name] for name in ("pilot", "pilot_errors", "looked", "errors")]
    problems = [f"ledger: rows and errors of pilot and look are {found}, not {told}"] * (found != told)
    if {name: evidence[name] for name in DECIDED} != fixed:
        problems.append("ledger: candidate, score and look are not those recorded before the look")
    for label in evidence["labels"]:
        counts = [_carrying(pilot, label["key"]), _carrying([look], label["key"])]
        if counts != [label["pilot"], label["seen"]]:
            problems.append(f"ledger: label {label['key']} is on {counts} rows of pilot and look")
    return problems or _walked(evidence, look, names)


def _rows(rounds: Sequence[Round]) -> list[int]:
    return [sum(len(each.marks) for each in rounds), sum(int((each.marks[:, 0] == ERROR).sum()) for each in rounds)]


def _carrying(rounds: Sequence[Round], key: int) -> int:
    """Rows of which the reference's answer is this label."""
    known = [each.answers.traits for each in rounds if each.answers is not None and each.answers.traits is not None]
    return sum(int((traits.key[:, 0] == key).sum()) for traits in known)


def _walked(evidence: Mapping[str, Json], look: Round, names: Sequence[str]) -> list[str]:
    """The earliest stopping row, and what stands before it."""
    if "stop" not in evidence:
        return []
    assert look.answers is not None
    assert look.answers.traits is not None
    assert look.u is not None
    model = list(names).index(evidence["candidate"])
    rows = []
    for k in range(len(look.marks)):
        score, mark = score_of(evidence["score"], look.answers, k, model), look.marks[k, model]
        if not isnan(score):
            rows.append((-score, int(look.u[k]), int(mark), int(look.answers.traits.key[k, 0])))
    rows.sort()
    credit = {None: evidence["credit_left"], **{label["key"]: label["credit"] for label in evidence["labels"]}}
    spent, before, stop = dict.fromkeys(credit, 0), [], None
    for row in rows:
        hit = [group for group in credit if row[2] == BAD and group in (None, row[3])]
        if any(spent[group] >= credit[group] for group in hit):
            stop = [-row[0], row[1]]
            break
        for group in hit:
            spent[group] += 1
        before.append(row[2])
    shown = {"agreed": sum(mark not in (BAD, DEFER) for mark in before), "bad": before.count(BAD)}
    if (stop, shown) != (evidence["stop"], evidence["shown"]):
        return [f"ledger: the stopping row is {stop}, after {shown}; the evidence says otherwise"]
    return []


def rule(evidence: Mapping[str, Json]) -> Json:
    """The rule as the certificate shows it."""
    if not evidence or not evidence["granted"]:
        return {"shares": [], "order": "hashed"}
    tier = {"model": evidence["candidate"], "score": evidence["score"]}
    return {"tiers": [tier | {"stop": evidence["stop"], "peers": evidence["peers"]}]}


def _population(evidence: Mapping[str, Json], claim: Mapping[str, Json]) -> list[str]:
    problems, errors, reserve = [], evidence["pilot_errors"], claim["reserve"]
    if evidence["pilot"] + evidence["rows_left"] != claim["rows"]:
        problems.append("pilot rows and rows left do not add up to the table")
    if evidence["allowance"] != allowance(claim) - max(0, errors - reserve):
        problems.append("the allowance does not follow from the claim and the pilot's errors")
    if evidence["reserve"] != max(0, reserve - errors):
        problems.append("the reserve does not follow from the claim and the pilot's errors")
    if [str(Fraction(evidence["share"])), evidence["least"]] != [
        str(Fraction(claim["per_label"])),
        claim["label_rows"],
    ]:
        problems.append("share and least rows of a label are not the claim's")
    return problems


def _table(evidence: Mapping[str, Json], claim: Mapping[str, Json]) -> list[str]:
    rows, looked, credit = evidence["rows_left"], evidence["looked"], evidence["credit"]
    misses, alpha = evidence["allowance"] + evidence["reserve"], float(_alpha(claim))
    level: Callable[[int], float] = lambda c: float(hypergeom.cdf(c, rows, misses + 1, looked))  # noqa: E731
    problems = []
    if misses < 0 or misses >= rows:
        right = credit == (-1 if misses < 0 else looked)
    else:
        keeps = credit == -1 or (0 <= credit <= min(looked, misses + 1) and level(credit) <= alpha)
        right = keeps and level(credit + 1) > alpha * (1 - SLACK)
    if not right:
        problems.append("the table's credit is off")
    if evidence["credit_left"] != credit - evidence["errors"]:
        problems.append("credit, errors and what is left of it do not add up")
    return problems


def _label(label: Mapping[str, Json], evidence: Mapping[str, Json], claim: Mapping[str, Json]) -> list[str]:
    rows, looked, seen, shows = evidence["rows_left"], evidence["looked"], label["seen"], label["enough"]
    carried = evidence["least"] - label["pilot"] - claim.get("set_aside", 0)
    alpha, problems = _alpha(claim), []
    few: Callable[[int], float] = lambda s: float(hypergeom.cdf(s - 1, rows, min(carried, rows), looked))  # noqa: E731
    absent = float(ABSENT * alpha)
    if shows != 0 if carried <= 0 else not few(shows) <= absent < few(shows + 1) * (1 + SLACK):
        problems.append(f"label {label['key']}: a common one does not show up {shows} times")
    credit, part = label["credit"], (1 - ABSENT) * alpha
    right = credit == seen if seen < shows else is_largest(credit, seen, Fraction(evidence["share"]), part)
    return problems if right else [*problems, f"label {label['key']}: its credit is off"]


def is_largest(credit: int, seen: int, share: Fraction, alpha: Fraction) -> bool:
    """Whether this is the largest c with P(Bin(seen, 1 − share) ≤ c) ≤ alpha that has the hypergeometric tail below."""
    law = binom(seen, float(1 - share))
    below: Callable[[int], bool] = lambda c: c <= 0 or Fraction(c * seen, seen - 1) + 1 <= (1 - share) * (seen + 1)  # noqa: E731
    keeps = credit == -1 or (0 <= credit < seen and below(credit) and law.cdf(credit) <= float(alpha))
    return keeps and not (credit + 1 < seen and below(credit + 1) and law.cdf(credit + 1) <= float(alpha) * (1 - SLACK))


def _alpha(claim: Mapping[str, Json]) -> Fraction:
    return 1 - Fraction(claim["confidence"])


def _stop(evidence: Mapping[str, Json], claim: Mapping[str, Json]) -> list[str]:
    if "stop" not in evidence:
        return ["granted without a stopping row"] if evidence["granted"] else []
    problems = []
    if evidence["credit_left"] < 0 or any(label["credit"] < 0 for label in evidence["labels"]):
        problems.append("a promise has no credit, yet there is a stopping row")
    agreed, bad = evidence["shown"]["agreed"], evidence["shown"]["bad"]
    if min(agreed, bad) < 0 or agreed + bad > evidence["looked"] or bad > evidence["credit_left"]:
        problems.append("the rows before the stopping row are more than there can be")
    if evidence["granted"] and not likely(agreed, bad, claim):
        problems.append("granted, yet the candidate is not likely to be above the floor")
    pinned = repr(tuple(evidence[name] for name in ("candidate", "peers", "score", "stop", "shown"))).encode()
    if evidence["stop_digest"] != blake2b(pinned, digest_size=8).hexdigest():
        problems.append("the stopping row, its score, its candidate or what was shown was changed")
    return problems
