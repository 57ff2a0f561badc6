"""List prices from the genai-prices data bundled with that package: offline, dated, never updated during a run.

A lookup takes the better part of a millisecond, so a model is resolved once into a `Rate`. Where a price has tiers by
prompt length, the first tier is taken: prompts of one table row do not reach the second.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from smart_llm.types import Rate


def lookup(provider: str, model: str) -> Rate | None:
    """The synchronous rate of a model, or None where the data has none for both directions."""
    from genai_prices import Usage, calc_price  # loads megabytes of data: only where a price is needed

    try:
        found = calc_price(Usage(input_tokens=1, output_tokens=1), model_ref=model, provider_id=provider)
    except LookupError:
        return None
    prices = found.model_price
    input_price, output_price = _first_tier(prices.input_mtok), _first_tier(prices.output_mtok)
    if input_price is None or output_price is None:
        return None
    source = f"genai-prices {version('genai-prices')}: {provider} {found.model.id}"
    return Rate(input_price, output_price, _first_tier(prices.cache_read_mtok), source=source)


def _first_tier(price: Any) -> float | None:
    return None if price is None else float(getattr(price, "base", price))
