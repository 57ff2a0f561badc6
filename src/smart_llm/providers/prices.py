"""List prices from the genai-prices data bundled with that package: offline, dated, never updated during a run.

A lookup takes the better part of a millisecond, so a model is resolved once into a `Rate`, which the plan freezes.

Two traps. A price asked for "by batch" is silently the ordinary one where the data knows no batch price: the variant
itself is looked for. And where prompts past some length cost more (up to five times as much), the first tier alone
would break a budget: `long_from` and `long_factor` keep the most expensive direction of the first step, and of every
later one the largest factor.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from smart_llm.types import Rate

BATCH = {"processing": "batch"}
FIELDS = {"input": "input_mtok", "output": "output_mtok", "cached": "cache_read_mtok", "written": "cache_write_mtok"}
"""A rate's prices by their names in the data."""

PRICED_AS = {
    "azureopenai": "azure",
    "azureanthropic": "azure",
    "bedrock": "aws",
    "gemini": "google",
    "moonshot": "moonshotai",
    "vertexai": "google",
    "vertexaianthropic": "google",
    "xai": "x-ai",
}
"""any-llm's names of providers by those in the price data, where they differ."""


def lookup(provider: str, model: str) -> Rate | None:
    """The rate of a model, or None where the data has none for both directions."""
    from genai_prices import Usage, calc_price  # loads megabytes of data: only where a price is needed

    try:
        found = calc_price(Usage(input_tokens=1, output_tokens=1), model_ref=model, provider_id=provider)
    except LookupError:
        return None
    now = _prices(found.model_price)
    if now["input"] is None or now["output"] is None:
        return None
    batch = _by_batch(found, provider, model)
    start, factor = _long(found.model_price)
    return Rate(
        now["input"],
        now["output"],
        now["cached"],
        source=f"genai-prices {version('genai-prices')}: {provider} {found.model.id}",
        written=now["written"],
        batch_input=batch.get("input"),
        batch_output=batch.get("output"),
        batch_cached=batch.get("cached"),
        batch_written=batch.get("written"),
        long_from=start,
        long_factor=factor,
    )


def models(provider: str) -> list[str]:
    """The models of a provider that the data knows."""
    from genai_prices.data import providers

    return [model.id for each in providers if each.id == provider for model in each.models]


def of_any_llm(model: str) -> tuple[str, str]:
    """Provider and model of `anyllm:PROVIDER/MODEL` as the data names them."""
    provider, _, name = model.partition("/")
    return PRICED_AS.get(provider, provider), name


def _by_batch(found: Any, provider: str, model: str) -> dict[str, float | None]:
    """The batch prices; empty where this provider has none for the model."""
    from genai_prices import Usage, calc_price

    own = any(found.model is each for each in found.provider.models)  # else it is another provider's, lent
    if not own or not any(variant.when == BATCH for variant in found.model.price_variants or ()):
        return {}
    usage = Usage(input_tokens=1, output_tokens=1)
    priced = calc_price(usage, model_ref=model, provider_id=provider, price_context=BATCH).model_price
    if (priced.input_mtok, priced.output_mtok) == (found.model_price.input_mtok, found.model_price.output_mtok):
        return {}  # the variant does not hold yet, or no longer
    return _prices(priced)


def _prices(prices: Any) -> dict[str, float | None]:
    return {field: _first_tier(getattr(prices, name)) for field, name in FIELDS.items()}


def _first_tier(price: Any) -> float | None:
    return None if price is None else float(getattr(price, "base", price))


def _long(prices: Any) -> tuple[int, float]:
    """From how many tokens of prompt on the price rises, and at most how much."""
    start, factor = 0, 1.0
    for name in FIELDS.values():
        price = getattr(prices, name)
        for tier in getattr(price, "tiers", ()):
            if price.base > 0:
                start = min(start or tier.start, tier.start)
                factor = max(factor, float(tier.price / price.base))
    return start, factor
