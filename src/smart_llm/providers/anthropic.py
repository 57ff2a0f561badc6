"""Anthropic's Messages API, natively: `anthropic:claude-…`.

The protocol is in `messages`, what errors mean in `problems`, where the key (`x-api-key`) goes in `http`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from smart_llm.providers import enforced, messages, parameters, problems
from smart_llm.providers.base import Told
from smart_llm.providers.http import HttpEndpoint, HttpProvider
from smart_llm.types import Answer, Model, Request

_FORMAT_WORDS = ("output_config", "output_format", "output format", "structured output", "schema")


class AnthropicProvider(HttpProvider):
    """Answers requests for the models of one address (ending in /v1). `key` goes to that address only."""

    optional = ("temperature",)

    def __init__(
        self,
        url: str,
        models: Iterable[Model],
        *,
        key: str | None = None,
        prefix: str = "",
        told: Told | None = None,
    ) -> None:
        headers = {"x-api-key": key} if key else {}
        super().__init__(HttpEndpoint(f"{url}/messages", headers, secret=key), models, prefix=prefix, told=told)

    def body(self, request: Request, also: frozenset[str] = frozenset()) -> bytes:
        """The body of one call, without the parameters this endpoint is known not to take (`params` in a batch)."""
        name = request.model
        return messages.body(request, self._models[name], self._quirks[name] | also, self._prefix)

    def decode(self, data: bytes) -> Answer:
        """The answer in a message."""
        return messages.answer(data)

    def headers(self, model: str, also: frozenset[str] = frozenset()) -> Mapping[str, str]:
        """The API version a model's requests are written in."""
        sampled = messages.takes_temperature(self._models[model], self._quirks[model] | also)
        return {"anthropic-version": messages.SAMPLING_VERSION if sampled else messages.VERSION}

    def known(self, model: Model) -> frozenset[str]:
        """Nothing: what goes by name is in `messages`."""
        return frozenset()

    def refused(self, problem: problems.Problem, quirks: frozenset[str]) -> frozenset[str]:
        """What the endpoint speaks of."""
        said = problem.message.lower()
        if any(word in said for word in _FORMAT_WORDS) and parameters.no_schema(problem):
            return frozenset({enforced.SCHEMA})
        return parameters.unsupported(problem, self.optional)
