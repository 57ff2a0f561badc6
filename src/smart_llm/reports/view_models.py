"""The part of a report about models and rows: agreement, the rule, who answered, labels, disagreements. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from math import floor, inf

import numpy as np

from smart_llm.certificates.certificate import given, self_agreement, trials
from smart_llm.certificates.why import NEVER, SELDOM
from smart_llm.errors import InputError
from smart_llm.providers.rules import FUNCTION, REGEX
from smart_llm.reports import rules, svg
from smart_llm.reports.blocks import Block, Case, Cases, Cell, Grid, Plot, Plots, Prose, Section
from smart_llm.reports.facts import Facts
from smart_llm.reports.profiling import Example, Seen
from smart_llm.stats.jeffreys import jeffreys
from smart_llm.tasks.template import Template, split
from smart_llm.text.numbers import count, percent, usd
from smart_llm.text.safe import cut
from smart_llm.wording import worded

COLOURS = 6
"""Of candidates, before they come again."""
PANELS, LABELS, PAIRS, NAMES = 12, 24, 10, 24
"""Curves, labels, pairs of labels and models in a bar that are shown."""
AT_ONCE = 4
"""Disagreements shown without a click, of a candidate that answers rows."""
UNLIKELY = 0.2
"""A candidate that breaks the contract in more of the rows is worth a caution."""


def colour(facts: Facts, model: str) -> str:
    """The colour class of a model, the same in every plot."""
    if model == facts.plan.reference:
        return "reference"
    candidates = facts.plan.candidates
    return f"candidate-{candidates.index(model) % COLOURS + 1}" if model in candidates else "reference"


def cautions_of_models(facts: Facts) -> Iterator[str]:
    """What is odd about models."""
    profiling, useless = facts.profiling, useless_notes(facts)
    yield from useless
    if profiling is None:
        return
    for model, names in profiling.snapshots.items():
        yield (
            f"{model} was answered by different things in the course of the run ({', '.join(names[:4])}). The promise "
            "takes for granted that a model stays the same."
        )
    for each in profiling.candidates:
        rows = each.curve[-1][0] if each.curve else 0
        said = any(note.startswith(f"{each.model} ") for note in useless)
        if rows >= 10 and each.deferred > UNLIKELY * rows and not said:
            own = each.model.startswith((FUNCTION, REGEX))
            advice = "say in the prompt more exactly what to answer"
            yield (
                f"{each.model} broke the output contract on {each.deferred:,} of {rows:,} rows profiled. Such rows are "
                f"paid twice: {'let it return an answer of the task, or None' if own else advice}."
            )


def useless_notes(facts: Facts) -> list[str]:
    """The certificate's notes on candidates that gave hardly any proper answer."""
    notes = facts.certificate.notes if facts.certificate else ()
    return [worded(note) for note in notes if f" {NEVER} " in note or f" {SELDOM} " in note]


# --------------------------------------------------------------------------- agreement


def models(facts: Facts) -> Section:
    """How the candidates fared while they were profiled."""
    if facts.profiling is None:
        blocks: list[Block] = [*_standings(facts)]
    else:
        shown = [each for each in facts.profiling.candidates if each.curve]
        blocks = [*_curves(facts, shown[:PANELS]), *_table(facts)]
    blocks += _ceiling(facts)
    lead = (
        "Each candidate beside the reference, on rows in random order. The bands are ordinary 90 % limits, for your "
        "information: the proof is in the certificate and has the repeated looks counted in."
    )
    return Section("agreement", "How the candidates did", lead, blocks)


def _curves(facts: Facts, shown: Sequence[Seen]) -> Iterator[Block]:
    target = float(Fraction(facts.plan.agreement))
    curves = [(each, _limits(each.curve)) for each in shown]
    if not curves:
        return
    lowest = min([target, *(points[-1][2] for _, points in curves)])
    bottom = max(0.0, floor((lowest - 0.05) * 10) / 10)
    plots = []
    for k, (each, points) in enumerate(curves):
        mine, name = colour(facts, each.model), facts.short(each.model)
        picture = svg.agreement(svg.Curve(points, target, bottom, mine, name), f"agreement-{k}")
        plots.append(Plot(picture, name, mine))
    yield Plots(plots)


