"""What a run would do and cost, before anything is spent.

Everything is worked out from the table, the price list and what the ledger holds of earlier pilots; no model is asked
and nothing is written. Without a pilot the costs are a guess from priors; with one they come from simulated runs
(`forecast`). Costs are in USD: what is known of the rows set aside, plus the forecast of the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction

import numpy as np

from smart_llm.certificates.before import known_before
from smart_llm.certificates.certificate import stored
from smart_llm.client.lane import Speed
from smart_llm.engine.expected import expected_usage, row_cost
from smart_llm.engine.grown import anew, grown
from smart_llm.engine.job import Job, batch_rate, find, fixed, frozen, problem, reserved
from smart_llm.engine.known import before
from smart_llm.engine.live import Live
from smart_llm.engine.pilot import Known, known
from smart_llm.events import Stop
from smart_llm.ledger import Reader
from smart_llm.ledger.aside import piloted
from smart_llm.ledger.entries import DONE
from smart_llm.planning.cautions import Facts, cautions
from smart_llm.planning.forecast import Effort, Forecast, guess, simulated
from smart_llm.planning.plan import Line, Plan, Planned
from smart_llm.procedures import DEFAULT, described
from smart_llm.procedures.ladder.sieve import TRIALS, many
from smart_llm.providers.base import Provider
from smart_llm.providers.specs import LEARNED
from smart_llm.stats.clopper_pearson import interval
from smart_llm.tasks import words
from smart_llm.text.numbers import count
from smart_llm.types import AGREE, BAD, DEFER, ERROR, Answer, Json, Model, Problem, Request
from smart_llm.types.plan import GrownFrom, KnownLabels
from smart_llm.wording import worded

AGREEMENTS = ("0.80", "0.85", "0.90", "0.95", "0.97", "0.99")
"""Targets the cost is shown for, besides the one asked for."""
SHOWN = 3
"""Rows whose prompt is shown."""
OTHERS = Effort(runs=8, seconds=3.0, least=3)
"""How much simulating an agreement is worth that was not asked for."""
GUESSED = Speed(1.0)
"""A call's duration where none was ever seen."""
CONFIDENCE = 0.95
"""Of the limits of what a pilot saw."""


@dataclass(frozen=True, slots=True)
class Scope:
    """How much is worked out. agreements: those shown besides the one asked for, which is worth the effort."""

    agreements: tuple[str, ...]
    effort: Effort


THOROUGH, QUICK = Scope(AGREEMENTS, Effort()), Scope((), Effort(runs=12, seconds=6.0))
"""The whole plan, and the few lines that stand before a question."""


