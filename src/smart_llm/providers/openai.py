"""OpenAI-compatible endpoints: OpenAI, Azure, Gemini, vLLM, llama.cpp, Ollama and many others.

The protocol is in `wire` and `replies`, what errors mean in `problems`, where the key goes in `http`.
"""

from __future__ import annotations

from collections.abc import Iterable

from smart_llm.errors import Retryable
from smart_llm.providers import enforced, parameters, problems, replies, wire
from smart_llm.providers.base import Told
from smart_llm.providers.http import HttpEndpoint, HttpProvider
from smart_llm.types import Answer, Model, Request

_OPTIONAL = ("top_logprobs", "logprobs", "temperature")
_LEARNABLE = (*_OPTIONAL, "max_tokens", "response_format")
_CACHE_WORDS = ("prompt_cache_options", "prompt_cache_breakpoint")
_REASONING = frozenset({"max_tokens", "temperature", "logprobs"})
_UNCHARGED = frozenset({"prompt_cache_options"})
_BY_HOST = {
    "generativelanguage.googleapis.com": frozenset({"logprobs"}),
    "api.groq.com": frozenset({"logprobs"}),
    "api.mistral.ai": frozenset({"logprobs"}),
    "api.deepseek.com": frozenset({"effort=none"}),
}
"""What whole hosts do not take."""


class OpenAIProvider(HttpProvider):
    """Answers requests for the models of one address. `key` goes to that address only.

    key_header: where the key goes instead of `Authorization: Bearer` (Azure: `api-key`).
    """

    own = "api.openai.com"
    """The host where models are what their names say."""
    optional = _OPTIONAL

    def __init__(
        self,
        url: str,
        models: Iterable[Model],
        *,
        key: str | None = None,
        key_header: str | None = None,
        prefix: str = "",
        told: Told | None = None,
    ) -> None:
        headers = {} if not key else {key_header: key} if key_header else {"Authorization": f"Bearer {key}"}
        super().__init__(HttpEndpoint(f"{url}/chat/completions", headers, secret=key), models, prefix=prefix, told=told)

    def body(self, request: Request, also: frozenset[str] = frozenset()) -> bytes:
        """The body of one call, without the parameters this endpoint is known not to take (a line of a batch)."""
        name = request.model
        return wire.body(request, self._models[name], self._quirks[name] | also, self._prefix)

    def decode(self, data: bytes) -> Answer:
        """The answer in a completion."""
        answer = replies.answer(data)
        if replies.INTERRUPTED.fullmatch(answer.finish):
            raise Retryable(f"{self._http.host} broke off in the middle of an answer.", paid=True)
        return answer

    def known(self, model: Model) -> frozenset[str]:
        """By name, at OpenAI's own address. Told not to think at all, a model takes what others take."""
        own = self._http.host == self.own
        quirks = _REASONING if own and wire.REASONING.match(model.model) else frozenset[str]()
        if model.effort == "none":
            quirks &= {"max_tokens"}
        quirks |= _BY_HOST.get(self._http.host, frozenset())
        if model.url is None or own or model.enforce != "schema":
            quirks |= {enforced.BARE}
        quirks |= frozenset(enforced.CHOICE if model.enforce != "choice" else ())
        return quirks if own and wire.CHARGED_WRITES.match(model.model) else quirks | _UNCHARGED

    def refused(self, problem: problems.Problem, quirks: frozenset[str]) -> frozenset[str]:
        """The parameters an endpoint names, or speaks of."""
        if any(word in (problem.param or problem.message.lower()) for word in _CACHE_WORDS):
            return frozenset({"prompt_cache_options"})
        found = parameters.unsupported(problem, (*_LEARNABLE, *enforced.CHOICE)) - quirks
        if first := enforced.first_named(found):
            return found - frozenset(enforced.CHOICE) | {first}
        if enforced.SCHEMA not in found and not (not found and parameters.no_schema(problem)):
            return found
        if enforced.BARE not in quirks:  # a string at the root of a schema is not taken; an object may be
            return frozenset({enforced.BARE})
        return found or frozenset({enforced.SCHEMA, *enforced.CHOICE})
