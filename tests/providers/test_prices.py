"""List prices: cached, written, batch and long-prompt rates, resolved once, and never better than they are."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import date
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from genai_prices import Usage as ListUsage
from genai_prices import calc_price, data_snapshot
from genai_prices.types import ClauseEquals, ModelInfo, ModelPrice, PriceVariant, Provider, StartDateConstraint

from smart_llm.ledger import canonical
from smart_llm.providers import prices
from smart_llm.types import LongPrices, Rate, Usage

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


def tiered() -> list[tuple[str, str]]:
    """The bundled models that cost more for long prompts."""
    found = []
    for provider in data_snapshot.get_snapshot().providers:
        for model in provider.models:
            rate = prices.lookup(provider.id, model.id)
            if rate is not None and rate.long:
                found.append((provider.id, model.id))
    return found


def test_a_long_prompt_costs_what_its_own_tier_says() -> None:
    """Of every model with tiers, at every tier and beside its edges: exactly the data's price, cache and batch
    included, and never more than what a call is reserved at."""
    found = tiered()
    for provider, name in found:
        rate = prices.lookup(provider, name)
        assert rate is not None
        for tokens in [1000, *(each.start + beyond for each in rate.long for beyond in (0, 1, 50_000))]:
            read = tokens // 2 if rate.cached is not None else 0
            wrote = tokens // 4 if rate.written is not None else 0
            usage = ListUsage(input_tokens=tokens, output_tokens=500, cache_read_tokens=read, cache_write_tokens=wrote)
            ours = Usage(tokens, 500, read, written_tokens=wrote)
            theirs = float(calc_price(usage, name, provider_id=provider).total_price)
            assert rate.cost(ours) == pytest.approx(theirs, rel=1e-9), (provider, name, tokens)
            assert rate.bound(tokens, 500) >= theirs * (1 - 1e-9), (provider, name, tokens)
            if (batch := rate.by_batch()) is not None:
                theirs = float(calc_price(usage, name, provider_id=provider, price_context=BATCH).total_price)
                assert batch.cost(ours) == pytest.approx(theirs, rel=1e-9), (provider, name, tokens)
    assert len(found) > 50


def test_directions_rise_each_by_its_own_factor() -> None:
    """Input twice as dear and output one and a half times: neither is booked at the other's factor."""
    rate = prices.lookup("anthropic", "claude-sonnet-4-5")
    assert rate is not None
    assert rate.cost(Usage(200_001, 0)) == pytest.approx(200_001 * 6 / 1e6)
    assert rate.cost(Usage(200_001, 1000)) - rate.cost(Usage(200_001, 0)) == pytest.approx(1000 * 22.5 / 1e6)
    assert rate.saved(Usage(200_001, 0, 100_000)) == pytest.approx(100_000 * (6 - 0.6) / 1e6)


def test_a_price_that_falls_is_reserved_at_its_highest() -> None:
    """Where long prompts cost less a token, a call that turns out short still costs no more than was reserved."""
    rate = Rate(4, 8, long=(LongPrices(100, 1, 2),))
    assert rate.bound(150, 10) >= rate.cost(Usage(100, 10)) > rate.cost(Usage(150, 10))


def test_tiers_stand_in_the_plan() -> None:
    """Rates with tiers come back from a plan's JSON as they were."""
    rate = prices.lookup("openrouter", "qwen/qwen3-coder-flash")
    assert rate is not None
    assert len(rate.long) == 2
    assert msgspec.json.decode(canonical(asdict(rate)), type=Rate) == rate


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
