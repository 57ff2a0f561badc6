"""What following a stopping table costs from where it stands, for any share of bad rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from smart_llm.stats.dual import FAINT, Costs, bins
from smart_llm.stats.hypergeometric import Floats, Ints, log_choose, log_factorials, pmf
from smart_llm.stats.sequential import GO_ON, Table
from smart_llm.stats.special import xlog1py, xlogy

RATES = 64
"""At how many shares of bad rows `Ahead` tells the cost."""
FINE = 0.2
"""Its bins of counts, in standard deviations: wider ones spread counts too far and overrate the cost (measured)."""


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


def ahead_of(table: Table, rows: int, costs: Costs) -> Ahead:
    """Backwards through bins of counts, for all rates at once: given a count at the next look, the count before it does
    not depend on the rate (as in `sequential`), so P(count | rate) × cost goes back by one matrix for all rates."""
    rates = np.geomspace(min(0.5, 0.1 * (table.floor + 1) / rows), 1.0, RATES)
    out: list[tuple[Ints, Floats]] = []
    later, chance = np.zeros((1, RATES)), np.zeros((1, RATES))  # at the look after: P(bin | rate) × cost, P(bin | rate)
    for k in range(len(table.looks) - 1, -1, -1):
        seen, edge = table.looks[k], bins(max(len(table.shares[k]) - 1, 0), FINE)
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
