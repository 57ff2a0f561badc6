"""`smart replay`: the shipped procedure on recorded answers, T times, and the figures that come out.

Trial t runs with seed S + t on the same table, so the trials sample exactly what the promise is about: the seeded
random order. Costs are the recorded ones; a procedure is told each model's mean. Rows whose reference has no answer
are misses whatever is delivered, and a recorded table knows how many there are: they are set aside from the
allowance (`Problem.reserve`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from time import perf_counter
from typing import Any

import numpy as np

from smart_llm import procedures
from smart_llm.engine.options import DEFAULT, check_models, check_whole
from smart_llm.errors import InputError, named
from smart_llm.simulation.drive import Outcome, Population, prospects, simulate
from smart_llm.simulation.recorded import Equivalent, Recorded, load
from smart_llm.simulation.taught import School, Taught
from smart_llm.stats.clopper_pearson import upper_limit
from smart_llm.stats.hindsight import best_mix
from smart_llm.tables.manner import Manner
from smart_llm.types import ERROR, Json, Problem
from smart_llm.types.share import allowed, floor_share, share


@dataclass(frozen=True, slots=True, repr=False)
class Figures:
    """What T trials cost and delivered. Costs are shares of "reference on every row"; names as in the JSON."""

    rows: int
    trials: int
    procedure: str
    reference: str
    candidates: tuple[str, ...]
    agreement: float
    confidence: float
    cost_ratio_mean: float
    cost_ratio_max: float
    saving: float
    violations: int
    violation_rate_upper: float
    agreement_mean: float
    agreement_min: float
    profiled_mean: float
    reference_share_mean: float
    certified_runs: int
    hindsight_cost_ratio: float
    seconds_per_trial: float

    def to_json(self) -> Json:
        """The fields, by name; plain JSON values."""
        return {**asdict(self), "candidates": list(self.candidates)}

    def __repr__(self) -> str:
        return (
            f"<Figures: {self.trials} × {self.procedure} on {self.rows:,} rows, agreement ≥ {self.agreement:g}: "
            f"{self.saving:.2f}× cheaper, agreement {self.agreement_mean:.4g} on average, {self.violations} violations>"
        )

    def _repr_html_(self) -> str:
        from smart_llm.text.rich_html import listed

        return listed(repr(self)[1:-1], self.to_json())


@named
def replay(
    recorded: Any,
    *,
    reference: str,
    candidates: Sequence[str] | None = None,
    agreement: str | float | Fraction = DEFAULT["agreement"],
    confidence: str | float | Fraction = DEFAULT["confidence"],
    trials: int = 1,
    seed: int = 0,
    procedure: str = DEFAULT["procedure"],
    scores: bool = True,
    floor: str | float | Fraction = DEFAULT["floor"],
    equivalent: Equivalent | None = None,
    encoding: str | None = None,
    quotes: str = DEFAULT["quotes"],
    header: bool | None = None,
    text: Sequence[str] = (),
) -> Figures:
    """Replay a procedure on recorded answers: what it would have cost, and whether it would have kept its promise.

    recorded: a path (whatever `run` reads), a frame, or a list of dicts, one line per item and model, with item_id,
    model, answer, cost_usd, and perhaps score and input. candidates: by default every other model in it. trials: how
    many runs, with seeds `seed`, `seed` + 1, …; scores=False hides the models' own confidence; floor: the agreement
    below which no candidate is delivered. encoding, quotes, header: of a file, as for `run`.

    Raises `InputError` for a table, model or option that cannot be used as given.
    """
    check_models(reference, [] if candidates is None else candidates)
    check_whole("trials", trials)
    check_whole("seed", seed)
    if trials < 1:
        raise InputError(f"--trials {trials}: at least 1.")
    name = procedures.resolve(procedure)
    if procedures.described(name).labels:
        raise InputError(f"--procedure {procedure}: a replay makes no promise per label; leave --procedure out.")
    target, trust = share("--agreement", agreement), share("--confidence", confidence)
    manner = Manner(encoding, quotes, header)
    table = load(recorded, reference=reference, candidates=candidates, equivalent=equivalent, manner=manner, text=text)
    population = table.population if scores else without_scores(table.population)
    problem = pose(Recorded(table.items, table.models, population, table.school), target, trust, seed)
    problem = replace(problem, floor=floor_share(floor))
    start = perf_counter()
    outcomes = list(run_trials(name, problem, population, trials, table.school))
    return summarise(name, problem, population, outcomes, (perf_counter() - start) / trials)


def without_scores(population: Population) -> Population:
    """The same rows with no scores to go by."""
    return Population(population.marks, population.cost, np.full_like(population.score, np.nan))


def pose(table: Recorded, agreement: Fraction, confidence: Fraction, seed: int) -> Problem:
    """What a procedure may know of a recorded table: size, mean prices, how many rows have no answer."""
    rates = table.population.cost.mean(axis=0)
    if not rates[0] > 0:
        raise InputError(f"recorded table: {table.models[0]} cost nothing; costs are compared with the reference's.")
    return Problem(
        rows=len(table.items),
        agreement=agreement,
        confidence=confidence,
        reference=table.models[0],
        candidates=table.models[1:],
        rates=tuple(float(rate) for rate in rates),
        seed=seed,
        reserve=int((table.population.marks[:, 0] == ERROR).sum()),
        learned=table.school.column if table.school else 0,
    )


def run_trials(
    procedure: str, problem: Problem, population: Population, trials: int, school: School | None = None
) -> Iterator[Outcome]:
    """The outcomes of seeds S, S+1, … school: what a candidate is taught from, anew in every trial."""
    conversation = procedures.get(procedure)
    for trial in range(trials):
        taught = Taught(population, school) if school else None
        yield simulate(conversation, reseeded(problem, problem.seed + trial), population, taught)


def reseeded(problem: Problem, seed: int) -> Problem:
    """The same problem under another seed."""
    return replace(problem, seed=seed)


def summarise(
    procedure: str, problem: Problem, population: Population, outcomes: Sequence[Outcome], seconds: float
) -> Figures:
    """The figures of some trials of one problem."""
    rows, trials = problem.rows, len(outcomes)
    ratios = np.array([outcome.cost for outcome in outcomes]) / population.cost[:, 0].sum()
    agreements = 1 - np.array([outcome.misses for outcome in outcomes]) / rows
    violations = sum(rows - outcome.misses < problem.agreement * rows for outcome in outcomes)
    return Figures(
        rows=rows,
        trials=trials,
        procedure=procedure,
        reference=problem.reference,
        candidates=problem.candidates,
        agreement=float(problem.agreement),
        confidence=float(problem.confidence),
        cost_ratio_mean=float(ratios.mean()),
        cost_ratio_max=float(ratios.max()),
        saving=float(1 / ratios.mean()) if ratios.mean() > 0 else float("inf"),
        violations=violations,
        violation_rate_upper=float(upper_limit(violations, trials, 0.95)),
        agreement_mean=float(agreements.mean()),
        agreement_min=float(agreements.min()),
        profiled_mean=float(np.mean([outcome.profiled for outcome in outcomes])),
        reference_share_mean=float(np.mean([outcome.reference_rows for outcome in outcomes]) / rows),
        certified_runs=sum(outcome.verdict.granted for outcome in outcomes),
        hindsight_cost_ratio=best_mix(*prospects(population, problem.learned), allowed(rows, problem.agreement) / rows),
        seconds_per_trial=seconds,
    )