async def draw_up(
    job: Job,
    reader: Reader | None,
    providers: Mapping[str, Provider],
    *,
    concurrency: int,
    budget: float | None = None,
    self_check: int = 0,
    scope: Scope = THOROUGH,
) -> Plan:
    """The plan of a checked job. reader: of its ledger, where there is one. providers: those that can estimate."""
    priced = replace(job, models=tuple(_priced(model, job) for model in job.models))
    live = Live(job.table, job.task, priced.models, _nobody, stop=Stop())
    aside = piloted(reader, job.table.table_hash) if reader is not None else []
    kept = _kept(job, reader, aside)
    seen = await known(priced, reader) if reader is not None else None
    models = _models(live, providers, seen)
    shape = _Shape(priced, live, models, aside, seen, concurrency, self_check, kept)
    asked = shape.line(job.agreement, scope.effort)
    others = [each for each in scope.agreements if Fraction(each) != Fraction(job.agreement)]
    other = shape if kept.grown is None else replace(shape, kept=_Kept())  # another agreement is another command
    lines = sorted([asked, *(other.line(each, OTHERS) for each in others)], key=lambda line: Fraction(line.agreement))
    check = seen.check if seen else None
    facts = Facts(priced, live, tuple(models), asked, shape.reference_only, seen, check, budget)
    return Plan(
        table=job.table.name,
        rows=live.questions.rows,
        distinct=live.questions.distinct,
        agreement=job.agreement,
        confidence=job.confidence,
        procedure=job.procedure,
        prompts=tuple(_prompts(live)),
        system=job.task.system,
        answer=words.contract(job.task.described),
        equivalence=words.equivalence(job.task.described),
        models=tuple(models),
        concurrency=concurrency,
        asked=asked,
        lines=tuple(lines),
        reference_only=shape.reference_only,
        pilot={"rows": len(seen.positions), "cost": seen.cost} if seen else None,
        self_agreement=check,
        set_aside=len(aside),
        known=tuple(kept.words(job)),
        paid=kept.paid,
        continued=kept.grown.run if kept.grown is not None else None,
        warnings=tuple(map(worded, cautions(facts))),
        run=_run(job, reader),
        trials=shape.trials,
    )


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is in the ledger already. rows: that are delivered for nothing; paid: USD they have cost; grown: the run
    that is continued; finished: whether it has ended; labels: what a taught candidate knows beforehand; anew: why no
    run on the first rows of this table is continued, where there is one."""

    rows: int = 0
    paid: float = 0.0
    grown: GrownFrom | None = None
    labels: KnownLabels | None = None
    finished: bool = True
    anew: str | None = None

    def words(self, job: Job) -> Iterator[str]:
        """For people."""
        if self.grown is not None:
            added = job.table.rows - self.grown.rows
            first = "" if self.finished else ", which is brought to its end first"
            there = count(self.grown.rows, "row is", "rows are")
            yield f"{there} delivered as in run {self.grown.run}{first}; {count(added, 'was', 'were')} added"
            return
        if self.anew is not None:
            yield self.anew
        if self.labels is not None:
            plan = frozen(job, fixed(job), None, range(self.rows), known=self.labels)
            yield from known_before(plan)


def _kept(job: Job, reader: Reader | None, aside: Sequence[int]) -> _Kept:
    """What a run that begins now would take from the ledger, and from labels that the user names."""
    found = None if reader is None or aside or job.batch else grown(job, reader, reserved(job))
    if found is not None and reader is not None:
        run = next(run for run in reader.runs() if run.run_id == found.run)
        told = None if run.certificate is None else stored(run.certificate)
        settled, cost = (0, 0.0) if told is None else (told.claim.rows - told.claim.unsettled, told.cost.total)
        return _Kept(settled, cost, found, finished=run.state == DONE)
    why = None if reader is None or find(fixed(job), reader) is not None else anew(job, reader, reserved(job))
    if all(model.name != LEARNED for model in job.candidates):
        return _Kept(anew=why)
    there = before(job, reader)
    rows = sorted({*aside, *there.rows})
    paid = sum(answer.cost for answer in reader.get_many(there.keys).values()) if reader is not None else 0.0
    return _Kept(len(rows), paid if there.rows else 0.0, None, there.told(job.given), anew=why)


class _Nobody:
    async def ask(self, request: Request) -> Answer:
        raise AssertionError("a plan asks nobody")

    async def held(self, request: Request) -> int | None:
        return None

    def alive(self, model: str) -> bool:
        return False


_nobody = _Nobody()


def _priced(model: Model, job: Job) -> Model:
    return replace(model, rate=batch_rate(model.rate)) if model.name in job.batch else model


# --------------------------------------------------------------------------- money and time


@dataclass(frozen=True)
class _Shape:
    """What costs are made of."""

    job: Job
    live: Live
    models: Sequence[Planned]
    aside: Sequence[int]
    seen: Known | None
    concurrency: int
    self_check: int
    kept: _Kept

    @property
    def rates(self) -> list[float]:
        """Expected USD of one call, reference first."""
        return [model.cost for model in self.models]

    @property
    def packs(self) -> list[float]:
        """Rows that share a call, reference first; empty where none do."""
        return self.live.questions.rows_a_call() if self.live.questions.ways else []

    @property
    def part(self) -> float:
        """Distinct requests per row: what is paid of what is asked."""
        return self.live.questions.distinct / self.live.questions.rows

    @property
    def reference_only(self) -> float:
        """USD of the reference on every row."""
        return self.rates[0] * self.live.questions.distinct

    @property
    def trials(self) -> float | None:
        """USD that trying ways may cost at most."""
        task = self._posed(self.job)
        tried = self.job.procedure == DEFAULT.name and many(task)
        return TRIALS * self.rates[0] * task.alone if tried else None

    @property
    def fixed(self) -> float:
        """USD that does not depend on the agreement: the rows set aside, the pilot's candidates, second answers."""
        paid = self.seen.cost if self.seen else 0.0
        unknown = len(self.aside) - (len(self.seen.positions) if self.seen else 0)
        again = self.self_check if not (self.seen and self.seen.check) else 0
        if self.kept.rows:
            return self.kept.paid + again * self.rates[0]
        return paid + (unknown * self.part + again) * self.rates[0]

    def line(self, agreement: str, effort: Effort) -> Line:
        """Cost and time at one agreement."""
        told, left = self._forecast(agreement, effort), self.live.questions.rows - (self.kept.rows or len(self.aside))
        scale = self.rates[0] * left * self.part
        low, cost, high = (self.fixed + each * scale for each in (told.low, told.expected, told.high))
        saving, worst, best = (self.reference_only / each if each else 1.0 for each in (cost, high, low))
        seconds = self._seconds(told.reference_share)
        return Line(agreement, cost, low, high, saving, worst, best, told.runs, told.certified, seconds)

    def _forecast(self, agreement: str, effort: Effort) -> Forecast:
        job = replace(self.job, agreement=agreement)
        lost = int((self.seen.sheet.marks[:, 0] == ERROR).sum()) if self.seen else 0
        task = self._posed(job, lost)
        if not described(job.procedure).candidates:
            return Forecast(1.0, 1.0, 1.0, 0, None, 1.0)
        if self.seen is None:
            return guess(task)
        return simulated(job.procedure, task, self.seen.sheet, effort=effort, seed=task.seed)

    def _posed(self, job: Job, lost: int = 0) -> Problem:
        aside, requests = self.aside, self.live.questions.to_come
        if self.kept.rows:
            aside, requests = range(self.kept.rows), 0
        plan = frozen(job, fixed(job), None, aside)
        return problem(plan, self.rates, packs=self.packs, lost=lost, requests=requests)

    def _seconds(self, share: float) -> float:
        """How long the slowest model is busy: the reference with its share of the rows, candidates with all of them."""
        shared = self.live.questions.rows_a_call()[1:]
        calls = [share * self.live.questions.distinct]
        candidates = zip(self.live.models[1:], shared, strict=True)
        calls += [self.live.questions.distinct * (1 + model.draws) / rows for model, rows in candidates]
        speeds = self.seen.speeds if self.seen else {}
        return max(
            _busy(count, model, speeds.get(model.name, GUESSED), self.concurrency)
            for count, model in zip(calls, self.models, strict=True)
        )