def _ceiling(facts: Facts) -> Iterator[Block]:
    """Self-agreement, where it was looked at."""
    check = facts.certificate.self_agreement if facts.certificate else None
    if check:
        yield Prose(f"The reference {self_agreement(check)}.")


def _limits(curve: Sequence[tuple[int, int]]) -> list[tuple[int, float, float, float]]:
    """(rows, share, lower, upper): Jeffreys' 90 % limits, as on the certificate."""
    rows, agreeing = np.array(curve).T
    low, high = jeffreys(agreeing, rows, 0.9)
    return list(zip(rows.tolist(), (agreeing / rows).tolist(), low.tolist(), high.tolist(), strict=True))


def _table(facts: Facts) -> Iterator[Block]:
    profiling = facts.profiling
    assert profiling is not None
    if not profiling.rows:
        yield Prose("No round of profiling has come to its end yet.")
        return
    caption = f"{count(profiling.rows, 'row')} profiled"
    if profiling.lost:
        caption += f", {count(profiling.lost, 'row')} of them without an answer by the reference"
    head = ("candidate", "price of a row ÷ reference's", "rows compared", "agreement", "90 % limits")
    rows = [_line(facts, each) for each in profiling.candidates]
    more = ("broke the contract", "all its calls", "part in the rule")
    yield Grid(caption, (*head, *more), rows, frozenset({1, 2, 3, 4, 5, 6}))
    yield from map(Prose, _deferred(facts))
    if facts.certificate and (told := trials(facts.certificate))[0]:
        ways = "1 way was tried that answers" if told[0] == 1 else f"{told[0]:,} ways were tried that answer"
        yield Prose(f"{ways} no row: {usd(told[1])} of the cost of the run.")


def _deferred(facts: Facts) -> Iterator[str]:
    """How a candidate can be of use that looks as if it hardly agreed."""
    for each in facts.profiling.candidates if facts.profiling else ():
        rows, agreeing = each.curve[-1] if each.curve else (0, 0)
        proper = count(rows - each.deferred - each.silent, "proper answer")
        what = ["on which it broke the output contract"] * bool(each.deferred)
        what += ["about which it had nothing to say"] * bool(each.silent)
        if what:
            yield (
                f"{facts.short(each.model)}: rows {' or '.join(what)} are drawn as not agreeing. "
                f"They go to the reference and cannot break the promise; of its {proper} {agreeing:,} agreed."
            )


def _line(facts: Facts, seen: Seen) -> tuple[str, ...]:
    """One candidate."""
    assert facts.profiling is not None
    call, reference = facts.profiling.call.get(seen.model), facts.profiling.call.get(facts.plan.reference)
    price = f"{call / reference:.3f}" if call is not None and reference else "–"
    name = facts.short(seen.model)
    paid = facts.certificate.cost.by_model.get(seen.model) if facts.certificate else None
    cost = "–" if paid is None else usd(paid)
    if not seen.curve:
        return name, price, "0", "–", "–", "–", cost, "not asked"
    n, share, low, high = _limits(seen.curve[-1:])[0]
    broken = f"{seen.deferred:,}"
    return name, price, f"{n:,}", f"{share:.3f}", f"{low:.3f} … {high:.3f}", broken, cost, _part(facts, seen)


def _role(facts: Facts, model: str) -> str:
    c = facts.certificate
    if c is None or c.status == "pending":
        return "open"
    if model in c.rule.models:
        return "answers rows"
    return "asked along" if any(model in each.peers for each in c.rule.tiers or ()) else "not used"


def _part(facts: Facts, seen: Seen) -> str:
    """Its part in the rule, and of one that has none what speaks for those that have."""
    role, profiling, c = _role(facts, seen.model), facts.profiling, facts.certificate
    if role != "not used" or profiling is None or c is None or not c.rule.models:
        return role  # where nobody answers rows, the page says why elsewhere
    for other in profiling.candidates:
        if other.model in c.rule.models and other.curve:
            name, (rows, agreeing), (n, k) = facts.short(other.model), other.curve[-1], seen.curve[-1]
            cheaper = profiling.call.get(other.model, inf) < profiling.call.get(seen.model, 0.0)
            better = k * rows < agreeing * n
            if cheaper or better:
                reasons = ["costs less"] * cheaper + ["agreed more often"] * better
                return f"{role}: {name} {' and '.join(reasons)}"
    return f"{role}: a rule without it was expected to cost less"


