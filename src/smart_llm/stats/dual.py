"""The minimax problem of a stopping table on a grid, and its solution by the dual (see `design`).

Looks, counts and numbers of bad rows are cut into bins, tails are normal approximations: what comes out is a rule that
is about optimal; nothing here is relied on for a promise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from smart_llm.stats.hypergeometric import Floats, Ints, log_choose, log_factorials, pmf
from smart_llm.stats.special import betaln, ndtr

FAINT = 1e-40
"""Probabilities below this are 0 here (numbers too small for full precision slow everything down tenfold)."""


@dataclass(frozen=True, slots=True)
class Costs:
    """call: price of asking the candidate about one row. gain: saved by every row handed to it. most: no look may cost
    more than this in candidate calls. Unit: one reference call."""

    call: float
    gain: float
    most: float = np.inf


@dataclass(frozen=True, slots=True)
class Beta:
    """One component of the prior of the share of bad rows."""

    weight: float
    bad: float
    good: float


NDBool: TypeAlias = NDArray[np.bool_]
Prior = tuple[Beta, ...]


@dataclass(frozen=True, slots=True)
class Fineness:
    """How finely the design problem is cut up. Changes the cost of the result a little, never its validity."""

    first: int = 8
    ratio: float = 1.35
    reach: float = 6.0
    bins: float = 0.35
    bad: float = 0.35
    shares: int = 64
    rounds: int = 20
    tries: int = 8
    """Exact errors computed per set of rules, at most."""


USUAL = Fineness()


# ------------------------------------------------------------------- the problem, cut up


@dataclass(frozen=True, slots=True)
class Look:
    """One look of the problem, cut up: `seen` rows, bins of counts (`centre`, `width`; shape (b,)), prior mass of each
    (b,), probability of each for every D of the grid (b, g), the shares to choose from (s,), tail of each (g, s) at D
    minus the bin's count, approximately, and the way back to the bins of the look before (b_before, b)."""

    seen: int
    left: int
    edge: Ints
    centre: Ints
    mass: Floats
    near: Floats
    far: Floats
    shares: Ints
    tail: Floats
    back: Floats | None


@dataclass(frozen=True, slots=True)
class Grid:
    """The whole of it: a look per place where the rule may stop, and the numbers of bad rows the error is held at."""

    rows: int
    allowance: int
    costs: Costs
    bad: Ints
    weight: Floats
    looks: tuple[Look, ...]


def marginal(prior: Prior, seen: int) -> Floats:
    """Shape (seen + 1,): prior probability of every count of bad rows among `seen`."""
    d = np.arange(seen + 1)
    choose = log_choose(seen, d, log_factorials(max(seen, 1)))
    parts = [b.weight * np.exp(choose + betaln(b.bad + d, b.good + seen - d) - betaln(b.bad, b.good)) for b in prior]
    return np.asarray(np.sum(parts, axis=0))


def _looks(rows: int, costs: Costs, fine: Fineness) -> list[int]:
    """0, then a geometric grid up to where profiling can no longer pay."""
    most = min(rows - 1, int(fine.reach * rows ** (2 / 3)))
    if costs.call > 0:
        most = int(min(most, costs.most / costs.call))
    out = [0]
    step = fine.first
    while step <= most:
        out.append(step)
        step = max(step + 1, round(step * fine.ratio))
    return out


def bins(top: int, fineness: float) -> Ints:
    """Edges of bins that cover 0 … top: single counts first, then as wide as a fraction of their standard deviation."""
    edges = [0]
    while edges[-1] <= top:
        edges.append(edges[-1] + 2 * int(fineness * edges[-1] ** 0.5 / 2) + 1)  # odd, so that a count is the centre
    return np.array(edges, dtype=np.int64)


