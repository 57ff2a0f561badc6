"""`per-label/3` recomputed: the table's credit by scipy's hypergeometric tail, every label's by its binomial one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

from msgspec import convert
from scipy.stats import binom, hypergeom

from smart_llm.certificates.checks import Promise, Round, allowance, digest, likely, shaped, walk
from smart_llm.certificates.parts import StatedRule
from smart_llm.types import ERROR, Json

SLACK = 1e-7  # relative: the procedure's logarithms against scipy's
ABSENT = Fraction(1, 10)
"""Of a label's α: for taking it for too rare to be promised anything."""


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
    "promised",
)
"""Fields of the evidence that were decided before the look."""
FOUND = ("labels", "credit", "errors", "unplaced", "credit_left", "granted")
"""Fields that the look decided; `END` besides, where every promise has credit."""
END = ("pays", "stop", "shown", "stop_digest")
LABELS = [dict.fromkeys(("key", "pilot", "seen", "enough", "credit", "unplaced"))]
SHOWN = dict.fromkeys(("agreed", "bad"))


def check(evidence: Mapping[str, Json], claim: Promise) -> list[str]:
    """Problems with the evidence."""
    if not evidence:
        return []
    ended = dict.fromkeys(END) | {"shown": SHOWN} if "stop" in evidence else {}
    if not shaped(evidence, dict.fromkeys((*DECIDED, *FOUND)) | {"labels": LABELS} | ended):
        return ["not the fields of a look with promises per label"]
    if [each["key"] for each in evidence["labels"]] != evidence["promised"]:
        return ["the labels are not those that were promised something"]
    problems = [*_population(evidence, claim), *_table(evidence, claim)]
    for label in evidence["labels"]:
        problems += _label(label, evidence, claim)
    for name, whole, lost in (("seen", "looked", "errors"), ("pilot", "pilot", "pilot_errors")):
        if sum(label[name] for label in evidence["labels"]) + evidence[lost] != evidence[whole]:
            problems.append(f"{whole}: its rows are not those of the labels and of the errors")
    if sum(label["unplaced"] for label in evidence["labels"]) != evidence["unplaced"]:
        problems.append("the rows without a place are not those of the labels")
    return problems + _stop(evidence, claim)


def recount(evidence: Mapping[str, Json], rounds: Sequence[Round], fixed: Json, names: Sequence[str]) -> list[str]:
    """Rows, errors and labels of pilot and look, what was decided before the look, and what the look decided, as the
    ledger has them."""
    if not evidence:
        return ["ledger: a look was made, of which the evidence says nothing"] * (fixed is not None)
    *pilot, look = rounds
    found = [*_rows(pilot), *_rows([look])]
    told = [evidence[name] for name in ("pilot", "pilot_errors", "looked", "errors")]
    problems = [f"ledger: rows and errors of pilot and look are {found}, not {told}"] * (found != told)
    if {name: evidence[name] for name in DECIDED} != fixed:
        problems.append("ledger: candidate, score and look are not those recorded before the look")
    if {names[model] for model in look.models} != {names[0], evidence["candidate"], *evidence["peers"]}:
        problems.append("ledger: the look did not ask the candidate and its peers")
    tier = {"model": evidence["candidate"], "score": evidence["score"], "stop": None, "peers": evidence["peers"]}
    walked = walk.Look.of([tier], None, look, names)
    for label in evidence["labels"]:
        key = label["key"]
        counts = [_carrying(pilot, key), _carrying([look], key), walked.unplaced.count(key)]
        if counts != [label["pilot"], label["seen"], label["unplaced"]]:
            problems.append(f"ledger: label {key} is on {counts} rows of pilot and look, and of those without a place")
    return problems or _walked(evidence, walked)


def _rows(rounds: Sequence[Round]) -> list[int]:
    return [sum(len(each.marks) for each in rounds), sum(int((each.marks[:, 0] == ERROR).sum()) for each in rounds)]


def _carrying(rounds: Sequence[Round], key: int) -> int:
    """Rows of which the reference's answer is this label."""
    known = [each.answers.traits for each in rounds if each.answers is not None and each.answers.traits is not None]
    if len(known) < len(rounds):
        raise ValueError("the reference's answers are not known")
    return sum(int((traits.key[:, 0] == key).sum()) for traits in known)


def _walked(evidence: Mapping[str, Json], look: walk.Look) -> list[str]:
    """The earliest stopping row, what stands before it, and whether delivering that pays (left open where it is a
    tie)."""
    credit = {label["key"]: label["credit"] - label["unplaced"] for label in evidence["labels"]}
    if min([evidence["credit_left"], *credit.values()]) < 0:
        return ["ledger: a stopping row, although a promise has no credit"] * ("stop" in evidence)
    left, stop, ahead = {None: evidence["credit_left"], **credit}, None, list[walk.Place]()
    for row in look.rows:
        hit = [group for group in left if row.bad and group in (None, row.label)]
        if any(left[group] == 0 for group in hit):
            stop = [row.score, row.u]
            break
        left |= {group: left[group] - 1 for group in hit}
        ahead.append(row)
    shown = walk.showed(ahead)
    if (stop, shown) != (evidence["stop"], evidence["shown"]):
        return [f"ledger: the stopping row is {stop}, after {shown}; the evidence says otherwise"]
    pays = walk.pays(*look.money(1, ahead))
    return ["ledger: whether delivering pays is not what the evidence says"] * (pays not in (None, evidence["pays"]))