def _standings(facts: Facts) -> Iterator[Block]:
    """From the certificate alone, where answers cannot be compared again."""
    yield Prose(
        "The task has functions of your own, which a ledger does not hold: the answers cannot be compared again here. "
        "In Python, run.report(…) or smart.report(…, task=task) shows more."
    )
    standings = facts.certificate.delivered.standings if facts.certificate else []
    rows = [
        (facts.short(s.model), f"{s.profiled:,}", f"{s.agreeing:,}", f"{s.lower:.3f} … {s.upper:.3f}")
        for s in standings
    ]
    if rows:
        head = ("candidate", "rows compared", "agreeing", "90 % limits of agreement")
        yield Grid("As the certificate has it", head, rows, frozenset({1, 2, 3}))


# --------------------------------------------------------------------------- the rule


def _given(facts: Facts) -> Iterator[Block]:
    """How candidates agreed on rows like those they were given."""
    shown = given(facts.certificate) if facts.certificate else []
    for model, agreed, rows in shown:
        if rows:
            yield Prose(
                f"On rows like those it was given, {facts.short(model)} agreed with the reference on {agreed:,} of "
                f"{rows:,} ({percent(agreed / rows)})."
            )


def rule(facts: Facts) -> Section:
    """The rule that was chosen, and what else there was."""
    ways = rules.ways(facts)
    blocks: list[Block] = [Prose(rules.in_words(facts)), *_given(facts)] if ways else []
    if ways:
        rows = [
            (
                facts.short(way.name),
                f"{way.rows:,}" if way.cost is not None else "–",
                "–" if way.cost is None else f"{'≈ ' * way.estimated}{usd(way.cost)}",
                way.note,
            )
            for way in ways
        ]
        head = ("rule", "rows by candidates", "cost of the whole run", "standing")
        blocks.append(Grid("Every rule that keeps the promise, and its cost", head, rows, frozenset({1, 2})))
        blocks.append(Prose(rules.why(facts)))
    lead = "Which answer a row is delivered that was not profiled, and what the alternatives would have cost."
    return Section("rule", "The rule", lead, blocks)


# --------------------------------------------------------------------------- who answered


def answers(facts: Facts) -> Section:
    """Rows by model."""
    c = facts.certificate
    blocks: list[Block] = []
    if c and sum(c.delivered.by.values()):
        counted = c.delivered.by
        by, total = {model.name: counted[model.name] for model in c.models}, sum(counted.values())
        parts = [
            svg.Part(f"{facts.short(name)}: {count(rows, 'row')}", rows, colour(facts, name))
            for name, rows in by.items()
        ]
        picture = svg.whole(parts[:NAMES], "Rows by the model that answered them", "answers-plot")
        legend = [(facts.short(name), colour(facts, name)) for name, rows in by.items() if rows][:NAMES]
        blocks.append(Plots([Plot(picture, count(total, "row"))], legend, wide=True))
        rows_ = [(facts.short(name), f"{rows:,}", percent(rows / total)) for name, rows in by.items()]
        blocks.append(
            Grid("Rows by the model that answered them", ("model", "rows", "share"), rows_, frozenset({1, 2}))
        )
    lead = "Profiled rows are delivered with the reference's answer. The column answered_by says it for every row."
    return Section("answers", "Who answered", lead, blocks)


