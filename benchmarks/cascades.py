"""Where promises of cascades break: bad rows just over the allowance, put where the score is surest.

    python benchmarks/cascades.py [--quick] [--jobs 2] [--runs 2000] [--cells TEXT …] [--procedure NAME …]
        [--parts FILE]

Every run draws a new table and a new seed; the interval on a cell's violation rate is Clopper and Pearson's, two-sided,
95 %. The promise is exact, so in many cells the true rate *is* almost .05, and of a hundred such cells some lie above
by luck. Hence a rule made beforehand: a cell whose lower limit is above .05 is run again, 5 × as many fresh seeds, and
the fresh runs alone decide. Exit code 1 when a procedure fails or a control does not. --parts keeps every hundred runs
as they are done and goes on from there after a break (delete it when the code has changed).

ladder      the default, as it ships: it may prefer the blind mix (column `routed`: share of runs that routed by row)
routed      pilot, scores, tiers and look as they ship, put together so that every run that can is decided by its look
per-label   `per-label/3` at .9 for each of two labels: a run violates when the table's or a label's promise is broken
look        nothing but the look: a pilot, the candidate with the fewest bad rows in it, and every credit in turn
greedy      control, must fail: the look with one credit more than its rows pay for
choosing    control, must fail: candidate chosen by the look itself (several candidates) instead of the pilot
whole-tie   control, must fail: the look delivers the whole group of equal scores in which it stops

Kinds of tables. D = bad rows set by the factor; `+tail`: and the least sure fifth of the rows is bad as well, so that
the pilot takes the score for a good one and the look is reached.

top      the surest D rows            trap    the same +tail         cliff   D rows in the middle, where it stops, +tail
best10   D of the surest tenth +tail  best50  of half, no tail       anti    bad rows tend to be surer
groups   five groups of equal scores, D in the first, +tail          tied    one group: the score is blank
defers   trap; a third of the answers break the contract, a seventh come without a score
lost     trap; D/5 of the bad rows have no answer by the reference (whole procedures know how many: `Problem.reserve`)
short    no scores, but bad answers are short, +tail
"""

from __future__ import annotations

import json
import sys
from collections.abc import Generator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from time import perf_counter
from typing import Any
from zlib import crc32

import numpy as np
from common import (
    ALPHA,
    allowance,
    draw_rates,
    figures,
    finish,
    judge,
    missed,
    options,
    panels,
    pose,
    ratio,
    show,
    spread,
)

from smart_llm import procedures
from smart_llm.procedures.ladder import procedure as ladder_4
from smart_llm.procedures.ladder.look import cascade
from smart_llm.procedures.ladder.pilot import Pilot
from smart_llm.procedures.ladder.tiers import tiered
from smart_llm.procedures.ladder.ways import weigh
from smart_llm.procedures.mix import pilot as mix_pilot
from smart_llm.simulation.drive import Outcome, Population, simulate
from smart_llm.stats.first_bad import covers_errors, credit_left, looks
from smart_llm.stats.sampling import permutation, uniforms
from smart_llm.types import (
    AGREE,
    BAD,
    DEFER,
    ERROR,
    Answers,
    Ask,
    Cascade,
    Mix,
    Problem,
    Score,
    SidePromise,
    Tier,
    Traits,
    Verdict,
)

COLUMNS = ("cell", "procedure", "runs", "violations", "rate", "low", "high", "certified", "routed", "cost", "seconds")
CHUNK = 100
AGAIN = 5
CONTROLS = ("greedy", "choosing", "whole-tie")
SIDE = SidePromise(Fraction("0.9"), 20, (1, 2))


@dataclass(frozen=True)
class Cell:
    """A kind of table: `factor` × B bad rows ("+1": B + 1) per candidate; same: of all candidates in the same rows."""

    kind: str
    rows: int
    factor: str
    candidates: int = 1
    disagreement: str = "0.05"
    same: bool = False

    @property
    def name(self) -> str:
        """What --cells matches."""
        sign, same = "" if self.factor == "+1" else "×", "same" if self.same else ""
        return f"{self.kind}{self.candidates}{same} N={self.rows} D=B{sign}{self.factor} B/N={self.disagreement}"

    @property
    def bad(self) -> int:
        """D."""
        allowed = allowance(self.rows, self.disagreement)
        return allowed + 1 if self.factor == "+1" else max(allowed + 1, round(allowed * float(self.factor)))


