"""`per-label/3`: the ladder's look with a promise for every label beside the one for the table.

Every promise has a stopping row of its own, each with the whole α, and delivery ends at the earliest: that keeps all of
them together (`stats.label_look` says why). Pilot, candidate and score are chosen as in the ladder, from rows that are
never evidence; the number of rows looked at is chosen so that the forecast cost, with all the stopping places the
promises ask for, is least. The blind mix is the same look with a score that says nothing: ties are broken by the blank
score u.

Rows the reference has no answer for carry no label; they are misses of the table wherever they are, and come first.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from smart_llm.procedures.ladder.forecast import DRAWS, quantiles
from smart_llm.procedures.ladder.look import unplaced
from smart_llm.procedures.ladder.pilot import Pilot
from smart_llm.procedures.ladder.ways import orders
from smart_llm.procedures.money import PURSE, likely_above
from smart_llm.procedures.pinning import digest
from smart_llm.routing import before
from smart_llm.scores.traits import values
from smart_llm.stats.label_look import credit, enough, label_credit
from smart_llm.stats.sampling import permutation, uniforms
from smart_llm.stats.special import betaincinv, ndtri
from smart_llm.types import (
    AGREE,
    BAD,
    DEFER,
    ERROR,
    Answers,
    Ask,
    Cascade,
    Floats,
    Ints,
    Json,
    Mix,
    Outlook,
    Problem,
    Score,
    SidePromise,
    Tier,
    Verdict,
)

NAME = "per-label/3"
PILOT = 4.0  # × N^⅓ rows: labels must be seen, too
AFFORDABLE = 0.01  # of reference-only cost: what one candidate's pilot may cost
FEWEST = 8  # rows of a look
BLANK = Score(())
ABSENT = 0.1  # of a label's α: for taking one that hardly showed for too rare to be promised anything


@dataclass(frozen=True, slots=True)
class Way:
    """A candidate, the score that orders its rows, and a look, with the forecast cost in reference calls."""

    candidate: int
    score: Score
    peers: tuple[int, ...]
    looked: int
    cost: float


@dataclass(frozen=True, slots=True)
class Promise:
    """What the look says about one label, by its answer key. Counts of rows: in the pilot, in the look, in a look at a
    label that is promised anything, labelled bad ones that may stand before the stopping row, and those of them that
    have no place and so stand before all others."""

    key: int
    pilot: int
    seen: int
    enough: int
    credit: int
    unplaced: int


def procedure(problem: Problem) -> Generator[Ask, Answers, Verdict]:
    """Pilot, choose, look, deliver what stands before every promise's stopping row."""
    side = problem.side
    if side is None:
        raise ValueError(f"{NAME} needs a promise per label")
    order = permutation(problem.seed, "order", problem.rows)
    pilot = yield from first_pilot(problem, order)
    way = choose(pilot, side) if pilot is not None and pilot.asked else None
    if pilot is None or way is None:
        return Verdict(False, Mix(), order[: len(pilot.rows) if pilot else 0], NAME, {})
    return (yield from look(pilot, side, way, order))


def first_pilot(problem: Problem, order: Ints) -> Generator[Ask, Answers, Pilot | None]:
    """Rows answered by the reference and every candidate that is cheap enough to be tried, by its guess and by what its
    call about the first row has cost; None where none is cheap enough to begin with."""
    count = min(problem.rows, int(np.ceil(PILOT * problem.rows ** (1 / 3))))
    reference = problem.rates[0]
    cheap = within(problem, [rate / reference for rate in problem.rates], count) if reference > 0 else ()
    if not cheap:
        return None
    pilot = yield from Pilot.of(problem, []).after(Ask(order[:1], (0, *cheap), "pilot"))
    left = set(within(problem, [1.0, *(pilot.price((j,)) for j in range(1, len(problem.rates)))], count - 1))
    asked = tuple(j for j in cheap if j in left)
    if not asked or count < 2:
        return pilot
    return (yield from pilot.after(Ask(order[1:count], (0, *asked), "pilot")))


