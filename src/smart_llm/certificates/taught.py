"""The model that was taught in a run, looked at again: it is the one that was kept, and its answers are what it says.

Lessons are decisions, not evidence, so what they said stands as it was recorded. What counts is that one model, in the
ledger before it was asked about any row, gave every answer of the evidence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from smart_llm.certificates.certificate import Certificate
from smart_llm.errors import LedgerError
from smart_llm.learned.model import Answering, kept_model
from smart_llm.ledger import Reader, request_key
from smart_llm.ledger.entries import ASK, NO_KEY, TAUGHT
from smart_llm.ledger.reader import Event
from smart_llm.providers.embeddings import Vector, vector_in, vector_request
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
    embed = kept[0].payload.get("embed")
    wrong = sum(_wrong(ask, number, fitted, _Texts(reader, (before, after), embed)) for ask in later)
    return problems + [f"ledger: {wrong} answers of learned are not what the model that was kept says"] * bool(wrong)


@dataclass(frozen=True)
class _Texts:
    """What rows say, by the ledger. around: characters of a prompt before and after that; embed: what made vectors."""

    reader: Reader
    around: tuple[int, int]
    embed: str | None

    def of(self, prompt: str) -> str:
        """The prompt without what stands around every row's text."""
        return prompt[self.around[0] : len(prompt) - self.around[1]]

    def vectors(self, texts: Sequence[str]) -> dict[str, Vector]:
        """By text, of those that were recorded."""
        if self.embed is None:
            return {}
        keys = {text: request_key(vector_request(text, self.embed)) for text in texts}
        known = self.reader.get_many(list(keys.values()))
        return {text: vector_in(known[key]) for text, key in keys.items() if key in known}


def _wrong(ask: Mapping[str, Json], number: int, fitted: Answering, texts: _Texts) -> int:
    """How many answers to an ask are not the model's. Rows whose text is not stored are not looked at."""
    reader = texts.reader
    at = ask["models"].index(number)
    keys = [row[at] for row in ask["keys"] if row[at] != NO_KEY]
    prompts, answers = reader.prompts(keys), reader.get_many(keys)
    known = [key for key in dict.fromkeys(keys) if prompts.get(key) is not None and key in answers]
    vectors = texts.vectors([texts.of(str(prompts[key])) for key in known])
    if fitted.embeds:
        known = [key for key in known if texts.of(str(prompts[key])) in vectors]
    if not known:
        return 0
    shown = [texts.of(str(prompts[key])) for key in known]
    said = fitted.said(shown, np.stack([vectors[text] for text in shown]) if fitted.embeds else None)
    wrong = 0
    for key, label, odds in zip(known, said.label.tolist(), said.odds.tolist(), strict=True):
        answer, logp = answers[key], fitted.logp(odds)
        wrong += answer.text != fitted.answer(label) or abs(answer.logprobs[0][1] - logp) > 1e-4 * max(1.0, -logp)
    return wrong
