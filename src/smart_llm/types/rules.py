"""Rules of delivery: which rows a candidate answers, once a procedure has certified it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Mix:
    """Rule: of the rows not profiled, the next `count` in `order` go to each candidate in turn, the rest to the
    reference.

    shares: (candidate index, count). order: "hashed" (the blank score u_i of the seed) or "file" (the paper's).
    """

    shares: tuple[tuple[int, int], ...] = ()
    order: str = "hashed"


@dataclass(frozen=True, slots=True)
class Score:
    """How sure an answer is: Σ weight × trait, higher is surer; the traits' names are explained in `scores.traits`."""

    terms: tuple[tuple[str, float], ...] = (("own", 1.0),)


@dataclass(frozen=True, slots=True)
class Tier:
    """One step of a cascade: `candidate` is asked, and its answer accepted when its (score, u) stands before `stop`.

    stop: (score, u) of the first row not accepted; rows with a higher score stand before it, and of those with the same
    score the ones with a smaller u, the blank score of the run's seed (`uniforms(seed, "shares", rows)`). None: every
    row with a score is accepted. peers: candidates asked along with it, because the score compares their answers.
    """

    candidate: int
    score: Score
    stop: tuple[float, int] | None
    peers: tuple[int, ...] = ()

    @property
    def models(self) -> tuple[int, ...]:
        """Who is asked about a row that reaches this tier."""
        return (self.candidate, *self.peers)

    @property
    def blank(self) -> bool:
        """Whether rows stand in the order of the blank score alone, which is known before anybody is asked."""
        return not self.score.terms


@dataclass(frozen=True, slots=True)
class Gate:
    """Rows whose `score` is below `floor`, or is not known, go straight to the reference: no candidate is called. The
    score is made of what is known before any call, the text."""

    score: Score
    floor: float


@dataclass(frozen=True, slots=True)
class Cascade:
    """Rule: a row not profiled goes from tier to tier until one accepts it, else to the reference; straight there where
    the gate, if there is one, says so. Absolute: each row is routed by itself, as it comes."""

    tiers: tuple[Tier, ...]
    gate: Gate | None = None


Rule: TypeAlias = Mix | Cascade
