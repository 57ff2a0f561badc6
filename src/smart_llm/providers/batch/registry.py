"""Which models can be asked by batch, and at what price.

By name: OpenAI and Anthropic at their own addresses. At an address of the user's own: where it says it knows batches.
Everything else takes the ordinary path.
"""

from __future__ import annotations

from dataclasses import replace

from smart_llm import models
from smart_llm.providers.anthropic import AnthropicProvider
from smart_llm.providers.base import Provider
from smart_llm.providers.batch.anthropic import AnthropicBatches
from smart_llm.providers.batch.base import BatchApi
from smart_llm.providers.batch.openai import OpenAIBatches
from smart_llm.providers.openai import OpenAIProvider
from smart_llm.types import Model, Rate

DISCOUNT = 0.5
"""What both providers charge by batch, as a share of the ordinary price, where no batch price is known."""


def batch_api(model: Model, provider: Provider, *, timeout: float) -> BatchApi | None:
    """The batch API that may be behind a model, or None; at an address of the user's own, ask whether it is there."""
    url = models.address(model)
    if url is None:
        return None
    if model.provider == "openai" and isinstance(provider, OpenAIProvider):
        return OpenAIBatches(url, model.name, provider, key=models.key(model), timeout=timeout)
    if model.provider == "anthropic" and isinstance(provider, AnthropicProvider):
        return AnthropicBatches(url, model.name, provider, key=models.key(model), timeout=timeout)
    return None


def half(rate: Rate) -> Rate:
    """The rate by batch: the provider's where it is known, else half of the ordinary one."""
    known = rate.by_batch()
    if known is not None:
        return known
    cached = None if rate.cached is None else rate.cached * DISCOUNT
    written = None if rate.written is None else rate.written * DISCOUNT
    source = f"{rate.source}, by batch (half of it)"
    return replace(
        rate, input=rate.input * DISCOUNT, output=rate.output * DISCOUNT, cached=cached, written=written, source=source
    )
