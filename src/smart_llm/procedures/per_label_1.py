"""`per-label/1`: `ladder/3`'s look with a promise for every label beside the one for the table.

Half of α goes to the table, half to the labels, evenly: each label's part is halved again between how many rows carry
it and how many of them may be spoilt (`stats.label_look`). Pilot, candidate and score are chosen as in `ladder/3`, from
rows that are never evidence; the number of rows looked at is chosen so that the forecast cost, with all the stopping
places the promises ask for, is least. The blind mix is the same look with a score that says nothing: ties are broken by
the blank score u.

Rows the reference has no answer for carry no label; the promise for the table counts them as `ladder/3` does.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smart_llm.cascades import before
from smart_llm.procedures.look import digest
from smart_llm.procedures.scored_pilot import Pilot
from smart_llm.procedures.ways import orders
from smart_llm.stats.first_bad import covers_errors, credit_left, upper_level
from smart_llm.stats.label_look import lower_count, misses_allowed, most_credit
from smart_llm.stats.sampling import permutation, uniforms
from smart_llm.tasks.scores import values
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
    Mix,
    Outlook,
    Problem,
    Score,
    SidePromise,
    Tier,
    Verdict,
)

NAME = "per-label/1"
PILOT = 4.0  # × N^⅓ rows: labels must be seen, too
AFFORDABLE = 0.01  # of reference-only cost: what one candidate's pilot may cost
OVERRUN = 0.04  # of reference-only cost: what a look may cost that might certify nothing
BLANK = Score(())
GRID = 1.15


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
    """What the look says about one label. Counts of rows; `level` is that of `credit` (0 where any credit will do)."""

    pilot: int
    seen: int
    lower: int
    allowed: int
    credit: int
    level: float


def procedure(problem: Problem) -> Generator[Ask, Answers, Verdict]:
    """Pilot, choose, look, deliver what stands before every promise's stopping row."""
    side = problem.side
    if side is None:
        raise ValueError(f"{NAME} needs a promise per label")
    order = permutation(problem.seed, "order", problem.rows)
    pilot = yield from first_pilot(problem, order)
    way = choose(pilot, side) if pilot is not None else None
    if pilot is None or way is None:
        return Verdict(False, Mix(), order[: len(pilot.rows) if pilot else 0], NAME, {})
    return (yield from look(pilot, side, way, order))


def first_pilot(problem: Problem, order: Ints) -> Generator[Ask, Answers, Pilot | None]:
    """Rows answered by the reference and every candidate that is cheap enough to be tried; None where none is."""
    count = min(problem.rows, int(np.ceil(PILOT * problem.rows ** (1 / 3))))
    whole = problem.rows * problem.rates[0]
    asked = tuple(
        j
        for j in problem.by_price
        if problem.rates[j] < problem.rates[0] and count * problem.rates[j] <= AFFORDABLE * whole
    )
    if not asked:
        return None
    ask = Ask(order[:count], (0, *asked), "pilot")
    return Pilot.of(problem, [(ask, (yield ask))])


# --------------------------------------------------------------------------- the forecast


def choose(pilot: Pilot, side: SidePromise) -> Way | None:
    """The way of least forecast cost; None where the reference alone is expected to be as cheap."""
    ways = [
        way
        for j in pilot.asked
        for score, said, peers in [*orders(pilot, j), (BLANK, np.zeros(len(pilot.rows)), ())]
        if (way := forecast(pilot, side, j, score, said, peers)) is not None
    ]
    best = min(ways, key=lambda way: way.cost, default=None)
    return best if best is not None and best.cost < pilot.left else None


