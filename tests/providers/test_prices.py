"""List prices: cached, written, batch and long-prompt rates, resolved once, and never better than they are."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from genai_prices import Usage as ListUsage
from genai_prices import calc_price, data_snapshot
from genai_prices.types import ClauseEquals, ModelInfo, ModelPrice, PriceVariant, Provider, StartDateConstraint

from smart_llm.providers import prices
from smart_llm.types import Rate, Usage

BATCH = {"processing": "batch"}


def listed(*variants: PriceVariant, **price: Any) -> None:
    """Make a provider `p` with one model `m` the whole of the price data."""
    model = ModelInfo("m", ClauseEquals("m"), prices=ModelPrice(**price), price_variants=list(variants) or None)
    provider = Provider("p", "P", "https://p\\.example", models=[model])
    data_snapshot.set_custom_snapshot(data_snapshot.DataSnapshot([provider], from_auto_update=False))


@pytest.fixture(autouse=True)
def _bundled_again() -> Any:
    """Every test leaves the bundled data in place."""
    yield
    data_snapshot.set_custom_snapshot(None)


def test_every_price_of_a_model_is_found() -> None:
    """Both directions, the cache in both directions, and all of it by batch."""
    rate = prices.lookup("anthropic", "claude-haiku-4-5")
    assert rate is not None
    assert (rate.input, rate.output, rate.cached, rate.written) == (1.0, 5.0, 0.1, 1.25)
    assert rate.by_batch() == Rate(0.5, 2.5, 0.05, source=f"{rate.source}, by batch", written=0.625)


def test_no_batch_price_is_made_up() -> None:
    """Asked for a batch price it does not have, the data silently gives the ordinary one; we say there is none."""
    listed(input_mtok=Decimal(2), output_mtok=Decimal(8))
    silent = calc_price(ListUsage(input_tokens=10**6), "m", provider_id="p", price_context=BATCH)
    assert silent.total_price == 2  # the trap
    rate = prices.lookup("p", "m")
    assert rate is not None
    assert (rate.input, rate.batch_input, rate.by_batch()) == (2.0, None, None)


def test_a_batch_price_that_does_not_hold_yet_is_none() -> None:
    """A variant that starts later is not taken for today's."""
    later = PriceVariant(BATCH, ModelPrice(input_mtok=Decimal(1)), StartDateConstraint(date(2999, 1, 1)))
    listed(later, input_mtok=Decimal(2), output_mtok=Decimal(8))
    rate = prices.lookup("p", "m")
    assert rate is not None
    assert rate.by_batch() is None


def test_a_batch_price_is_taken_where_there_is_one() -> None:
    """What the variant does not name keeps its ordinary price."""
    half = PriceVariant(BATCH, ModelPrice(input_mtok=Decimal(1), output_mtok=Decimal(4)))
    listed(half, input_mtok=Decimal(2), output_mtok=Decimal(8), cache_read_mtok=Decimal("0.5"))
    rate = prices.lookup("p", "m")
    assert rate is not None
    assert rate.by_batch() == Rate(1.0, 4.0, 0.5, source=f"{rate.source}, by batch")


def test_a_borrowed_model_has_no_batch_price() -> None:
    """Azure's models are listed by OpenAI's prices; OpenAI's batch discount is not Azure's."""
    rate = prices.lookup("azure", "gpt-4.1-mini")
    assert rate is not None
    assert rate.input == 0.4
    assert rate.by_batch() is None


def test_long_prompts_are_never_cheaper_than_listed() -> None:
    """Past the length where the price rises, a call costs at least what the data says."""
    rate = prices.lookup("anthropic", "claude-haiku-5-5")
    assert rate is not None
    for tokens in (1000, 100_000, 100_001, 400_000):
        usage = ListUsage(input_tokens=tokens, output_tokens=500)
        theirs = float(calc_price(usage, "claude-haiku-5-5", provider_id="anthropic").total_price)
        assert rate.cost(Usage(tokens, 500)) == pytest.approx(theirs)
        assert rate.bound(tokens, 500) >= theirs


@pytest.mark.parametrize("provider", ["openai", "anthropic", "google"])
def test_our_costs_agree_with_the_list(provider: str) -> None:
    """For every model of the big three: short prompts cost what the data says, cache and batch included."""
    found = next(each for each in data_snapshot.get_snapshot().providers if each.id == provider)
    compared = 0
    for model in found.models:
        rate = prices.lookup(provider, model.id)
        if rate is None or rate.cached is None:
            continue
        parts = {"cache_read_tokens": 600, "cache_write_tokens": 200 if rate.written is not None else 0}
        usage = ListUsage(input_tokens=1000, output_tokens=100, **parts)
        ours = Usage(1000, 100, 600, written_tokens=parts["cache_write_tokens"])
        theirs = calc_price(usage, model.id, provider_id=provider)
        assert rate.cost(ours) == pytest.approx(float(theirs.total_price)), model.id
        assert rate.bound(1000, 100) >= rate.cost(ours) - 1e-12, model.id
        if (batch := rate.by_batch()) is not None:
            theirs = calc_price(usage, model.id, provider_id=provider, price_context=BATCH)
            assert batch.cost(ours) == pytest.approx(float(theirs.total_price)), model.id
        compared += 1
    assert compared > 10


def test_cache_savings() -> None:
    """What reading saved and writing cost, against the same call without a cache."""
    rate = Rate(1, 2, 0.1, written=1.25)
    assert rate.saved(Usage(1000, 10, 800)) == pytest.approx(0.72e-3)
    assert rate.saved(Usage(1000, 10, 0, written_tokens=800)) == pytest.approx(-0.2e-3)
    assert replace(rate, cached=None, written=None).saved(Usage(1000, 10, 800, written_tokens=100)) == 0


def test_unknown_models_have_no_price() -> None:
    """A provider or model the data does not know, or prices for one direction only, are no price."""
    assert prices.lookup("nobody", "m") is None
    assert prices.lookup("openai", "no-such-model-at-all") is None
    listed(input_mtok=Decimal(2))
    assert prices.lookup("p", "m") is None


def test_names_of_the_long_tail() -> None:
    """any-llm's names of providers lead to those of the price data."""
    assert prices.of_any_llm("bedrock/amazon.nova-lite-v1:0") == ("aws", "amazon.nova-lite-v1:0")
    assert prices.of_any_llm("cohere/command-r") == ("cohere", "command-r")
