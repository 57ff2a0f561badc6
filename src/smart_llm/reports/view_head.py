"""The part of a report for whoever reads nothing else: what was asked, what came of it, what to do next. Pure.

Everyday words only: what a reference or a candidate is, the page says where it first needs them.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from shlex import quote

from smart_llm.certificates.certificate import Certificate, alone
from smart_llm.reports.blocks import Block, Grid, Listing, Pairs, Section
from smart_llm.reports.facts import Facts
from smart_llm.text.numbers import count, percent, percents, usd
from smart_llm.text.safe import cut
from smart_llm.wording import worded

QUESTION = 400
"""Characters of the question that stand at the top; all of it stands further down."""
LABELS = 40
"""Of labels, how many are listed."""


def question(facts: Facts) -> str:
    """What was asked about every row."""
    return cut(" ".join(facts.plan.task.prompt.split()), QUESTION)


def summary(facts: Facts) -> str:
    """The whole run in three sentences, for somebody who was not there."""
    c = facts.certificate
    if c is None or c.status == "pending":
        return "The run has not come to its end: some rows have no answer yet, and nothing is promised so far."
    claim, cost, by = c.claim, c.cost, c.delivered.by
    reference, rows = facts.short(claim.reference), claim.rows
    cheap = sum(n for model, n in by.items() if model != claim.reference)
    paid = f"{count(rows, 'row')} for {usd(cost.total)}"
    if c.status != "certified":
        why = facts.short(worded(alone(c)))
        return " ".join(
            filter(None, [f"{paid}. No cheaper model was certified, so {reference} answered every row itself.", why])
        )
    return (
        f"{paid}, instead of about {usd(cost.reference_only)} if {reference}, the model you trust, had answered "
        f"every row. Cheaper models gave {cheap:,} of the answers. At most {count(claim.allowance, 'answer')} "
        f"({percent(claim.allowance / rows)}) should differ from what {reference} would have said; at least "
        f"{percents(claim.confidence)} of runs like this one keep to that."
    )


def outcome(facts: Facts) -> Section:
    """How many rows got each answer, and what to do now."""
    blocks: list[Block] = [*_given(facts), Listing(list(_next(facts)))]
    lead = "How many rows were given each answer, and what to do next."
    return Section("outcome", "Answers, and what next", lead, blocks)


def _given(facts: Facts) -> Iterator[Grid]:
    given = facts.given
    if not given:
        return
    total = facts.plan.rows
    often = sorted(given.items(), key=lambda pair: -pair[1])
    rows = [(label, f"{n:,}", percent(n / total)) for label, n in often[:LABELS]]
    if lost := total - sum(given.values()):
        rows.append(("without an answer", f"{lost:,}", percent(lost / total)))
    more = f"{len(often) - LABELS:,} more labels, none commoner than these." if len(often) > LABELS else ""
    yield Grid("Rows by their answer", ("answer", "rows", "share"), rows, frozenset({1, 2}), more)


def _next(facts: Facts) -> Iterator[str]:
    c = facts.certificate
    if c is None or c.status == "pending":
        yield "Run the same command again: it goes on where it stopped, and nothing is paid for twice."
        return
    if facts.output:
        yield f"Use the answers: they are in {facts.output}, row by row as in your table."
    if lost := c.errors.rows:
        yield (
            f"{count(lost, 'row')} ended without an answer, and the answered table says why: run the same command "
            "again to ask about them once more, or answer them by hand."
        )
    yield from _certified(c) if c.status == "certified" else _alone(facts)
    if facts.output:
        name = quote(f"{facts.output}.certificate.json")
        yield f"Keep the certificate {name} and the ledger {facts.ledger} with the answers: anybody can check them."


def _certified(c: Certificate) -> Iterator[str]:
    yield (
        "Read a few of the rows on which the models disagree, below. Where the question leaves room, make it clearer: "
        "the next run costs less, and the answers are better."
    )
    if float(Fraction(c.claim.agreement)) >= 0.99:
        yield "If a few more differing answers do no harm, ask for less agreement: smart plan says what it would save."


def _alone(facts: Facts) -> Iterator[str]:
    yield (
        "To pay less next time: ask for less agreement, name another cheaper model, make the question clearer, or take "
        "more rows at once, since finding out costs the same for a small table. smart plan says what each would bring."
    )
    if facts.profiling and facts.profiling.candidates:
        yield "The rows on which the models disagree, below, show what the cheaper ones get wrong."


def glossary(facts: Facts) -> Section:
    """The words this page needs."""
    reference = facts.short(facts.plan.reference)
    pairs = [
        ("reference", f"the model whose answers count as right here: {reference}"),
        ("candidate", "a cheaper model that may answer instead, where that was shown to be good enough"),
        ("agreement", "the share of rows that get the answer the reference would have given"),
        ("profiling", "asking several models about the same rows, to see where the cheaper ones can be relied on"),
        ("confidence", "of a hundred runs like this one, how many at least keep their promise"),
    ]
    return Section("words", "The words used here", "In case you were not there.", [Pairs(pairs)])
