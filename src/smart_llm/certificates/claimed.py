"""The claim of a certificate in words: what is promised, as counts, and what its words mean for this task."""

from __future__ import annotations

from smart_llm.certificates.parts import Claim
from smart_llm.tasks import words as task_words
from smart_llm.text.numbers import count, percents
from smart_llm.types.plan import DescribedTask

PLAIN = ("label", "exact")
"""Relations that are what everybody takes "differ" for."""


def words(claim: Claim, task: DescribedTask, status: str) -> str:
    """The claim in words, as counts."""
    rows, differ, errors = claim.rows, claim.allowance, claim.errors
    percent, have = percents(claim.confidence), "has" if errors == 1 else "have"
    lost = f" {count(errors, 'row has no answer and counts', 'rows have no answer and count')} among them."
    lost = lost if errors else ""
    if status == "certified":
        return (
            f"With {percent} confidence, at most {differ:,} of the {rows:,} delivered answers "
            f"{'differs' if differ == 1 else 'differ'} from what "
            f"{claim.reference} answers.{lost}{_per_label(claim)}{_meaning(task)}"
        )
    if status == "reference-only" and errors > differ:
        return (
            f"Nothing is claimed: {errors:,} of {rows:,} rows {have} no answer from {claim.reference} itself, more "
            f"than the {differ:,} that may differ."
        )
    if status == "reference-only":
        asked = "The row was" if rows == 1 else f"All {rows:,} rows were"
        return f"{asked} asked of {claim.reference} itself: agreement holds by definition.{lost}"
    if status == "pending":
        left = f"{claim.unsettled:,} of {count(rows, 'row')} {'is' if claim.unsettled == 1 else 'are'}"
        return f"Nothing is claimed yet: {left} not settled."
    lost = f"{count(errors, 'row')} {have} no answer"
    return f"Nothing is claimed: {lost}, more than the {claim.reserve:,} set aside for that."


def _per_label(claim: Claim) -> str:
    if claim.per_label is None:
        return ""
    return (
        f" The same confidence covers: for every label that it gives to {claim.label_rows:,} rows or more, at least "
        f"{percents(claim.per_label)} of these rows are delivered that label."
    )


def _meaning(task: DescribedTask) -> str:
    """Who reads the answers, and when two of them do not differ, unless that goes without saying."""
    read = f" Answers are what your function {task.parse.name} makes of replies." if task.parse else ""
    if task.equivalence in PLAIN:
        return read
    return f"{read} Two answers count as the same when {task_words.equivalence(task)}."
