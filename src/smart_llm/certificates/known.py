"""What a taught candidate knew before its run, looked at again: the answers are in the ledger, and older than it."""

from __future__ import annotations

from collections.abc import Sequence

from smart_llm.certificates.certificate import Certificate
from smart_llm.learned.earlier import digest
from smart_llm.ledger import Reader
from smart_llm.ledger.aside import SET_ASIDE
from smart_llm.ledger.entries import KNOWN
from smart_llm.ledger.reader import Event
from smart_llm.tasks import Task, format_value


def known(c: Certificate, events: Sequence[Event], reader: Reader, task: Task) -> list[str]:
    """What does not fit, one line each. Texts that are not stored are not looked at."""
    told = c.plan.known
    if told is None:
        return []
    problems = ["ledger: rows were known before that the plan does not set aside"] * (told.rows > len(c.plan.set_aside))
    named = sum(each.labels for each in c.plan.learn_from)
    problems += ["plan: the labels named are not as many as it says"] * (told.given != named)
    kept = [event.payload for event in events if event.kind == KNOWN]
    if len(kept) != 1:
        return [*problems, "ledger: what was known before the run is not recorded once"]
    keys, (before, after) = kept[0]["keys"], kept[0]["around"]
    answers, prompts = reader.get_many(keys), reader.prompts(keys)
    if len(keys) != told.answers or answers.keys() != set(keys):
        return [*problems, f"ledger: {len(answers)} answers were known before the run, the plan says {told.answers}"]
    aside = [key for event in events if event.kind == SET_ASIDE for (key,) in event.payload["keys"]]
    late = sum(number > told.last for number, _ in reader.snapshots(keys))
    problems += [f"ledger: {late} answers that were known before the run are younger than it"] * bool(late)
    early = sum(number <= told.last for number, _ in reader.snapshots(dict.fromkeys(aside)))
    problems += ["ledger: no row set aside was known before the run"] * bool(told.rows and not early)
    if prompts.keys() != set(keys):
        return problems
    labels = [task.read(answers[key]) for key in keys]
    texts = [prompts[key][before : len(prompts[key]) - after] for key in keys]
    pairs = [(text, "" if label is None else format_value(label)) for text, label in zip(texts, labels, strict=True)]
    return problems + ["ledger: what was known before the run is not what the plan says"] * (
        digest(pairs) != told.digest
    )
