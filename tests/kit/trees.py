"""A procedure that is run once for every way it can be answered, so that an enumeration repeats no run."""

from __future__ import annotations

from collections.abc import Hashable

from smart_llm.types import Answers, Ask, Conversation, Problem, Procedure, Verdict


def remembering(procedure: Procedure) -> Procedure:
    """The same procedure. What it asks, and its verdict, follow from the problem and from what it has been told (that
    it is pure has a test of its own, in contracts/test_procedures.py), so they are looked up where it was told just the
    same before."""
    known = dict[tuple[Hashable, ...], Ask | Verdict]()

    def conversation(problem: Problem) -> Conversation:
        told: tuple[Hashable, ...] = (problem,)
        heard, running = list[Answers](), None
        while True:
            if told not in known:
                if running is None:
                    running, next_step = begun(procedure(problem), heard)
                else:
                    next_step = after(running, heard[-1])
                known[told] = next_step
            step = known[told]
            if isinstance(step, Verdict):
                return step
            heard.append((yield step))
            told = (*told, content(heard[-1]))

    return conversation


def begun(running: Conversation, heard: list[Answers]) -> tuple[Conversation, Ask | Verdict]:
    """A run that has been told all of this, and its next step."""
    step = after(running, None)
    for answers in heard:
        step = after(running, answers)
    return running, step


def after(running: Conversation, answers: Answers | None) -> Ask | Verdict:
    """What a run does when it is told this."""
    try:
        return running.send(answers)  # type: ignore[arg-type]
    except StopIteration as stop:
        verdict: Verdict = stop.value
        return verdict


def content(answers: Answers) -> Hashable:
    """All that a procedure can see of them."""
    assert answers.least is None
    assert answers.like is None
    traits = answers.traits
    seen = (traits.key, traits.length, traits.text) if traits else ()
    assert traits is None or traits.words is None
    return tuple(each.tobytes() for each in (answers.marks, answers.cost, answers.score, *seen))