def _busy(calls: float, model: Planned, speed: Speed, concurrency: int) -> float:
    """Seconds that these calls take at this speed, within what the provider says is allowed."""
    seconds = calls * speed.seconds / concurrency
    if speed.requests:
        seconds = max(seconds, calls / speed.requests * 60)
    if speed.tokens:
        seconds = max(seconds, calls * (model.input_tokens + model.output_tokens) / speed.tokens * 60)
    return seconds


# --------------------------------------------------------------------------- what is asked of whom


def _models(live: Live, providers: Mapping[str, Provider], seen: Known | None) -> list[Planned]:
    """Every model with its price and what a row costs: as the pilot saw it, else as expected."""
    out = []
    for j, model in enumerate(live.models):
        used = [] if seen else expected_usage(model, providers.get(model.name), live)
        tokens = seen.tokens[j] if seen else np.mean([(u.input_tokens, u.output_tokens) for u in used], axis=0)
        speed = seen.speeds.get(model.name) if seen else None
        out.append(
            Planned(
                name=model.name,
                role="candidate" if j else "reference",
                rate={name: value for name, value in asdict(model.rate).items() if value not in (None, ())},
                input_tokens=float(tokens[0]),
                output_tokens=float(tokens[1]),
                cost=float(np.mean(seen.sheet.cost[:, j] if seen else [row_cost(model, usage) for usage in used])),
                seconds=speed.seconds if speed else None,
                seen=_standing(seen, j) if seen and j else None,
                enforce=model.enforce,
            )
        )
    return out


def _standing(seen: Known, j: int) -> dict[str, Json]:
    """How a candidate fared in the pilot, with exact limits of its agreement."""
    marks = seen.sheet.marks[:, j]
    rows, agreeing = int(np.isin(marks, (AGREE, BAD)).sum()), int((marks == AGREE).sum())
    low, high = interval(agreeing, rows, CONFIDENCE) if rows else (0.0, 1.0)
    deferred = int((marks == DEFER).sum())
    return {"rows": rows, "agreeing": agreeing, "deferred": deferred, "lower": float(low), "upper": float(high)}


def _prompts(live: Live) -> list[tuple[int, str]]:
    rows = np.unique(np.linspace(0, live.questions.rows - 1, num=min(SHOWN, live.questions.rows)).astype(np.int64))
    return list(zip(rows.tolist(), live.questions.prompts(rows), strict=True))


def _run(job: Job, reader: Reader | None) -> dict[str, Json] | None:
    """The run that the same command would resume."""
    record = find(fixed(job), reader) if reader is not None else None
    return None if record is None else {"run": record.run_id, "state": record.state}
