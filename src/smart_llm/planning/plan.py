"""A plan, and its text: about thirty lines before paying, or the few that stand before a question."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from smart_llm.certificates.certificate import self_agreement
from smart_llm.certificates.parts import SelfAgreement
from smart_llm.procedures import described
from smart_llm.providers.rules import FUNCTION, REGEX
from smart_llm.text.numbers import count, usd
from smart_llm.text.rich_html import card
from smart_llm.text.safe import on_a_line
from smart_llm.text.wrapping import USUAL, wrapped
from smart_llm.types import Json
from smart_llm.wording import worded

LONGEST = 400
"""Characters of a prompt that are shown."""
FEW = 3
"""Warnings in the short form."""


_KEPT = {
    "auto": "whether its server can keep it to the answers allowed will be learned by one call",
    "choice": "its server is told to keep it to the labels (?enforce=choice)",
    "schema": "its server is told to keep it to the answers allowed, by a schema (?enforce=schema)",
    "none": "nothing but the prompt tells it which answers are allowed (?enforce=none)",
}
"""How a model is kept to the answers allowed, in words."""


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
    sentences. run: the run that this command would resume. trials: USD that trying candidates' ways may cost at most,
    None where there is nothing to try. known: what the run takes from the ledger, and what a taught candidate
    knows beforehand, sentences. continues: whether it goes on from a run on the first rows of this table."""

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
    self_agreement: SelfAgreement | None
    set_aside: int
    warnings: tuple[str, ...]
    run: Mapping[str, Json] | None
    trials: float | None = None
    known: tuple[str, ...] = ()
    continues: bool = False

    def text(self, width: int = 100) -> str:
        """For people: all of it, at most `width` columns wide."""
        return text(self, width)

    def short(self, width: int = 100) -> str:
        """For people: what it costs and what to know before saying yes, in a few lines."""
        return short(self, width)

    def __repr__(self) -> str:
        return brief(self)

    def _repr_html_(self) -> str:
        return html(self)

    def to_json(self) -> dict[str, Json]:
        """The fields as JSON values."""
        check = self.self_agreement
        return asdict(self) | {"self_agreement": check and check.to_json()}


def text(plan: Plan, width: int = USUAL) -> str:
    """All of it."""
    return "\n".join(wrapped(map(on_a_line, _lines(plan)), width))


def head(plan: Plan) -> str:
    """What is planned, in a line."""
    return (
        f"PLAN: {plan.table}, {count(plan.rows, 'row')}, agreement ≥ {plan.agreement} at confidence {plan.confidence}, "
        f"by {plan.procedure}"
    )


def brief(plan: Plan) -> str:
    """For a prompt: one line."""
    return (
        f"<Plan: {plan.table}, {count(plan.rows, 'row')}, agreement ≥ {plan.agreement}, "
        f"expected {usd(plan.asked.cost)} "
        f"(the reference alone {usd(plan.reference_only)})>"
    )


def html(plan: Plan) -> str:
    """For a notebook."""
    line = plan.asked
    figures = [
        ("expected", usd(line.cost), f"{usd(line.low)} … {usd(line.high)}"),
        ("the reference on every row", usd(plan.reference_only), plan.models[0].name),
        ("saving", f"{line.saving:.1f}×", f"{line.saving_low:.1f} … {line.saving_high:.1f}"),
    ]
    return card(head(plan), " ".join(plan.warnings), figures, text(plan))


def _lines(plan: Plan) -> list[str]:
    return [
        head(plan),
        *_block("prompt", _prompts(plan)),
        *_block("answer", [f"{plan.answer}; two answers count as the same when {plan.equivalence}"]),
        *_block("models", [line for model in plan.models for line in _model(model)]),
        *_block("pilot", _pilot(plan)),
        *_block("known", plan.known),
        *_block("cost", [*_cost(plan), *_table(plan)]),
        *_block("time", [_time(plan)]),
        *_block("warnings", plan.warnings),
    ]


def short(plan: Plan, width: int = USUAL) -> str:
    """Cost, what it rests on, warnings."""
    more = len(plan.warnings) - FEW
    first = shown(plan)
    lines = [
        f"{plan.table}: {count(plan.rows, 'row')}, agreement ≥ {plan.agreement}, confidence {plan.confidence}, "
        f"reference {plan.models[0].name}",
        *_cost(plan),
        *(f"! {warning}" for warning in first),
        *([f"! {more + 1} more: see smart plan"] if more > 0 else []),
    ]
    return "\n".join(wrapped(map(on_a_line, lines), width))


def shown(plan: Plan) -> tuple[str, ...]:
    """The warnings that the short form has."""
    return plan.warnings if len(plan.warnings) <= FEW else plan.warnings[: FEW - 1]


