"""`learned` as a provider: answers by what was fitted in this run, in this process, at no price.

The rows whose answers are wanted at about the same time are answered together, since turning texts into features is
done on whole arrays. How sure it is goes the way it goes with every model: as the log-probability of its answer.
"""

from __future__ import annotations

import asyncio

from smart_llm.errors import Refused
from smart_llm.learned.model import Answering
from smart_llm.types import Answer, Request

TOGETHER = 2048
"""Rows that are answered together, at most."""


class Taught:
    """fitted: what answers, once there is any. around: characters of a prompt before and after what the row says."""

    def __init__(self, name: str) -> None:
        self.name, self.around = name, (0, 0)
        self.fitted: Answering | None = None
        self._waiting: list[tuple[str, asyncio.Future[Answer]]] = []

    def cut(self, prompt: str) -> str:
        """What the row says: the prompt without what stands around every row's text."""
        before, after = self.around
        return prompt[before : len(prompt) - after]

    async def complete(self, request: Request) -> Answer:
        """Its answer and how sure it is."""
        asked: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((self.cut(request.prompt), asked))
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(lambda: asyncio.get_running_loop().call_soon(self._answer))
        elif len(self._waiting) >= TOGETHER:
            self._answer()
        return await asked

    def _answer(self) -> None:
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        if self.fitted is None:
            for _, asked in waiting:
                if not asked.done():
                    asked.set_exception(Refused("learned was asked before it was taught."))
            return
        said = self.fitted.said([text for text, _ in waiting])
        for (_, asked), label, odds in zip(waiting, said.label.tolist(), said.odds.tolist(), strict=True):
            if not asked.done():
                asked.set_result(Answer(text := self.fitted.answer(label), logprobs=((text, self.fitted.logp(odds)),)))

    async def close(self) -> None:
        """Nothing to give up."""
