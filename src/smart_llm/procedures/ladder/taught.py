"""The ladder with a candidate that is taught in the run (`learned`): how many labels it gets, and what then certifies.

1. *Pilot*: the blind pilot as it is without it. As soon as there are some dozens of reference answers, and whenever
   there are half as many again, a lesson: the candidate is taught with all of them, and what it says of each, taught
   without it, is what is known of it. Where texts tell nothing, nothing more is asked, and the run goes on as it does
   without it.
2. *Lessons*: where they do tell, the reference is asked about more rows, half as many again at a time, while what that
   is predicted to save exceeds its price. Most of them are those that the candidate is least sure of: they teach most,
   and would have gone to the reference in the end anyway. The others are the next ones of the order, so that the run
   keeps a random sample: forecasts look at those random rows only that would not have been chosen themselves.
3. *Evidence*: fresh rows, one look, as for every other way (`look`). All rows up to here are the pilot, delivered with
   the reference's answers, and never evidence. The rows left are in the order of the run, which knew nothing of what
   was chosen. After the last lesson the candidate's answer to each of them is fixed, and no row of the evidence is ever
   learned from (lemma 16).

Where labels were known before the run, the candidate is taught with them in every lesson, and some of them stand beside
the random rows of the pilot in all forecasts (`view`): then a few random rows are enough, and often nothing more is
asked before the look (lemma 17).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from smart_llm.procedures.ladder import forecast, grown
from smart_llm.procedures.ladder import procedure as plain
from smart_llm.procedures.ladder.look import cascade
from smart_llm.procedures.ladder.pilot import Pilot
from smart_llm.procedures.ladder.tiers import BETTER, tiered
from smart_llm.procedures.ladder.view import View, borne_out
from smart_llm.procedures.ladder.ways import OWN, Way, affordable, cascade_way, mix_way, shown, weigh
from smart_llm.procedures.mix import pilot as mix_pilot
from smart_llm.procedures.mix import procedure as mix
from smart_llm.stats.sampling import permutation
from smart_llm.types import BAD, CHOSEN, LESSON, Answers, Ask, Ints, Least, Problem, Verdict

FIRST = 48
"""Rows of the first lesson."""
FEW = 24
"""Rows of the first lesson, where at least `FIRST` labels were known before."""
GROWTH = 1.5
"""× the rows of a lesson: those of the next."""
AHEAD = (1.5, 2.25, 3.4, 5.0, 8.0, 16.0, 32.0, 64.0)
"""× the rows so far: the lessons that are looked ahead to."""
CLEARLY = 3.0
"""Deviations by which it must beat always saying the commonest label, for texts to tell something: that is asked after
every lesson, and one that is lucky once would be followed to the end."""
SURELY = 1 / 82
"""Its own score tells something where it is less likely than this to know nothing: what the rows show then makes that
nine times less likely than it was thought (`forecast.TAUGHT`)."""
AS_IT_IS, EVIDENTLY = 0.9, 0.5
"""× what the run is expected to cost without it: it must be as cheap as that to be gone on with as it is. The first is
for runs in which the reference alone would answer the rest; the second for those in which another candidate might,
since some dozens of rows hardly tell two candidates apart."""
TRYING = 0.01
"""Of what the run is expected to cost without it, often a third more than it costs in the end: what finding out whether
texts tell anything may cost."""
HARDLY = 1 / 15
"""Reference calls that a row asked in vain is taken to cost at least; where nothing is saved it costs nothing, since
the reference would have answered it anyway."""
POWER, POWER_SPREAD = 0.22, 0.12
"""Of the number of rows, by which the share of bad rows falls: mean and deviation of what is believed beforehand."""
TOGETHER = 0.5
"""How much of the chance in two lessons' bad rows is common to both, being of the same rows."""
MOST = 0.25
"""Of the table: rows that may be spent on lessons."""


SAMPLE, SAMPLE_PART = 50, 8
"""Random rows that forecasts go by: so many, and one in so many of all rows taught with."""