FACTORS = ("+1", "1.05", "1.3", "2", "5")
KINDS = ("top", "trap", "cliff", "best10", "best50", "anti", "groups", "tied", "defers", "lost", "short")
CELLS = [
    *(Cell(kind, 2000, factor) for kind in KINDS for factor in ("+1", "1.3", "5")),
    *(Cell(kind, 2000, factor) for kind in ("top", "trap", "groups", "tied") for factor in ("1.05", "2")),
    *(Cell(kind, n, f) for n in (500, 10000) for kind in ("trap", "cliff", "groups", "tied") for f in ("+1", "1.3")),
    *(Cell("trap", n, f) for n in (50000, 127600) for f in ("+1", "1.3")),
    *(Cell("groups", 127600, f) for f in ("1.3",)),
    *(Cell(kind, 2000, f, disagreement="0.2") for kind in ("trap", "groups") for f in ("+1", "1.3")),
    *(Cell("trap", 2000, "1.3", m) for m in (2, 3, 4)),
    *(Cell(kind, 2000, f, 4, same=True) for kind, f in (("trap", "+1"), ("groups", "1.3"))),
    *(Cell(kind, 2000, "1.3", 4) for kind in ("tied", "short")),
    Cell("trap", 10000, "1.3", 4),
]
QUICK = [Cell("trap", 500, "1.3"), Cell("tied", 500, "1.3", 3), Cell("groups", 500, "1.3")]


def main() -> None:
    """Run, run again what luck may explain, judge, print, draw."""
    parser = options(__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=2000, help="per cell and procedure, in steps of 100")
    parser.add_argument("--cells", nargs="+", default=[""], help="only cells whose name contains one of these")
    parser.add_argument("--procedure", nargs="+", default=["ladder", "routed", "per-label", "look", *CONTROLS])
    parser.add_argument("--parts", type=Path, help="keep finished runs here, and go on from them")
    args = parser.parse_args()
    runs = min(args.runs, 200) if args.quick else args.runs
    cells = [c for c in (QUICK if args.quick else CELLS) if any(part in c.name for part in args.cells)]
    pairs = [(c, n) for n in args.procedure for c in cells if applies(n, c)]
    results = measured([(c, n, 0, enough(c, n, runs)) for c, n in pairs], args)
    unlucky = [p for p, e in zip(pairs, results, strict=True) if e["low"] > ALPHA and p[1] not in CONTROLS]
    fresh = measured([(c, n, 10**6, AGAIN * enough(c, n, runs)) for c, n in unlucky], args)
    show(results, COLUMNS)
    if fresh:
        print(f"\nLower limit above {ALPHA}: again, {AGAIN} × as many fresh runs, which decide")
        show(fresh, COLUMNS)
    names = list(dict.fromkeys(n for _, n in pairs))
    of = {n: [e for e in results if e["procedure"] == n] for n in names}
    verdicts = [judge(n, of[n], [e for e in fresh if e["procedure"] == n]) for n in names]
    print(*(verdict["text"] for verdict in verdicts), sep="\n")
    panels("cascades", names, lambda axis, n: draw_rates(axis, of[n]))
    finish({"benchmark": "cascades", "runs": runs, "cells": results, "again": fresh, "verdicts": verdicts}, args.json)
    sys.exit(1 if any(v["holds"] == (v["procedure"] in CONTROLS) for v in verdicts) and not args.quick else 0)


def applies(procedure: str, cell: Cell) -> bool:
    """Where a procedure has something to say: `short` has no score for a bare look, labels are known where there is no
    other trait, and each control belongs where its fault can show."""
    if procedure == "choosing":
        return cell.candidates > 1 and not cell.same and cell.kind != "short"
    if procedure == "whole-tie":
        return cell.kind in ("groups", "tied")
    if procedure == "greedy":
        return cell.kind in ("top", "trap") and cell.rows <= 10000
    if procedure == "per-label":
        return cell.kind in ("top", "trap", "cliff", "groups", "tied", "lost") and cell.rows <= 10000
    return not (procedure == "look" and cell.kind == "short")


