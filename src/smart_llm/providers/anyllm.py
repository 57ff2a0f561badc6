"""The long tail: `anyllm:PROVIDER/MODEL`, through the any-llm package (Bedrock, Vertex, Cohere and dozens more).

It is an extra of its own, imported when a model needs it. any-llm wraps each provider's own SDK, reads that provider's
own key from the environment, and gives every answer OpenAI's shape, so one decoder serves for all. Its retries are
turned off where the SDK beneath allows it: the ledger must see every paid attempt. What its SDKs do with redirects and
proxies is theirs; the promise that a key goes to its host only is made for the dialects we speak ourselves.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from inspect import isawaitable
from typing import Any

import msgspec

from smart_llm.errors import InputError, ProviderError, Refused, Retryable
from smart_llm.providers import enforced, lenient, problems, replies, wire
from smart_llm.types import Answer, Model, Request

STATUS = {
    "RateLimitError": 429,
    "AuthenticationError": 401,
    "MissingApiKeyError": 401,
    "InvalidRequestError": 400,
    "UnsupportedParameterError": 400,
    "ModelNotFoundError": 404,
    "InsufficientFundsError": 402,
    "UpstreamProviderError": 502,
    "GatewayTimeoutError": 504,
}
"""Where an error of any-llm bears no status of its own."""

ROW_ONLY = ("ContentFilterError", "ContextLengthExceededError")


class AnyLLMProvider:
    """Answers requests for one model. `InputError` where any-llm, or what it needs for this provider, is not there."""

    def __init__(self, model: Model) -> None:
        self._provider, _, self._name = model.model.partition("/")
        if not self._name:
            raise InputError(f"Model {model.name}: write anyllm:PROVIDER/MODEL, such as anyllm:cohere/command-a.")
        self._model = model
        self._llm = _create(self._provider, model.name)

    async def complete(self, request: Request) -> Answer:
        """One attempt."""
        try:
            reply = await self._llm.acompletion(**self.asked(request))
        except Exception as error:  # any SDK's own
            raise self._meaning(error) from None
        try:
            return replies.answer(reply.model_dump_json().encode())
        except (*lenient.UNREADABLE, AttributeError):
            raise Retryable(f"any-llm: {self._provider} sent a reply that is not a completion.", paid=True) from None

    def asked(self, request: Request) -> dict[str, Any]:
        """The call's arguments. Log-probabilities are left out: most of the tail refuses the question."""
        messages = [{"role": role, "content": text} for role, text in request.turns]
        asked: dict[str, Any] = {
            "model": self._name,
            "messages": messages,
            "max_tokens": request.max_tokens + self._model.thinking,
        }
        if self._model.effort is not None:
            asked["reasoning_effort"] = self._model.effort
        elif not self._model.thinking:
            asked["temperature"] = request.temperature
        if (schema := enforced.wanted(request, self._model)) is not None:
            asked["response_format"] = msgspec.json.decode(msgspec.json.encode(wire.response_format(schema)))
        return asked

    async def close(self) -> None:
        """Close the SDK's client, where any-llm shows one that can be closed."""
        client = getattr(self._llm, "client", None)
        close = getattr(client, "close", None)
        if close is not None and isawaitable(closing := close()):
            await closing

    def _meaning(self, error: Exception) -> ProviderError:
        """What an error of any-llm, or of an SDK beneath it, means for us."""
        kind = type(error).__name__
        message = str(getattr(error, "message", "") or error)
        if kind in ROW_ONLY:
            return Refused(f"any-llm: {self._provider} refuses the request ({kind}).", row_only=True)
        status = getattr(error, "status_code", None) or STATUS.get(kind, 500)
        codes = tuple(str(value) for name in ("code", "error_type") if (value := getattr(error, name, None)))
        headers = {"retry-after": str(wait)} if (wait := getattr(error, "retry_after", None)) else {}
        host = f"any-llm: {self._provider}"
        return problems.meaning(host, status, problems.Problem(message, codes), headers, _secret(self._llm))


def _create(provider: str, name: str) -> Any:
    try:
        package = import_module("any_llm")
    except ImportError:
        raise InputError(
            f"Model {name}: the any-llm package is not installed.\n"
            f"Install it with what this provider needs: pip install 'any-llm-sdk[{provider}]'"
        ) from None
    options: Mapping[str, Any] = {"unified_exceptions": True}
    try:
        try:
            return package.AnyLLM.create(provider, max_retries=0, **options)
        except package.UnsupportedParameterError:  # an SDK without such a count
            return package.AnyLLM.create(provider, **options)
    except (package.AnyLLMError, ImportError, ValueError) as error:
        raise InputError(f"Model {name}: any-llm says: {' '.join(str(error).split())[:200]}") from None


def _secret(llm: Any) -> str | None:
    """The key any-llm has read from the environment, so that no message quotes it."""
    named = str(getattr(llm, "ENV_API_KEY_NAME", "") or "").split("/")
    return next((value for each in named if (value := os.environ.get(each))), None)