@dataclass
class Course:
    """The run so far. told: all asks; random: how many of the order's first rows were asked about; rows: how many in
    all. lessons: which of the random rows of that time were judged wrongly; gone: which of the random rows would have
    been chosen, shape (random,); least: named by the last lesson; like: rows known before that are like those left;
    None where there are none, or rows that were drawn have shown that they are not."""

    problem: Problem
    order: Ints
    told: list[tuple[Ask, Answers]] = field(default_factory=list)
    random: int = 0
    rows: int = 0
    lessons: list[NDArray[np.bool_]] = field(default_factory=list)
    taught: list[int] = field(default_factory=list)
    gone: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    least: Least | None = None
    like: Answers | None = None

    def hear(self, ask: Ask, answers: Answers) -> None:
        """What an ask has brought."""
        self.told = [each for each in self.told if ask.stage != LESSON or each[0].stage != LESSON]
        self.told.append((ask, answers))
        self.rows = len(np.unique(np.concatenate([each.positions for each, _ in self.told])))
        chosen = [each.positions for each, _ in self.told if each.stage == CHOSEN]
        self.random = self.rows - sum(map(len, chosen))
        self.gone = np.r_[self.gone, np.zeros(self.random - len(self.gone), bool)]

    @property
    def pilot(self) -> Pilot:
        """All of it; its rows in the order of the run, but for those chosen, which stand where they were asked."""
        return Pilot.of(self.problem, self.told)

    @property
    def others(self) -> Pilot:
        """As it would be without the candidate that is taught."""
        problem = replace(self.problem, out=self.problem.out | {self.problem.learned})
        return Pilot.of(problem, [each for each in self.told if each[0].stage != LESSON])

    @property
    def due(self) -> bool:
        """Whether there are rows enough for another lesson."""
        return self.rows >= max(self.first, GROWTH * (self.taught[-1] if self.taught else 0))

    @property
    def first(self) -> int:
        """Rows of the first lesson."""
        return FEW if self.problem.earlier >= FIRST else FIRST

    @property
    def labels(self) -> int:
        """How many labels the candidate is taught with: rows of the run, and those known before that count."""
        return self.rows + (self.problem.earlier if self.like is not None else 0)

    @property
    def drawn(self) -> View:
        """What the random rows that are like those left show of the candidate that is taught."""
        return View.showing(self.pilot, self.order_of_random[~self.gone], (self.problem.learned,))

    @property
    def view(self) -> View:
        """The same, and rows known before that are like them."""
        return self.drawn if self.like is None else self.drawn.beside(self.like)

    @property
    def view_of_others(self) -> View | None:
        """The same, as far as any other candidate was asked about them; None where none was."""
        return View.of_others(self.pilot, self.order_of_random, self.gone, self.like)

    @property
    def whole_order(self) -> Ints:
        """The rows asked about, then the others as they stand in the order of the run."""
        rows = self.pilot.rows
        return np.concatenate([rows, self.order[~np.isin(self.order, rows)]])

    @property
    def order_of_random(self) -> Ints:
        """The random rows, in the order of the run."""
        chosen = [each.positions for each, _ in self.told if each.stage == CHOSEN]
        left = self.order[~np.isin(self.order, np.concatenate(chosen))] if chosen else self.order
        return left[: self.random]


def procedure(problem: Problem) -> Generator[Ask, Answers, Verdict]:
    """The ladder; where a candidate is taught: pilot, lessons, one look, and as without it where texts tell nothing."""
    if problem.grown is not None:
        return (yield from grown.procedure(problem, problem.grown, plain.NAME))
    if not problem.learned:
        return (yield from plain.procedure(problem))
    course = Course(problem, permutation(problem.seed, "order", problem.rows))
    verdict = yield from without(course)
    if verdict is not None:
        return verdict
    while (rows := next_lesson(course)) > course.rows:
        yield from lengthened(course, sampled(course, rows), ())
        yield from chosen(course, rows - course.rows)
        yield from lengthened(course, course.random + rows - course.rows, ())  # where too few could be named
        yield from lesson(course)
    return (yield from finished(course))


# --------------------------------------------------------------------------- the pilot


def without(course: Course) -> Generator[Ask, Answers, Verdict | None]:
    """The run as it is without the candidate, with lessons on the rows of its pilot; None where a lesson has broken it
    off before any evidence, since texts tell something."""
    playing = plain.procedure(course.others.problem)
    step = advanced(playing)
    while isinstance(step, Ask) and step.fixed is None:
        answers = yield step
        course.hear(step, answers)
        if course.due:
            yield from lesson(course)
            if tells(course):
                return None
        step = advanced(playing, answers)
    before = course.rows
    if (yield from trying_longer(course)):
        return None
    if course.rows > before:  # other rows would have been its evidence
        return (yield from from_here(course))
    while isinstance(step, Ask):
        step = advanced(playing, (yield step))
    return step


