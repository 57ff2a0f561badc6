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

import numpy as np

from smart_llm.stats.dual import (
    USUAL,
    Costs,
    Fineness,
    Grid,
    Prior,
    Rule,
    arrivals,
    cut,
    errors,
    level,
    marginal,
    solve,
)
from smart_llm.stats.following import Ahead, ahead_of
from smart_llm.stats.hypergeometric import Ints
from smart_llm.stats.sequential import GO_ON, Table, Worst, reach, worst_error

EXTRA = (0.1, 0.25, 0.5, 1.0)
"""Rules to choose from: solved with the weights of a level error, times exp of these (later stops, more careful)."""
CAREFUL = (1.5, 2.0, 3.0, 4.0)
"""The same, should the exact error of all those be too large."""
AIM = 0.985
"""Of α: the exact error to aim at."""
WORTH = 0.005
"""Of the expected cost: what a further try must promise to save."""
NEAR = 0.002
"""Scales of a rule's shares are tried in steps that grow from about a twentieth of this."""


@dataclass(frozen=True, slots=True)
class Design:
    """A table, its certified worst case, and the expected cost relative to the reference everywhere (negative = saves),
    in reference calls, under the prior. ahead: what following it costs (None: it stops at once)."""

    table: Table
    worst: Worst
    expected: float
    ahead: Ahead | None = None


def no_evidence(rows: int, allowance: int) -> Table:
    """Stop at once: the allowance itself may be handed over, unseen."""
    share = min(rows, allowance)
    return Table((0,), (np.array([share], np.int64),), share)


# ------------------------------------------------------------------- from the rule to a certified table


@dataclass(frozen=True, slots=True)
class _Offer:
    """A rule with its shares scaled, and about what it costs and errs."""

    rule: Rule
    cost: float
    error: float


def _scaled(grid: Grid, rule: Rule, scale: float) -> Rule:
    """The same stops, with every share times exp(scale), within what is possible."""
    shares = []
    for k, look in enumerate(grid.looks):
        shares.append(np.clip(np.floor(rule.share[k] * np.exp(scale)), look.shares[0], look.left))
    return Rule(tuple(shares), rule.stop)


def _fill(grid: Grid, rule: Rule, alpha: float) -> _Offer:
    """The largest scale of the shares at which the approximate error is at most α."""
    low, high, error = -7.0, 7.0, 0.0  # of the scale's asinh: it is nearly always close to 0
    found = arrivals(grid, rule, rule.stop)
    for _ in range(8):
        middle = (low + high) / 2
        most = float(errors(grid, found, _scaled(grid, rule, NEAR * np.sinh(middle)).share).max())
        low, high, error = (middle, high, most) if most <= alpha else (low, middle, error)
    filled = _scaled(grid, rule, NEAR * np.sinh(low))
    return _Offer(filled, _cost(grid, filled), error)


def _cost(grid: Grid, rule: Rule) -> float:
    """About the expected cost of a rule under the prior."""
    reached, total = np.ones(1), 0.0
    for k, look in enumerate(grid.looks):
        if look.back is not None:
            reached = (reached * ~rule.stop[k - 1]) @ look.back
        paid = grid.costs.call * look.seen - grid.costs.gain * rule.share[k]
        total += float((look.mass * reached * rule.stop[k] * paid).sum())
    return total


def _table(grid: Grid, rule: Rule) -> Table:
    """Whole counts: stop where the bin stops; shares interpolated between bins that stop."""
    rows: list[Ints] = []
    for k, look in enumerate(grid.looks):
        d = np.arange(look.edge[-1])
        stop = rule.stop[k][np.searchsorted(look.edge, d, side="right") - 1]
        stopping = np.flatnonzero(rule.stop[k])
        share = np.zeros(len(d))
        if len(stopping):
            share = np.interp(d, look.centre[stopping], rule.share[k][stopping])
        rows.append(np.where(stop, np.floor(share), GO_ON).astype(np.int64))
    return Table(tuple(look.seen for look in grid.looks), tuple(rows), grid.allowance)


def expected(table: Table, prior: Prior, costs: Costs, rows: int) -> float:
    """Expected cost relative to the reference everywhere, in reference calls, under the prior."""
    total, mass = 0.0, 0.0
    for seen, shares, reached in zip(table.looks, table.shares, reach(table), strict=True):
        here = marginal(prior, seen)[: len(shares)] * reached * (shares != GO_ON)
        total += float((here * (costs.call * seen - costs.gain * shares)).sum())
        mass += float(here.sum())
    last = table.looks[-1]
    return total + max(0.0, 1 - mass) * (costs.call * last - costs.gain * min(table.floor, rows - last))


def design(rows: int, allowance: int, alpha: float, prior: Prior, costs: Costs, *, fine: Fineness = USUAL) -> Design:
    """The table to follow.

    Guarantee: `worst.error` ≤ alpha, an upper bound of the error over every number of bad rows.
    Assumes: prior, costs and everything else here were fixed before the rows counted by the table were seen.
    Rounds: up. Source: `../shared/design/guarantee.md` 3.7; `docs/claims.md`.
    """
    idle = no_evidence(rows, allowance)
    if rows <= allowance or costs.gain <= 0 or rows < 2:
        return Design(idle, Worst(0.0, min(rows, allowance + 1)), -max(costs.gain, 0.0) * idle.floor)
    grid = cut(rows, allowance, prior, costs, fine)
    weights = level(grid, alpha, prior, fine.rounds)
    for extras in (EXTRA, CAREFUL):
        found = _certify(grid, [solve(grid, np.exp(weights + extra)) for extra in extras], alpha, fine.tries)
        if found is not None:
            break
    if found is None:
        return Design(idle, Worst(0.0, min(rows, allowance + 1)), -costs.gain * idle.floor)
    return Design(*found, expected(found[0], prior, costs, rows), ahead_of(found[0], rows, costs))


def _certify(grid: Grid, rules: list[Rule], alpha: float, tries: int) -> tuple[Table, Worst] | None:
    """The cheapest rule found whose exact error is at most α, shares scaled to use α up (None if there is none).

    Always the rule that promises the lowest cost is tried next; a rule whose exact error is not where it was meant is
    aimed elsewhere. Ends when no rule promises to be noticeably cheaper than what is found.
    """
    offers = [_fill(grid, rule, AIM * alpha) for rule in rules]
    best, least = None, np.inf
    for _ in range(tries):
        i = min(range(len(rules)), key=lambda each: offers[each].cost)
        offer = offers[i]
        if offer.cost >= least - WORTH * (grid.rows + least):
            break
        table = _table(grid, offer.rule)
        worst = worst_error(grid.rows, grid.allowance, table)
        if worst.error <= alpha:
            best, least = (table, worst), offer.cost
        off = float(np.clip(AIM * alpha / max(worst.error, 1e-6), 0.5, 1.5))
        offers[i] = _fill(grid, rules[i], offer.error * off)
    return best
