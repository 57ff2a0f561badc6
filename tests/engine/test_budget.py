"""A budget holds over whole runs, whatever it is and whatever models cost, and a run it stopped can go on."""

from __future__ import annotations

import tempfile
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import smart_llm as smart
from smart_llm.errors import BudgetExhausted, Retryable
from smart_llm.ledger import Reader
from smart_llm.types import Answer, Request, Usage

TASK = smart.Task("Yes or no?\n{text}", labels=["yes", "no"], max_tokens=4)
ROWS = [{"text": f"row {i}"} for i in range(16)]
PRICES = st.floats(0.01, 1000.0)


class Billing(smart.FakeProvider):
    """Keeps the books a provider would keep: a call that was lost on the way back is billed all the same."""

    def __init__(self, prices: tuple[float, float], seed: int) -> None:
        super().__init__(lambda _: "")
        self.billed, self._prices, self._seed = 0.0, prices, seed

    async def complete(self, request: Request) -> Answer:
        """Answers, and loses one reply in ten."""
        self.calls += 1
        draw = blake2b(f"{self._seed} {self.calls} {request.prompt}".encode(), digest_size=8).digest()
        usage = Usage(10 + draw[0] % 20, 1 + draw[1] % 4)
        self.billed += (usage.input_tokens * self._prices[0] + usage.output_tokens * self._prices[1]) / 1e6
        if draw[2] % 10 == 0:
            raise Retryable("lost", paid=True, retry_after=0.0)
        return Answer("yes" if len(request.prompt) % 2 else "no", usage)


@pytest.fixture(autouse=True)
def _short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smart_llm.client.client.FIRST_DELAY", 0.0001)
    monkeypatch.setattr("smart_llm.client.client.LONGEST_DELAY", 0.0002)


@pytest.mark.slow
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    shares=st.lists(st.floats(0.01, 1.2), min_size=1, max_size=3),
    prices=st.tuples(PRICES, PRICES),
    seed=st.integers(0, 999),
)
def test_no_budget_is_exceeded_and_every_run_goes_on(
    shares: list[float], prices: tuple[float, float], seed: int
) -> None:
    """Twenty-five random budgets and prices, several sessions each: what the provider bills never passes the budget,
    the ledger counts no less than that, and without a budget the run ends with every row answered and nothing bought
    twice."""
    provider = Billing(prices, seed)
    full = len(ROWS) * (40 * prices[0] + 4 * prices[1]) / 1e6
    with tempfile.TemporaryDirectory() as folder:
        ledger = Path(folder, "l.db")

        def session(budget: float | None) -> smart.Run | None:
            options: dict[str, Any] = {"ledger": ledger, "seed": 1, "concurrency": 8, "procedure": "reference-only"}
            spec = f"fake:big?in={prices[0]!r}&out={prices[1]!r}"
            try:
                return smart.run(
                    ROWS,
                    TASK,
                    reference=spec,
                    candidates=[],
                    budget=budget,
                    providers={"fake:big": provider},
                    **options,
                )
            except BudgetExhausted:
                return None

        for budget in sorted(share * full for share in shares):
            session(budget)
            assert provider.billed <= budget * (1 + 1e-9)
            with Reader.open(ledger) as reader:
                spent = reader.spent(reader.runs()[0].run_id)
                assert provider.billed <= spent * (1 + 1e-9)
                assert spent <= budget * (1 + 1e-9)
        done = session(None)
        assert done is not None
        assert all(row["status"] == "ok" for row in done.table)
        with Reader.open(ledger) as reader:
            assert reader.count() == len(ROWS)
