"""Why the reference answered every row: what was tried, which candidate came nearest, and what may change it. Pure."""

from __future__ import annotations

from fractions import Fraction

from smart_llm.certificates.parts import Claim, Delivered, StatedRule
from smart_llm.text.numbers import count, percent, percents
from smart_llm.types import Standing
from smart_llm.types.plan import FrozenPlan

NEVER, SELDOM = "gave no proper answer", "gave a proper answer"
"""By these words the notes on candidates of no use are known."""
WITHHELD = {
    "no gain": "it would have saved nothing at its price",
    "below the floor": "on the rows it would have been given it may agree too seldom (--floor)",
}
"""A certified share that is not used → why."""


def why_alone(plan: FrozenPlan, claim: Claim, delivered: Delivered, withheld: str | None) -> str:
    """One or two sentences on a certificate's status `reference-only`. withheld: why a share is not used."""
    if plan.procedure == "reference-only":
        return "The procedure asked for lets the reference answer every row."
    if not claim.allowance:
        least = percents(plan.agreement)
        return f"An agreement of {least} lets no row of {claim.rows:,} differ, so nobody else can answer."
    asked = [each for each in delivered.standings if each.profiled]
    if not asked:
        return _taught(plan, delivered.profiled) if delivered.profiled else _nobody(plan, claim)
    return _nearest(asked, plan, withheld)


def _taught(plan: FrozenPlan, rows: int) -> str:
    """Where the reference answered rows and no candidate did: they taught one, and it was then let be."""
    return (
        f"The reference's answers to {count(rows, 'row')} taught learned. By these, leaving rows to it was expected to "
        "save too little for what a proof costs, so none was asked for: the texts may not tell the answers. "
        f"A {_changes(plan, 'larger table')} may change that."
    )


def _nobody(plan: FrozenPlan, claim: Claim) -> str:
    """Where no row was asked of a candidate, and none for the sake of one."""
    return (
        f"No candidate was asked about any row. To find out how often one agrees with {claim.reference}, "
        f"{claim.reference} has to answer rows itself; with {count(claim.rows, 'row')}, that was expected to leave too "
        "little to save, or one call might have cost more than may be spent before anything is known. "
        f"A {_changes(plan, 'larger table')} may change that."
    )


def _changes(plan: FrozenPlan, *what: str) -> str:
    """What may help, in a list; a cheaper candidate only where there is one that costs anything."""
    costs = any(each.input or each.output or each.cpu_hour or each.call for each in plan.models[1:])
    *most, last = [*what, *["a cheaper candidate"] * costs]
    return f"{', '.join(most)} or {last}" if most else last


def _nearest(asked: list[Standing], plan: FrozenPlan, withheld: str | None) -> str:
    """The candidate that agreed most often, and how far that is from what was asked for."""
    best = max(asked, key=lambda each: (each.agreeing / each.profiled, each.profiled))
    name, agreeing, rows, target = best.model, best.agreeing, best.profiled, Fraction(plan.agreement)
    if not agreeing:
        who = "No candidate agreed on any" if len(asked) > 1 else f"{name} agreed on none"
        return f"{who} of the {count(rows, 'row')} it was asked about."
    came = f"{name} came nearest: it agreed" if len(asked) > 1 else f"{name} agreed"
    head = f"{came} on {agreeing:,} of {count(rows, 'row')} ({percent(agreeing / rows)})"
    wanted = f"{percents(plan.agreement)} is asked for"
    if withheld in WITHHELD:
        return f"{head}, but {WITHHELD[withheld]}."
    if Fraction(agreeing, rows) >= target:
        return (
            f"{head}, and {wanted}: near enough, but proving it would have cost more than it could save. "
            f"A {_changes(plan, 'larger table', 'a lower agreement')} may change that: smart plan says what each would "
            "cost."
        )
    return (
        f"{head}, and {wanted}. A lower agreement, a clearer prompt or a better candidate may change that: smart plan "
        "says what each would cost."
    )


def mixed(rule: StatedRule, claim: Claim, delivered: Delivered) -> list[str]:
    """Which of the rows not profiled a mix leaves to candidates, where not all of them."""
    shares = [each for each in rule.shares or () if each.rows]
    left = claim.rows - delivered.profiled - claim.set_aside
    if not shares or sum(each.rows for each in shares) >= left:
        return []
    how = "in the order of the file" if rule.order == "file" else "at random"
    given = " and ".join(f"{each.rows:,} for {each.model}" for each in shares)
    return [
        f"             of the {left:,} rows not profiled, {given} were picked {how}; {claim.reference} has the rest"
    ]