def advanced(playing: Generator[Ask, Answers, Verdict], answers: Answers | None = None) -> Ask | Verdict:
    """What a run asks next, or its end."""
    try:
        return next(playing) if answers is None else playing.send(answers)
    except StopIteration as stop:
        verdict: Verdict = stop.value
        return verdict


def from_here(course: Course) -> Generator[Ask, Answers, Verdict]:
    """Texts tell nothing, as more rows have shown: a run without the candidate that begins with these rows."""
    pilot = course.others
    state, notes = plain.as_blind(pilot, course.order)
    if state.asked and plain.described(pilot.told) and plain.worth_routing(pilot, ways := weigh(pilot)):
        return (yield from plain.routed(pilot, ways))
    state = yield from mix_pilot.pilot(state)
    return plain.under_our_name((yield from mix.certify(state, notes, plain.NAME)))


def trying_longer(course: Course) -> Generator[Ask, Answers, bool]:
    """Whether texts tell something, asking about a few more rows while that costs next to nothing. Where not even the
    rows of a first lesson can be had for that, a smaller one is tried: texts that tell a lot show it there."""
    others = course.others
    ways = weigh(others) if others.asked else []
    expected = min([float(others.left), *(way.cost for way in ways)])
    net = 1 - expected / max(1, others.left) + others.price(others.asked)
    most = course.rows + TRYING * expected / max(net, HARDLY)
    while not (course.lessons and tells(course)):
        rows, most = max(course.first, int(np.ceil(GROWTH * course.rows))), min(most, course.problem.rows * MOST)
        if rows > most and (course.lessons or most < FEW):
            return False
        rows = min(rows, int(most))
        yield from lengthened(course, rows, others.asked)
        yield from lesson(course)
    return True


def lengthened(course: Course, rows: int, models: tuple[int, ...]) -> Generator[Ask, Answers, None]:
    """Ask about the next rows of the order, up to so many random ones in all."""
    fresh = course.whole_order[course.rows :][: max(0, rows - course.random)]
    if len(fresh):
        ask = Ask(fresh, (0, *models), "pilot")
        course.hear(ask, (yield ask))


