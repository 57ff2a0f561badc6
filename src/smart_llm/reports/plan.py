"""A plan for people: about thirty lines before paying, or the few that stand before a question."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smart_llm.reports.certificate import self_agreement
from smart_llm.reports.rich_html import card
from smart_llm.reports.wrapping import USUAL, wrapped
from smart_llm.wording import worded

if TYPE_CHECKING:
    from smart_llm.engine.plan import Line, Plan, Planned

LONGEST = 400
"""Characters of a prompt that are shown."""
FEW = 3
"""Warnings in the short form."""


def text(plan: Plan, width: int = USUAL) -> str:
    """All of it."""
    return "\n".join(wrapped(_lines(plan), width))


def head(plan: Plan) -> str:
    """What is planned, in a line."""
    return (
        f"PLAN: {plan.table}, {plan.rows:,} rows, agreement ≥ {plan.agreement} at confidence {plan.confidence}, "
        f"by {plan.procedure}"
    )


def brief(plan: Plan) -> str:
    """For a prompt: one line."""
    return (
        f"<Plan: {plan.table}, {plan.rows:,} rows, agreement ≥ {plan.agreement}, expected ${_usd(plan.asked.cost)} "
        f"(the reference alone ${_usd(plan.reference_only)})>"
    )


def html(plan: Plan) -> str:
    """For a notebook."""
    line = plan.asked
    figures = [
        ("expected", f"${_usd(line.cost)}", f"${_usd(line.low)} … ${_usd(line.high)}"),
        ("the reference on every row", f"${_usd(plan.reference_only)}", plan.models[0].name),
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
        *_block("cost", [*_cost(plan), *_table(plan)]),
        *_block("time", [_time(plan)]),
        *_block("warnings", plan.warnings),
    ]


def short(plan: Plan, width: int = USUAL) -> str:
    """Cost, what it rests on, warnings."""
    more = len(plan.warnings) - FEW
    first = shown(plan)
    lines = [
        f"{plan.table}: {plan.rows:,} rows, agreement ≥ {plan.agreement}, confidence {plan.confidence}, "
        f"reference {plan.models[0].name}",
        *_cost(plan),
        *(f"! {warning}" for warning in first),
        *([f"! {more + 1} more: see smart plan"] if more > 0 else []),
    ]
    return "\n".join(wrapped(lines, width))


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
    about = f"{model.name} ({model.role}): ${_usd(model.cost)} a row, {model.input_tokens:,.0f} tokens in, "
    lines = [f"{about}{model.output_tokens:,.0f} out; {_rate(model)}"]
    if model.seen and model.seen["rows"]:
        seen = model.seen
        deferred = f"; broke the contract on {seen['deferred']}" if seen["deferred"] else ""
        lines.append(
            f"  agreed on {seen['agreeing']} of {seen['rows']} piloted rows ({seen['lower']:.3f} … "
            f"{seen['upper']:.3f}, 95 % limits){deferred}"
        )
    return lines


def _rate(model: Planned) -> str:
    rate = model.rate
    if rate["cpu_hour"]:
        return f"${rate['cpu_hour']:g} per CPU-hour ({rate['source']})"
    cached = f", ${rate['cached']:g} cached" if "cached" in rate else ""
    return f"${rate['input']:g} in{cached}, ${rate['output']:g} out per million tokens ({rate['source']})"


def _pilot(plan: Plan) -> list[str]:
    lines = []
    if plan.pilot:
        lines.append(f"{plan.pilot['rows']:,} rows asked of every model for ${_usd(plan.pilot['cost'])}")
    if plan.set_aside:
        lines.append(f"{plan.set_aside:,} rows piloted are no evidence: they get the reference's answers")
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
    if plan.procedure == "reference-only":
        basis = "the reference answers every row"
    return [
        f"expected ${_usd(line.cost)} (${_usd(line.low)} … ${_usd(line.high)}); the reference on every row "
        f"${_usd(plan.reference_only)}",
        f"saving {_saving(line)}; {basis}",
    ]


def _saving(line: Line) -> str:
    return f"{line.saving:.1f}× ({line.saving_low:.1f} … {line.saving_high:.1f})"


def _table(plan: Plan) -> list[str]:
    """What other agreements would cost."""
    if plan.procedure == "reference-only":
        return []
    rows = [("agreement", "expected", "interval", "saving")]
    rows += [
        (
            f"{line.agreement}{' *' if line is plan.asked or line.agreement == plan.asked.agreement else ''}",
            f"${_usd(line.cost)}",
            f"${_usd(line.low)} … ${_usd(line.high)}",
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
    return f"{max(1.0, seconds):.0f} seconds"


def _usd(value: float) -> str:
    """Two decimals from ten cents on, else three digits that matter."""
    return f"{value:,.2f}" if value >= 0.1 else f"{value:.3g}"