def within(problem: Problem, prices: Sequence[float], rows: int) -> tuple[int, ...]:
    """The candidates whose pilot of that many rows costs little, cheapest first, as many as the purse allows for."""
    chosen: list[int] = []
    spent = 0.0
    for j in sorted(range(1, len(prices)), key=lambda j: prices[j]):
        cost = rows * prices[j]
        if prices[j] < 1 and cost <= AFFORDABLE * problem.alone and spent + cost <= PURSE * problem.alone:
            chosen.append(j)
            spent += cost
    return tuple(chosen)


# --------------------------------------------------------------------------- the forecast


def choose(pilot: Pilot, side: SidePromise) -> Way | None:
    """The way of least forecast cost; None where the reference alone is expected to be as cheap."""
    credits = Credits(pilot, side)
    ways = [
        way
        for j in pilot.asked
        if pilot.price((j,)) < 1
        for score, said, peers in [*orders(pilot, j), (BLANK, np.zeros(len(pilot.rows)), ())]
        if (way := forecast(pilot, side, credits, j, score, said, peers)) is not None
    ]
    best = min(ways, key=lambda way: way.cost, default=None)
    return best if best is not None and best.cost < pilot.left else None


def forecast(
    pilot: Pilot, side: SidePromise, credits: Credits, j: int, score: Score, said: Floats, peers: tuple[int, ...]
) -> Way | None:
    """The best number of rows to look at: bad rows appear in the look as the pilot has them, table and labels alike;
    None where no look is affordable."""
    price = pilot.price((j, *peers))
    most = min(pilot.left // 2, int(pilot.problem.rows_for(pilot.most / max(price, 1e-9))))
    if most < FEWEST:
        return None
    sizes = np.unique(np.geomspace(FEWEST, most, num=24).astype(int))
    depth, bad, labels = marked(pilot, side, j, said)
    bads = np.vstack([bad, *(bad * (labels == key) for key in side.labels)]).cumsum(axis=1)
    costs = []
    for n in sizes.tolist():
        ahead = (bads + 0.5 * depth) * n / len(pilot.rows)  # expected labelled bad rows before each depth
        spare = credits.of(n)[:, :, None]
        fits = (ahead <= spare + 0.5).all(axis=1) & (spare >= 0).all(axis=1)
        accepted = (depth * fits).max(axis=1, initial=0.0)
        costs.append(n * (1 + price) + (pilot.left - n) * float(np.minimum(1, price + 1 - accepted).mean()))
    best = int(np.argmin(costs))
    return Way(j, score, peers, int(sizes[best]), float(costs[best]))


class Credits:
    """What table and labels may get in credit from a look, by how often the labels may show in it."""

    def __init__(self, pilot: Pilot, side: SidePromise) -> None:
        assert pilot.answers.traits is not None
        self._pilot, self._terms = pilot, Terms.of(pilot.problem, side)
        self._known = [int((pilot.answers.traits.key[:, 0] == key).sum()) for key in side.labels]
        self._draws = [self._draw(key, known) for key, known in zip(side.labels, self._known, strict=True)]
        self._told: dict[int, Ints] = {}

    def _draw(self, key: int, known: int) -> tuple[Floats, Floats]:
        """Shape (draws,) each: how common a label may be by the pilot; how far its number in the look lies off."""
        seed, others = self._pilot.problem.seed, len(self._pilot.rows) - known
        rates = betaincinv(known + 0.5, others + 0.5, quantiles(seed, f"rate {key}"))
        return np.asarray(rates), np.asarray(ndtri(quantiles(seed, f"seen {key}")))

    def of(self, looked: int) -> Ints:
        """Shape (draws, 1 + labels)."""
        if looked not in self._told:
            columns = [np.full(DRAWS, table_credit(self._pilot, looked))]
            for known, (rate, off) in zip(self._known, self._draws, strict=True):
                seen = np.rint(looked * rate + np.sqrt(looked * rate * (1 - rate)) * off)
                counts, back = np.unique(np.clip(seen, 0, looked).astype(int), return_inverse=True)
                shows = self._terms.shows(self._pilot.left, known, looked)
                columns.append(np.array([self._terms.credit(count, shows) for count in counts.tolist()])[back])
            self._told[looked] = np.array(columns).T
        return self._told[looked]


def marked(pilot: Pilot, side: SidePromise, j: int, said: Floats) -> tuple[Floats, Floats, Ints]:
    """Pilot rows in delivery order: share of the table up to each, whether it is bad, its label."""
    marks, traits = pilot.answers.marks[:, j], pilot.answers.traits
    assert traits is not None
    usable = np.flatnonzero(np.isin(marks, (AGREE, BAD)) & ~np.isnan(said))
    usable = usable[np.argsort(-said[usable], kind="stable")]
    depth = (np.arange(len(usable)) + 1) / max(1, len(marks))
    return depth, (marks[usable] == BAD).astype(float), traits.key[usable, 0]


def table_credit(pilot: Pilot, looked: int) -> int:
    """Labelled rows, bad or without an answer, that may stand before the table's stopping row; −1: it has none."""
    return credit(pilot.left, pilot.allowance + pilot.reserve, looked, pilot.problem.alpha)


# --------------------------------------------------------------------------- the look


@dataclass(frozen=True, slots=True)
class Terms:
    """Of the promise for labels. alpha: of each label. least: rows that carry a label that is promised anything,
    without those set aside, which nobody looks at."""

    share: Fraction
    least: int
    alpha: float

    @classmethod
    def of(cls, problem: Problem, side: SidePromise) -> Terms:
        """Of a run."""
        return cls(side.share, side.least - problem.set_aside, problem.alpha)

    def shows(self, left: int, known: int, looked: int) -> int:
        """Rows a look shows of a label that is promised anything. known: rows of the pilot that carry it, or may."""
        return enough(left, self.least - known, looked, ABSENT * self.alpha)

    def credit(self, seen: int, shows: int, errors: int = 0) -> int:
        """Labelled bad rows that may stand before the stopping row; all there are where the label is too rare. errors:
        rows of the look without a reference answer, which may all carry the label, and be bad."""
        if seen + errors < shows:
            return seen
        return label_credit(seen + errors, self.share, (1 - ABSENT) * self.alpha) - errors


def look(pilot: Pilot, side: SidePromise, way: Way, order: Ints) -> Generator[Ask, Answers, Verdict]:
    """Look, find the earliest stopping row of all promises, and say whether delivering pays."""
    problem, n = pilot.problem, way.looked
    rows = order[len(pilot.rows) : len(pilot.rows) + n]
    models, design = (0, way.candidate, *way.peers), decided(pilot, side, way)
    expected = Outlook((), (len(pilot.rows) + way.cost) / problem.rows)
    answers = yield Ask(rows, models, "profile", expected, design)
    nowhere = unplaced(Cascade((Tier(way.candidate, way.score, None, way.peers),)), answers)
    promises = promised(pilot, side, answers, nowhere)
    whole, errors = table_credit(pilot, n), int((answers.marks[:, 0] == ERROR).sum())
    spare = whole - errors - int(nowhere.sum())
    profiled = np.concatenate([pilot.rows, rows])
    evidence = design | {
        "labels": [asdict(each) for each in promises],
        "credit": whole,
        "errors": errors,
        "unplaced": int(nowhere.sum()),
        "credit_left": spare,
    }
    if min([spare, *(each.credit - each.unplaced for each in promises)]) < 0:
        return Verdict(False, Mix(), profiled, NAME, evidence | {"granted": False})
    u = uniforms(problem.seed, "shares", problem.rows)[rows]
    found, rule = delivered(problem, way, answers, u, promises, spare)
    return Verdict(found["granted"], rule if found["granted"] else Mix(), profiled, NAME, closed(evidence | found))


def delivered(
    problem: Problem, way: Way, answers: Answers, u: NDArray[np.uint64], promises: Sequence[Promise], spare: int
) -> tuple[dict[str, Json], Cascade]:
    """The stopping row, what stands before it, and whether that pays; and the rule that delivers it."""
    assert answers.traits is not None
    labels, score = answers.traits.key[:, 0], values(way.score, answers, way.candidate)
    bad = answers.marks[:, way.candidate] == BAD
    groups = [(bad, spare), *((bad & (labels == p.key), p.credit - p.unplaced) for p in promises)]
    stop = earliest(score, u, groups)
    accepted = before(score, u, stop) & (answers.marks[:, way.candidate] != DEFER)
    agreed, missed = int((accepted & ~bad).sum()), int((accepted & bad).sum())
    saved, spent = answers.cost[accepted, 0].sum(), answers.cost[:, [way.candidate, *way.peers]].sum()
    pays = bool(saved > spent)
    found = {
        "pays": pays,
        "granted": pays and likely_above(float(problem.floor), agreed, missed),
        "stop": None if stop is None else list(stop),
        "shown": {"agreed": agreed, "bad": missed},
    }
    return found, Cascade((Tier(way.candidate, way.score, stop, way.peers),))


PINNED = ("candidate", "peers", "score", "stop", "shown")


def closed(evidence: dict[str, Json]) -> dict[str, Json]:
    """With a digest of what nothing else in it pins."""
    return evidence | {"stop_digest": digest(*(evidence[name] for name in PINNED))}


def promised(pilot: Pilot, side: SidePromise, answers: Answers, nowhere: NDArray[np.bool_]) -> list[Promise]:
    """What the look says about every label. nowhere: rows that count as bad before all others."""
    assert answers.traits is not None
    assert pilot.answers.traits is not None
    labels, before_it, terms = answers.traits.key[:, 0], pilot.answers.traits.key[:, 0], Terms.of(pilot.problem, side)
    errors = int((answers.marks[:, 0] == ERROR).sum())
    promises = []
    for key in side.labels:
        known, seen = int((before_it == key).sum()), int((labels == key).sum())
        shows = terms.shows(pilot.left, known + pilot.errors, len(labels))
        lacking = int((nowhere & (labels == key)).sum())
        promises.append(Promise(key, known, seen, shows, terms.credit(seen, shows, errors), lacking))
    return promises


def earliest(
    score: Floats, u: NDArray[np.uint64], groups: list[tuple[NDArray[np.bool_], int]]
) -> tuple[float, int] | None:
    """(score, u) of the first row in delivery order that is the (c + 1)-th bad one of its group, c its credit; None: no
    such."""
    stops = []
    for bad, allowed in groups:
        places = np.flatnonzero(bad & ~np.isnan(score))
        if len(places) > allowed:
            stops.append(places[np.lexsort((u[places], -score[places]))][allowed])
    if not stops:
        return None
    first = min(stops, key=lambda place: (-score[place], int(u[place])))
    return float(score[first]), int(u[first])


def decided(pilot: Pilot, side: SidePromise, way: Way) -> dict[str, Json]:
    """The evidence that is decided before the look."""
    problem = pilot.problem
    return {
        "pilot": len(pilot.rows),
        "pilot_errors": pilot.errors,
        "rows_left": pilot.left,
        "allowance": pilot.allowance,
        "reserve": pilot.reserve,
        "candidate": problem.candidates[way.candidate - 1],
        "peers": [problem.candidates[peer - 1] for peer in way.peers],
        "score": [list(term) for term in way.score.terms],
        "looked": way.looked,
        "share": str(side.share),
        "least": side.least,
        "promised": list(side.labels),
    }
