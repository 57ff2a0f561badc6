"""One look walked again, row by row: where its rows stand, where delivery ends, and whether what is delivered pays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isclose, isnan

from smart_llm.certificates.checks import Round
from smart_llm.certificates.checks.scores import Terms, score_of
from smart_llm.certificates.parts import StatedGate, StatedTier
from smart_llm.types import BAD, DEFER, ERROR, Answers
from smart_llm.types.values import Number

TIE = 1e-9
"""Relative: sums of money closer to each other than this may be added up either way."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row stands: the tier that takes it, how sure it is, its blank score. bad: the answer it takes; label: the
    key of the reference's answer; at: its place in the look."""

    tier: int
    score: float
    u: int
    bad: bool
    label: int
    at: int

    @property
    def order(self) -> tuple[int, float, int]:
        """What rows are sorted by."""
        return self.tier, -self.score, self.u


@dataclass(frozen=True, slots=True)
class Step:
    """A tier with its models by index. calls: the candidate and its peers."""

    model: int
    score: Terms
    stop: tuple[Number, int] | None
    calls: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Look:
    """rows: in delivery order, without those that no tier takes. unplaced: those that count as bad before them all, by
    the key of the reference's answer. u: the blank scores of all rows, as they were asked about."""

    rows: tuple[Place, ...]
    unplaced: tuple[int, ...]
    tiers: tuple[Step, ...]
    gate: StatedGate | None
    answers: Answers
    u: tuple[int, ...]

    @classmethod
    def of(cls, tiers: Sequence[StatedTier], gate: StatedGate | None, look: Round, names: Sequence[str]) -> Look:
        """From what the ledger has. tiers, gate: as the evidence names them."""
        if look.answers is None or look.u is None:
            raise ValueError("the look's answers are not known")
        index = {name: k for k, name in enumerate(names)}
        known = tuple(
            Step(index[tier.model], tier.score, tier.stop, tuple(index[name] for name in (tier.model, *tier.peers)))
            for tier in tiers
        )
        answers, places, nowhere = look.answers, list[Place](), list[int]()
        alone = len(look.models) == 1  # the reference: then no tier takes a row
        for k in () if alone else range(len(look.marks)):
            if not _passes(gate, answers, k):
                continue
            if _unplaced(known, answers, k):
                nowhere.append(_label(answers, k))
            if (number := _taken(known, answers, k, int(look.u[k]))) is not None:
                model = known[number].model
                score, bad = score_of(known[number].score, answers, k, model), answers.marks[k, model] == BAD
                places.append(Place(number, score, int(look.u[k]), bool(bad), _label(answers, k), k))
        return cls(
            tuple(sorted(places, key=lambda place: place.order)),
            tuple(nowhere),
            known,
            gate,
            answers,
            tuple(look.u.tolist()),
        )

    def until(self, spare: int) -> tuple[tuple[int, float, int] | None, list[Place]]:
        """The (spare + 1)-th bad row as (tier, score, u), None if there are fewer; and the rows before it."""
        bad = [k for k, place in enumerate(self.rows) if place.bad]
        if len(bad) <= spare:
            return None, list(self.rows)
        end = self.rows[bad[spare]]
        return (end.tier, end.score, end.u), list(self.rows[: bad[spare]])

    def money(
        self, tiers: int, ahead: Sequence[Place], end: tuple[int, float, int] | None = None
    ) -> tuple[float, float]:
        """What these tiers save and what they spend on the rows of the look. ahead: rows before the end. Where only the
        blank score orders rows, nobody is asked about those behind it."""
        blank_end = end[2] if end is not None and not self.tiers[end[0]].score else None
        taken = {place.at: place.tier for place in ahead if place.tier < tiers}
        saved = spent = 0.0
        for k in range(len(self.answers.marks)):
            if not _passes(self.gate, self.answers, k) or (blank_end is not None and self.u[k] >= blank_end):
                continue
            calls = {model for tier in self.tiers[: min(tiers, taken.get(k, tiers) + 1)] for model in tier.calls}
            spent += sum(float(self.answers.cost[k, model]) for model in calls)
            saved += float(self.answers.cost[k, 0]) if k in taken else 0.0
        return saved, spent


def showed(rows: Sequence[Place]) -> dict[str, int]:
    """On how many of these rows the candidate agreed, and how many were bad."""
    bad = sum(place.bad for place in rows)
    return {"agreed": len(rows) - bad, "bad": bad}


def pays(saved: float, spent: float) -> bool | None:
    """Whether more is saved than spent; None where that is a matter of rounding."""
    return None if isclose(saved, spent, rel_tol=TIE) else saved > spent


def _passes(gate: StatedGate | None, answers: Answers, k: int) -> bool:
    return gate is None or score_of(gate.score, answers, k, 0) >= gate.floor


def _taken(tiers: Sequence[Step], answers: Answers, k: int, u: int) -> int | None:
    """The first tier that takes the row."""
    for number, tier in enumerate(tiers):
        score = score_of(tier.score, answers, k, tier.model)
        if answers.marks[k, tier.model] == DEFER or isnan(score):
            continue
        if tier.stop is None or (-score, u) < (-tier.stop[0], tier.stop[1]):
            return number
    return None


def _unplaced(tiers: Sequence[Step], answers: Answers, k: int) -> bool:
    """Whether the row may be delivered wrongly, and stand nobody knows where: its answer is bad and has no score, or a
    call failed."""
    marks, key = answers.marks[k], None if answers.traits is None else answers.traits.key[k]
    if marks[0] == ERROR:
        return False
    bad = any(marks[tier.model] == BAD and isnan(score_of(tier.score, answers, k, tier.model)) for tier in tiers)
    calls = {model for tier in tiers for model in tier.calls}
    return bad or (key is not None and any(marks[model] == BAD and key[model] == 0 for model in calls))


def _label(answers: Answers, k: int) -> int:
    return 0 if answers.traits is None else int(answers.traits.key[k, 0])
