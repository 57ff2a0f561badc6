"""From what a client asks to what the models of a route are asked. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from math import isnan, log1p
from typing import Any

from smart_llm.errors import InputError
from smart_llm.gateway.config import RouteConfig
from smart_llm.gateway.spoken import Asked, Denied
from smart_llm.ledger import request_key
from smart_llm.procedures.stream import Tried
from smart_llm.scores.own import own_score
from smart_llm.scores.traits import answer_key
from smart_llm.tasks.task import format_value
from smart_llm.types import Answer, Request, Usage

TYPICAL = Usage(500, 10)
"""What a call is taken to use before there was any."""


class Questions:
    """Of one route."""

    def __init__(self, config: RouteConfig) -> None:
        self._task, self._models = config.task, config.models
        self._settings: list[dict[str, Any]] = [model.settings for model in config.models]
        self._schema = config.task.contract.schema
        self._same_schema = json.loads(self._schema) if self._schema is not None else None

    @property
    def prices(self) -> list[float]:
        """Of the candidates, in calls of the reference, as far as their rates tell."""
        reference, *others = [model.rate.cost(TYPICAL) for model in self._models]
        return [cost / reference if reference else 1.0 for cost in others]

    def check(self, asked: Asked) -> None:
        """`Denied` for a form of answer that is not the route's."""
        kind = self._task.contract.kind
        if asked.as_json and kind != "json":
            raise Denied(400, f"response_format: this route answers with {kind}, not with JSON; leave it out.")
        if asked.schema is not None and self._schema is not None and json.loads(asked.schema) != self._same_schema:
            raise Denied(400, "response_format: this route has a schema of its own, and that is another one.")

    def request(self, number: int, asked: Asked) -> Request:
        """What a model is asked. Candidates are asked how sure they are, where they can say."""
        return Request(
            self._models[number].name,
            asked.prompt,
            asked.max_tokens or self._task.max_tokens,
            asked.system,
            self._task.contract.labels,
            self._schema or asked.schema,
            asked.temperature,
            number > 0,
            before=asked.before,
            **self._settings[number],
        )

    def as_reference(self, request: Request) -> Request:
        """The same for the reference, of what a candidate was asked."""
        return as_reference(request, self._models[0].name, self._settings[0])

    def key(self, request: Request) -> str:
        """Its key in the ledger; `Denied` for text that is none."""
        try:
            return request_key(request)
        except InputError:
            raise Denied(400, "messages: they hold text that is not valid Unicode.", param="messages") from None

    def tried(self, way: int, asked: Asked, answer: Answer | None, value: Any) -> Tried:
        """What is known of a candidate's answer. value: as it was read."""
        length = log1p(len(asked.prompt))
        if answer is None or value is None:
            cost = answer.cost if answer is not None else 0.0
            return Tried(way, usable=False, cost=cost, traits=(0.0, length))
        score = own_score(answer, value, self._task.contract.labels)
        return Tried(
            way,
            usable=True,
            score=None if isnan(score) else score,
            key=answer_key(format_value(value)),
            cost=answer.cost,
            traits=(log1p(len(answer.text or "")), length),
        )


def as_reference(request: Request, name: str, settings: Mapping[str, Any]) -> Request:
    """What the reference is asked where a candidate is asked this. name, settings: the reference's."""
    changed: dict[str, Any] = {"thinking": 0, "at": None, "enforce": "", **settings}
    return replace(request, model=name, logprobs=False, **changed)
