"""The rule of a run in words, and what each rule that was certified would have cost.

Which answer a row is delivered is the certificate's `rule`; why it is this one can be told from the evidence: a table
of the mix ends with the share each finalist is certified for; a look of the routed ladder is spent on one rule, chosen
on the pilot, so there is that rule and the reference. Costs of what was not done are estimates, at the price of an
average call of the rows profiled.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from smart_llm.certificates.certificate import Certificate, alone
from smart_llm.certificates.checks import mix
from smart_llm.certificates.parts import StatedTier
from smart_llm.procedures import described
from smart_llm.reports.facts import Facts
from smart_llm.scores.own import own
from smart_llm.scores.words import judged_by
from smart_llm.text.numbers import count
from smart_llm.types.plan import FrozenPlan
from smart_llm.wording import worded

ALIKE = " Rows that ask the same get the same answer: the reference's, if it was asked about one of them."


@dataclass(frozen=True, slots=True)
class Way:
    """A way to answer the table that keeps the promise. rows: answered by the candidate. cost: USD, of the whole run.
    estimated: it was not done."""

    name: str
    rows: int
    cost: float | None
    note: str
    estimated: bool = True


def in_words(facts: Facts) -> str:
    """As `_in_words`, with short names."""
    return facts.short(_in_words(facts))


def _in_words(facts: Facts) -> str:
    """Which answer a row that was not profiled is delivered, once that is settled."""
    c = facts.certificate
    assert c is not None
    rule, reference = c.rule, c.plan.reference
    if rule.tiers:
        gate = f"Rows whose text looks like those that no candidate does well on go to {reference} at once. "
        tiers = " ".join(_tier(each, facts.plan) for each in rule.tiers)
        return f"{gate if rule.gate else ''}{tiers} All other rows go to {reference}.{ALIKE}"
    shares = [each for each in rule.shares or () if each.rows]
    if not shares:
        return f"{reference} answers every row{' that was added' * c.of_earlier}."
    order = "in the order of the file" if rule.order == "file" else "picked at random beforehand"
    parts = ", ".join(f"{count(each.rows, 'row goes', 'rows go')} to {each.model}" for each in shares)
    others = f"the others, and those it has no proper answer to, to {reference}"
    return f"Of the rows not profiled, {parts}, {order}; {others}.{ALIKE}"


def why(facts: Facts) -> str:
    """Why this rule, once it is settled."""
    c = facts.certificate
    assert c is not None
    if c.rule.tiers and c.plan.grown is not None:
        return "It is the rule of the run that is continued, as far as a look at the rows added allows."
    if c.rule.tiers:
        return (
            "The rule was chosen on the pilot, whose rows are no evidence, because it was expected to cost least; then "
            "all the evidence was spent on this one rule. Trying several would have needed more rows for each."
        )
    if c.of_earlier and not c.rule.models:
        return "What the look at the rows added has shown leaves none of them to a candidate."
    if c.granted or c.status == "not-certified":
        return "Of the rules that are certified, the one that costs least is used."
    if not described(c.plan.procedure).candidates:
        return "That is what was asked for."
    return f"No candidate could be certified at this agreement. {facts.short(worded(alone(c)))}"


def ways(facts: Facts) -> list[Way]:
    """What was certified, cheapest first: the rule that was used, others, and the reference alone."""
    c = facts.certificate
    if c is None or c.status == "pending":
        return []
    cost, reference = c.cost, c.plan.reference
    names = [name for name, rows in c.delivered.by.items() if rows and name != reference] if c.of_earlier else []
    names = list(dict.fromkeys([*c.rule.models, *names]))
    rows = sum(c.delivered.by.get(name, 0) for name in names)
    found = [*_finalists(facts, c)]
    if names:
        found.append(Way(", ".join(names), rows, cost.total, "certified, and used", estimated=False))
    note = "holds by definition" if names else "holds by definition, and used"
    found.append(Way(f"{reference} on every row", 0, cost.reference_only, note, estimated=bool(names)))
    return sorted(found, key=lambda way: float("inf") if way.cost is None else way.cost)


def _tier(tier: StatedTier, plan: FrozenPlan) -> str:
    names = plan.names
    draws = next((model.draws for model in plan.models if model.name == tier.model), 0)
    sure_of_itself = own(draws, bool(plan.task.labels))
    how = judged_by(tier.score, names, sure_of_itself)
    if not how:
        return f"{tier.model} is asked about rows that were picked at random beforehand."
    if tier.stop is None:
        sure = f"Its answer is kept on every row to which it has a proper one and shows how sure it is ({how})"
    else:
        sure = f"Its answer is kept where it is sure enough, judged by {how}: from {tier.stop[0]:.4g} on"
    return f"{tier.model} is asked about every row that was not profiled. {sure}."


def _finalists(facts: Facts, c: Certificate) -> Iterator[Way]:
    """Finalists of an exact design that were not chosen."""
    if "mix" not in c.evidence:
        return
    evidence, reference = mix.read(c.evidence["mix"]), c.plan.reference
    call = facts.profiling.call if facts.profiling else {}
    for each in evidence.finalists:
        if each.candidate == evidence.candidate:
            continue
        rows, bought = min(each.stop.share, evidence.left), c.cost.total - c.cost.delivery
        known = each.candidate in call and reference in call
        left = rows * call[each.candidate] + (evidence.left - rows) * call[reference] if known else 0.0
        yield Way(each.candidate, rows, bought + left if known else None, "certified, not used")
