"""The cheapest stopping table whose worst-case error is at most α: a minimax problem solved by its dual.

Cost and error are both sums over the cells (look, count) where the rule stops. With a weight λ(D) on every number D of
bad rows, "expected cost under the prior + Σ λ(D)·error(D)" is minimised exactly by backward induction, because what
lies before a cell does not depend on D (`sequential`): one recursion serves the prior and all D at once. Where the
error is above α the weight goes up, where it is below it goes down, until the error is level at α: the least
favourable weights. Nothing here needs to be exact: counts are binned, tails are normal approximations. What comes out
is a `Table`; its error is then computed exactly, by `sequential.worst_error`, and the shares are scaled until that
holds. So a poor optimum costs money, never the promise.

Units of cost: one reference call. Everything is relative to answering all rows by the reference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln, ndtr, xlog1py, xlogy

from smart_llm.stats.hypergeometric import Floats, Ints, log_choose, log_factorials, pmf
from smart_llm.stats.sequential import GO_ON, Table, Worst, reach, worst_error

EXTRA = (0.1, 0.25, 0.5, 1.0)
"""Rules to choose from: solved with the weights of a level error, times exp of these (later stops, more careful)."""
CAREFUL = (1.5, 2.0, 3.0, 4.0)
"""The same, should the exact error of all those be too large."""
AIM = 0.985
"""Of α: the exact error to aim at."""
WORTH = 0.002
"""Of the expected cost: what a further try must promise to save."""
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
class Ahead:
    """About what following a table costs from each look on, in reference calls for the rows not seen yet. rates: shape
    (g,), shares of bad rows. counts and costs per look: shapes (b,) and (b, g)."""

    rates: Floats
    counts: tuple[Ints, ...]
    costs: tuple[Floats, ...]

    def at(self, look: int, bad: int, rates: Floats) -> Floats:
        """Cost at these rates, from this look with this many bad rows seen."""
        counts, costs = self.counts[look], self.costs[look]
        right = int(np.clip(np.searchsorted(counts, bad), 1, max(1, len(counts) - 1)))
        if right >= len(counts):
            here = costs[-1]
        else:
            part = np.clip((bad - counts[right - 1]) / (counts[right] - counts[right - 1]), 0.0, 1.0)
            here = (1 - part) * costs[right - 1] + part * costs[right]
        return np.asarray(np.interp(rates, self.rates, here))


@dataclass(frozen=True, slots=True)
class Design:
    """A table, its certified worst case, and the expected cost relative to the reference everywhere (negative = saves),
    in reference calls, under the prior. ahead: what following it costs (None: it stops at once)."""

    table: Table
    worst: Worst
    expected: float
    ahead: Ahead | None = None


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


def no_evidence(rows: int, allowance: int) -> Table:
    """Stop at once: the allowance itself may be handed over, unseen."""
    share = min(rows, allowance)
    return Table((0,), (np.array([share], np.int64),), share)


# ------------------------------------------------------------------- the problem, cut up


@dataclass(frozen=True, slots=True)
class _Look:
    """One look of the cut-up problem: `seen` rows, bins of counts (`centre`, `width`; shape (b,)), prior mass of each
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
class _Problem:
    rows: int
    allowance: int
    costs: Costs
    bad: Ints
    weight: Floats
    looks: tuple[_Look, ...]


def _marginal(prior: Prior, seen: int) -> Floats:
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


def _bins(top: int, fineness: float) -> Ints:
    """Edges of bins that cover 0 … top: single counts first, then as wide as a fraction of their standard deviation."""
    edges = [0]
    while edges[-1] <= top:
        edges.append(edges[-1] + 2 * int(fineness * edges[-1] ** 0.5 / 2) + 1)  # odd, so that a count is the centre
    return np.array(edges, dtype=np.int64)


def _cut(rows: int, allowance: int, prior: Prior, costs: Costs, fine: Fineness) -> _Problem:
    """The problem on grids: bad rows beyond the allowance, looks, counts, shares."""
    places = _looks(rows, costs, fine)
    bad = _bad_grid(rows, allowance, fine.bad * (rows / (max(allowance, 1) * max(places[-1], 1))) ** 0.5)
    looks: list[_Look] = []
    for seen in places:
        looks.append(_cut_look(rows, allowance, prior, fine, (seen, bad, looks[-1] if looks else None)))
    weight = np.gradient(bad.astype(float)) if len(bad) > 1 else np.ones(1)
    return _Problem(rows, allowance, costs, bad, weight, tuple(looks))


