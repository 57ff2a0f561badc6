"""OpenAI-compatible endpoints over aiohttp and msgspec: OpenAI, Azure, Gemini, vLLM, llama.cpp, Ollama and many others.

One provider per address and key, which the client's pacing keeps within bounds; `http` says where the key goes.

Models differ in the parameters they take. What is known by name is known beforehand; what an endpoint refuses with a
400 that names the parameter is learnt, and the request sent again without it. What the user asked for (`effort`) is
never left out.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from smart_llm.errors import Retryable
from smart_llm.providers import problems, wire
from smart_llm.providers.http import HttpEndpoint, HttpReply, Told
from smart_llm.types import Answer, Model, Request

_LEARNABLE = ("logprobs", "temperature", "max_tokens", "response_format", "prompt_cache_options")
_CACHE_WORDS = ("prompt_cache_options", "prompt_cache_breakpoint")
_REASONING = frozenset({"max_tokens", "temperature", "logprobs"})
_UNCHARGED = frozenset({"prompt_cache_options"})


class OpenAIProvider:
    """Answers requests for the models of one address. `key` goes to that address only.

    key_header: where the key goes instead of `Authorization: Bearer` (Azure: `api-key`). prefix: what every prompt of
    the run begins with. told: see `http.Told`.
    """

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
        self._http = HttpEndpoint(f"{url}/chat/completions", headers, secret=key)
        self._models = {model.name: model for model in models}
        self._quirks = {name: _known(model, self._http.host) for name, model in self._models.items()}
        self._prefix = prefix
        self.told = told

    async def complete(self, request: Request) -> Answer:
        """One attempt, or a few where the endpoint first has to say which parameters it does not take."""
        while True:
            quirks = self._quirks[request.model]
            reply = await self._http.post(self.body(request))
            if self.told is not None:
                self.told(request.model, reply.headers)
            if reply.status == 200:
                return self._answer(reply)
            problem = problems.read(reply.data)
            learnt = _refused_parameter(problem) if reply.status in (400, 422) else None
            if learnt is None or learnt in quirks:
                raise self._http.error(reply, problem)
            self._quirks[request.model] = self._quirks[request.model] | {learnt}

    def body(self, request: Request) -> bytes:
        """The request as it is sent, by what is known of the model so far."""
        model = self._models[request.model]
        return wire.body(
            request,
            model.model,
            self._quirks[request.model],
            effort=model.effort,
            thinking=model.thinking,
            prefix=self._prefix,
        )

    def read(self, model: str, reply: HttpReply) -> Answer:
        """What a reply says that came in a batch. Raises what a call would, and `Retryable` for a parameter that is
        left out of bodies from now on."""
        if reply.status == 200:
            return self._answer(reply)
        problem = problems.read(reply.data)
        learnt = _refused_parameter(problem) if reply.status in (400, 422) else None
        if learnt is None:
            raise self._http.error(reply, problem)
        self._quirks[model] = self._quirks[model] | {learnt}
        raise Retryable(f"{self._http.host} does not take {learnt}; it is left out from now on.")

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    def _answer(self, reply: HttpReply) -> Answer:
        try:
            answer = wire.answer(wire.decode(reply.data))
        except (msgspec.MsgspecError, UnicodeDecodeError, IndexError):
            raise self._http.nonsense() from None
        if answer.finish == "error":  # OpenRouter: the provider behind it failed in the middle
            raise Retryable(f"{self._http.host} broke off in the middle of an answer.", paid=True)
        return answer


def _known(model: Model, host: str) -> frozenset[str]:
    """The parameters a model is known not to take. Told to think not at all, it takes those of other models."""
    own = host == "api.openai.com"
    quirks = _REASONING if own and wire.REASONING.match(model.model) else frozenset[str]()
    if model.effort == "none":
        quirks &= {"max_tokens"}
    return quirks if own and wire.CHARGED_WRITES.match(model.model) else quirks | _UNCHARGED


def _refused_parameter(problem: problems.Problem) -> str | None:
    """The parameter an endpoint says it does not take, if it is one we can do without."""
    named = problem.param or problem.message
    if any(word in named for word in _CACHE_WORDS):
        return "prompt_cache_options"
    for name in _LEARNABLE:
        if problem.param == name or (problem.param is None and name in problem.message):
            return name
    return None
