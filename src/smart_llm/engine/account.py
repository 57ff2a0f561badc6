"""The money of a run: what every distinct request cost, once, and to which stage of the run it belongs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from smart_llm.certificates.parts import SelfAgreement
from smart_llm.client.budget import Budget
from smart_llm.engine.ways import NO_WAYS, Way
from smart_llm.routing import Alike
from smart_llm.types import Floats, Ints

ENOUGH = 30
"""Rows from which what the reference costs is estimated, at least; else all that are known are taken."""


Call: TypeAlias = tuple[int, int, int, float]
"""A call that rows share: the model, its number and what of it was sent (see `engine.layout`), and USD."""


class Account:
    """USD, each distinct request once, whoever paid first, so that a resumed run costs what the undisturbed run costs.

    costs: shape (models, distinct requests), NaN where there is no answer. reference: shape (rows,), what the
    reference's answer cost. so_far: in the order of arrival, for showing; `spent` is the account. paid: what this run
    has paid; earlier: what runs of the same command have that were given up. again: of second answers by the reference,
    by group of equal rows. stages: of each stage that is closed. check: what asking the reference twice showed, if it
    was. lost: rows set aside that had no answer when they were settled, whether or not they have one by now. calls:
    those that rows share, by key; what one has cost is among `costs` where all rows of it are here."""

    def __init__(self, alike: Alike, models: int, ways: Mapping[int, Way] = NO_WAYS) -> None:
        """ways: by model, how it is asked, where it is not asked as the task says."""
        self._groups, self._ways = alike.groups, ways
        self.calls: dict[str, Call] = {}
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
        for key, number, part in way.calls(prompt):
            if key in shared:
                self._book(key, (model, number, part, shared[key]))
        return True

    def _book(self, key: str, call: Call) -> None:
        """A call that rows share, once."""
        if key in self.calls:
            return
        self.calls[key] = call
        model, number, part, cost = call
        self.so_far += cost
        way = self._ways[model]
        if not way.elsewhere:
            way.share(self.costs[model], number, part, cost)

    def _place(self, model: int, position: int) -> int:
        """The number of what a model is asked about a row; rows that it is asked alike have the same."""
        way = self._ways.get(model)
        return int(self._groups[position]) if way is None else way.place(position)

    def _places(self, model: int) -> NDArray[np.signedinteger]:
        """The same of all rows."""
        way = self._ways.get(model)
        return self._groups if way is None else way.places

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
        """Shape (models, rows): what each distinct request cost, at the first row that made it; without calls that rows
        share."""
        found = np.full((len(self.costs), len(self._groups)), np.nan)
        for model, costs in enumerate(self.costs):
            way = self._ways.get(model)
            if way is None or not way.packed:
                first = np.unique(self._places(model), return_index=True)[1]
                found[model, first] = costs[: len(first)]
        return found

    def take(self, first: int, costs: Floats, reference: Floats, calls: Mapping[str, Call]) -> None:
        """What rows from `first` on cost elsewhere, of shapes (models, n) and (n,), and the calls that they share with
        others; what is counted already is not counted again."""
        rows = slice(first, first + len(reference))
        for model, cost in enumerate(costs):
            asked = np.flatnonzero(~np.isnan(cost))
            places = self._places(model)[rows][asked]
            fresh = np.isnan(self.costs[model, places])
            self.costs[model, places[fresh]] = cost[asked[fresh]]
            self.so_far += float(cost[asked[fresh]].sum())
        for key, call in calls.items():
            self._book(key, call)
        self.reference[rows] = np.where(np.isnan(reference), self.reference[rows], reference)

    def reference_only(self, profiled: Ints, lost: Collection[int] = ()) -> float:
        """Estimate, USD: what the reference would have cost on every distinct request.

        Exact when all were asked. Else what those that it was asked have cost, and for the others what candidates have
        cost there, times what the reference has cost for each dollar of theirs on the rows profiled (a uniform sample):
        so long rows count as such. Where that is not known of every one of them, the mean of the rows profiled. lost:
        rows that it was asked about and has no answer for.
        """
        asked = ~np.isnan(self.costs[0])
        asked[self._groups[list(lost)]] = True
        if asked.all():
            return float(self.spent()[0])
        known = self.reference[profiled] if len(profiled) >= ENOUGH else self.reference
        known = known[~np.isnan(known)]
        beside = self._by_candidates(np.unique(self._groups[profiled]))[~asked]
        if not np.isnan(beside).any():
            return float(self.spent()[0] + beside.sum())
        return float(known.mean() * self.costs.shape[1]) if len(known) else 0.0

    def _by_candidates(self, sample: Ints) -> Floats:
        """Shape (distinct requests,): what the reference is expected to cost by what candidates have, of which this
        sample shows the ratio; NaN where none tells. An answer that was free (of a taught model, whose lessons alone
        were paid for, or of a function) says nothing about its row."""
        found = np.full(self.costs.shape[1], np.nan)
        for model, costs in enumerate(self.costs):
            both = sample[~np.isnan(self.costs[0, sample]) & (costs[sample] > 0)]
            if model and model not in self._ways and len(both) >= ENOUGH:
                ratio = self.costs[0, both].sum() / costs[both].sum()
                found = np.where(np.isnan(found) & (costs > 0), costs * ratio, found)
        return found
