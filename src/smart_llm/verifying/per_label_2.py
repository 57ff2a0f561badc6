"""`per-label/2` recomputed: the table's credit by scipy's hypergeometric tail, every label's by its binomial one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from hashlib import blake2b

from scipy.stats import binom, hypergeom

from smart_llm.types import ERROR, Json
from smart_llm.verifying import Round, allowance

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
    return problems + _stop(evidence)


def recount(evidence: Mapping[str, Json], rounds: Sequence[Round]) -> list[str]:
    """Rows and errors of pilot and look, as the ledger has them."""
    if not evidence:
        return []
    pilot, look = rounds[0].marks, rounds[-1].marks
    found = [len(pilot), int((pilot[:, 0] == ERROR).sum()), len(look), int((look[:, 0] == ERROR).sum())]
    told = [evidence[name] for name in ("pilot", "pilot_errors", "looked", "errors")]
    return [f"rows and errors of pilot and look are {found} in the ledger, not {told}"] * (found != told)


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


def _stop(evidence: Mapping[str, Json]) -> list[str]:
    if "stop" not in evidence:
        return ["granted without a stopping row"] if evidence["granted"] else []
    problems = []
    if evidence["credit_left"] < 0 or any(label["credit"] < 0 for label in evidence["labels"]):
        problems.append("a promise has no credit, yet there is a stopping row")
    pinned = repr(tuple(evidence[name] for name in ("candidate", "peers", "score", "stop"))).encode()
    if evidence["stop_digest"] != blake2b(pinned, digest_size=8).hexdigest():
        problems.append("the stopping row, its score or its candidate was changed")
    return problems
