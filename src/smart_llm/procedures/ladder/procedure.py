"""`ladder/6`: per-row routing where a score pays, the exact mix where it does not.

0. Where candidates are several ways of asking the same models, only a few of them are let in (`sieve`), on pilot rows.
1. *Pilot*: a few rows answered by the reference and the candidates whose pilot costs next to nothing; an expensive
   candidate is brought in only if it could still win. Every way to order rows (a candidate's own score, or one learned
   from what the pilot shows of answers, lengths and other candidates' answers) gets a forecast of its cost, and so does
   the blind mix; the pilot is lengthened while a better choice would be worth its price. Then several tiers, and a gate
   that sends rows straight to the reference, are weighed against the best way (`tiers`).
2. *Evidence*: fresh rows in any case. Whatever was decided up to here (mix or routing, candidates, scores, credit,
   tables) was decided on pilot rows, and no pilot row is evidence for it. A mix goes on with its stopping tables
   (`mix`). A cascade has one look: n rows, uniformly drawn, are answered by its candidates and the reference.
3. *Deliver* the candidates' answers to every row before the (c+1)-th bad row of the look, surest first; the rest goes
   to the reference (`look`; `stats.first_bad`: the promise holds whatever the scores are worth).

A run that cannot afford a pilot of two rows is answered by the reference: nothing is decided on the first rows of the
evidence instead.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from smart_llm.procedures.ladder import forecast
from smart_llm.procedures.ladder.look import cascade
from smart_llm.procedures.ladder.pilot import Pilot
from smart_llm.procedures.ladder.sieve import many, sieve
from smart_llm.procedures.ladder.tiers import tiered
from smart_llm.procedures.ladder.ways import OWN, Way, weigh
from smart_llm.procedures.mix import pilot as mix_pilot
from smart_llm.procedures.mix import procedure as mix
from smart_llm.procedures.money import AS_EXPENSIVE, at_most
from smart_llm.stats.sampling import permutation
from smart_llm.types import NOT_ASKED, Answers, Ask, Ints, Problem, Verdict

NAME = "ladder/6"
PILOT = 2.2  # × N^⅓ rows
ROUTING = 3.0  # × the share deferred is the share of that pilot worth buying
NEXT_TO_NOTHING = 0.002  # of reference-only cost: a candidate's pilot at that price needs no reason
HOPE = 0.7  # of the best way's deferrals: what a candidate not yet asked might need
LONGER = 0.5  # of the pilot: how much it grows at a time
CLEARLY = 0.9  # by so much must the mix be cheaper than the best cascade (measured: its design hopes for too much)
FEW_DEFERRED = 0.2  # of the rows: where no more are, a mix has little left to lose
DOUBT = 1.0  # pilot row's worth: how much cheaper the best cascade must be there (it is the best of many)
LEARNING = 1.5  # × the share deferred: how much more a longer pilot is worth where scores are learned (measured)
LEARNABLE = 0.05  # of the rows deferred: what a learned score can be hoped to save
LATE = 0.15  # candidates at a higher price are not counted on
TRUST = 0.25  # an own score more likely than this to know nothing is not routed by


def procedure(problem: Problem) -> Generator[Ask, Answers, Verdict]:
    """Pilot, choose, then one look, or the mix's designs; fresh rows for either."""
    state, notes = mix_pilot.start(problem)
    told: list[tuple[Ask, Answers]] = []
    state = yield from overheard(sieve(state), told)
    for asking, speaks in ((mix_pilot.opened, scored), (mix_pilot.pilot, described)):
        state = yield from overheard(asking(state), told)
        if state.asked and speaks(told):
            pilot = Pilot.of(state.problem, told)
            if worth_routing(pilot, ways := weigh(pilot)):
                return (yield from routed(pilot, ways))
    return under_our_name((yield from mix.certify(state, notes, NAME)))


