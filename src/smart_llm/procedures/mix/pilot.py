"""The blind pilot: the first rows of the seeded order, used freely and never as evidence.

It begins with the few rows and candidates whose calls cost next to nothing by their guesses, and with a single row
where a call might turn out much more expensive than its guess. From then on candidates are priced by what their calls
cost; one that is as expensive as the reference is dropped at once. An expensive candidate is brought in only where
its chance of winning is worth its price, and the pilot grows by half while what a wrong choice could lose, times the
part of it more rows can save, exceeds their price. The whole pilot keeps within a purse. Its reference answers are
delivered, so only those rows cost anything that a cheaper model would have answered.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

from smart_llm.procedures.mix import forecast as planning
from smart_llm.procedures.mix.forecast import Field, Finalists, Seen
from smart_llm.procedures.money import AS_EXPENSIVE, FAR_OFF, HARDLY, OPENING, PURSE, at_most, may_try
from smart_llm.stats.jeffreys import jeffreys
from smart_llm.stats.sampling import permutation
from smart_llm.types import BAD, DEFER, ERROR, Answers, Ask, Ints, Outlook, Problem, Standing

NEXT_TO_NOTHING = 0.004
"""× N: what the first rows of one candidate among several may cost."""
FEW = 2
"""Rows at least that a pilot begins with."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What a pilot begins with: rows, and the candidates that are cheap enough by their guesses."""

    rows: int
    candidates: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class State:
    """What is known so far. rows: profiled; errors: of the reference. candidates: index → what was seen of it."""

    problem: Problem
    order: Ints
    candidates: dict[int, Seen]
    rows: int = 0
    errors: int = 0

    @property
    def left(self) -> int:
        """Rows not profiled yet."""
        return self.problem.rows - self.rows

    @property
    def allowance(self) -> int:
        """Misses still allowed; negative where more rows than that have no answer."""
        return self.problem.allowance - self.errors

    @property
    def spent(self) -> float:
        """What candidate calls have cost so far, in reference calls."""
        return sum(self.problem.bought(j, seen.rows) * seen.price for j, seen in self.candidates.items())

    @property
    def playing(self) -> dict[int, Seen]:
        """The candidates that may save anything."""
        return {j: seen for j, seen in self.candidates.items() if seen.price < AS_EXPENSIVE}

    @property
    def asked(self) -> dict[int, Seen]:
        """Those of them that were asked about anything."""
        return {j: seen for j, seen in self.playing.items() if seen.rows}

    def field(self, candidates: dict[int, Seen]) -> Field:
        """For planning with these candidates."""
        return Field(self.left, max(0, self.allowance), self.problem.alpha, candidates)

    def price(self, models: Sequence[int]) -> float:
        """Of one row by these candidates, in reference calls."""
        return sum(self.candidates[j].price for j in models)

    def surprise(self, models: Sequence[int]) -> float:
        """What a row by these candidates may cost before a call of theirs was seen."""
        return sum(at_most(self.problem, j) for j in models)

    @property
    def surprised(self) -> bool:
        """Whether the calls of a candidate have cost far more than was guessed, so that other guesses are doubtful."""
        return any(seen.price > FAR_OFF * seen.rate for seen in self.candidates.values())


def start(problem: Problem) -> tuple[State, list[str]]:
    """Before anything is asked: who can pay at all."""
    notes, candidates = [], {}
    for j, name in enumerate(problem.candidates, 1):
        if j in problem.out:
            continue
        if problem.rates[j] < AS_EXPENSIVE * problem.rates[0]:
            candidates[j] = Seen(
                problem.rates[j] / problem.rates[0], floor=float(problem.floor), repeats=problem.repeats
            )
        else:
            notes.append(f"{name} is hardly cheaper than {problem.reference}, or not at all: not used.")
    return State(problem, permutation(problem.seed, "order", problem.rows), candidates), notes


