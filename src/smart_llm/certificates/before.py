"""What a run took from earlier ones and from labels that were known before it, in words."""

from __future__ import annotations

from smart_llm.text.numbers import count
from smart_llm.types.plan import FrozenPlan, GrownFrom


def continued(grown: GrownFrom) -> list[str]:
    """Of a table that grew: whose answers are delivered again, and what vouches for them."""
    looked = " and ".join(f"{looked:,} of {rows:,}" for rows, _, looked in grown.looks)
    behind = [*["the tables of the mix"] * bool(grown.excess), *[f"looks at {looked} rows"] * bool(looked)]
    return [
        f"{count(grown.rows, 'row is', 'rows are')} delivered as in run {grown.run}, from the ledger;",
        f"{' and '.join(behind)} there, and this run's look, keep the confidence together",
    ]


def known_before(plan: FrozenPlan) -> list[str]:
    """What a taught candidate knew before the run, in words."""
    if (told := plan.known) is None:
        return []
    kinds = [f"{count(told.answers, 'answer')} of {plan.reference} in the ledger"] if told.answers else []
    kinds += [f"{count(each.labels, 'label')} of {each.name} ({each.digest})" for each in plan.learn_from]
    lines = [f"learned knew beforehand: {'; '.join(kinds)}; none of it is evidence"]
    rows = count(
        len(plan.set_aside),
        "row that was answered or piloted before is",
        "rows that were answered or piloted before are",
    )
    return lines + [f"{rows} delivered with {plan.reference}'s answers"] * bool(plan.set_aside)
