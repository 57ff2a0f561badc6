"""What a run would do and cost, before anything is spent.

Everything is worked out from the table, the price list and what the ledger holds of earlier pilots; no model is asked
and nothing is written. Without a pilot the costs are a guess from priors; with one they come from simulated runs
(`forecast`). Costs are in USD: what is known of the rows set aside, plus the forecast of the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction

import numpy as np

from smart_llm.engine.aside import piloted
from smart_llm.engine.cautions import Facts, cautions
from smart_llm.engine.expect import expected_usage, row_cost
from smart_llm.engine.forecast import Effort, Forecast, guess, simulated
from smart_llm.engine.job import Job, batch_rate, find, fixed, frozen, problem
from smart_llm.engine.live import Live
from smart_llm.engine.pilot import Known, known
from smart_llm.engine.pool import Stop
from smart_llm.ledger import Reader
from smart_llm.providers.base import Provider
from smart_llm.providers.lane import Speed
from smart_llm.stats.clopper_pearson import interval
from smart_llm.tasks import words
from smart_llm.types import AGREE, BAD, DEFER, ERROR, Answer, Json, Model, Request
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


@dataclass(frozen=True, slots=True)
class Line:
    """Cost of the whole run at one agreement, USD, with the ends of a nominal 95 % interval; saving: reference-only
    cost ÷ cost. runs: simulated runs behind it (0: a guess from priors); certified: the share of them that certified a
    rule. seconds: at the speed of `Plan.speeds`."""

    agreement: str
    cost: float
    low: float
    high: float
    saving: float
    saving_low: float
    saving_high: float
    runs: int
    certified: float | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Planned:
    """One model: role `reference` or `candidate`; rate: USD per million tokens; tokens of an average call, USD a row.
    seen: what the pilot saw of a candidate (rows, agreeing, deferred, limits). enforce: how its server is made to keep
    to the labels or the schema; "auto": the run learns that by a call."""

    name: str
    role: str
    rate: Mapping[str, Json]
    input_tokens: float
    output_tokens: float
    cost: float
    seconds: float | None
    seen: Mapping[str, Json] | None
    enforce: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class Plan:
    """What a run would do and cost. prompts: (position, rendered prompt) of a few rows. answer: the output contract,
    equivalence: when two answers count as the same, in words. asked: the line of the agreement asked for; lines: of
    several. reference_only: USD of the reference on every row. pilot: rows piloted and what they cost, None where there
    was none under this task. self_agreement: as on a certificate. set_aside: rows that are no evidence. warnings:
    sentences. run: the run this command would take up again."""

    table: str
    rows: int
    distinct: int
    agreement: str
    confidence: str
    procedure: str
    prompts: tuple[tuple[int, str], ...]
    system: str | None
    answer: str
    equivalence: str
    models: tuple[Planned, ...]
    concurrency: int
    asked: Line
    lines: tuple[Line, ...]
    reference_only: float
    pilot: Mapping[str, Json] | None
    self_agreement: Mapping[str, Json] | None
    set_aside: int
    warnings: tuple[str, ...]
    run: Mapping[str, Json] | None

    def text(self, width: int = 100) -> str:
        """For people: all of it, in so many columns."""
        from smart_llm.reports.plan import text

        return text(self, width)

    def short(self, width: int = 100) -> str:
        """For people: what it costs and what to know before saying yes, in a few lines."""
        from smart_llm.reports.plan import short

        return short(self, width)

    def __repr__(self) -> str:
        from smart_llm.reports.plan import brief

        return brief(self)

    def _repr_html_(self) -> str:
        from smart_llm.reports.plan import html

        return html(self)

    def to_json(self) -> dict[str, Json]:
        """The fields as JSON values."""
        return asdict(self)


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
    seen = await known(priced, reader) if reader is not None else None
    models = _models(live, providers, seen)
    shape = _Shape(priced, live, models, aside, seen, concurrency, self_check)
    asked = shape.line(job.agreement, scope.effort)
    others = [each for each in scope.agreements if Fraction(each) != Fraction(job.agreement)]
    lines = sorted([asked, *(shape.line(each, OTHERS) for each in others)], key=lambda line: Fraction(line.agreement))
    check = seen.check if seen else None
    facts = Facts(priced, live, tuple(models), asked, shape.reference_only, seen, check, budget)
    return Plan(
        table=job.table.name,
        rows=live.rows,
        distinct=live.distinct,
        agreement=job.agreement,
        confidence=job.confidence,
        procedure=job.procedure,
        prompts=tuple(_prompts(live)),
        system=job.task.system,
        answer=words.contract(job.task.to_json()),
        equivalence=words.equivalence(job.task.to_json()),
        models=tuple(models),
        concurrency=concurrency,
        asked=asked,
        lines=tuple(lines),
        reference_only=shape.reference_only,
        pilot={"rows": len(seen.positions), "cost": seen.cost} if seen else None,
        self_agreement=check,
        set_aside=len(aside),
        warnings=tuple(map(worded, cautions(facts))),
        run=_run(job, reader),
    )


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

    @property
    def rates(self) -> list[float]:
        """Expected USD of one call, reference first."""
        return [model.cost for model in self.models]

    @property
    def part(self) -> float:
        """Distinct requests per row: what is paid of what is asked."""
        return self.live.distinct / self.live.rows

    @property
    def reference_only(self) -> float:
        """USD of the reference on every row."""
        return self.rates[0] * self.live.distinct

    @property
    def fixed(self) -> float:
        """USD that does not depend on the agreement: the rows set aside, the pilot's candidates, second answers."""
        paid = self.seen.cost if self.seen else 0.0
        unknown = len(self.aside) - (len(self.seen.positions) if self.seen else 0)
        again = self.self_check if not (self.seen and self.seen.check) else 0
        return paid + (unknown * self.part + again) * self.rates[0]

    def line(self, agreement: str, effort: Effort) -> Line:
        """Cost and time at one agreement."""
        told, left = self._forecast(agreement, effort), self.live.rows - len(self.aside)
        scale = self.rates[0] * left * self.part
        low, cost, high = (self.fixed + each * scale for each in (told.low, told.expected, told.high))
        saving, worst, best = (self.reference_only / each if each else 1.0 for each in (cost, high, low))
        seconds = self._seconds(told.reference_share)
        return Line(agreement, cost, low, high, saving, worst, best, told.runs, told.certified, seconds)

    def _forecast(self, agreement: str, effort: Effort) -> Forecast:
        job = replace(self.job, agreement=agreement)
        lost = int((self.seen.sheet.marks[:, 0] == ERROR).sum()) if self.seen else 0
        task = problem(frozen(job, fixed(job), None, self.aside), self.rates, lost=lost)
        if job.procedure == "reference-only":
            return Forecast(1.0, 1.0, 1.0, 0, None, 1.0)
        if self.seen is None:
            return guess(task)
        return simulated(job.procedure, task, self.seen.sheet, effort=effort, seed=task.seed)

    def _seconds(self, share: float) -> float:
        """How long the slowest model is busy: the reference with its share of the rows, candidates with all of them."""
        calls = [share * self.live.distinct]
        calls += [float(self.live.distinct * (1 + model.draws)) for model in self.live.models[1:]]
        speeds = self.seen.speeds if self.seen else {}
        return max(
            _busy(count, model, speeds.get(model.name, GUESSED), self.concurrency)
            for count, model in zip(calls, self.models, strict=True)
        )


def _busy(calls: float, model: Planned, speed: Speed, concurrency: int) -> float:
    """Seconds that so many calls take at this speed, within what the provider says is allowed."""
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
                rate={name: value for name, value in asdict(model.rate).items() if value is not None},
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
    rows = np.unique(np.linspace(0, live.rows - 1, num=min(SHOWN, live.rows)).astype(np.int64))
    return list(zip(rows.tolist(), live.prompts(rows), strict=True))


def _run(job: Job, reader: Reader | None) -> dict[str, Json] | None:
    """The run that the same command would take up again."""
    record = find(fixed(job), reader) if reader is not None else None
    return None if record is None else {"run": record.run_id, "state": record.state}
