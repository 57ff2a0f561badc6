"""`per-label/3` recomputed: the table's credit by scipy's hypergeometric tail, every label's by its binomial one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

from msgspec import convert
from msgspec.structs import replace
from scipy.stats import binom, hypergeom

from smart_llm.certificates.checks import Given, Promise, Round, allowance, digest, likely, walk
from smart_llm.certificates.parts import StatedRule, StatedTier
from smart_llm.types import ERROR, Json
from smart_llm.types.values import Number, Value

SLACK = 1e-7  # relative: the procedure's logarithms against scipy's
ABSENT = Fraction(1, 10)
"""Of a label's α: for taking it for too rare to be promised anything."""


class FixedLabels(Value, frozen=True, kw_only=True):
    """What was decided before the look. share, least: of the promise per label; promised: the keys of the labels."""

    pilot: int
    pilot_errors: int
    rows_left: int
    allowance: int
    reserve: int
    candidate: str
    peers: tuple[str, ...]
    score: tuple[tuple[str, Number], ...]
    looked: int
    share: str
    least: int
    promised: tuple[int, ...]

    @property
    def tier(self) -> StatedTier:
        """The candidate, before it has a stopping row."""
        return StatedTier(model=self.candidate, score=self.score, stop=None, peers=self.peers)


class LabelSeen(Value, frozen=True, kw_only=True):
    """One label: rows of pilot and look that carry it, how many a look shows of a common one, its credit, and rows
    without a place."""

    key: int
    pilot: int
    seen: int
    enough: int
    credit: int
    unplaced: int


class LabelEvidence(FixedLabels, frozen=True, kw_only=True):
    """All of it, where a promise has no credit."""

    labels: tuple[LabelSeen, ...]
    credit: int
    errors: int
    unplaced: int
    credit_left: int
    granted: bool

    @property
    def fixed(self) -> FixedLabels:
        """The part that was decided before the look."""
        return FixedLabels(**{name: getattr(self, name) for name in FixedLabels.__struct_fields__})


class AcceptedRows(Value, frozen=True):
    """Rows before the stopping row on which the candidate agreed, and the others."""

    agreed: int
    bad: int


class EndedEvidence(LabelEvidence, frozen=True, kw_only=True):
    """All of it, where every promise has credit. stop: score and blank score of the stopping row."""

    pays: bool
    stop: tuple[Number, int] | None
    shown: AcceptedRows
    stop_digest: str


def read(evidence: Json) -> LabelEvidence | None:
    """The evidence as a value, None where nothing was looked at; `ValueError` where it does not fit."""
    if not evidence:
        return None
    return convert(evidence, EndedEvidence if "stop" in evidence else LabelEvidence)


def check(evidence: LabelEvidence | None, claim: Promise) -> list[str]:
    """Problems with the evidence."""
    if evidence is None:
        return []
    if tuple(each.key for each in evidence.labels) != evidence.promised:
        return ["the labels are not those that were promised something"]
    problems = [*_population(evidence, claim), *_table(evidence, claim)]
    for label in evidence.labels:
        problems += _label(label, evidence, claim)
    if sum(label.seen for label in evidence.labels) + evidence.errors != evidence.looked:
        problems.append("looked: its rows are not those of the labels and of the errors")
    if sum(label.pilot for label in evidence.labels) + evidence.pilot_errors != evidence.pilot:
        problems.append("pilot: its rows are not those of the labels and of the errors")
    if sum(label.unplaced for label in evidence.labels) != evidence.unplaced:
        problems.append("the rows without a place are not those of the labels")
    return problems + _stop(evidence, claim)