def forecast(pilot: Pilot, side: SidePromise, j: int, score: Score, said: Floats, peers: tuple[int, ...]) -> Way | None:
    """The best number of rows to look at: bad rows appear in the look as the pilot has them, table and labels alike."""
    price = pilot.price((j, *peers))
    most = min(pilot.left // 2, int(OVERRUN * pilot.problem.rows / max(price, 1e-9)))
    sizes = np.unique(np.geomspace(8, max(8, most), num=24).astype(int))
    depth, bad, labels = marked(pilot, side, j, said)
    costs = []
    for n in sizes.tolist():
        credits = np.array([table_credit(pilot, n), *(_expected_credit(pilot, side, key, n) for key in side.labels)])
        bads = np.vstack([bad, *(bad * (labels == key) for key in side.labels)]).cumsum(axis=1)
        ahead = (bads + 0.5 * depth) * n / len(pilot.rows)  # expected labelled bad rows before each depth
        fits = (ahead <= credits[:, None] + 0.5).all(axis=0) & (credits >= 0).all()
        accepted = float(depth[fits].max(initial=0.0))
        costs.append(n * (1 + price) + (pilot.left - n) * (price + 1 - accepted))
    best = int(np.argmin(costs))
    return Way(j, score, peers, int(sizes[best]), float(costs[best])) if most >= 8 else None


def marked(pilot: Pilot, side: SidePromise, j: int, said: Floats) -> tuple[Floats, Floats, Ints]:
    """Pilot rows in delivery order: share of the table up to each, whether it is bad, its label."""
    marks, traits = pilot.answers.marks[:, j], pilot.answers.traits
    assert traits is not None
    usable = np.flatnonzero(np.isin(marks, (AGREE, BAD)) & ~np.isnan(said))
    usable = usable[np.argsort(-said[usable], kind="stable")]
    depth = (np.arange(len(usable)) + 1) / max(1, len(marks))
    return depth, (marks[usable] == BAD).astype(float), traits.key[usable, 0]


def table_credit(pilot: Pilot, looked: int) -> int:
    """Credit of the promise for the table: half of α."""
    if pilot.allowance < 0:
        return -1
    return most_credit(pilot.left, pilot.allowance, looked, pilot.problem.alpha / 2)


def _expected_credit(pilot: Pilot, side: SidePromise, key: int, looked: int) -> int:
    assert pilot.answers.traits is not None
    share = float((pilot.answers.traits.key[:, 0] == key).mean())
    return promise(pilot, side, key, looked, round(share * looked)).credit


# --------------------------------------------------------------------------- the look


def promise(pilot: Pilot, side: SidePromise, key: int, looked: int, seen: int) -> Promise:
    """What a look at `looked` rows, `seen` of them with the label, allows."""
    assert pilot.answers.traits is not None
    alpha = label_alpha(pilot.problem.alpha, len(side.labels))
    known = int((pilot.answers.traits.key[:, 0] == key).sum())
    lower = lower_count(pilot.left, looked, seen, alpha)
    allowed = misses_allowed(max(side.least, known + lower), float(side.share))
    credit = most_credit(pilot.left, allowed, looked, alpha)
    level = float(upper_level(pilot.left, allowed, credit, np.array([looked]))[0]) if 0 <= credit < looked else 0.0
    return Promise(known, seen, lower, allowed, credit, level)


def label_alpha(alpha: float, labels: int) -> float:
    """A quarter of a label's share of α … twice: for how many rows carry it, and for how many may be spoilt."""
    return alpha / (4 * max(1, labels))


def look(pilot: Pilot, side: SidePromise, way: Way, order: Ints) -> Generator[Ask, Answers, Verdict]:
    """Look, find the earliest stopping row of all promises, and say whether delivering pays."""
    problem, n = pilot.problem, way.looked
    rows = order[len(pilot.rows) : len(pilot.rows) + n]
    models = (0, way.candidate, *way.peers)
    answers = yield Ask(rows, models, "profile", Outlook((), (len(pilot.rows) + way.cost) / problem.rows))
    assert answers.traits is not None
    labels = answers.traits.key[:, 0]
    promises = [promise(pilot, side, key, n, int((labels == key).sum())) for key in side.labels]
    credit, errors = table_credit(pilot, n), int((answers.marks[:, 0] == ERROR).sum())
    spare = credit_left(credit, errors, pilot.reserve) if credit >= 0 else -1
    profiled = np.concatenate([pilot.rows, rows])
    evidence = describe(pilot, side, way, promises) | {"credit": credit, "errors": errors, "credit_left": spare}
    if credit >= 0:
        evidence["level"] = float(upper_level(pilot.left, pilot.allowance, credit, np.array([n]))[0])
    covered = errors == 0 or covers_errors(
        pilot.left, pilot.allowance, max(0, credit), n, reserve=pilot.reserve, alpha=problem.alpha / 2
    )
    if spare < 0 or not covered or any(each.credit < 0 for each in promises):
        return Verdict(False, Mix(), profiled, NAME, evidence | {"granted": False})
    score, u = values(way.score, answers, way.candidate), uniforms(problem.seed, "shares", problem.rows)[rows]
    bad = answers.marks[:, way.candidate] == BAD
    groups = [(bad, spare), *((bad & (labels == key), p.credit) for key, p in zip(side.labels, promises, strict=True))]
    stop = earliest(score, u, groups)
    accepted = before(score, u, stop) & (answers.marks[:, way.candidate] != DEFER)
    granted = bool(accepted.mean() > pilot.price(models[1:]))
    evidence |= {"granted": granted, "stop": None if stop is None else list(stop)}
    evidence["stop_digest"] = digest(*(evidence[name] for name in ("candidate", "peers", "score", "stop")))
    rule = Cascade((Tier(way.candidate, way.score, stop, way.peers),)) if granted else Mix()
    return Verdict(granted, rule, profiled, NAME, evidence)


def earliest(
    score: Floats, u: NDArray[np.uint64], groups: list[tuple[NDArray[np.bool_], int]]
) -> tuple[float, int] | None:
    """(score, u) of the first row in delivery order that is the (credit + 1)-th bad one of its group; None: no such."""
    stops = []
    for bad, credit in groups:
        places = np.flatnonzero(bad & ~np.isnan(score))
        if len(places) > credit:
            stops.append(places[np.lexsort((u[places], -score[places]))][credit])
    if not stops:
        return None
    first = min(stops, key=lambda place: (-score[place], int(u[place])))
    return float(score[first]), int(u[first])


def describe(pilot: Pilot, side: SidePromise, way: Way, promises: list[Promise]) -> dict[str, object]:
    """The evidence before the stopping row is known."""
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
        "labels": [
            {"key": key, "pilot": p.pilot, "seen": p.seen, "lower": p.lower, "allowed": p.allowed, "credit": p.credit}
            | {"level": p.level}
            for key, p in zip(side.labels, promises, strict=True)
        ],
    }
