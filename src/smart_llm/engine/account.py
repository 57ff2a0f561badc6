"""The money of a run: what every distinct request cost, once, and to which stage of the run it belongs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from smart_llm.certificates.parts import SelfAgreement
from smart_llm.client.budget import Budget
from smart_llm.engine.ways import Way
from smart_llm.routing import Alike
from smart_llm.types import Floats, Ints

ENOUGH = 30
"""Rows from which what the reference costs is estimated, at least; else all that are known are taken."""


NO_WAYS: Mapping[int, Way] = {}


class Account:
    """USD, each distinct request once, whoever paid first, so that a resumed run costs what the undisturbed run costs.

    costs: shape (models, distinct requests), NaN where there is no answer. reference: shape (rows,), what the
    reference's answer cost. so_far: in the order of arrival, for showing; `spent` is the account. paid: what this run
    has paid; earlier: what runs of the same command have that were given up. again: of second answers by the reference,
    by group of equal rows. stages: of each stage that is closed. check: what asking the reference twice showed, if it
    was. lost: rows set aside that had no answer when they were settled, whether or not they have one by now."""

    def __init__(self, alike: Alike, models: int, ways: Mapping[int, Way] = NO_WAYS) -> None:
        """ways: by model, how it is asked, where it is not asked as the task says."""
        self._groups, self._ways, self._shared = alike.groups, ways, set[str]()
        self.costs = np.full((models, alike.distinct), np.nan)
        self._drawn = np.zeros(self.costs.shape, bool)  # whether `costs` holds what further draws cost
        self.reference = np.full(len(alike.groups), np.nan)
        self.again: dict[int, float] = {}
        self.so_far = 0.0
        self.paid: Callable[[], float] = lambda: self.so_far
        self.earlier = 0.0
        self.stages = dict.fromkeys(("set_aside", "profiling"), 0.0)
        self.check: SelfAgreement | None = None
        self.lost = 0

    def told(self, budget: Budget, earlier: float) -> None:
        """From now on what was paid is what this budget counts, but for what runs have paid that were given up."""
        self.earlier, self.paid = earlier, lambda: budget.spent - earlier

    def spent(self) -> Floats:
        """Shape (models,): USD, each distinct request once; the same sum in whatever order answers came."""
        return np.asarray(np.nansum(self.costs, axis=1))

    def total(self) -> float:
        """USD: everything, second answers included."""
        return float(self.spent().sum()) + sum(self.again.values())

    def close(self, stage: str) -> None:
        """Everything paid for since the last stage belongs to this one."""
        self.stages[stage] = float(self.spent().sum()) - sum(self.stages.values())

    def count(self, position: int, model: int, cost: float) -> None:
        """An answer that belongs to this run's account, whoever bought it."""
        if model == 0:
            self.reference[position] = cost
        place = (model, self._place(model, position))
        if np.isnan(self.costs[place]):
            self.costs[place] = cost
            self.so_far += cost

    def count_shared(self, model: int, prompt: str, shared: Mapping[str, float]) -> bool:
        """Where rows share calls: count those that may answer this one and were answered, for all their rows. shared:
        USD, by key. False where every row has a call of its own."""
        way = self._ways.get(model)
        if way is None or not way.packed:
            return False
        self.so_far += way.count(prompt, self.costs[model], shared, self._shared)
        return True

    def _place(self, model: int, position: int) -> int:
        """The number of what a model is asked about a row; rows that it is asked alike have the same."""
        way = self._ways.get(model)
        return int((self._groups if way is None else way.places)[position])

    def count_draws(self, position: int, model: int, costs: Sequence[float]) -> None:
        """Further draws that go with an answer, all that were bought; the answer itself is counted first."""
        place = (model, self._place(model, position))
        if costs and not self._drawn[place]:
            self._drawn[place] = True
            self.costs[place] = np.nan_to_num(self.costs[place]) + sum(costs)
            self.so_far += sum(costs)

    def count_again(self, position: int, cost: float) -> None:
        """A second answer by the reference."""
        self.again[int(self._groups[position])] = cost

    def by_row(self) -> Floats:
        """Shape (models, rows): what each distinct request cost, at the first row that made it."""
        found = np.full((len(self.costs), len(self._groups)), np.nan)
        found[:, np.unique(self._groups, return_index=True)[1]] = self.costs
        return found

    def take(self, first: int, costs: Floats, reference: Floats) -> None:
        """What rows from `first` on cost elsewhere, of shapes (models, n) and (n,); requests already counted are not
        counted again."""
        rows = slice(first, first + len(reference))
        groups = self._groups[rows]
        for model, cost in enumerate(costs):
            fresh = np.flatnonzero(~np.isnan(cost) & np.isnan(self.costs[model, groups]))
            self.costs[model, groups[fresh]] = cost[fresh]
            self.so_far += float(cost[fresh].sum())
        self.reference[rows] = np.where(np.isnan(reference), self.reference[rows], reference)

    def reference_only(self, profiled: Ints) -> float:
        """Estimate, USD: what the reference would have cost on every distinct request.

        From the rows profiled (a uniform sample), where there are enough of them; exact when all were asked.
        """
        if not np.isnan(self.costs[0]).any():
            return float(self.spent()[0])
        known = self.reference[profiled] if len(profiled) >= ENOUGH else self.reference
        known = known[~np.isnan(known)]
        return float(known.mean() * self.costs.shape[1]) if len(known) else 0.0