def enough(cell: Cell, procedure: str, runs: int) -> int:
    """Whole procedures get fewer where one run takes a second: a tenth on large tables, and the default, which designs
    a mix to compare with wherever it is close, a fifth on all and a twentieth from 10,000 rows on."""
    large = cell.rows > {"ladder": 5000, "routed": 20000, "per-label": 5000}.get(procedure, cell.rows)
    part = (20 if large else 5) if procedure == "ladder" else (10 if large else 1)
    return min(runs, max(CHUNK, -(-runs // part // CHUNK) * CHUNK))


# --------------------------------------------------------------------------- tables


def table(cell: Cell, seed: int) -> Population:
    """Marks and scores, shape (N, 1 + m): exactly D bad rows per candidate, and the tail's where the kind has one."""
    rng = np.random.default_rng([seed, cell.rows, cell.candidates])
    rows, columns = cell.rows, 1 + cell.candidates
    marks, score = np.zeros((rows, columns), np.int8), np.full((rows, columns), np.nan)
    length = np.ones((rows, columns))
    order = rng.permutation(rows)
    for j in range(1, columns):
        order = order if cell.same else rng.permutation(rows)
        marks[order, j] = np.where(placed(cell, rng), BAD, AGREE)
        score[order, j] = scored(cell, marks[order, j] == BAD, rng)
        if cell.kind == "short":
            length[order, j], score[:, j] = 1.0 + np.arange(rows), np.nan
        if cell.kind == "lost":
            marks[order[: cell.bad // 5], 0] = ERROR
        if cell.kind == "defers":
            marks[order[::3], j] = np.where(marks[order[::3], j] == BAD, BAD, DEFER)
            score[order[6::7], j] = np.where(marks[order[6::7], j] == BAD, score[order[6::7], j], np.nan)
    marks[marks[:, 0] == ERROR, 1:] = BAD
    cost = np.broadcast_to(np.array(prices(cell)), marks.shape)
    same_key = np.where(marks == BAD, 1 + np.arange(columns), 1).astype(np.int64)
    traits = Traits(same_key, length, np.full(rows, np.nan)) if cell.kind == "short" else None
    return Population(marks, cost, score, traits)


def placed(cell: Cell, rng: np.random.Generator) -> np.ndarray:
    """Shape (N,), surest row first: which rows are bad."""
    rows, count = cell.rows, cell.bad
    bad = np.zeros(rows, bool)
    if cell.kind in ("trap", "cliff", "best10", "groups", "defers", "lost", "short"):
        bad[-rows // 5 :] = True
    start, width = {
        "cliff": (int(0.4 * rows), 0),
        "best10": (0, 0.1),
        "best50": (0, 0.5),
        "groups": (0, 0.2),
        "anti": (0, 1.0),
        "tied": (0, 1.0),
    }.get(cell.kind, (0, 0))
    width = min(rows, max(count, int(width * rows)))
    bad[start + rng.permutation(width)[:count]] = True
    return bad


def scored(cell: Cell, bad: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Shape (N,), in the order of `placed`: the score."""
    place = np.arange(cell.rows)
    if cell.kind == "anti":
        return np.asarray(rng.normal(size=cell.rows) + 1.5 * bad)
    if cell.kind in ("groups", "tied"):
        return -np.floor(place / cell.rows * (5 if cell.kind == "groups" else 1))
    return -place.astype(float)


def prices(cell: Cell) -> list[float]:
    """The reference at 1, candidates from a twenty-fifth on."""
    return [1.0, *(0.04 + 0.01 * j for j in range(cell.candidates))]


def labelled(people: Population, seed: int) -> Population:
    """The same with two labels, dealt evenly at random; a bad answer is the other label."""
    label = 1 + (np.random.default_rng([seed, 9]).random(len(people.marks)) < 0.5).astype(np.int64)
    key = np.where(people.marks == BAD, 3 - label[:, None], label[:, None])
    key[people.marks[:, 0] == ERROR, 0] = 0
    return replace(people, traits=Traits(key, np.ones(key.shape), np.full(len(key), np.nan)))


# --------------------------------------------------------------------------- procedures


def routed(problem: Problem) -> Generator[Ask, Answers, Verdict]:
    """The parts of the default as they ship, but whatever the mix may cost and however useless scores look, the promise
    is put on the look at the best cascade; nothing is promised where no look is affordable."""
    state, _ = mix_pilot.start(problem)
    told: list[tuple[Ask, Answers]] = []
    yield from ladder_4.overheard(mix_pilot.pilot(state), told)
    order = permutation(problem.seed, "order", problem.rows)
    pilot = Pilot.of(problem, told)
    pilot = yield from ladder_4.first_pilot(pilot, weigh(pilot), order)
    while (step := ladder_4.next_step(pilot, weigh(pilot))) is not None:
        pilot = yield from ladder_4.step_on(pilot, order, step)
    ways = [way for way in weigh(pilot) if way.score is not None]
    if not ways:
        return Verdict(False, Mix(), pilot.rows, "routed", {})
    return (yield from cascade(pilot, order, tiered(pilot, ways), "routed"))


def look(problem: Problem, extra: int = 0, whole_tie: bool = False) -> Generator[Ask, Answers, Verdict]:
    """The bare look, written again: pilot, candidate, credit by the seed. extra: credits that nobody paid for."""
    order = permutation(problem.seed, "order", problem.rows)
    pilot = order[: int(2.2 * problem.rows ** (1 / 3))]
    answers = yield Ask(pilot, tuple(range(len(problem.rates))), "pilot")
    best = int((answers.marks[:, 1:] == BAD).sum(axis=0).argmin()) + 1
    errors = int((answers.marks[:, 0] == ERROR).sum())
    credit, count = paid(problem, len(pilot), problem.allowance - errors)
    rows = order[len(pilot) : len(pilot) + count]
    answers = yield Ask(rows, (0, best), "profile")
    spare = credit_left(credit, int((answers.marks[:, 0] == ERROR).sum()), 0)
    stop = walk(problem, answers, rows, best, spare + extra)
    if whole_tie and stop is not None:
        stop = stop[0], 2**64 - 1
    rule = Cascade((Tier(best, Score(), stop),)) if spare >= 0 else Cascade(())
    return Verdict(spare >= 0, rule, np.concatenate([pilot, rows]), "look", {})


def choosing(problem: Problem) -> Generator[Ask, Answers, Verdict]:
    """Broken on purpose: every candidate is looked at, and the one whose look goes deepest is taken."""
    order = permutation(problem.seed, "order", problem.rows)
    credit, count = paid(problem, 0, problem.allowance)
    answers = yield Ask(order[:count], tuple(range(len(problem.rates))), "profile")
    rules = [Tier(j, Score(), walk(problem, answers, order[:count], j, credit)) for j in range(1, len(problem.rates))]
    best = min(rules, key=lambda tier: tier.stop or (-np.inf, 0))  # scores are comparable here: the lowest is deepest
    return Verdict(True, Cascade((best,)), order[:count], "choosing", {})


def paid(problem: Problem, pilot: int, allowed: int) -> tuple[int, int]:
    """(credit, rows looked at): one of all that are affordable, in turn by seed."""
    choices = choices_of(problem.rows - pilot, max(0, allowed), problem.alpha)
    return choices[problem.seed % len(choices)]


@lru_cache(maxsize=1024)
def choices_of(rows: int, allowed: int, alpha: float) -> tuple[tuple[int, int], ...]:
    """Looks of at most a quarter of the rows that cover errors, too."""
    every = looks(rows, allowed, alpha, rows // 4)[:16]
    return tuple(each for each in every if rows > 10000 or covers_errors(rows, allowed, *each, reserve=0, alpha=alpha))


def walk(problem: Problem, answers: Answers, rows: Any, candidate: int, spare: int) -> tuple[float, int] | None:
    """(score, u) of the row at which the look stops: one step after the other, surest first; None: it never does."""
    score, bad = answers.score[:, candidate], answers.marks[:, candidate] == BAD
    u = uniforms(problem.seed, "shares", problem.rows)[rows]
    for row in sorted(np.flatnonzero(bad & ~np.isnan(score)), key=lambda row: (-score[row], u[row])):
        if spare <= 0:
            return float(score[row]), int(u[row])
        spare -= 1
    return None


RUN = {
    "ladder": lambda problem: procedures.get(procedures.resolve("ladder"))(problem),
    "routed": routed,
    "per-label": lambda problem: procedures.get("per-label/3")(problem),
    "look": look,
    "greedy": lambda problem: look(problem, extra=1),
    "choosing": choosing,
    "whole-tie": lambda problem: look(problem, whole_tie=True),
}


# --------------------------------------------------------------------------- runs


def measured(work: list[tuple[Cell, str, int, int]], args: Any) -> list[dict[str, Any]]:
    """The figures of each (cell, procedure, first seed, runs)."""
    pieces = [(c, n, at, CHUNK) for c, n, first, runs in work for at in range(first, first + runs, CHUNK)]
    known = finished(args.parts)
    missing = [piece for piece in pieces if name_of(piece) not in known]
    for part in spread(chunk, missing, args.jobs) if missing else ():
        known[part["name"]] = part
        if args.parts:
            with args.parts.open("a") as file:
                file.write(json.dumps(part) + "\n")
    return [
        gather(c, n, [known[name_of((c, n, at, CHUNK))] for at in range(first, first + runs, CHUNK)])
        for c, n, first, runs in work
    ]


def name_of(piece: tuple[Cell, str, int, int]) -> str:
    """What a piece of work is kept under."""
    cell, procedure, first, count = piece
    return f"{cell.name} | {procedure} | {first} + {count}"


def finished(file: Path | None) -> dict[str, dict[str, Any]]:
    """Pieces kept earlier, by name."""
    if file is None or not file.exists():
        return {}
    return {part["name"]: part for part in map(json.loads, file.read_text().splitlines())}


def chunk(work: tuple[Cell, str, int, int]) -> dict[str, Any]:
    """Some runs of one cell under one procedure."""
    cell, name, first, count = work
    start, total = perf_counter(), np.zeros(4)
    own = crc32(cell.name.encode()) << 24  # each cell its own seeds, or one unlucky draw would show in all of them
    for seed in range(own + first, own + first + count):
        people = table(cell, seed)
        problem, _ = pose(people.marks, prices(cell), cell.disagreement, seed)
        if (
            name not in CONTROLS and name != "look"
        ):  # as the engine and `smart replay` set it aside for rows without answer
            problem = replace(problem, reserve=int((people.marks[:, 0] == ERROR).sum()))
        if name == "per-label":
            people, problem = labelled(people, seed), replace(problem, side=SIDE)
        outcome = simulate(RUN[name], problem, people)
        by_row = outcome.verdict.granted and hasattr(outcome.verdict.rule, "tiers")
        cost = ratio(outcome, people)
        total += [
            missed(outcome, problem) or label_missed(outcome, problem, people),
            outcome.verdict.granted,
            by_row,
            cost,
        ]
    return {"name": name_of(work), "runs": count, "total": total.tolist(), "seconds": perf_counter() - start}


def label_missed(outcome: Outcome, problem: Problem, people: Population) -> bool:
    """Whether a promise per label is broken."""
    if problem.side is None or people.traits is None:
        return False
    bad = people.marks[np.arange(problem.rows), outcome.delivered_by] == BAD
    label = people.traits.key[:, 0]
    return any(
        (bad & (label == key)).sum() > (1 - problem.side.share) * int((label == key).sum())
        for key in problem.side.labels
        if (label == key).sum() >= problem.side.least
    )


def gather(cell: Cell, procedure: str, parts: list[dict[str, Any]]) -> dict[str, Any]:
    """A cell's figures."""
    violations, certified, by_row, cost = np.sum([part["total"] for part in parts], axis=0)
    runs, seconds = (sum(part[name] for part in parts) for name in ("runs", "seconds"))
    return figures(cell.name, procedure, runs, seconds, violations, certified=certified, routed=by_row, cost=cost)


if __name__ == "__main__":
    main()
