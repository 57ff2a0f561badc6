"""`per-label/1` recomputed: the table's look and every label's, by scipy's hypergeometric tails.

Each label's chain is derived again: the lower limit of how many rows carry it from the rows seen, its allowance from
that limit, its credit from the allowance (the largest that keeps the label's level), and that credit's level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from hashlib import blake2b
from math import floor, isclose

import numpy as np
from scipy.stats import hypergeom

from smart_llm.types import ERROR, Json
from smart_llm.verifying import Round, allowance
from smart_llm.verifying.ladder_3 import covered

SLACK = 1e-7  # relative: the procedure's logarithms against scipy's


def check(evidence: Mapping[str, Json], claim: Mapping[str, Json]) -> list[str]:
    """Problems with the evidence."""
    if not evidence:
        return []
    problems = [*_population(evidence, claim), *_table(evidence, claim)]
    alpha = float(1 - Decimal(claim["confidence"])) / (4 * max(1, len(evidence["labels"])))
    for label in evidence["labels"]:
        problems += _label(label, evidence, alpha)
    if sum(label["seen"] for label in evidence["labels"]) + evidence["errors"] != evidence["looked"]:
        problems.append("the rows looked at are not those of the labels and of the errors")
    if sum(label["pilot"] for label in evidence["labels"]) + evidence["pilot_errors"] != evidence["pilot"]:
        problems.append("the pilot's rows are not those of the labels and of the errors")
    return problems + _stop(evidence, claim)


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
    alpha = float(1 - Decimal(claim["confidence"])) / 2
    rows, looked, credit = evidence["rows_left"], evidence["looked"], evidence["credit"]
    problems = [] if _is_largest(rows, evidence["allowance"], looked, credit, alpha) else ["the table's credit is off"]
    if credit >= 0 and not isclose(
        evidence["level"], _level(rows, evidence["allowance"], looked, credit), rel_tol=SLACK
    ):
        problems.append("the table's level is off")
    errors, reserve = evidence["errors"], evidence["reserve"]
    left = credit - errors - max(0, errors - reserve) if credit >= 0 else -1
    if evidence["credit_left"] != left:
        problems.append("credit, errors and what is left of it do not add up")
    return problems


def _label(label: Mapping[str, Json], evidence: Mapping[str, Json], alpha: float) -> list[str]:
    rows, looked, seen = evidence["rows_left"], evidence["looked"], label["seen"]
    counts = np.arange(seen, rows - looked + seen + 1)
    lower = int(counts[np.argmax(hypergeom.sf(seen - 1, rows, counts, looked) > alpha)])
    carried = max(evidence["least"], label["pilot"] + label["lower"])
    allowed = floor((1 - float(Fraction(evidence["share"]))) * carried * (1 - 1e-12))
    problems = []
    if label["lower"] != lower:
        problems.append(f"label {label['key']}: at least {lower} rows carry it, not {label['lower']}")
    if label["allowed"] != allowed:
        problems.append(f"label {label['key']}: {allowed} of its rows may be spoilt, not {label['allowed']}")
    if not _is_largest(rows, label["allowed"], looked, label["credit"], alpha):
        problems.append(f"label {label['key']}: its credit is off")
    level = _level(rows, label["allowed"], looked, label["credit"]) if 0 <= label["credit"] < looked else 0.0
    if not isclose(label["level"], level, rel_tol=SLACK, abs_tol=1e-300):
        problems.append(f"label {label['key']}: its level is off")
    return problems


def _is_largest(rows: int, allowed: int, looked: int, credit: int, alpha: float) -> bool:
    """Whether this is the largest credit that keeps the level (`looked` where any does)."""
    if allowed < 0:
        return credit == -1
    most = min(looked, rows - allowed - 1)
    if most < 0:
        return credit == looked
    if not -1 <= credit <= most:
        return False
    keeps = credit == -1 or _level(rows, allowed, looked, credit) <= alpha
    return keeps and (credit == most or _level(rows, allowed, looked, credit + 1) > alpha * (1 - SLACK))


def _level(rows: int, allowed: int, looked: int, credit: int) -> float:
    return float(hypergeom.cdf(credit, rows, min(rows, allowed + 1 + credit), looked))


def _stop(evidence: Mapping[str, Json], claim: Mapping[str, Json]) -> list[str]:
    if "stop" not in evidence:
        return ["granted without a stopping row"] if evidence["granted"] else []
    problems = []
    if evidence["credit_left"] < 0 or any(label["credit"] < 0 for label in evidence["labels"]):
        problems.append("a promise has no credit, yet there is a stopping row")
    if evidence["errors"] and not problems and not covered(evidence, float(1 - Decimal(claim["confidence"])) / 2):
        problems.append("rows without an answer are not covered")
    pinned = repr(tuple(evidence[name] for name in ("candidate", "peers", "score", "stop"))).encode()
    if evidence["stop_digest"] != blake2b(pinned, digest_size=8).hexdigest():
        problems.append("the stopping row, its score or its candidate was changed")
    return problems
