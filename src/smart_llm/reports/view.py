"""From facts to what a page shows: every sentence, table and plot of a report, in the order they are read. Pure.

A section without anything to say is left out, and lists are cut where they get long, with a word on how much more
there is. Sections about models and rows are in `view_models`; this file has the head, the promise, money, and how to
check it all.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from shlex import quote

from msgspec.structs import replace

from smart_llm.certificates.certificate import Certificate
from smart_llm.certificates.parts import Cost
from smart_llm.ledger import canonical
from smart_llm.ledger.reader import PROBE, Spent
from smart_llm.reports import svg
from smart_llm.reports.blocks import (
    Block,
    Code,
    Download,
    Figure,
    Grid,
    Listing,
    Pairs,
    Plot,
    Plots,
    Prose,
    Section,
    View,
)
from smart_llm.reports.facts import Facts
from smart_llm.reports.view_head import glossary, outcome, question, summary
from smart_llm.reports.view_models import (
    answers,
    cautions_of_models,
    disagreements,
    labels,
    models,
    rule,
    useless_notes,
)
from smart_llm.tasks import words
from smart_llm.text.numbers import count, day, duration, moment, percent, percents, usd
from smart_llm.types.plan import FrozenModel, FrozenPlan
from smart_llm.wording import worded

CARRIED = 400_000
"""Bytes of a certificate that is put into the page."""
STATES: Mapping[str, tuple[str, str]] = {
    "certified": ("Certified", "good"),
    "reference-only": ("Reference only", "plain"),
    "not-certified": ("Not certified", "bad"),
    "pending": ("Stopped", "wait"),
    "open": ("Not finished", "wait"),
}
"""Status → badge and tone."""
STAGES: Sequence[tuple[Callable[[Cost], float], str, str]] = (
    (lambda cost: cost.profiling, "profiling", "stage-1"),
    (lambda cost: cost.delivery, "delivery", "stage-2"),
    (lambda cost: cost.set_aside, "rows answered before", "stage-3"),
    (lambda cost: cost.self_check, "asking the reference twice", "stage-4"),
)
"""Of a certificate's cost: which part, words, colour."""


def view(facts: Facts) -> View:
    """The whole page."""
    status = facts.certificate.status if facts.certificate else "open"
    badge, tone = STATES[status]
    return View(
        title=facts.table or "A table in memory",
        badge=badge,
        tone=tone,
        claim=_claim(facts),
        promise=facts.short(_promise(facts.plan)),
        when=day(facts.run.started),
        question=question(facts),
        summary=summary(facts),
        figures=tuple(_figures(facts)),
        cautions=tuple(map(facts.short, _cautions(facts))),
        sections=tuple(section for make in SECTIONS if (section := make(facts)).blocks),
        foot=f"Run {facts.run.run_id}, started {moment(facts.run.started)}. Made from the ledger {facts.ledger} by "
        f"smart-llm {facts.software}. This page fetches nothing and runs no script.",
    )


# --------------------------------------------------------------------------- the head


def _claim(facts: Facts) -> str:
    c = facts.certificate
    if c is None:
        return (
            "Nothing is promised yet: this run is still going on, or was killed. Run the same command again to go on: "
            "nothing is paid for twice."
        )
    if c.status == "pending":
        return f"{facts.short(c.claim.words)} Run the same command again to go on: nothing is paid for twice."
    return facts.short(c.claim.words)


def _promise(plan: FrozenPlan) -> str:
    """What was asked for."""
    return (
        f"Asked for: agreement of at least {percents(plan.agreement)} with {plan.reference}, at confidence "
        f"{percents(plan.confidence)}, on {count(plan.rows, 'row')}."
    )