def cut(rows: int, allowance: int, prior: Prior, costs: Costs, fine: Fineness) -> Grid:
    """The problem on grids: bad rows beyond the allowance, looks, counts, shares."""
    places = _looks(rows, costs, fine)
    bad = _bad_grid(rows, allowance, fine.bad * (rows / (max(allowance, 1) * max(places[-1], 1))) ** 0.5)
    looks: list[Look] = []
    for seen in places:
        looks.append(_cut_look(rows, allowance, prior, fine, (seen, bad, looks[-1] if looks else None)))
    weight = np.gradient(bad.astype(float)) if len(bad) > 1 else np.ones(1)
    return Grid(rows, allowance, costs, bad, weight, tuple(looks))


def _bad_grid(rows: int, allowance: int, step: float) -> Ints:
    """Numbers of bad rows beyond the allowance: dense just above it, then in steps of `step` times the number."""
    out = [allowance + 1]
    while out[-1] < rows:
        out.append(out[-1] + max(1, int(min(0.3 * (out[-1] - allowance), step * out[-1]))))
    return np.array([*out[:-1], rows] if len(out) > 1 else out, dtype=np.int64)


def _cut_look(rows: int, allowance: int, prior: Prior, fine: Fineness, place: tuple[int, Ints, Look | None]) -> Look:
    seen, bad, before = place
    left = rows - seen
    mass = marginal(prior, seen)
    rest = np.cumsum(mass[::-1])[::-1]
    top = min(seen // 2 + 2, seen, max(int(np.searchsorted(-rest, -2e-3)), 3))
    edge = bins(top, fine.bins)
    edge[-1] = min(edge[-1], seen + 1)
    centre = (edge[:-1] + edge[1:] - 1) // 2
    width = np.diff(edge)
    floor = min(allowance, left)
    low = max(floor, 1)
    shares = np.unique(np.concatenate([[floor], np.round(np.geomspace(low, left, fine.shares)).astype(np.int64)]))
    near = pmf(rows, np.minimum(bad + centre[:, None], rows), seen, centre[:, None]) * width[:, None]
    far = pmf(rows, bad, seen, centre[:, None]) * width[:, None]
    near, far = np.where(near < FAINT, 0.0, near), np.where(far < FAINT, 0.0, far)
    back = None
    if before is not None:
        back = pmf(seen, centre, before.seen, before.centre[:, None]) * np.diff(before.edge)[:, None]
        back = np.where(back < FAINT, 0.0, back / np.maximum(back.sum(axis=0), 1.0))
    tail = _tail(left, allowance, bad[:, None], shares[None, :])
    return Look(seen, left, edge, centre, np.add.reduceat(mass[: edge[-1]], edge[:-1]), near, far, shares, tail, back)


def _tail(left: int, allowance: int, bad: Ints, share: Ints | Floats) -> Floats:
    """About P(Hyp(left, bad, share) > allowance): normal, with continuity correction."""
    return _tail_at(left, allowance, np.clip(bad / left, 0.0, 1.0), share)


def _tail_at(left: int, allowance: int, rate: Floats, share: Ints | Floats) -> Floats:
    """The same, by the rate of bad rows among those left."""
    mean = share * rate
    spread = np.sqrt(np.maximum(mean * (1 - rate) * (left - share) / max(left - 1, 1), 1e-9))
    tail = ndtr((mean - allowance - 0.5) / spread)
    return np.where((share <= allowance) | (tail < FAINT), 0.0, tail)


# ------------------------------------------------------------------- solving it


@dataclass(frozen=True, slots=True)
class Rule:
    """Per look and bin: the share chosen, and whether to stop; shapes (b,)."""

    share: tuple[Floats, ...]
    stop: tuple[NDBool, ...]


def solve(grid: Grid, weights: Floats) -> Rule:
    """The rule with the least expected cost + weighted error, by backward induction."""
    shares: list[Floats] = []
    stops: list[NDBool] = []
    ahead: Floats | None = None
    for k in range(len(grid.looks) - 1, -1, -1):
        look = grid.looks[k]
        loss, share = _stop_now(grid, look, weights)
        if ahead is None:
            stop = np.ones(len(loss), dtype=bool)
            ahead = loss
        else:
            after = grid.looks[k + 1]
            assert after.back is not None
            lost = np.maximum(look.mass - after.back @ after.mass, 0.0)
            worst = grid.costs.call * after.seen - grid.costs.gain * after.shares[0]
            further = after.back @ ahead + lost * worst
            stop = loss <= further
            ahead = np.minimum(loss, further)
        shares.append(share)
        stops.append(stop)
    return Rule(tuple(shares[::-1]), tuple(stops[::-1]))


def _stop_now(grid: Grid, look: Look, weights: Floats) -> tuple[Floats, Floats]:
    """Per bin: the least loss of stopping here, and the share that has it. `weights` is λ at the grid of D."""
    total = grid.bad + look.centre[:, None]
    dense = np.interp(total.ravel(), grid.bad, weights).reshape(total.shape) * (total <= grid.rows)
    error = (look.near * dense * grid.weight) @ look.tail
    paid = grid.costs.call * look.seen - grid.costs.gain * look.shares
    loss = look.mass[:, None] * paid + error
    choice = loss.argmin(axis=1)
    return loss[np.arange(len(choice)), choice], look.shares[choice].astype(float)


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Where a rule stops at one look, as pairs of a bin and a D of the grid that is likely to arrive there: the bin and
    the place of D (n,), how likely it arrives (n,), and the rate of bad rows among those left (n,)."""

    look: Look
    cell: Ints
    at: Ints
    arrive: Floats
    rate: Floats


def arrivals(grid: Grid, rule: Rule, counted: Sequence[NDBool]) -> list[Arrivals]:
    """Per look, what does not depend on the shares of a rule. counted: shapes (b,), the bins where it stops and may
    err."""
    reached = np.ones(len(grid.looks[0].centre))
    found = []
    for k, look in enumerate(grid.looks):
        if k:
            assert look.back is not None
            reached = np.minimum((reached * ~rule.stop[k - 1]) @ look.back, 1.0)
        cells = np.flatnonzero(counted[k] & (reached > 1e-7))
        arrive = reached[cells, None] * look.far[cells]
        cell, at = np.nonzero(arrive > 1e-8)
        bad = np.maximum(grid.bad[at] - look.centre[cells[cell]], 0)
        rate = np.clip(bad / look.left, 0.0, 1.0)
        found.append(Arrivals(look, cells[cell], at, arrive[cell, at], rate))
    return found


def errors(grid: Grid, found: Sequence[Arrivals], shares: Sequence[Floats]) -> Floats:
    """Shape (g,): about the error at every D of the grid, with these shares."""
    total = np.zeros(len(grid.bad))
    for each, share in zip(found, shares, strict=True):
        tail = _tail_at(each.look.left, grid.allowance, each.rate, share[each.cell])
        total += np.bincount(each.at, each.arrive * tail, len(total))
    return total


def error_of(grid: Grid, rule: Rule) -> Floats:
    """Shape (g,): about the error of a rule at every D of the grid."""
    counted = [stop & (share > grid.allowance) for share, stop in zip(rule.share, rule.stop, strict=True)]
    return errors(grid, arrivals(grid, rule, counted), rule.share)


def level(grid: Grid, alpha: float, prior: Prior, rounds: int) -> Floats:
    """Weights under which the error is about level at α (for `solve`): the mean of the later rounds, in logs."""
    at = (grid.bad - 0.5) / grid.rows
    density = [
        b.weight * np.exp((b.bad - 1) * np.log(at) + (b.good - 1) * np.log1p(-at) - betaln(b.bad, b.good))
        for b in prior
    ]
    shape = np.sum(density, axis=0)
    log = np.log(np.maximum(shape, 1e-9) * grid.costs.gain / alpha)
    log = log + np.log(np.clip((grid.bad - grid.allowance) / max(1.0, 0.05 * grid.allowance), 1e-3, 1.0))
    mean = np.zeros(len(log))
    for i in range(rounds):
        pull = np.clip(np.log(np.maximum(error_of(grid, solve(grid, np.exp(log))), 1e-6) / alpha), -0.7, 1.5)
        log = log + np.where(pull > 0, 1.0, 0.7) / (1 + i / 6) * pull
        log = np.maximum(log, log.max() - 30)
        mean += log / (rounds - rounds // 2) * (i >= rounds // 2)
    return mean