def rule(evidence: Mapping[str, Json]) -> StatedRule:
    """The rule as the certificate shows it."""
    if not evidence or not evidence["granted"]:
        return StatedRule(shares=(), order="hashed")
    tier = {"model": evidence["candidate"], "score": evidence["score"]}
    return convert({"tiers": [tier | {"stop": evidence["stop"], "peers": evidence["peers"]}]}, StatedRule)


def _population(evidence: Mapping[str, Json], claim: Promise) -> list[str]:
    problems, errors, reserve = [], evidence["pilot_errors"], claim.reserve
    if evidence["pilot"] + evidence["rows_left"] != claim.rows:
        problems.append("pilot rows and rows left do not add up to the table")
    if evidence["allowance"] != allowance(claim) - max(0, errors - reserve):
        problems.append("the allowance does not follow from the claim and the pilot's errors")
    if evidence["reserve"] != max(0, reserve - errors):
        problems.append("the reserve does not follow from the claim and the pilot's errors")
    share = None if claim.per_label is None else Fraction(claim.per_label)
    if (Fraction(evidence["share"]), evidence["least"]) != (share, claim.label_rows):
        problems.append("share and least rows of a label are not the claim's")
    return problems


def _table(evidence: Mapping[str, Json], claim: Promise) -> list[str]:
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
    if evidence["credit_left"] != credit - evidence["errors"] - evidence["unplaced"]:
        problems.append("credit, errors and what is left of it do not add up")
    return problems


def _label(label: Mapping[str, Json], evidence: Mapping[str, Json], claim: Promise) -> list[str]:
    rows, looked, seen, shows = evidence["rows_left"], evidence["looked"], label["seen"], label["enough"]
    carried = evidence["least"] - label["pilot"] - evidence["pilot_errors"] - claim.set_aside
    lost = evidence["errors"]
    alpha, problems = _alpha(claim), []
    few: Callable[[int], float] = lambda s: float(hypergeom.cdf(s - 1, rows, min(carried, rows), looked))  # noqa: E731
    absent = float(ABSENT * alpha)
    if shows != 0 if carried <= 0 else not few(shows) <= absent < few(shows + 1) * (1 + SLACK):
        problems.append(f"label {label['key']}: a common one does not show up {shows} times")
    credit, part = label["credit"], (1 - ABSENT) * alpha
    rare = seen + lost < shows
    right = credit == seen if rare else is_largest(credit + lost, seen + lost, Fraction(evidence["share"]), part)
    return problems if right else [*problems, f"label {label['key']}: its credit is off"]


def is_largest(credit: int, seen: int, share: Fraction, alpha: Fraction) -> bool:
    """Whether this is the largest c with P(Bin(seen, 1 − share) ≤ c) ≤ alpha that has the hypergeometric tail below."""
    law = binom(seen, float(1 - share))
    below: Callable[[int], bool] = lambda c: c <= 0 or Fraction(c * seen, seen - 1) + 1 <= (1 - share) * (seen + 1)  # noqa: E731
    keeps = credit == -1 or (0 <= credit < seen and below(credit) and law.cdf(credit) <= float(alpha))
    return keeps and not (credit + 1 < seen and below(credit + 1) and law.cdf(credit + 1) <= float(alpha) * (1 - SLACK))


def _alpha(claim: Promise) -> Fraction:
    return 1 - Fraction(claim.confidence)


def _stop(evidence: Mapping[str, Json], claim: Promise) -> list[str]:
    lacking = [label["credit"] - label["unplaced"] for label in evidence["labels"]]
    if min([evidence["credit_left"], *lacking]) < 0:
        idle = not set(END) & set(evidence) and evidence["granted"] is False
        return [] if idle else ["a promise has no credit, yet there is a stopping row"]
    if "stop" not in evidence:
        return ["every promise has credit, yet there is no stopping row"]
    problems = []
    agreed, bad = evidence["shown"]["agreed"], evidence["shown"]["bad"]
    if min(agreed, bad) < 0 or agreed + bad > evidence["looked"] or bad > evidence["credit_left"]:
        problems.append("the rows before the stopping row are more than there can be")
    if evidence["granted"] is not (evidence["pays"] is True and likely(agreed, bad, claim.floor)):
        problems.append("whether it is granted does not follow from what it saves and what the candidate showed")
    if evidence["stop_digest"] != digest(
        *(evidence[name] for name in ("candidate", "peers", "score", "stop", "shown"))
    ):
        problems.append("the stopping row, its score, its candidate or what was shown was changed")
    return problems