def _block(name: str, lines: list[str] | tuple[str, ...]) -> list[str]:
    """Lines under a name; none where there are none."""
    return [f"  {name if not i else '':10} {line}" for i, line in enumerate(lines)]


def _prompts(plan: Plan) -> list[str]:
    """Prompts of a few rows, every line of them indented."""
    lines = [f"system: {_cut(plan.system)}"] if plan.system else []
    for position, prompt in plan.prompts:
        first, *rest = _cut(prompt).splitlines() or [""]
        lines += [f"row {position + 1:,}: {first}", *(f"  {line}" for line in rest)]
    return lines


def _cut(prompt: str) -> str:
    return prompt if len(prompt) <= LONGEST else f"{prompt[:LONGEST]}… ({len(prompt):,} characters)"


def _model(model: Planned) -> list[str]:
    about = f"{model.name} ({model.role}): {usd(model.cost)} a row, {model.input_tokens:,.0f} tokens in, "
    lines = [f"{about}{model.output_tokens:,.0f} out; {_rate(model)}"]
    if model.enforce:
        lines.append(f"  {_KEPT[model.enforce]}")
    if model.seen and model.seen["rows"]:
        seen = model.seen
        own = model.name.startswith((FUNCTION, REGEX))
        broke = "had no answer to" if own else "broke the contract on"
        deferred = f"; {broke} {seen['deferred']}" if seen["deferred"] else ""
        lines.append(
            f"  agreed on {seen['agreeing']} of {seen['rows']} piloted rows ({seen['lower']:.3f} … "
            f"{seen['upper']:.3f}, 95 % limits){deferred}"
        )
    return lines


def _rate(model: Planned) -> str:
    rate = model.rate
    if rate["cpu_hour"]:
        return f"${rate['cpu_hour']:g} per CPU-hour ({rate['source']})"
    if "call" in rate or not (rate["input"] or rate["output"]):
        return f"${rate.get('call', 0):g} a row ({rate['source']})"
    cached = f", ${rate['cached']:g} cached" if "cached" in rate else ""
    return f"${rate['input']:g} in{cached}, ${rate['output']:g} out per million tokens ({rate['source']})"


def _pilot(plan: Plan) -> list[str]:
    lines = []
    if plan.pilot:
        lines.append(f"{count(plan.pilot['rows'], 'row')} asked of every model for {usd(plan.pilot['cost'])}")
    if plan.set_aside:
        lines.append(
            f"{count(plan.set_aside, 'row piloted is', 'rows piloted are')} no evidence: the reference's answers are "
            "delivered"
        )
    if plan.self_agreement:
        lines.append(f"the reference {self_agreement(plan.self_agreement)}")
    return lines


def _cost(plan: Plan) -> list[str]:
    """The two lines that matter most."""
    line = plan.asked
    basis = (
        f"nominal 95 % interval, {line.runs} runs simulated from the pilot"
        if line.runs
        else worded("a guess: nothing is known of these models yet; --pilot 50 sharpens it")
    )
    if plan.continues:
        basis = worded("a guess by the number of rows; after a --pilot the whole table would be answered anew")
    if not described(plan.procedure).candidates:
        basis = "the reference answers every row"
    return [
        f"expected {usd(line.cost)} ({usd(line.low)} … {usd(line.high)}); the reference on every row "
        f"{usd(plan.reference_only)}",
        f"saving {_saving(line)}; {basis}",
        *_trials(plan),
    ]


def _trials(plan: Plan) -> list[str]:
    """What finding out about ways may cost."""
    if plan.trials is None:
        return []
    ways = len(plan.models) - 1
    return [f"of that, trying {'the way' if ways == 1 else f'{ways} ways'} of answering at most {usd(plan.trials)}"]


def _saving(line: Line) -> str:
    return f"{line.saving:.1f}× ({line.saving_low:.1f} … {line.saving_high:.1f})"


def _table(plan: Plan) -> list[str]:
    """What other agreements would cost."""
    if not described(plan.procedure).candidates:
        return []
    rows = [("agreement", "expected", "interval", "saving")]
    rows += [
        (
            f"{line.agreement}{' *' if line is plan.asked or line.agreement == plan.asked.agreement else ''}",
            usd(line.cost),
            f"{usd(line.low)} … {usd(line.high)}",
            _saving(line),
        )
        for line in plan.lines
    ]
    widths = [max(len(row[k]) for row in rows) for k in range(4)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _time(plan: Plan) -> str:
    seen = any(model.seconds is not None for model in plan.models)
    how = "as fast as the pilot was" if seen else "if a call takes a second"
    return f"about {_duration(plan.asked.seconds)} with {plan.concurrency} calls in flight, {how}"


def _duration(seconds: float) -> str:
    for size, name in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return count(max(1, round(seconds)), "second")
