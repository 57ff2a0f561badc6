"""The pilot of `ladder/2`: the first rows of the seeded order, used freely and never as evidence.

It starts tiny, brings in a dear candidate only where its chance of winning is worth its price, and grows by half while
what a wrong choice could lose, times the part of it more rows can save, exceeds their price. Its reference answers are
delivered, so only those rows cost anything that a cheaper model would have answered.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace

from scipy.special import betaincinv

from smart_llm import planning
from smart_llm.planning import Field, Finalists, Seen
from smart_llm.stats.sampling import permutation
from smart_llm.types import BAD, DEFER, ERROR, Answers, Ask, Ints, Outlook, Problem, Standing


@dataclass(frozen=True, slots=True)
class State:
    """What is known so far. rows: profiled; errors: of the reference. candidates: index → what was seen of it."""

    problem: Problem
    order: Ints
    candidates: dict[int, Seen]
    asked: frozenset[int] = frozenset()
    rows: int = 0
    errors: int = 0

    @property
    def left(self) -> int:
        """Rows not profiled yet."""
        return self.problem.rows - self.rows

    @property
    def allowance(self) -> int:
        """Misses still allowed."""
        return max(0, self.problem.allowance - self.errors)

    @property
    def field(self) -> Field:
        """For planning."""
        return Field(self.left, self.allowance, self.problem.alpha, self.candidates)


def start(problem: Problem) -> tuple[State, list[str]]:
    """Before anything is asked: who can pay at all."""
    notes, candidates = [], {}
    for j, name in enumerate(problem.candidates, 1):
        if problem.rates[j] < problem.rates[0]:
            candidates[j] = Seen(problem.rates[j] / problem.rates[0])
        else:
            notes.append(f"{name} is not cheaper than {problem.reference}: not used.")
    return State(problem, permutation(problem.seed, "order", problem.rows), candidates), notes


def pilot(state: State) -> Generator[Ask, Answers, State]:
    """Ask until the choice is worth no more pilot rows."""
    while True:
        rows, models = next_pilot(state)
        if not models:
            return state
        if rows:
            positions, stage = state.order[state.rows : state.rows + rows], "pilot"
        else:
            positions, stage = state.order[: state.rows], "pilot again"
        answers = yield Ask(positions, (0, *models), stage, outlook(state))
        state = heard(state, models, answers, fresh=rows)


def next_pilot(state: State) -> tuple[int, tuple[int, ...]]:
    """How many new rows to ask which candidates about; 0 rows = the rows already asked; no models = enough."""
    total = state.problem.rows
    if state.rows == 0:
        first = min(max(4, int(0.3 * total ** (1 / 3))), total // 4)
        cheap = tuple(j for j, seen in state.candidates.items() if first * seen.call <= 0.004 * total)
        return (first, cheap) if len(state.candidates) > 1 and first and cheap else (0, ())
    finalists = state.field.finalists()
    regrets = state.field.regrets(finalists)
    late = [j for j in state.candidates if j not in state.asked]
    worth = {j for j in late if planning.HOPE * regrets[j] > state.rows * state.candidates[j].call}
    worth |= {j for j, _ in finalists if j in late}
    if worth and state.rows:
        return 0, tuple(sorted(worth))
    return longer(state, {j: regrets[j] for j in state.asked}, finalists)


def longer(state: State, regrets: dict[int, float], finalists: Finalists) -> tuple[int, tuple[int, ...]]:
    """Half as many rows again for the candidates still in question, if that pays."""
    rows = min(state.left, max(4, state.rows // 2))
    rivals = [j for j, lost in regrets.items() if planning.HOPE * lost > rows * state.candidates[j].call]
    if not rivals or (len(finalists) == 1 and rivals == [finalists[0][0]]):
        return 0, ()
    models = tuple(sorted({*rivals, *(j for j, _ in finalists)}))
    cost = float(state.field.cost(finalists).mean())
    price = rows * (1 + sum(state.candidates[j].call for j in models) - cost / max(1, state.left))
    return (rows, models) if planning.HOPE * sum(regrets[j] for j in rivals) > price else (0, ())


def heard(state: State, models: tuple[int, ...], answers: Answers, *, fresh: int) -> State:
    """Count a batch in; `fresh` rows of it were not asked before."""
    lost = answers.marks[:, 0] == ERROR
    candidates = dict(state.candidates)
    for j in models:
        marks, old = answers.marks[:, j], candidates[j]
        candidates[j] = replace(
            old,
            rows=old.rows + len(marks),
            bad=old.bad + int(((marks == BAD) | lost).sum()),
            deferred=old.deferred + int((marks == DEFER).sum()),
            spent=old.spent + float(answers.cost[:, j].sum()),
            beside=old.beside + float(answers.cost[:, 0].sum()),
        )
    errors = state.errors + (int(lost.sum()) if fresh else 0)
    return replace(
        state, candidates=candidates, asked=state.asked | set(models), rows=state.rows + fresh, errors=errors
    )


def outlook(state: State, ahead: float | None = None, followed: frozenset[int] | None = None) -> Outlook:
    """For the progress display: two-sided 90 % beta limits of each agreement (as in certificates, an answer that breaks
    the contract is none), expected cost of the whole run (`ahead`: of the rows left, in reference calls). followed:
    candidates still in the running (None: all)."""
    standings = []
    for j, seen in state.candidates.items():
        agreed = seen.rows - seen.bad - seen.deferred
        low, high = (float(betaincinv(agreed + 0.5, seen.rows - agreed + 0.5, tail)) for tail in (0.05, 0.95))
        playing = followed is None or j in followed
        standings.append(Standing(state.problem.candidates[j - 1], seen.rows, agreed, low, high, playing))
    calls = sum(seen.rows * seen.call for seen in state.candidates.values())
    if ahead is None:
        ahead = float(state.field.cost(state.field.finalists()).mean())
    return Outlook(tuple(standings), float((state.rows + calls + ahead) / state.problem.rows))
