"""List prices from the genai-prices data bundled with that package: offline, dated, never updated during a run.

A lookup takes the better part of a millisecond, so a model is resolved once into a `Rate`, which the plan freezes.

Two traps. A price asked for "by batch" is silently the ordinary one where the data knows no batch price: the variant
itself is looked for. And where prompts past some length cost more (up to five times as much), the first tier alone
would be too little: every tier is kept (`Rate.long`), and a call is booked at the tier its own prompt falls into.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from smart_llm.types import LongPrices, Rate

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
    by_batch = _by_batch(found, provider, model)
    batch = _prices(by_batch) if by_batch else dict.fromkeys(FIELDS)
    return Rate(
        now["input"],
        now["output"],
        now["cached"],
        source=f"genai-prices {version('genai-prices')}: {provider} {found.model.id}",
        written=now["written"],
        batch_input=batch["input"],
        batch_output=batch["output"],
        batch_cached=batch["cached"],
        batch_written=batch["written"],
        long=_long(found.model_price),
        batch_long=_long(by_batch) if by_batch else (),
    )


def of_embeddings(provider: str, model: str) -> Rate | None:
    """The rate of a model that embeds, which says nothing; None where the data has none."""
    from genai_prices import Usage, calc_price

    try:
        found = calc_price(Usage(input_tokens=1), model_ref=model, provider_id=provider)
    except LookupError:
        return None
    price = _prices(found.model_price)["input"]
    if price is None:
        return None
    return Rate(price, source=f"genai-prices {version('genai-prices')}: {provider} {found.model.id}, for embeddings")


def models(provider: str) -> list[str]:
    """The models of a provider that the data knows."""
    from genai_prices.data import providers

    return [model.id for each in providers if each.id == provider for model in each.models]


def of_any_llm(model: str) -> tuple[str, str]:
    """Provider and model of `anyllm:PROVIDER/MODEL` as the data names them."""
    provider, _, name = model.partition("/")
    return PRICED_AS.get(provider, provider), name


def _by_batch(found: Any, provider: str, model: str) -> Any:
    """The batch prices in the data; None where this provider has none for the model."""
    from genai_prices import Usage, calc_price

    own = any(found.model is each for each in found.provider.models)  # else it is another provider's, lent
    if not own or not any(variant.when == BATCH for variant in found.model.price_variants or ()):
        return None
    usage = Usage(input_tokens=1, output_tokens=1)
    priced = calc_price(usage, model_ref=model, provider_id=provider, price_context=BATCH).model_price
    if (priced.input_mtok, priced.output_mtok) == (found.model_price.input_mtok, found.model_price.output_mtok):
        return None  # the variant does not hold yet, or no longer
    return priced


def _prices(prices: Any, tokens: int = 0) -> dict[str, float | None]:
    """What each kind of token costs in a call whose prompt has so many."""
    return {field: _price(getattr(prices, name), tokens) for field, name in FIELDS.items()}


def _price(price: Any, tokens: int) -> float | None:
    if price is None:
        return None
    reached = [tier.price for tier in getattr(price, "tiers", ()) if tokens > tier.start]  # in ascending order
    return float(reached[-1] if reached else getattr(price, "base", price))


def _long(prices: Any) -> tuple[LongPrices, ...]:
    """The prices of long prompts, from each length on at which any of them changes."""
    starts = {tier.start for name in FIELDS.values() for tier in getattr(getattr(prices, name), "tiers", ())}
    tiers = ((start, _prices(prices, start + 1)) for start in sorted(starts))
    return tuple(
        LongPrices(start, tier["input"] or 0.0, tier["output"] or 0.0, tier["cached"], tier["written"])
        for start, tier in tiers
    )