def _figures(facts: Facts) -> Iterator[Figure]:
    c, total = facts.certificate, _total(facts)
    settled = facts.plan.rows - c.claim.unsettled if c else None
    if c is None or c.status == "pending":
        if settled is not None:
            yield Figure("settled", f"{settled:,}", f"of {count(facts.plan.rows, 'row')}")
        yield Figure("spent so far", usd(total), "kept in the ledger, and used when the run goes on")
        return
    cost, by = c.cost, c.delivered.by
    alone, reference = cost.reference_only, c.plan.reference
    if free := cost.reused:
        yield Figure("paid by this run", usd(cost.paid), f"answers for {usd(free)} re-used from earlier runs")
    yield Figure(
        "cost of its answers" if free else "paid",
        usd(total),
        f"instead of about {usd(alone)} for {facts.short(reference)} alone",
    )
    if alone > 0 and total > 0:
        saved = alone - total
        what = "saved" if saved >= 0 else "more than the reference alone"
        yield Figure(what, percent(abs(saved) / alone), f"{usd(abs(saved))}; {alone / total:.2f} times cheaper")
    cheap = sum(rows for model, rows in by.items() if model != reference)
    yield Figure("answered by candidates", percent(cheap / max(1, sum(by.values()))), f"{count(cheap, 'row')}")
    errors = c.errors.rows
    yield Figure("without an answer", f"{errors:,}", "they count as differing" if errors else "every row has one")


def _total(facts: Facts) -> float:
    """USD spent: by the certificate, else by the ledger."""
    if facts.certificate:
        return facts.certificate.cost.total
    return sum(each.cost for each in facts.account if each.outcome == "answered")


def _cautions(facts: Facts) -> Iterator[str]:
    """What to know before relying on it."""
    c, plan = facts.certificate, facts.plan
    yield from cautions_of_models(facts)
    if c is None:
        return
    if earlier := c.earlier_runs:
        yield (
            f"There {'was' if earlier == 1 else 'were'} {count(earlier, 'earlier run')} on this table in this ledger, "
            f"{c.earlier_runs_same_task:,} with this task. The promise is about one run: the best of several is "
            "not covered by it."
        )
    if (check := c.self_agreement) and check.rows and check.agreeing / check.rows < float(Fraction(plan.agreement)):
        yield (
            f"The reference agreed with itself on {check.agreeing:,} of {check.rows:,} rows asked twice: the "
            "agreement asked for is above that, and hardly any candidate can reach it."
        )
    if (lost := c.cost.lost_at_most) > 0.01 * max(_total(facts), 1e-12):
        yield f"Calls that failed may have cost up to {usd(lost)} more than is accounted for here."
    if any(model.cpu_hour and model.source == "assumed" for model in plan.models):
        yield "Local models are priced by measured CPU-seconds at an assumed rate: only ratios of costs mean something."


# --------------------------------------------------------------------------- the promise


def promise(facts: Facts) -> Section:
    """What is promised, and what is not."""
    c, plan = facts.certificate, facts.plan
    blocks: list[Block] = []
    if c and c.status == "certified":
        blocks.append(
            Prose(
                f"Agreement is with {facts.short(plan.reference)}, not with the truth: where it is wrong, an answer "
                "that agrees with it is wrong, too. The confidence is that of the procedure: of a hundred runs like "
                f"this one, over the random order of rows, at least {_of_hundred(plan)} keep the promise."
            )
        )
    if c:
        blocks += [Prose("It takes for granted:"), Listing(c.assumptions)]
    above = useless_notes(facts)
    if c and (notes := [each for note in c.notes if (each := worded(note)) not in above]):
        blocks += [Prose("Noted on the way:"), Listing([facts.short(note) for note in notes])]
    return Section("promise", "The promise", "What you may rely on, and what it takes for granted.", blocks)


def _of_hundred(plan: FrozenPlan) -> str:
    return percents(plan.confidence).removesuffix(" %")


# --------------------------------------------------------------------------- money


def money(facts: Facts) -> Section:
    """Where it went, and what it would have been."""
    lead = "What was paid, for what, beside what the reference alone would have cost on every row (an estimate from "
    lead += "the rows it answered)."
    return Section("money", "Money", lead, [*_paid(facts), *_by_model(facts)])