def sampled(course: Course, rows: int) -> int:
    """How many of the `rows` should be random; no more than there are where earlier rows stand in for them."""
    return course.random if course.like is not None else min(rows, max(course.random, SAMPLE + rows // SAMPLE_PART))


def chosen(course: Course, count: int) -> Generator[Ask, Answers, None]:
    """Ask about the rows that the last lesson has named, so many of them as were not asked about since."""
    assert course.least is not None
    known = np.isin(course.least.positions, course.pilot.rows)
    rows = course.least.positions[~known][:count]
    if not len(rows):
        return
    line, odds = float(course.least.odds[~known][: len(rows)].max()), course.pilot.answers.score
    course.hear(ask := Ask(rows, (0,), CHOSEN), (yield ask))
    place = {int(row): k for k, row in enumerate(course.pilot.rows)}
    at = np.array([place[int(row)] for row in course.order_of_random], np.int64)
    said = np.r_[odds[:, course.problem.learned], np.full(len(course.pilot.rows) - len(odds), np.nan)][at]
    pooled = np.diff(np.floor(np.arange(len(at) + 1) * course.least.share)) > 0  # as many as were looked among
    course.gone |= (said <= line) & pooled


def lesson(course: Course) -> Generator[Ask, Answers, None]:
    """Teach the candidate with all rows so far, and have it name those that might be asked about next."""
    taught = course.problem.learned
    ask = Ask(course.pilot.rows, (0, taught), LESSON, least=int(np.ceil((GROWTH - 1) * course.labels)))
    course.hear(ask, (answers := (yield ask)))
    course.least, view = answers.least, course.pilot
    like = answers.like if course.like is not None or not course.taught else None
    course.like = like if like is not None and borne_out(course.drawn, like) else None
    wrong = dict(zip(view.rows.tolist(), (view.answers.marks[:, taught] == BAD).tolist(), strict=True))
    course.lessons.append(np.array([wrong[row] for row in course.order_of_random.tolist()], bool))
    course.taught.append(course.rows)


def tells(course: Course) -> bool:
    """Whether the candidate knows anything from the texts: it beats always saying the commonest label, or knows where
    it is right, or it would save something as it is."""
    pilot, taught = course.pilot if course.like is None else course.view, course.problem.learned
    assert pilot.answers.traits is not None
    keys = pilot.answers.traits.key[:, 0]
    known = keys != 0
    if not known.any():
        return False
    right = pilot.answers.marks[known, taught] != BAD
    values, counts = np.unique(keys[known], return_counts=True)
    usual = keys[known] == values[counts.argmax()]
    better, worse = int((right & ~usual).sum()), int((usual & ~right).sum())
    if better - worse >= CLEARLY * np.sqrt(better + worse) and better:
        return True
    ways = own_ways(pilot, taught)
    rest = course.others
    others = min([float(rest.left), *(way.cost for way in (weigh(rest) if rest.asked else []))])
    enough = AS_IT_IS if others >= rest.left else EVIDENTLY
    return any(way.cost < enough * others and (way.score is None or way.useless <= SURELY) for way in ways)


# --------------------------------------------------------------------------- how many rows


def next_lesson(course: Course) -> int:
    """How many rows the next lesson should have; no more than there are where more would not pay."""
    view, taught = course.view, course.problem.learned
    now = min((way.cost for way in all_ways(course)), default=float(view.left))
    power, most = falling(course), int(course.problem.rows * MOST)
    way = forecast.curve(
        view.answers.score[:, taught], shown(view, taught), prior=forecast.TAUGHT, seed=course.problem.seed
    )
    for times in AHEAD:
        more = int(np.ceil(times * course.labels)) - course.labels
        if course.rows + more <= most and later_cost(view, way, more, times**-power) < now:
            return course.rows + int(np.ceil(GROWTH * course.labels)) - course.labels
    return course.rows


def later_cost(view: View, way: forecast.Curve, more: int, fewer: float) -> float:
    """What finishing is expected to cost after so many more rows, the least sure ones, these included, in reference
    calls. fewer: × the share of bad rows that the next lesson will make of those that are left then."""
    choices, left = affordable(view, 0.0), view.left - more
    if not choices or left <= 0:
        return float("inf")
    better = replace(way, rate=way.rate * (left / view.left) ** (way.shape - 1) * fewer)
    costs = forecast.look_costs([forecast.Step(better, 0.0)], left, choices, float(view.problem.floor))
    return more + float(costs.mean(axis=1).min())


def falling(course: Course) -> float:
    """The power of the number of rows by which the share of bad rows falls: the last lesson against one of less than
    half as many rows, on the random rows of that one that are like those left, and what is believed beforehand."""
    rows, last = course.taught, course.lessons[-1]
    earlier = next((k for k in reversed(range(len(rows))) if 2 * rows[k] <= rows[-1]), None)
    if earlier is None or course.like is not None:
        return POWER
    both = ~course.gone[: len(course.lessons[earlier])]
    before, after = int(course.lessons[earlier][both].sum()) + 0.5, int(last[: len(both)][both].sum()) + 0.5
    length = float(np.log(rows[-1] / rows[earlier]))
    seen, spread = np.log(before / after) / length, np.sqrt((1 - TOGETHER) * (1 / before + 1 / after)) / length
    weight = POWER_SPREAD**2 / (POWER_SPREAD**2 + spread**2)
    return float(max(0.0, POWER + weight * (seen - POWER)))


# --------------------------------------------------------------------------- the end


def own_ways(pilot: Pilot, taught: int) -> list[Way]:
    """The ways to finish with the candidate that is taught alone."""
    routed = cascade_way(pilot, taught, OWN, pilot.answers.score[:, taught], ())
    return [mix_way(pilot, taught), *([routed] if routed is not None else [])]


def all_ways(course: Course) -> Iterator[Way]:
    """Every way to finish, with its forecast."""
    taught = course.problem.learned
    yield from own_ways(course.view, taught)
    if (view := course.view_of_others) is not None and len(view.asked) > 1:
        yield from (way for way in weigh(view) if way.candidate != taught)


def finished(course: Course) -> Generator[Ask, Answers, Verdict]:
    """The way that is expected to cost least, and its evidence."""
    pilot, order = course.pilot, course.whole_order
    trusted = [way for way in all_ways(course) if way.score != OWN or way.useless <= plain.TRUST]
    best = min(trusted, key=lambda way: way.cost)
    if (view := course.view_of_others) is not None and len(view.asked) > 1:
        heads = [way for way in weigh(view) if way.score != OWN or way.useless <= plain.TRUST]
        several = tiered(view, heads)
        if (several.heads or several.gate) and several.cost < BETTER * best.cost:
            best = several
    if best.score is None or best.cost >= pilot.left:
        state, notes = plain.as_blind(pilot, order)
        return plain.under_our_name((yield from mix.certify(state, notes, plain.NAME)))
    return (yield from cascade(pilot, order, best, plain.NAME))