def opening(state: State) -> Opening:
    """The first rows and candidates, by what their calls are guessed to cost."""
    total, alone = state.problem.rows, state.problem.alone
    rows, room = min(max(4, int(0.3 * total ** (1 / 3))), total // 4), OPENING * alone
    chosen: list[int] = []
    for j in sorted(state.candidates, key=lambda j: state.candidates[j].rate):
        cost = rows * state.candidates[j].rate
        if cost <= (NEXT_TO_NOTHING * alone if chosen else room) and cost + rows * _rate(state, chosen) <= room:
            chosen.append(j)
    if not chosen and state.candidates:
        cheapest = min(state.candidates, key=lambda j: state.candidates[j].rate)
        rows, chosen = min(rows, int(room / state.candidates[cheapest].rate)), [cheapest]
    return Opening(rows, tuple(sorted(chosen))) if rows >= FEW else Opening(0, ())


def _rate(state: State, models: Sequence[int]) -> float:
    return sum(state.candidates[j].rate for j in models)


Step = tuple[int, int, tuple[int, ...]]
"""Which rows of the order to ask (from, to) of which candidates."""


def opened(state: State) -> Generator[Ask, Answers, State]:
    """Ask for the opening alone."""
    begun = opening(state)
    while (step := opening_step(state, begun)) is not None:
        state = yield from step_on(state, step)
    return state


def pilot(state: State) -> Generator[Ask, Answers, State]:
    """Ask until the choice is worth no more pilot rows."""
    begun = opening(state)
    while (step := opening_step(state, begun) or later_step(state, begun)) is not None:
        state = yield from step_on(state, step)
    return state


def step_on(state: State, step: Step) -> Generator[Ask, Answers, State]:
    """Ask what the step says."""
    first, last, models = step
    stage = "pilot" if last > state.rows else "pilot again"
    answers = yield Ask(state.order[first:last], (0, *models), stage, outlook(state))
    return heard(state, models, answers, fresh=max(0, last - state.rows))


def opening_step(state: State, begun: Opening) -> Step | None:
    """What the opening still lacks: first a call of everybody, then the rows."""
    room = OPENING * state.problem.alone
    new = [j for j in begun.candidates if not state.candidates[j].rows]
    if new:
        rows, models = within(state, new, begun.rows if not state.rows else state.rows, room - state.spent)
        if models:
            return 0, rows, models
    models = tuple(j for j in begun.candidates if j in state.asked)
    price = state.price(models)
    more = begun.rows - state.rows
    if price > 0:
        more = min(more, int((PURSE * state.problem.alone - state.spent) / price))
    return (state.rows, state.rows + more, models) if more > 0 and models else None


def within(state: State, new: Sequence[int], rows: int, room: float) -> tuple[int, tuple[int, ...]]:
    """How many first rows to ask which of these candidates about, so that even a surprise keeps within the room: all of
    them about as many rows as that allows, or as many of them as it allows about one row. Where guesses have held so
    far, one candidate is asked about one row in any case that its guess allows."""
    most = int(min(rows, max(0.0, room) / max(state.surprise(new), 1e-12)))
    if most >= 1:
        return most, tuple(new)
    models = sorted(new, key=state.problem.rates.__getitem__)
    while models and state.surprise(models) > room:
        if len(models) == 1 and not state.surprised and state.candidates[models[0]].rate <= room:
            return 1, tuple(j for j in models if may_try(state.problem, j))
        models.pop()
    return 1, tuple(models)


def later_step(state: State, begun: Opening) -> Step | None:
    """Bring in an expensive candidate that may win, or lengthen the pilot; None: enough."""
    if not state.asked:
        return None
    room = PURSE * state.problem.alone - state.spent
    late = {j: seen for j, seen in state.playing.items() if seen.rows < min(2, state.rows)}
    late = {j: seen for j, seen in late.items() if j not in begun.candidates}
    late = {j: seen for j, seen in late.items() if (state.rows - seen.rows) * seen.call <= room}
    field = state.field({**state.asked, **late})
    finalists = field.finalists()
    regrets = field.regrets(finalists)
    worth = {j for j in late if planning.HOPE * regrets[j] > state.rows * state.candidates[j].call}
    worth |= {j for j, _ in finalists if j in late}
    if worth and (step := late_step(state, sorted(worth), room)) is not None:
        return step
    if worth:  # not to be had: what is left is chosen without them
        field = state.field(state.asked)
        finalists = field.finalists()
        regrets = field.regrets(finalists)
    return doubted(state, room) or longer(state, {j: regrets[j] for j in state.asked}, finalists, room)


def late_step(state: State, worth: Sequence[int], room: float) -> Step | None:
    """The rows there are, for the cheapest of these candidates; one row where its price may surprise. None: none of
    them can be asked."""
    for j in sorted(worth, key=lambda j: state.candidates[j].call):
        seen = state.candidates[j]
        if seen.rows:
            return seen.rows, state.rows, (j,)
        rows, models = within(state, [j], state.rows, room)
        if models:
            return 0, rows, models
    return None


def doubted(state: State, room: float) -> Step | None:
    """Half as many rows again where no candidate is likely to be above the floor yet, and without them all would be
    given up: for those whose expected saving, averaged over what their share of bad rows may be, exceeds the price of
    the rows (their calls, and what would have been saved on them)."""
    if any(seen.likely for seen in state.asked.values()):
        return None
    rows, field = min(state.left, max(FEW, state.rows // 2)), state.field(state.asked)
    open_ = {j: seen for j, seen in state.asked.items() if seen.chance >= HARDLY}
    saved = {j: state.left - float(field.draws(j)[0].mean()) for j in open_}
    price = {j: rows * (seen.call + saved[j] / max(1, state.left)) for j, seen in open_.items()}
    models = [j for j in open_ if planning.HOPE * saved[j] > price[j]]
    while models and rows * sum(state.candidates[j].call for j in models) > room:
        models.remove(max(models, key=lambda j: state.candidates[j].call))
    return (state.rows, state.rows + rows, tuple(models)) if models and rows else None


def longer(state: State, regrets: dict[int, float], finalists: Finalists, room: float) -> Step | None:
    """Half as many rows again for the candidates still in question, if that pays."""
    rows = min(state.left, max(4, state.rows // 2))
    rivals = [j for j, lost in regrets.items() if planning.HOPE * lost > rows * state.candidates[j].call]
    if not rivals or (len(finalists) == 1 and rivals == [finalists[0][0]]):
        return None
    models = tuple(sorted({*rivals, *(j for j, _ in finalists)}))
    calls = sum(state.candidates[j].call for j in models)
    cost = float(state.field(state.asked).cost(finalists).mean())
    price = rows * (1 + calls - cost / max(1, state.left))
    pays = planning.HOPE * sum(regrets[j] for j in rivals) > price and rows * calls <= room
    return (state.rows, state.rows + rows, models) if pays else None


def heard(state: State, models: Sequence[int], answers: Answers, *, fresh: int) -> State:
    """Count a batch in; `fresh` rows of it were not asked before."""
    lost = answers.marks[:, 0] == ERROR
    candidates = dict(state.candidates)
    for j in candidates.keys() & set(models):
        marks, old = answers.marks[:, j], candidates[j]
        candidates[j] = replace(
            old,
            rows=old.rows + len(marks),
            bad=old.bad + int(((marks == BAD) | lost).sum()),
            deferred=old.deferred + int(((marks == DEFER) & ~lost).sum()),
            spent=old.spent + float(answers.cost[:, j].sum()),
            beside=old.beside + float(answers.cost[:, 0].sum()),
        )
    errors = state.errors + (int(lost[len(lost) - fresh :].sum()) if fresh else 0)
    return replace(state, candidates=candidates, rows=state.rows + fresh, errors=errors)


def outlook(state: State, ahead: float | None = None, followed: frozenset[int] | None = None) -> Outlook:
    """For the progress display: two-sided 90 % beta limits of each agreement (as in certificates, an answer that breaks
    the contract is none), expected cost of the whole run (`ahead`: of the rows left, in reference calls). followed:
    candidates still in the running (None: all)."""
    standings = []
    for j, seen in state.candidates.items():
        low, high = map(float, jeffreys(seen.agreed, seen.rows, 0.9))
        playing = followed is None or j in followed
        standings.append(Standing(state.problem.candidates[j - 1], seen.rows, seen.agreed, low, high, playing))
    if ahead is None:
        field = state.field(state.playing)
        ahead = float(field.cost(field.finalists()).mean()) if state.playing else float(state.left)
    return Outlook(tuple(standings), float((state.rows + state.spent + ahead) / state.problem.rows))
