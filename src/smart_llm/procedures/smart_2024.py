"""`smart/2024`: the published system, kept selectable for comparison. It does not keep the promise; `ladder` does.

Models stand in order of price. A candidate is unknown, then invalid or satisfied (or dropped); the reference is
satisfied from the start. Rows are profiled ten at a time in file order: the reference and every unknown candidate no
dearer than the cheapest satisfied model are called, then each one's two-sided Clopper–Pearson interval is compared with
the target. Profiling ends when the cheapest model not ruled out is satisfied. Variants:

* `profile-all`    the cheapest satisfied model answers the rows left;
* `profile-smart`  the same, but profiling is given up when no amount k of it is expected to pay (`pays`);
* `model-mix`      as profile-smart, and the rows left are split among models by lower limits (`cheapest_mix`).

Repaired, because they are slips of the pen and not of the method:
* a candidate that agreed on every row so far has variance 0; the published integral is then NaN and the candidate
  thrown away. The limit of the integral is used (stats.normal_binomial);
* unit costs are a model's spend divided by its own calls (published: by all rows profiled, which makes models that
  stopped being profiled early look cheap).

Kept, because they are the method; the default procedure must not have them:
* peeking: an interval for a fixed sample is looked at every ten rows. A candidate exactly on the line is accepted in
  15 % (N = 1,000) to 28 % (N = 50,000) of runs, where 2.5 % is nominal;
* many candidates, each with the full error allowance, and the luckiest wins;
* a frozen lucky limit: a candidate accepted early is profiled no further, yet its early limit feeds the mix;
* a limit for an infinite population is used for a finite table;
* rows are profiled and handed out in file order, so the table's order can mislead it.

Rows on which a candidate broke the output contract count as disagreements; `reserve` is not known to the method.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from itertools import permutations, product
from typing import TypeAlias

import numpy as np

from smart_llm.stats.clopper_pearson import interval, least_hits, lower_limit
from smart_llm.stats.normal_binomial import chance_of_reaching
from smart_llm.types import AGREE, Answers, Ask, Floats, Ints, Mix, Outlook, Problem, Standing, Verdict

BATCH = 10
FIRST_FORECAST = 100
LEVELS = tuple(Fraction(level, 100) for level in (95, 96, 97, 98, 99))
UNKNOWN, INVALID, SATISFIED, DROPPED = "unknown", "invalid", "satisfied", "dropped"


@dataclass(frozen=True, slots=True)
class State:
    """What is known. Arrays and `standing` have shape (1 + m,), index 0 = the reference; spent: USD."""

    problem: Problem
    calls: Ints
    agreeing: Ints
    spent: Floats
    standing: tuple[str, ...]
    profiled: int = 0

    @property
    def left(self) -> int:
        """R, the rows not profiled."""
        return self.problem.rows - self.profiled

    @property
    def prices(self) -> Floats:
        """c_m: mean USD of a model's own calls; what it is expected to cost before any."""
        return np.where(self.calls > 0, self.spent / np.maximum(self.calls, 1), self.problem.rates)

    @property
    def cheapest(self) -> int:
        """The cheapest satisfied model."""
        return next(m for m in by_price(self.problem.rates) if self.standing[m] == SATISFIED)

    @property
    def unknown(self) -> list[int]:
        """Unknown candidates no more expensive than the cheapest satisfied model, cheapest first."""
        rates = self.problem.rates
        bar = rates[self.cheapest]
        return [m for m in by_price(self.problem.rates) if self.standing[m] == UNKNOWN and rates[m] <= bar]


@dataclass(frozen=True, slots=True)
class Share:
    """A part of the rows left. level: the confidence of the lower limit it rests on (None for satisfied models)."""

    model: int
    rows: int
    level: Fraction | None
    lower: float


Worth: TypeAlias = Callable[[State, int], int]
"""(state, k that paid last time) → a number of further rows whose profiling pays, or 0."""
Finish: TypeAlias = Callable[[State], tuple[Share, ...]]


def profile_all(problem: Problem) -> Generator[Ask, Answers, Verdict]:
    """No early termination, no mix."""
    return (yield from _run(problem, "smart/2024:profile-all", lambda state, k: 1, cheapest_satisfied))


def profile_smart(problem: Problem) -> Generator[Ask, Answers, Verdict]:
    """Early termination, no mix."""
    return (yield from _run(problem, "smart/2024:profile-smart", pays, cheapest_satisfied))


def model_mix(problem: Problem) -> Generator[Ask, Answers, Verdict]:
    """Early termination and mix: the published system as a whole."""
    return (yield from _run(problem, "smart/2024:model-mix", pays, cheapest_mix))