def recount(evidence: LabelEvidence | None, rounds: Sequence[Round], fixed: Json, names: Sequence[str]) -> list[str]:
    """Rows, errors and labels of pilot and look, what was decided before the look, and what the look decided, as the
    ledger has them."""
    if evidence is None:
        return ["ledger: a look was made, of which the evidence says nothing"] * (fixed is not None)
    *pilot, look = rounds
    found = [*_rows(pilot), *_rows([look])]
    told = [evidence.pilot, evidence.pilot_errors, evidence.looked, evidence.errors]
    problems = [f"ledger: rows and errors of pilot and look are {found}, not {told}"] * (found != told)
    if fixed is None or evidence.fixed != convert(fixed, FixedLabels):
        problems.append("ledger: candidate, score and look are not those recorded before the look")
    if {names[model] for model in look.models} != {names[0], evidence.candidate, *evidence.peers}:
        problems.append("ledger: the look did not ask the candidate and its peers")
    walked = walk.Look.of([evidence.tier], None, look, names)
    for label in evidence.labels:
        key = label.key
        counts = [_carrying(pilot, key), _carrying([look], key), walked.unplaced.count(key)]
        if counts != [label.pilot, label.seen, label.unplaced]:
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


def _walked(evidence: LabelEvidence, look: walk.Look) -> list[str]:
    """The earliest stopping row, what stands before it, and whether delivering that pays (left open where it is a
    tie)."""
    credit: dict[int | None, int] = {label.key: label.credit - label.unplaced for label in evidence.labels}
    if not isinstance(evidence, EndedEvidence):
        return ["ledger: every promise has credit"] * (min([evidence.credit_left, *credit.values()]) >= 0)
    if min([evidence.credit_left, *credit.values()]) < 0:
        return ["ledger: a stopping row, although a promise has no credit"]
    left = {None: evidence.credit_left, **credit}
    stop: tuple[float, int] | None = None
    ahead = list[walk.Place]()
    for row in look.rows:
        hit = [group for group in left if row.bad and group in (None, row.label)]
        if any(left[group] == 0 for group in hit):
            stop = (row.score, row.u)
            break
        left |= {group: left[group] - 1 for group in hit}
        ahead.append(row)
    shown = AcceptedRows(**walk.showed(ahead))
    if (stop, shown) != (evidence.stop, evidence.shown):
        return [f"ledger: the stopping row is {stop}, after {shown}; the evidence says otherwise"]
    pays = walk.pays(*look.money(1, ahead))
    return ["ledger: whether delivering pays is not what the evidence says"] * (pays not in (None, evidence.pays))


def rule(evidence: LabelEvidence | None) -> StatedRule:
    """The rule as the certificate shows it."""
    if not isinstance(evidence, EndedEvidence) or not evidence.granted:
        return StatedRule(shares=(), order="hashed")
    return StatedRule(tiers=(replace(evidence.tier, stop=evidence.stop),))


def profiled(evidence: LabelEvidence | None) -> int | None:
    """Rows of pilot and look; None where nothing was looked at."""
    return None if evidence is None else evidence.pilot + evidence.looked


def given(evidence: LabelEvidence | None) -> list[Given]:
    """What the rows before the stopping row showed."""
    if not isinstance(evidence, EndedEvidence):
        return []
    return [(evidence.candidate, evidence.shown.agreed, evidence.shown.bad)]


def reserve(evidence: LabelEvidence | None) -> int | None:
    """What is left of the reserve after the pilot."""
    return None if evidence is None else evidence.reserve


def _population(evidence: LabelEvidence, claim: Promise) -> list[str]:
    problems, errors, reserve = [], evidence.pilot_errors, claim.reserve
    if evidence.pilot + evidence.rows_left != claim.rows:
        problems.append("pilot rows and rows left do not add up to the table")
    if evidence.allowance != allowance(claim) - max(0, errors - reserve):
        problems.append("the allowance does not follow from the claim and the pilot's errors")
    if evidence.reserve != max(0, reserve - errors):
        problems.append("the reserve does not follow from the claim and the pilot's errors")
    share = None if claim.per_label is None else Fraction(claim.per_label)
    if (Fraction(evidence.share), evidence.least) != (share, claim.label_rows):
        problems.append("share and least rows of a label are not the claim's")
    return problems


