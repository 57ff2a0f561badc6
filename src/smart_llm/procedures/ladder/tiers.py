"""Several tiers, and a gate before them, weighed against the best single way when the pilot is over.

A *head* is a tier asked first, whose stop is fixed on the pilot: it takes the rows its score is surest of, and only
the rest are put to the next tier; the last one's stop is found by the look. A *gate* sends the rows whose text looks
worst straight to the reference. Heads and gate come from pilot rows, which are never evidence, so they only decide
what a run costs. They are weighed last, and taken only if clearly cheaper, so that a run which needs none of them
costs what it did without.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from smart_llm.procedures.ladder import forecast
from smart_llm.procedures.ladder.pilot import Pilot
from smart_llm.procedures.ladder.ways import Way, affordable, belief, shown
from smart_llm.routing import accepts
from smart_llm.scores.traits import trait, values
from smart_llm.types import BAD, DEFER, WORDS, Gate, Tier

SHARES = (0.2, 0.35, 0.5, 0.65, 0.8)  # of the rows that reach a head: what it may take
GATED = (0.2, 0.4, 0.6)  # of the rows: what a gate may turn away
UNITS = 4  # single ways of which tiers are made
CHEAP = 0.6  # × the price of what comes after it: what a head may cost
BETTER = 0.9  # × the best way so far: what tiers must be expected to cost (a choice among many flatters itself)
FEW = 8  # pilot rows that must reach the last tier
WORDY = 60  # pilot rows that words are learned from at least
DEAR = 0.05  # reference calls a row: cheaper candidates need no gate


@dataclass(frozen=True, slots=True)
class Chain:
    """Tiers in the making. left: pilot rows that reach the next one, steps: the heads' forecasts; passing: share of the
    rows that the gate lets through."""

    pilot: Pilot
    left: NDArray[np.bool_]
    gate: Gate | None = None
    passing: float = 1.0
    heads: tuple[Tier, ...] = ()
    steps: tuple[forecast.Step, ...] = ()

    @property
    def models(self) -> tuple[int, ...]:
        """Candidates its heads call."""
        return tuple(dict.fromkeys(model for tier in self.heads for model in tier.models))

    def step(self, way: Way, share: float = 1.0) -> forecast.Step:
        """A tier that takes so much of what is left."""
        fresh = [model for model in (way.candidate, *way.peers) if model not in self.models]
        return forecast.Step(self.curve(way), self.pilot.price(fresh), share)

    def curve(self, way: Way) -> forecast.Curve:
        """What is believed of its score on the rows that reach it."""
        assert way.score is not None
        assert way.said is not None
        if way.curve is not None and self.left.all():
            return way.curve
        here = shown(self.pilot, way.candidate, self.left)
        problem = self.pilot.problem
        prior, seed = belief(problem, way.candidate, way.score, way.peers), problem.seed
        return forecast.curve(way.said[self.left], here, prior=prior, seed=seed)

    def then(self, way: Way, share: float) -> Chain | None:
        """With another head, which takes about that share of what is left; None where its score cannot tell."""
        assert way.score is not None
        sure = np.sort(values(way.score, self.pilot.answers, way.candidate)[self.left])[::-1]  # NaN at the front
        sure = sure[np.isfinite(sure)]
        place = round(share * int(self.left.sum()))
        if place >= len(sure):
            return None
        tier = Tier(way.candidate, way.score, (float(sure[place]), 0), way.peers)
        taken = self.left & accepts(tier, self.pilot.answers, np.zeros(len(self.left), np.uint64))
        if not taken.any() or (self.left & ~taken).sum() < FEW:
            return None
        step = self.step(way, float(taken.sum() / self.left.sum()))
        heads, steps = (*self.heads, tier), (*self.steps, step)
        return replace(self, left=self.left & ~taken, heads=heads, steps=steps)

    def ending(self, way: Way) -> Way | None:
        """Finished by this way; None where no look is affordable."""
        steps = (*self.steps, self.step(way))
        choices = affordable(self.pilot, sum(step.price for step in steps))
        if not choices:
            return None
        floor = float(self.pilot.problem.floor)
        costs = forecast.look_costs(steps, self.pilot.left, choices, floor, passing=self.passing)
        return replace(way, costs=costs, looks=choices, curve=None, heads=self.heads, gate=self.gate)


def tiered(pilot: Pilot, ways: Sequence[Way]) -> Way:
    """The best of these ways, or one of several tiers, or with a gate, if that is clearly cheaper."""
    best = min(ways, key=lambda way: way.cost)
    units = sorted((way for way in ways if way.score is not None), key=lambda way: way.cost)[:UNITS]
    whole = Chain(pilot, np.ones(len(pilot.rows), dtype=bool))
    best = cheapest(best, pairs(whole, units))
    if len(best.heads) == 1:
        first = next(way for way in units if same(best.heads[0], way))
        best = cheapest(best, triples(whole, units, first))
    routed = best if best.score is not None else next(iter(units), None)
    return cheapest(best, gated(pilot, units, routed)) if routed is not None else best


def cheapest(best: Way, others: Iterator[Way]) -> Way:
    """The cheapest of the others where it is clearly cheaper than the best so far."""
    other = min(others, key=lambda way: way.cost, default=best)
    return other if other.cost < BETTER * best.cost else best


def same(tier: Tier, way: Way) -> bool:
    """Whether this is the way the tier was made of."""
    return (tier.candidate, tier.score, tier.peers) == (way.candidate, way.score, way.peers)


def pairs(chain: Chain, units: Sequence[Way]) -> Iterator[Way]:
    """Every head and end; the end must call somebody new, or there is nothing to save."""
    for head in units:
        if chain.heads and not follows(chain, head):
            continue
        for share in SHARES:
            if (started := chain.then(head, share)) is not None:
                yield from ends(started, units)


def triples(chain: Chain, units: Sequence[Way], first: Way) -> Iterator[Way]:
    """Two heads, the first of them the best pair's."""
    for share in SHARES:
        if (started := chain.then(first, share)) is not None:
            yield from pairs(started, units)