def _bad_grid(rows: int, allowance: int, step: float) -> Ints:
    """Numbers of bad rows beyond the allowance: dense just above it, then in steps of `step` times the number."""
    out = [allowance + 1]
    while out[-1] < rows:
        out.append(out[-1] + max(1, int(min(0.3 * (out[-1] - allowance), step * out[-1]))))
    return np.array([*out[:-1], rows] if len(out) > 1 else out, dtype=np.int64)


def _cut_look(rows: int, allowance: int, prior: Prior, fine: Fineness, place: tuple[int, Ints, _Look | None]) -> _Look:
    seen, bad, before = place
    left = rows - seen
    mass = _marginal(prior, seen)
    rest = np.cumsum(mass[::-1])[::-1]
    top = min(seen // 2 + 2, seen, max(int(np.searchsorted(-rest, -2e-3)), 3))
    edge = _bins(top, fine.bins)
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
    return _Look(seen, left, edge, centre, np.add.reduceat(mass[: edge[-1]], edge[:-1]), near, far, shares, tail, back)


def _tail(left: int, allowance: int, bad: Ints, share: Ints | Floats) -> Floats:
    """About P(Hyp(left, bad, share) > allowance): normal, with continuity correction."""
    rate = np.clip(bad / left, 0.0, 1.0)
    spread = np.sqrt(np.maximum(share * rate * (1 - rate) * (left - share) / max(left - 1, 1), 1e-9))
    tail = ndtr((share * rate - allowance - 0.5) / spread)
    return np.where((share <= allowance) | (tail < FAINT), 0.0, tail)


# ------------------------------------------------------------------- solving it


@dataclass(frozen=True, slots=True)
class _Rule:
    """Per look and bin: the share chosen, and whether to stop; shapes (b,)."""

    share: tuple[Floats, ...]
    stop: tuple[NDBool, ...]


def _solve(problem: _Problem, weights: Floats) -> _Rule:
    """The rule with the least expected cost + weighted error, by backward induction."""
    shares: list[Floats] = []
    stops: list[NDBool] = []
    ahead: Floats | None = None
    for k in range(len(problem.looks) - 1, -1, -1):
        look = problem.looks[k]
        loss, share = _stop_now(problem, look, weights)
        if ahead is None:
            stop = np.ones(len(loss), dtype=bool)
            ahead = loss
        else:
            after = problem.looks[k + 1]
            assert after.back is not None
            lost = np.maximum(look.mass - after.back @ after.mass, 0.0)
            worst = problem.costs.call * after.seen - problem.costs.gain * after.shares[0]
            further = after.back @ ahead + lost * worst
            stop = loss <= further
            ahead = np.minimum(loss, further)
        shares.append(share)
        stops.append(stop)
    return _Rule(tuple(shares[::-1]), tuple(stops[::-1]))


def _stop_now(problem: _Problem, look: _Look, weights: Floats) -> tuple[Floats, Floats]:
    """Per bin: the least loss of stopping here, and the share that has it. `weights` is λ at the grid of D."""
    total = problem.bad + look.centre[:, None]
    dense = np.interp(total.ravel(), problem.bad, weights).reshape(total.shape) * (total <= problem.rows)
    error = (look.near * dense * problem.weight) @ look.tail
    paid = problem.costs.call * look.seen - problem.costs.gain * look.shares
    loss = look.mass[:, None] * paid + error
    choice = loss.argmin(axis=1)
    return loss[np.arange(len(choice)), choice], look.shares[choice].astype(float)


def _error(problem: _Problem, rule: _Rule) -> Floats:
    """Shape (g,): about the error at every D of the grid."""
    reached = np.ones(len(problem.looks[0].centre))
    total = np.zeros(len(problem.bad))
    for k, look in enumerate(problem.looks):
        if k:
            assert look.back is not None
            reached = np.minimum((reached * ~rule.stop[k - 1]) @ look.back, 1.0)
        share = rule.share[k]
        cells = np.flatnonzero(rule.stop[k] & (reached > 1e-7) & (share > problem.allowance))
        bad = np.maximum(problem.bad - look.centre[cells, None], 0)
        tail = _tail(look.left, problem.allowance, bad, share[cells, None])
        total += (reached[cells, None] * look.far[cells] * tail).sum(axis=0)
    return total


def _level(problem: _Problem, alpha: float, prior: Prior, rounds: int) -> Floats:
    """Weights under which the error is about level at α (for `_solve`): the mean of the later rounds, in logs."""
    at = (problem.bad - 0.5) / problem.rows
    density = [
        b.weight * np.exp((b.bad - 1) * np.log(at) + (b.good - 1) * np.log1p(-at) - betaln(b.bad, b.good))
        for b in prior
    ]
    shape = np.sum(density, axis=0)
    log = np.log(np.maximum(shape, 1e-9) * problem.costs.gain / alpha)
    log = log + np.log(np.clip((problem.bad - problem.allowance) / max(1.0, 0.05 * problem.allowance), 1e-3, 1.0))
    mean = np.zeros(len(log))
    for i in range(rounds):
        pull = np.clip(np.log(np.maximum(_error(problem, _solve(problem, np.exp(log))), 1e-6) / alpha), -0.7, 1.5)
        log = log + np.where(pull > 0, 1.0, 0.7) / (1 + i / 6) * pull
        log = np.maximum(log, log.max() - 30)
        mean += log / (rounds - rounds // 2) * (i >= rounds // 2)
    return mean


# ------------------------------------------------------------------- from the rule to a certified table


def _scaled(problem: _Problem, rule: _Rule, scale: float) -> _Rule:
    """The same stops, with every share times exp(scale), within what is possible."""
    shares = []
    for k, look in enumerate(problem.looks):
        shares.append(np.clip(np.floor(rule.share[k] * np.exp(scale)), look.shares[0], look.left))
    return _Rule(tuple(shares), rule.stop)


def _fill(problem: _Problem, rule: _Rule, alpha: float) -> tuple[float, float]:
    """The largest scale of the shares at which the approximate error is at most α, and the expected cost there."""
    low, high = -1.0, 1.0
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if _error(problem, _scaled(problem, rule, middle)).max() <= alpha else (low, middle)
    return low, _cost(problem, _scaled(problem, rule, low))


def _cost(problem: _Problem, rule: _Rule) -> float:
    """About the expected cost of a rule under the prior."""
    reached, total = np.ones(1), 0.0
    for k, look in enumerate(problem.looks):
        if look.back is not None:
            reached = (reached * ~rule.stop[k - 1]) @ look.back
        paid = problem.costs.call * look.seen - problem.costs.gain * rule.share[k]
        total += float((look.mass * reached * rule.stop[k] * paid).sum())
    return total


def _table(problem: _Problem, rule: _Rule) -> Table:
    """Whole counts: stop where the bin stops; shares interpolated between bins that stop."""
    rows: list[Ints] = []
    for k, look in enumerate(problem.looks):
        d = np.arange(look.edge[-1])
        stop = rule.stop[k][np.searchsorted(look.edge, d, side="right") - 1]
        stopping = np.flatnonzero(rule.stop[k])
        share = np.zeros(len(d))
        if len(stopping):
            share = np.interp(d, look.centre[stopping], rule.share[k][stopping])
        rows.append(np.where(stop, np.floor(share), GO_ON).astype(np.int64))
    return Table(tuple(look.seen for look in problem.looks), tuple(rows), problem.allowance)


def expected(table: Table, prior: Prior, costs: Costs, rows: int) -> float:
    """Expected cost relative to the reference everywhere, in reference calls, under the prior."""
    total, mass = 0.0, 0.0
    for seen, shares, reached in zip(table.looks, table.shares, reach(table), strict=True):
        here = _marginal(prior, seen)[: len(shares)] * reached * (shares != GO_ON)
        total += float((here * (costs.call * seen - costs.gain * shares)).sum())
        mass += float(here.sum())
    last = table.looks[-1]
    return total + max(0.0, 1 - mass) * (costs.call * last - costs.gain * min(table.floor, rows - last))


RATES = 64
"""At how many shares of bad rows `Ahead` tells the cost."""
FINE = 0.2
"""Its bins of counts, in standard deviations: wider ones spread counts too far and overrate the cost (measured)."""


def ahead_of(table: Table, rows: int, costs: Costs) -> Ahead:
    """Backwards through bins of counts, for all rates at once: given a count at the next look, the count before it does
    not depend on the rate (as in `sequential`), so P(count | rate) × cost goes back by one matrix for all rates."""
    rates = np.geomspace(min(0.5, 0.1 * (table.floor + 1) / rows), 1.0, RATES)
    out: list[tuple[Ints, Floats]] = []
    later, chance = np.zeros((1, RATES)), np.zeros((1, RATES))  # at the look after: P(bin | rate) × cost, P(bin | rate)
    for k in range(len(table.looks) - 1, -1, -1):
        seen, edge = table.looks[k], _bins(max(len(table.shares[k]) - 1, 0), FINE)
        counts, width = (edge[:-1] + edge[1:] - 1) // 2, np.diff(edge)
        share = np.array([table.share(k, int(d), rows - seen) for d in counts])
        here = _binomial(seen, counts, rates) * width[:, None]
        cost = here * (rows + costs.call * seen - costs.gain * np.where(share == GO_ON, 0, share)[:, None])
        if out and (share == GO_ON).any():
            further = table.looks[k + 1]
            back = pmf(further, out[-1][0], seen, counts[:, None]) * width[:, None]
            back /= np.maximum(back.sum(axis=0), 1.0)
            most = rows + costs.call * further - costs.gain * min(table.floor, rows - further)
            onward = back @ later + np.maximum(here - back @ chance, 0.0) * most
            cost = np.where((share == GO_ON)[:, None], onward, cost)
        later, chance = cost, here
        mean = np.where(here > FAINT, cost / np.maximum(here, FAINT), rows + costs.call * seen)
        out.append((counts, mean - (1 + costs.call) * seen))
    counts_, costs_ = zip(*out[::-1], strict=True)
    return Ahead(rates, counts_, costs_)


def _binomial(seen: int, counts: Ints, rates: Floats) -> Floats:
    """Shape (b, g): the probability of each count among `seen` rows at each rate."""
    choose = log_choose(seen, counts, log_factorials(max(seen, 1)))[:, None]
    return np.asarray(np.exp(choose + xlogy(counts[:, None], rates) + xlog1py(seen - counts[:, None], -rates)))


def design(
    rows: int, allowance: int, alpha: float, prior: Prior, costs: Costs, *, fine: Fineness = Fineness()
) -> Design:
    """The table to follow.

    Guarantee: `worst.error` ≤ alpha, an upper bound of the error over every number of bad rows.
    Assumes: prior, costs and everything else here were fixed before the rows counted by the table were seen.
    Rounds: up. Source: `../shared/design/guarantee.md` 3.7; `docs/claims.md`.
    """
    idle = no_evidence(rows, allowance)
    if rows <= allowance or costs.gain <= 0 or rows < 2:
        return Design(idle, Worst(0.0, min(rows, allowance + 1)), -max(costs.gain, 0.0) * idle.floor)
    problem = _cut(rows, allowance, prior, costs, fine)
    weights = _level(problem, alpha, prior, fine.rounds)
    for extras in (EXTRA, CAREFUL):
        found = _certify(problem, [_solve(problem, np.exp(weights + extra)) for extra in extras], alpha, fine.tries)
        if found is not None:
            break
    if found is None:
        return Design(idle, Worst(0.0, min(rows, allowance + 1)), -costs.gain * idle.floor)
    return Design(*found, expected(found[0], prior, costs, rows), ahead_of(found[0], rows, costs))


def _certify(problem: _Problem, rules: list[_Rule], alpha: float, tries: int) -> tuple[Table, Worst] | None:
    """The cheapest rule found whose exact error is at most α, shares scaled to use α up (None if there is none).

    Always the rule that promises the lowest cost is tried next; a rule whose exact error is not where it was meant is
    aimed elsewhere. Ends when no rule promises to be noticeably cheaper than what is found.
    """
    aims = [AIM * alpha] * len(rules)
    offers = [_fill(problem, rule, AIM * alpha) for rule in rules]
    best, least = None, np.inf
    for _ in range(tries):
        i = min(range(len(rules)), key=lambda each: offers[each][1])
        scale, cost = offers[i]
        if cost >= least - WORTH * (problem.rows + least):
            break
        table = _table(problem, _scaled(problem, rules[i], scale))
        worst = worst_error(problem.rows, problem.allowance, table)
        if worst.error <= alpha:
            best, least = (table, worst), cost
        aims[i] *= float(np.clip(AIM * alpha / max(worst.error, 1e-6), 0.5, 1.5))
        offers[i] = _fill(problem, rules[i], aims[i])
    return best