def _run(problem: Problem, name: str, worth: Worth, finish: Finish) -> Generator[Ask, Answers, Verdict]:
    state, further = _start(problem), 1
    bars = _bars(problem.rows, float(problem.agreement), _side(problem))
    while state.left and (models := state.unknown) and further:
        rows = np.arange(state.profiled, min(state.profiled + BATCH, problem.rows))
        answers = yield Ask(rows, (0, *models), "profile", _outlook(state) if _shown(state) else None)
        state = _look(state, answers, models, bars)
        if state.profiled >= FIRST_FORECAST and state.unknown:
            further = worth(state, further)
    state = _drop(state)
    shares = finish(state)
    rule = Mix(tuple((share.model, share.rows) for share in shares), order="file")
    profiled = np.arange(state.profiled)
    evidence = {"variant": name.partition(":")[2], **_describe(state, shares)}
    return Verdict(bool(shares), rule, profiled, name, evidence, _outlook(state))


def _start(problem: Problem) -> State:
    size = 1 + len(problem.candidates)
    standing = (SATISFIED, *[UNKNOWN] * (size - 1))
    return State(problem, np.zeros(size, np.int64), np.zeros(size, np.int64), np.zeros(size), standing)


@lru_cache(maxsize=16)
def by_price(rates: tuple[float, ...]) -> tuple[int, ...]:
    """Model indices, cheapest first; among equals the reference last."""
    return tuple(sorted(range(len(rates)), key=lambda m: (rates[m], m == 0)))


# --------------------------------------------------------------------------- profiling


@lru_cache(maxsize=16)
def _bars(rows: int, target: float, side: float) -> tuple[Ints, Ints]:
    """For looks after 10, 20, … rows: agreements at which l ≥ target, disagreements at which u < target."""
    looks = np.minimum(np.arange(BATCH, rows + BATCH, BATCH), rows)
    return least_hits(looks, target, side), least_hits(looks, 1 - target, side)


def _side(problem: Problem) -> float:
    """Half of 1 − confidence: the error of one side of a two-sided interval."""
    return float((1 - problem.confidence) / 2)