def _paid(facts: Facts) -> Iterator[Block]:
    c = facts.certificate
    if c is None:
        return
    cost, done = _by_stage(facts, c.cost), c.status != "pending"
    parts = [svg.Part(f"{name} {usd(of(cost))}", of(cost), colour) for of, name, colour in STAGES if of(cost) > 0]
    shown = [svg.Bar("This run" if done else "This run so far", usd(cost.total), parts)]
    if cost.reference_only > 0:
        alone = svg.Part("reference alone", cost.reference_only, "alone")
        shown.append(svg.Bar("The reference on every row", f"≈ {usd(cost.reference_only)}", [alone]))
    legend = [(part.name, part.colour) for part in parts]
    if cost.total > 0:
        picture = svg.bars(shown, "Cost of this run and of the reference alone, in US dollars", "money-plot", unit=usd)
        yield Plots([Plot(picture, "US dollars")], legend, wide=True)
    if done and (alone_ := cost.reference_only) > 0:
        saved = alone_ - cost.total
        more = f"saved {usd(saved)}" if saved >= 0 else f"cost {usd(-saved)} more than the reference alone would have"
        yield Prose(
            f"The run {more}: {usd(cost.profiling)} went into finding out which rows can do without the reference, "
            f"{usd(cost.delivery)} into answering the rest."
        )


def _by_stage(facts: Facts, cost: Cost) -> Cost:
    """A run that was stopped while profiling has delivered nothing yet."""
    if facts.complete:
        return cost
    return replace(cost, profiling=cost.profiling + cost.delivery, delivery=0.0)


def _by_model(facts: Facts) -> Iterator[Block]:
    """Prices and calls of every model."""
    answered = {each.model: each for each in facts.account if each.outcome == "answered"}
    by = facts.certificate.cost.by_model if facts.certificate else {}
    rows = []
    for model in facts.plan.models:
        mine = answered.get(model.name)
        cost = by.get(model.name, mine.cost if mine else 0.0)
        bought = f"{mine.calls:,}" if mine else "0"
        rows.append((facts.short(model.name), _rate(model), model.source, bought, usd(cost)))
    reused = facts.certificate is not None and facts.certificate.cost.reused > 0
    cost_of = "cost, with answers re-used" if reused else "cost"
    head = ("model", "price, US dollars", "where the price is from", "answers bought", cost_of)
    yield Grid("Prices and calls by model", head, rows, frozenset({3, 4}))


def _rate(model: FrozenModel) -> str:
    if model.cpu_hour:
        return f"${model.cpu_hour:g} per CPU-hour"
    if not (model.input or model.output):
        return f"${model.call or 0:g} a row"
    cached = f", ${model.cached:g} cached" if model.cached is not None else ""
    return f"${model.input:g} in{cached}, ${model.output:g} out per million tokens"


# --------------------------------------------------------------------------- errors


def errors(facts: Facts) -> Section:
    """Rows without an answer, and calls that failed."""
    c, blocks = facts.certificate, list[Block]()
    if c and (lost := c.errors).rows:
        first = ", ".join(map(facts.row, lost.first))
        more = lost.rows - len(lost.first)
        listed = first + f", and {more:,} more" * (more > 0)
        blocks.append(
            Prose(
                f"{count(lost.rows, 'row')} ended without an answer: row {listed}."
                " The column status of the answered table says why. They count as differing from the reference; "
                f"{c.claim.reserve:,} were provided for."
            )
        )
    failed = [each for each in facts.account if each.outcome not in ("answered", "back")]
    if failed:
        names = {
            "sent": "outcome unknown",
            "superseded": "answered twice",
            "gave up": "row given up",
            "set apart": "asked again",
            PROBE: "asked what its server can do",
        }
        rows = [
            (facts.short(each.model), names.get(each.outcome, each.outcome), _calls(each), usd(each.cost))
            for each in failed
        ]
        head = ("model", "what happened", "calls", "cost at most")
        blocks.append(
            Grid("Calls that brought no answer, or may have cost money for nothing", head, rows, frozenset({2, 3}))
        )
    lead = "Rows that finally have no answer, and calls that were or may have been paid for in vain."
    return Section("errors", "What went wrong", lead, blocks)


