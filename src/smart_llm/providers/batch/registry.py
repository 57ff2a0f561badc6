"""Which models can be asked by batch.

By name: OpenAI and Anthropic at their own addresses. At an address of the user's own: where it says it knows batches.
Everything else takes the ordinary path. What speaks HTTP is loaded when it is needed: a plan needs none of it.
"""

from __future__ import annotations

from smart_llm.providers import making
from smart_llm.providers.base import Provider
from smart_llm.providers.batch.base import BatchApi
from smart_llm.providers.endpoints import ENDPOINTS
from smart_llm.types import Model


def batch_api(model: Model, provider: Provider, *, timeout: float) -> BatchApi | None:
    """The batch API that may be behind a model, or None; at an address of the user's own, ask whether it is there."""
    url = making.address(model)
    if url is None:
        return None
    if model.provider == "openai":
        from smart_llm.providers.batch.openai import OpenAIBatches
        from smart_llm.providers.openai import OpenAIProvider

        if isinstance(provider, OpenAIProvider):
            return OpenAIBatches(url, model.name, provider, key=making.key(model), timeout=timeout)
    if model.provider == "anthropic":
        from smart_llm.providers.anthropic import AnthropicProvider
        from smart_llm.providers.batch.anthropic import AnthropicBatches

        if isinstance(provider, AnthropicProvider):
            return AnthropicBatches(url, model.name, provider, key=making.key(model), timeout=timeout)
    return None


def known(model: Model) -> bool:
    """Whether the model's address is one that is known to have batches: OpenAI's or Anthropic's own."""
    return model.url is not None and model.url == ENDPOINTS[model.provider].url