def _look(state: State, answers: Answers, models: list[int], bars: tuple[Ints, Ints]) -> State:
    """Count a batch in, and settle the candidates whose interval has left the target behind."""
    asked = [0, *models]
    calls, agreeing, spent = state.calls.copy(), state.agreeing.copy(), state.spent.copy()
    calls[asked] += len(answers.marks)
    agreeing[asked] += (answers.marks[:, asked] == AGREE).sum(axis=0)
    spent[asked] += answers.cost[:, asked].sum(axis=0)
    profiled = state.profiled + len(answers.marks)
    at = -(-profiled // BATCH) - 1
    standing = list(state.standing)
    for m in models:
        if agreeing[m] >= bars[0][at]:
            standing[m] = SATISFIED
        elif calls[m] - agreeing[m] >= bars[1][at]:
            standing[m] = INVALID
    return replace(state, calls=calls, agreeing=agreeing, spent=spent, standing=tuple(standing), profiled=profiled)


def _drop(state: State) -> State:
    """Candidates never settled: given up as not worth it, or more expensive than a model that will do."""
    return replace(state, standing=tuple(DROPPED if each == UNKNOWN else each for each in state.standing))


# --------------------------------------------------------------------------- early termination


def pays(state: State, last: int) -> int:
    """A k = 1, 2, 4, … < R at which profiling k more rows is expected to cost less than stopping now, or 0.

    The k that paid at the look before usually still does: it is tried first.
    """
    now = state.prices[state.cheapest] * state.left
    if last < state.left and expected_cost(state, np.array([last]))[0] < now:
        return last
    grid = 2 ** np.arange(max(0, (state.left - 1).bit_length()))
    costs = expected_cost(state, grid)
    return int(grid[costs.argmin()]) if len(grid) and costs.min() < now else 0


def expected_cost(state: State, further: Ints) -> Floats:
    """E(k): expected USD from here on when k more rows are profiled, then the first model that satisfies is used."""
    models, prices = state.unknown, state.prices
    n, share = state.profiled, state.agreeing[models] / state.profiled
    needed = least_hits(n + further, float(state.problem.agreement), _side(state.problem))
    reach = chance_of_reaching(
        needed[None, :] - state.agreeing[models][:, None],
        further[None, :],
        share[:, None],
        np.sqrt(share * (1 - share) / n)[:, None],
    )
    after, none_yet = np.zeros(len(further)), np.ones(len(further))
    for m, q in zip(models, reach, strict=True):
        after += prices[m] * q * none_yet
        none_yet *= 1 - q
    after += prices[state.cheapest] * none_yet
    cost: Floats = further * (prices[0] + prices[models].sum()) + (state.left - further) * after
    return cost


# --------------------------------------------------------------------------- delivering the rows left


def cheapest_satisfied(state: State) -> tuple[Share, ...]:
    """All rows left to the cheapest satisfied model."""
    m = state.cheapest
    if m == 0 or not state.left:
        return ()
    lower = lower_limit(state.agreeing[m], state.calls[m], 1 - _side(state.problem))
    return (Share(m, state.left, None, float(lower)),)


def cheapest_mix(state: State) -> tuple[Share, ...]:
    """The rows left split so that lower limits, at levels whose product is the confidence, add up to what is needed.

    A basic solution of the linear program (two constraints) uses at most two models, so at most two candidates pay
    for a level, and trying every pair with every pair of levels is the whole mixed-integer program.
    """
    left, rows = state.left, state.problem.rows
    if not left:
        return ()
    needed = float((state.problem.agreement - Fraction(state.profiled, rows)) * rows / left)
    options = _singles(state) + _pairs(state)
    best: tuple[Share, ...] = ()
    cheapest = float(state.prices[0] * left)
    for safe, bold in options:
        shares = _split(safe, bold, needed, left)
        cost = sum(float(state.prices[share.model]) * share.rows for share in shares)
        if shares and cost < cheapest:
            best, cheapest = shares, cost
    return tuple(share for share in best if share.model and share.rows)


def _option(state: State, m: int, level: Fraction) -> Share:
    side = float((1 + level) / 2)
    return Share(m, 0, level, float(lower_limit(state.agreeing[m], state.calls[m], side)))


def _singles(state: State) -> list[tuple[Share, Share]]:
    """Every candidate with the reference, at the least level that is enough alone."""
    level = next((level for level in LEVELS if level >= state.problem.confidence), None)
    reference = Share(0, 0, None, 1.0)
    called = [m for m in range(1, len(state.calls)) if state.calls[m]]
    return [(reference, _option(state, m, level)) for m in called] if level else []


def _pairs(state: State) -> list[tuple[Share, Share]]:
    """Every ordered pair of candidates at levels whose product is enough."""
    called = [m for m in range(1, len(state.calls)) if state.calls[m]]
    options = {(m, level): _option(state, m, level) for m in called for level in LEVELS}
    levels = [(g, h) for g, h in product(LEVELS, LEVELS) if g * h >= state.problem.confidence]
    return [(options[i, g], options[j, h]) for i, j in permutations(called, 2) for g, h in levels]


def _split(safe: Share, bold: Share, needed: float, left: int) -> tuple[Share, ...]:
    """The largest share for `bold`, rounded down, that `safe` makes up for; empty where it cannot."""
    if bold.lower >= needed:
        return (replace(bold, rows=left),)
    if safe.lower < needed:
        return ()
    rows = int((safe.lower - needed) / (safe.lower - bold.lower) * left + 1e-9)
    return replace(safe, rows=left - rows), replace(bold, rows=rows)


# --------------------------------------------------------------------------- what is shown and kept


def _shown(state: State) -> bool:
    """Twenty looks, then ever fewer: intervals nobody reads cost more than all the rest of a look."""
    looks = state.profiled // BATCH
    return looks % max(1, looks // 20) == 0


def _outlook(state: State) -> Outlook:
    """Intervals at the confidence, and the cost if profiling ended now with the cheapest satisfied model."""
    low, high = interval(state.agreeing, state.calls, float(state.problem.confidence))
    playing = state.unknown
    names = state.problem.candidates
    standings = tuple(
        Standing(name, int(state.calls[m]), int(state.agreeing[m]), float(low[m]), float(high[m]), m in playing)
        for m, name in enumerate(names, 1)
    )
    prices = state.prices
    whole = prices[0] * state.problem.rows
    ahead = state.spent.sum() + prices[state.cheapest] * state.left
    return Outlook(standings, float(ahead / whole) if whole else 1.0)


def _describe(state: State, shares: tuple[Share, ...]) -> dict[str, object]:
    """Counts at each model's last look, and the shares; `certificates.checks.smart_2024` recomputes the
    latter from the former.

    models: cheapest first, so that "cheapest" can be checked without prices that nothing pins.
    """
    names = (state.problem.reference, *state.problem.candidates)
    low, high = interval(state.agreeing, state.calls, float(state.problem.confidence))
    return {
        "agreement": str(state.problem.agreement),
        "confidence": str(state.problem.confidence),
        "profiled": state.profiled,
        "models": [
            {
                "model": names[m],
                "index": m,
                "standing": state.standing[m],
                "calls": int(state.calls[m]),
                "agreeing": int(state.agreeing[m]),
                "lower": float(low[m]),
                "upper": float(high[m]),
                "spent": float(state.spent[m]),
                "price": float(state.prices[m]) if state.calls[m] else None,
            }
            for m in by_price(state.problem.rates)
        ],
        "shares": [
            {
                "model": names[share.model],
                "rows": share.rows,
                "level": float(share.level) if share.level is not None else None,
                "lower": share.lower,
            }
            for share in shares
        ],
    }
