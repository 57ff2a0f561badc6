"""`learned` as a provider: answers by what was fitted in this run, in this process, at no price but its embeddings'.

The rows whose answers are wanted at about the same time are answered together, since turning texts into features is
done on whole arrays. How sure it is goes the way it goes with every model: as the log-probability of its answer.

Where it may look at vectors of texts, it is also asked for these (`embeddings`), before it is taught and for rows that
are evidence; those are recorded. Of all other rows it embeds the text when it is asked for the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from smart_llm.errors import Refused
from smart_llm.learned.model import Answering
from smart_llm.providers.base import Told
from smart_llm.providers.embeddings import EMBED, Served, Vector, embedder_of, vector_answer, vector_in
from smart_llm.types import Answer, Model, Request, Usage

TOGETHER = 2048
"""Rows that are answered together, at most."""
FREE = Usage(cpu_seconds=1e-9)
"""A use that says so and costs nothing: where none is stated, tokens are assumed."""


class Taught:
    """fitted: what answers, once there is any. around: characters of a prompt before and after what the row says.
    vectors: of texts, as far as they are known; numbers: how many each has, 0 before there is one. told: see
    `base.Told`."""

    def __init__(self, model: Model) -> None:
        self.name, self.around = model.name, (0, 0)
        self.fitted: Answering | None = None
        self.embedder = embedder_of(model)
        self.told: Told | None = None
        if isinstance(self.embedder, Served):
            self.embedder.heard = self._heard
        self.vectors: dict[str, Vector] = {}
        self.numbers = 0
        self._waiting: list[tuple[str, Vector | None, asyncio.Future[Answer]]] = []

    def _heard(self, headers: Mapping[str, str]) -> None:
        if self.told is not None:
            self.told(self.name, headers)

    def cut(self, prompt: str) -> str:
        """What the row says: the prompt without what stands around every row's text."""
        before, after = self.around
        return prompt[before : len(prompt) - after]

    def fitting(self, vector: Vector) -> Vector:
        """The same; `Refused` where it has more or fewer numbers than others had."""
        self.numbers = self.numbers or len(vector)
        if len(vector) != self.numbers:
            raise Refused(
                f"{self.name}: vectors of {self.numbers:,} and of {len(vector):,} numbers came from the same embedder. "
                "Name one whose vectors all have as many; what was bought is kept."
            )
        return vector

    async def complete(self, request: Request) -> Answer:
        """Its answer and how sure it is; or the vector of a text, where that is asked for."""
        if (request.at or "").startswith(EMBED):
            assert self.embedder is not None
            vector, usage = await self.embedder.embed(request.prompt)
            return vector_answer(self.fitting(vector), usage if usage != Usage() else FREE)
        text = self.cut(request.prompt)
        if self.embedder is None:
            return await self._answered(text, None)
        seen, usage = await self._seen(text)
        return replace(await self._answered(text, seen), usage=usage)

    async def _seen(self, text: str) -> tuple[Vector | None, Usage]:
        """The vector of a text, where the model looks at it, and what it costs now."""
        assert self.embedder is not None
        if self.fitted is None or not self.fitted.embeds:
            return None, FREE
        if (known := self.vectors.get(text)) is not None:
            return known, FREE
        made, usage = await self.embedder.embed(text)
        return vector_in(vector_answer(self.fitting(made), usage)), usage if usage != Usage() else FREE

    async def _answered(self, text: str, vector: Vector | None) -> Answer:
        asked: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((text, vector, asked))
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
            for _, _, asked in waiting:
                if not asked.done():
                    asked.set_exception(Refused("learned was asked before it was taught."))
            return
        vectors = np.stack([each for _, each, _ in waiting if each is not None]) if self.fitted.embeds else None
        said = self.fitted.said([text for text, _, _ in waiting], vectors)
        for (_, _, asked), label, odds in zip(waiting, said.label.tolist(), said.odds.tolist(), strict=True):
            if not asked.done():
                text = self.fitted.answer(label)
                asked.set_result(Answer(text, logprobs=((text, self.fitted.logp(odds)),)))

    async def close(self) -> None:
        """Give up what embeds."""
        if self.embedder is not None:
            await self.embedder.close()