def _calls(each: Spent) -> str:
    """How many; of those that a crash left open only the money is on record, announced for several at once."""
    return "–" if each.outcome == "sent" else f"{each.calls:,}"


# --------------------------------------------------------------------------- the task


def task(facts: Facts) -> Section:
    """What was asked."""
    asked = facts.plan.task
    pairs = [
        ("an answer is", words.contract(asked)),
        ("two are the same when", words.equivalence(asked)),
        ("longest answer", f"{asked.max_tokens:,} tokens"),
    ]
    blocks: list[Block] = [Code(asked.prompt, "Prompt")]
    if asked.system:
        blocks.append(Code(asked.system, "System message"))
    if asked.schema:
        blocks.append(Code(asked.schema, "Schema"))
    return Section("question", "The question", "What every model was asked about a row.", [*blocks, Pairs(pairs)])


# --------------------------------------------------------------------------- checking


def check(facts: Facts) -> Section:
    """How to check it, and what is needed to do it all again."""
    c, plan = facts.certificate, facts.plan
    blocks: list[Block] = []
    if c is not None:
        name = f"{facts.output or 'OUT'}.certificate.json"
        blocks.append(
            Prose(
                "The certificate holds all the evidence: this recomputes its verdict by other means, rebuilds the "
                "random order from the seed, and reads and compares every answer again."
            )
        )
        blocks.append(Code(f"smart verify {quote(name)} --ledger {quote(facts.ledger)}"))
        blocks += _carried(c, name)
    blocks.append(Pairs(tuple(_identity(facts, plan))))
    return Section("check", "Check it yourself", "Nobody has to take our word for it.", blocks)


def _carried(c: Certificate, name: str) -> Iterator[Download]:
    """The certificate itself, where it is not too long."""
    data = canonical(c.fields())
    if len(data) <= CARRIED:
        href = "data:application/json;base64," + b64encode(data).decode()
        yield Download("Save the certificate from this page", name, href)


def _identity(facts: Facts, plan: FrozenPlan) -> Iterator[tuple[str, str]]:
    run, c = facts.run, facts.certificate
    yield "run", run.run_id
    yield "started", moment(run.started)
    if facts.ended:
        yield "latest answer", f"{moment(facts.ended)}, {duration(max(0.0, facts.ended - run.started))} after the start"
    for name in plan.names:
        if name != facts.short(name):
            yield facts.short(name), name
    yield "procedure", plan.procedure
    yield "order", str(run.seed)
    if plan.asked_seed is not None:
        yield "seed", str(plan.asked_seed)
    yield "plan", run.plan_hash
    yield "table", plan.table
    if c is not None:
        yield "software of the run", f"{c.software.name} {c.software.version}"
        yield "earlier runs on this table", f"{c.earlier_runs:,}"
        yield "of them with this task", f"{c.earlier_runs_same_task:,}"
        yield "earlier runs in this ledger", f"{c.earlier_runs_in_ledger:,}"
    if plan.grown is not None:
        yield "continues", f"run {plan.grown.run}, whose {plan.grown.rows:,} rows are delivered as they were"
    if aside := len(plan.set_aside):
        yield "rows piloted before", f"{aside:,}; never evidence, answered by the reference"


SECTIONS: Sequence[Callable[[Facts], Section]] = (
    outcome,
    promise,
    money,
    models,
    rule,
    answers,
    labels,
    disagreements,
    errors,
    task,
    check,
    glossary,
)