def labels(facts: Facts) -> Section:
    """Per label, with limits."""
    c = facts.certificate
    found = [each for each in c.labels if each.profiled] if c and c.status == "certified" else []
    often = sorted(found, key=lambda each: -each.profiled)
    rows: list[tuple[Cell, ...]] = [
        (
            each.label,
            f"{each.profiled:,}",
            *_share(each.agreement, each.agreement_lower, each.agreement_upper),
            *_share(each.precision, each.precision_lower, each.precision_upper),
        )
        for each in often[:LABELS]
    ]
    head = ("label", "profiled", "agreement", "limits", "precision", "limits")
    more = f"{len(often) - LABELS:,} more labels, none commoner than these." if len(often) > LABELS else ""
    lead = (
        "Agreement: of the rows the reference calls so, the share delivered so (recall). Precision: of the rows "
        "delivered so, the share it calls so. 95 % limits; reported, not promised"
    )
    lead = lead.replace("95 % limits", "Of the rows added alone, with 95 % limits") if facts.plan.grown else lead
    lead += ", but for the agreement you asked for by --per-label." if facts.plan.per_label else "."
    grid = Grid("Labels by how often the reference gives them", head, rows, frozenset({1, 2, 4}), more)
    return Section("labels", "Label by label", lead, [grid] if rows else [])


def _share(value: float | None, low: float | None, high: float | None) -> tuple[Cell, Cell]:
    if value is None or low is None or high is None:
        return "–", ""
    return f"{value:.3f} [{low:.3f}, {high:.3f}]", svg.interval(value, low, high)


# --------------------------------------------------------------------------- disagreements


def disagreements(facts: Facts) -> Section:
    """Rows on which models said different things."""
    blocks: list[Block] = []
    candidates = facts.profiling.candidates if facts.profiling else ()
    for each in sorted(candidates, key=lambda each: _role(facts, each.model) == "not used"):
        blocks += [*_pairs(facts, each), *_cases(facts, each)]
    lead = (
        "Rows seen while profiling on which a candidate said something else. Read some: where the question leaves "
        "room, a clearer prompt brings the models together, and the next run costs less."
    )
    return Section("disagreements", "Where they disagree", lead, blocks)


def _pairs(facts: Facts, seen: Seen) -> Iterator[Block]:
    if not seen.pairs:
        return
    rows = [(said, other, f"{n:,}") for said, other, n in seen.pairs[:PAIRS]]
    left = seen.pairs[PAIRS:]
    more = f"{count(len(left), 'other pair')}, {count(sum(n for *_, n in left), 'row')}." if left else ""
    caption = f"{facts.short(seen.model)}: what was said instead of what"
    yield Grid(caption, ("reference", "candidate", "rows"), rows, frozenset({2}), more)


def _cases(facts: Facts, seen: Seen) -> Iterator[Block]:
    """A few to be read at once, more behind a click; of a candidate that answers no rows, all of them there."""
    rows, agreeing = seen.curve[-1] if seen.curve else (0, 0)
    apart, name = rows - agreeing, facts.short(seen.model)
    cases = [_case(facts, seen.model, example) for example in seen.examples]
    if cases:
        at_once = AT_ONCE if _role(facts, seen.model) != "not used" else 0
        more = f"{len(cases):,} of {count(apart, 'row')} on which {name} did not agree." if apart > len(cases) else ""
        yield Cases(f"{name} beside the reference", cases[:at_once], cases[at_once:], more)
    elif apart:
        yield Prose(
            f"{name} did not agree on {count(apart, 'row')}. The text of rows is not stored in this ledger, and such "
            "answers may quote it, so none are shown."
        )


def _case(facts: Facts, model: str, example: Example) -> Case:
    reference = facts.plan.reference
    said = example.answer if example.answer is not None else "no proper answer"
    if example.broken is not None:
        said = f"no proper answer: {example.broken}"
    answers_ = (
        (facts.short(reference), cut(example.reference or ""), colour(facts, reference)),
        (facts.short(model), cut(said), colour(facts, model)),
    )
    return Case(f"Row {facts.row(example.position)}", _cells(facts, example), answers_)


def _cells(facts: Facts, example: Example) -> tuple[tuple[str, str], ...]:
    """The row as far as the prompt shows it; the whole prompt where the cells cannot be told."""
    if example.prompt is None:
        return ()
    template = _template(facts.plan.task.prompt, facts.columns)
    cells = template.cells(example.prompt) if template else None
    if cells is None:
        return (("prompt", cut(example.prompt)),)
    return tuple((column, cut(text)) for column, text in dict(cells).items())


@lru_cache(maxsize=8)
def _template(prompt: str, columns: tuple[str, ...]) -> Template | None:
    try:
        return split(prompt, columns)
    except InputError:
        return None