def ends(chain: Chain, units: Sequence[Way]) -> Iterator[Way]:
    """A chain with each end it can have."""
    for last in units:
        if follows(chain, last) and (way := chain.ending(last)) is not None:
            yield way


def follows(chain: Chain, last: Way) -> bool:
    """Whether this tier calls a model that no tier before it calls, and costs enough to call a cheaper one first."""
    price, models = chain.pilot.price, (last.candidate, *last.peers)
    return not set(models) <= set(chain.models) and price(chain.heads[-1].models) <= CHEAP * price(models)


def gated(pilot: Pilot, units: Sequence[Way], best: Way) -> Iterator[Way]:
    """The best way behind a gate, by what the pilot says of the texts."""
    if pilot.price(best.models) < DEAR:
        return
    last = next(way for way in units if same(best.tiers[-1], way))
    for gate, passing in gates(pilot, best):
        chain: Chain | None = Chain(pilot, passing, gate, float(passing.mean()))
        for tier in best.heads:
            head = next(way for way in units if same(tier, way))
            taken = float(accepts(tier, pilot.answers, np.zeros(len(pilot.rows), np.uint64)).mean())
            chain = chain.then(head, taken) if chain is not None else None
        if chain is not None and chain.left.sum() >= FEW and (way := chain.ending(last)) is not None:
            yield way


def gates(pilot: Pilot, best: Way) -> Iterator[tuple[Gate, NDArray[np.bool_]]]:
    """Gates that turn away so much, by the length of the text, or by that and its words; and which pilot rows each lets
    through, as learned without them. None where the texts are not known or all alike."""
    marks = pilot.answers.marks[:, best.candidate]
    kept = marks != DEFER
    if kept.sum() < 10:
        return
    words = pilot.answers.traits is not None and pilot.answers.traits.words is not None
    names = ["text_length", *(f"word:{k}" for k in range(WORDS) if words)]
    columns = {name: trait(name, pilot.answers, 0) for name in names}
    telling = [name for name, column in columns.items() if np.isfinite(column).all() and np.ptp(column[kept])]
    length = [name for name in telling if name == "text_length"]
    learnable = [length, telling] if len(marks) >= WORDY else [length]
    for chosen in dict.fromkeys(tuple(each) for each in learnable if each):
        traits = np.column_stack([columns[name] for name in chosen])[kept]
        score, out = forecast.learn(chosen, traits, marks[kept] == BAD)
        said = values(score, pilot.answers, best.candidate)
        aside = float(np.median(said[kept] - out))  # a score leaves out what is the same for all rows
        said[kept] = out + aside
        for share in GATED:
            floor = float(np.sort(said)[round(share * len(said))])
            yield Gate(score, floor), said >= floor