def overheard(
    pilot: Generator[Ask, Answers, mix_pilot.State], told: list[tuple[Ask, Answers]]
) -> Generator[Ask, Answers, mix_pilot.State]:
    """The blind pilot as it is, with all that it asks and hears written down."""
    answers = None
    try:
        while True:
            ask = next(pilot) if answers is None else pilot.send(answers)
            answers = yield ask
            told.append((ask, answers))
    except StopIteration as stop:
        state: mix_pilot.State = stop.value
        return state


def scored(told: Sequence[tuple[Ask, Answers]]) -> bool:
    """Whether candidates say how sure they are of their own answers."""
    return any(not np.isnan(answers.score[:, 1:]).all() for _, answers in told)


def described(told: Sequence[tuple[Ask, Answers]]) -> bool:
    """Whether there is anything a score could be made of."""
    return told[0][1].traits is not None or scored(told)


def worth_routing(pilot: Pilot, ways: Sequence[Way]) -> bool:
    """Whether a score may save more than it takes to find out: a candidate's own does not look useless, or what a
    learned one can be hoped to save exceeds what half as many pilot rows again, and the other candidates, cost. Among
    several ways of asking, whose comparison is a pilot already, a candidate's own may also have to beat no score."""
    have = len(pilot.rows)
    if not ways:
        return False
    own = min((way for way in ways if way.score == OWN), key=lambda way: way.cost, default=None)
    knows = own is not None and own.useless <= forecast.OWN.useless
    if own is not None and knows and (not many(pilot.problem) or may_beat_none(pilot, ways, own)):
        return True
    best = min(ways, key=lambda way: way.cost)
    rows = max(int(np.ceil(PILOT * pilot.problem.rows ** (1 / 3))), have + have // 2) - have
    late = [j for j in pilot.problem.by_price if j not in pilot.asked and pilot.price((j,)) < LATE]
    price = rows * (1 + pilot.price(pilot.asked) - best.cost / max(1, pilot.left)) + have * pilot.price(late)
    return LEARNABLE * deferred(pilot, best) * pilot.left > price


def may_beat_none(pilot: Pilot, ways: Sequence[Way], own: Way) -> bool:
    """Whether a cascade looks cheaper than the mix by its own design, or half as many pilot rows again would be worth
    their price by telling whether it is. Where candidates are asked in one way each, this is not asked (measured
    without it)."""
    blind = min((way for way in ways if way.score is None), key=lambda way: way.cost)
    state, _ = as_blind(pilot, permutation(pilot.problem.seed, "order", pilot.problem.rows))
    expected, rows = designed(state), LONGER * len(pilot.rows)
    best = [blind.costs[[blind.best]] * (expected / blind.cost), own.costs[[own.best]]]
    return own.cost < expected or forecast.value_of_more(best, len(pilot.rows), int(rows)) > rows


def routed(pilot: Pilot, ways: Sequence[Way]) -> Generator[Ask, Answers, Verdict]:
    """The run from the first rows on, where there are scores."""
    order = permutation(pilot.problem.seed, "order", pilot.problem.rows)
    longer = yield from first_pilot(pilot, ways, order)
    pilot, ways = longer, ways if longer is pilot else weigh(longer)
    while worth_routing(pilot, ways) and (step := next_step(pilot, ways)) is not None:
        pilot = yield from step_on(pilot, order, step)
        ways = weigh(pilot, () if step.rows else ways)
    trusted = [way for way in ways if way.score != OWN or way.useless <= TRUST]
    state, notes = as_blind(pilot, order)
    best = tiered(pilot, trusted) if trusted else None
    if best is None or blindly(best, pilot, ways, state):
        state = yield from mix_pilot.pilot(state)
        return under_our_name((yield from mix.certify(state, notes, NAME)))
    return (yield from cascade(pilot, order, best, NAME))


def blindly(best: Way, pilot: Pilot, ways: Sequence[Way], state: mix_pilot.State) -> bool:
    """Whether the mix goes on: no cascade is worth a look, or the mix is the cheaper by its own design."""
    if best.score is None or best.cost >= pilot.left:
        return True
    return close(pilot, ways) and clearly(best, pilot) * best.cost > designed(state)


def close(pilot: Pilot, ways: Sequence[Way]) -> bool:
    """Whether the mix might be cheaper than the best cascade after all: its forecast counts one look, its design has
    several, which tells most where nearly all rows can be delivered. Designing it takes a while."""
    blind = min(float(way.costs.min(axis=0).mean()) for way in ways if way.score is None)
    return min(way.cost for way in ways) > blind * (0.7 if blind < 0.35 * pilot.left else 0.9)


def clearly(best: Way, pilot: Pilot) -> float:
    """By how much the mix must be cheaper: the less, the more rows can be delivered. In the end it may even be dearer,
    by less the longer the pilot is: the best of many cascades looks better than it is, most so on few rows."""
    price = pilot.price((best.candidate,) if best.score is None else best.models)
    deferred = best.cost / max(1, pilot.left) - price
    if deferred < FEW_DEFERRED:
        return 1 + DOUBT / len(pilot.rows)
    return 1.0 if best.cost < 0.35 * pilot.left else CLEARLY


# --------------------------------------------------------------------------- the pilot


def first_pilot(pilot: Pilot, ways: Sequence[Way], order: Ints) -> Generator[Ask, Answers, Pilot]:
    """Bring the rows asked first up to a pilot, with all candidates that cost next to nothing. It is the shorter, the
    less there is to route: where nearly all rows can be delivered anyway, no score can save much."""
    problem, have = pilot.problem, len(pilot.rows)
    whole = PILOT * problem.rows ** (1 / 3)
    best = min(ways, key=lambda way: way.cost)
    count = min(problem.rows, int(np.ceil(whole * min(1.0, ROUTING * max(0.0, deferred(pilot, best))))))
    if count <= have:
        return pilot
    for j in problem.by_price:
        price = pilot.price((j,))
        if j not in pilot.asked and count * price <= NEXT_TO_NOTHING * problem.alone and price < AS_EXPENSIVE:
            pilot = yield from step_on(pilot, order, Step(candidate=j))
    cheap = NEXT_TO_NOTHING * problem.alone / count
    following = tuple(j for j in playing(pilot) if pilot.price((j,)) <= cheap or hopeful(pilot, j, best))
    price = pilot.price(following)
    affordable = int(pilot.room / price) if price > 0 else count
    return (yield from step_on(pilot, order, Step(rows=min(count - have, affordable), models=following)))


def playing(pilot: Pilot) -> tuple[int, ...]:
    """The candidates asked about all rows so far that may save anything."""
    return tuple(j for j in pilot.asked if pilot.price((j,)) < AS_EXPENSIVE)


def hopeful(pilot: Pilot, candidate: int, best: Way) -> bool:
    """Whether a candidate might still win, if it deferred but `HOPE` of what the best way so far does: in its place, or
    as a tier after it, on the rows that it defers."""
    price, sent = pilot.price((candidate,)), deferred(pilot, best)
    instead = price * pilot.left + HOPE * sent * pilot.left < min(best.cost, pilot.left)
    return candidate == best.candidate or instead or round(price + HOPE, 9) <= 1


@dataclass(frozen=True, slots=True)
class Step:
    """What to add to the pilot: a candidate on the rows there are, or rows for these models."""

    candidate: int = 0
    rows: int = 0
    models: tuple[int, ...] = ()


def next_step(pilot: Pilot, ways: Sequence[Way]) -> Step | None:
    """Bring in a candidate that could still win, else lengthen the pilot if that pays, else neither."""
    problem, count = pilot.problem, len(pilot.rows)
    best = min(ways, key=lambda way: way.cost, default=None)
    for j in problem.by_price:
        price = pilot.price((j,))
        affordable = count * price <= pilot.room and price < AS_EXPENSIVE and not pilot.doubtful(j)
        if j not in pilot.asked and affordable and (best is None or hopeful(pilot, j, best)):
            return Step(candidate=j)
    return longer(pilot, ways, best) if best is not None else None


def longer(pilot: Pilot, ways: Sequence[Way], best: Way) -> Step | None:
    """Half as many rows again, for the candidates that are worth asking about them; None: it does not pay."""
    count, following = len(pilot.rows), playing(pilot)
    more = min(pilot.left, int(np.ceil(LONGER * count)))
    learns = any(way.score not in (None, OWN) for way in ways)
    factor = 1 + LEARNING * max(0.0, deferred(pilot, best)) if learns else 1.0

    def gain(models: Sequence[int]) -> float:
        told = [way.costs if set(way.models) <= set(models) else way.untold for way in ways]
        return factor * forecast.value_of_more(told, count, more) - more * pilot.price(models)

    worth = gain(following)
    for j in sorted(following, key=lambda j: -pilot.price((j,))):
        fewer = tuple(k for k in following if k != j)
        if j not in best.models and (less := gain(fewer)) > worth:
            following, worth = fewer, less
    if not more or more * pilot.price(following) > pilot.room:
        return None
    price = more * max(0.0, 1 - best.cost / max(1, pilot.left))  # what would have been saved on these rows
    return Step(rows=more, models=following) if worth > price else None


def deferred(pilot: Pilot, way: Way) -> float:
    """The share of the rows that a way is expected to send to the reference."""
    return way.cost / max(1, pilot.left) - pilot.price((way.candidate,))


def step_on(pilot: Pilot, order: Ints, step: Step) -> Generator[Ask, Answers, Pilot]:
    """Ask for what the step adds."""
    if step.candidate:
        return (yield from brought_in(pilot, step.candidate))
    if step.rows <= 0:
        return pilot
    fresh = order[len(pilot.rows) : len(pilot.rows) + step.rows]
    return (yield from pilot.after(Ask(fresh, (0, *step.models), "pilot")))


def brought_in(pilot: Pilot, candidate: int) -> Generator[Ask, Answers, Pilot]:
    """Ask a candidate about the rows there are; about one of them first where its price may surprise."""
    asked, surprise = pilot.answers.marks[:, candidate] != NOT_ASKED, at_most(pilot.problem, candidate)
    if not asked.any() and len(pilot.rows) * surprise > pilot.room:
        pilot = yield from pilot.after(Ask(pilot.rows[:1], (0, candidate), "pilot again"))
        asked = pilot.answers.marks[:, candidate] != NOT_ASKED
    price = pilot.price((candidate,))
    if asked.all() or price >= AS_EXPENSIVE or int((~asked).sum()) * price > pilot.room:
        return pilot
    return (yield from pilot.after(Ask(pilot.rows[~asked], (0, candidate), "pilot again")))


# --------------------------------------------------------------------------- the mix


def as_blind(pilot: Pilot, order: Ints) -> tuple[mix_pilot.State, list[str]]:
    """The pilot as the mix would have it: its exact designs may certify a blind share of the rows left."""
    state, notes = mix_pilot.start(pilot.problem)
    state = replace(state, order=order)
    for ask, answers in pilot.told:
        fresh = int((~np.isin(ask.positions, order[: state.rows])).sum())
        state = mix_pilot.heard(state, [model for model in ask.models if model], answers, fresh=fresh)
    return state, notes


def designed(state: mix_pilot.State) -> float:
    """Expected cost of the exact design for the rows left, in reference calls."""
    return state.left + min((design.expected for design, _ in mix.planned(state).finalists.values()), default=0.0)


def under_our_name(inner: Verdict) -> Verdict:
    """A verdict of the mix; its evidence is complete by itself."""
    return replace(inner, evidence={"mix": dict(inner.evidence)})