def _table(evidence: LabelEvidence, claim: Promise) -> list[str]:
    rows, looked, credit = evidence.rows_left, evidence.looked, evidence.credit
    misses, alpha = evidence.allowance + evidence.reserve, float(_alpha(claim))
    level: Callable[[int], float] = lambda c: float(hypergeom.cdf(c, rows, misses + 1, looked))  # noqa: E731
    problems = []
    if misses < 0 or misses >= rows:
        right = credit == (-1 if misses < 0 else looked)
    else:
        keeps = credit == -1 or (0 <= credit <= min(looked, misses + 1) and level(credit) <= alpha)
        right = keeps and level(credit + 1) > alpha * (1 - SLACK)
    if not right:
        problems.append("the table's credit is off")
    if evidence.credit_left != credit - evidence.errors - evidence.unplaced:
        problems.append("credit, errors and what is left of it do not add up")
    return problems


def _label(label: LabelSeen, evidence: LabelEvidence, claim: Promise) -> list[str]:
    rows, looked, seen, shows = evidence.rows_left, evidence.looked, label.seen, label.enough
    carried = evidence.least - label.pilot - evidence.pilot_errors - claim.set_aside
    lost = evidence.errors
    alpha, problems = _alpha(claim), []
    few: Callable[[int], float] = lambda s: float(hypergeom.cdf(s - 1, rows, min(carried, rows), looked))  # noqa: E731
    absent = float(ABSENT * alpha)
    if shows != 0 if carried <= 0 else not few(shows) <= absent < few(shows + 1) * (1 + SLACK):
        problems.append(f"label {label.key}: a common one does not show up {shows} times")
    credit, part = label.credit, (1 - ABSENT) * alpha
    rare = seen + lost < shows
    right = credit == seen if rare else is_largest(credit + lost, seen + lost, Fraction(evidence.share), part)
    return problems if right else [*problems, f"label {label.key}: its credit is off"]


def is_largest(credit: int, seen: int, share: Fraction, alpha: Fraction) -> bool:
    """Whether this is the largest c with P(Bin(seen, 1 − share) ≤ c) ≤ alpha that has the hypergeometric tail below."""
    law = binom(seen, float(1 - share))
    below: Callable[[int], bool] = lambda c: c <= 0 or Fraction(c * seen, seen - 1) + 1 <= (1 - share) * (seen + 1)  # noqa: E731
    keeps = credit == -1 or (0 <= credit < seen and below(credit) and law.cdf(credit) <= float(alpha))
    return keeps and not (credit + 1 < seen and below(credit + 1) and law.cdf(credit + 1) <= float(alpha) * (1 - SLACK))


def _alpha(claim: Promise) -> Fraction:
    return 1 - Fraction(claim.confidence)


def _stop(evidence: LabelEvidence, claim: Promise) -> list[str]:
    lacking = [label.credit - label.unplaced for label in evidence.labels]
    if min([evidence.credit_left, *lacking]) < 0:
        idle = not isinstance(evidence, EndedEvidence) and not evidence.granted
        return [] if idle else ["a promise has no credit, yet there is a stopping row"]
    if not isinstance(evidence, EndedEvidence):
        return ["every promise has credit, yet there is no stopping row"]
    problems = []
    agreed, bad = evidence.shown.agreed, evidence.shown.bad
    if min(agreed, bad) < 0 or agreed + bad > evidence.looked or bad > evidence.credit_left:
        problems.append("the rows before the stopping row are more than there can be")
    if evidence.granted is not (evidence.pays and likely(agreed, bad, claim.floor)):
        problems.append("whether it is granted does not follow from what it saves and what the candidate showed")
    told = evidence.to_json()
    if evidence.stop_digest != digest(*(told[name] for name in ("candidate", "peers", "score", "stop", "shown"))):
        problems.append("the stopping row, its score, its candidate or what was shown was changed")
    return problems
