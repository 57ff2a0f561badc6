"""The model that was taught in a run, looked at again: it is the one that was kept, and its answers are what it says.

Lessons are decisions, not evidence, so what they said stands as it was recorded. What counts is that one model, in the
ledger before it was asked about any row, gave every answer of the evidence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from smart_llm.certificates.certificate import Certificate
from smart_llm.errors import LedgerError
from smart_llm.learned.model import Answering, kept_model
from smart_llm.ledger import Reader
from smart_llm.ledger.entries import ASK, NO_KEY, TAUGHT
from smart_llm.ledger.reader import Event
from smart_llm.types import LESSON, Json

LEARNED = "learned"


def taught(c: Certificate, asks: Sequence[Mapping[str, Json]], events: Sequence[Event], reader: Reader) -> list[str]:
    """What does not fit, one line each."""
    if LEARNED not in c.plan.candidates:
        return []
    number = c.plan.names.index(LEARNED)
    later = [ask for ask in asks if number in ask["models"] and ask["stage"] != LESSON]
    kept = [event for event in events if event.kind == TAUGHT]
    if not later:
        return []
    if len(kept) != 1:
        return [f"ledger: {len(kept)} models were taught in the run, not one"]
    try:
        fitted = kept_model(kept[0].payload)
    except LedgerError as error:
        return [f"ledger: {error}"]
    first = min(ask["number"] for ask in later)
    told = [(event.kind, event.payload.get("number")) for event in events if event.kind in (ASK, TAUGHT)]
    problems = ["ledger: rows were asked about before the model was kept"] * (
        told.index((TAUGHT, None)) > told.index((ASK, first))
    )
    before, after = kept[0].payload["around"]
    wrong = sum(_wrong(ask, number, fitted, reader, (before, after)) for ask in later)
    return problems + [f"ledger: {wrong} answers of learned are not what the model that was kept says"] * bool(wrong)


def _wrong(ask: Mapping[str, Json], number: int, fitted: Answering, reader: Reader, around: tuple[int, int]) -> int:
    """How many answers to an ask are not the model's. Rows whose text is not stored are not looked at."""
    at = ask["models"].index(number)
    keys = [row[at] for row in ask["keys"] if row[at] != NO_KEY]
    prompts, answers = reader.prompts(keys), reader.get_many(keys)
    known = [key for key in dict.fromkeys(keys) if prompts.get(key) is not None and key in answers]
    said = fitted.said([_text(str(prompts[key]), *around) for key in known])
    wrong = 0
    for key, label, odds in zip(known, said.label.tolist(), said.odds.tolist(), strict=True):
        answer, logp = answers[key], fitted.logp(odds)
        wrong += answer.text != fitted.answer(label) or abs(answer.logprobs[0][1] - logp) > 1e-4 * max(1.0, -logp)
    return wrong


def _text(prompt: str, before: int, after: int) -> str:
    """What the row says: the prompt without what stands around every row's text."""
    return prompt[before : len(prompt) - after]
