"""The client asks once, retries what may help, keeps to budget and pace, and records what was paid."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest
from forgiving import Forgiving
from hypothesis import given, settings
from hypothesis import strategies as st

from smart_llm.client import client as module
from smart_llm.client.client import Client
from smart_llm.client.lane import FRAME_TOKENS, HOPELESS
from smart_llm.errors import BudgetExhausted, Refused, Retryable
from smart_llm.ledger import Ledger
from smart_llm.mock import Faults, MockServer
from smart_llm.providers.fake import FakeProvider
from smart_llm.providers.making import make_providers
from smart_llm.providers.specs import resolve
from smart_llm.types import Answer, Model, Rate, Request, Usage

MODEL = Model("fake:m", "fake", "m", Rate(1e6, 1e6))  # one dollar a token
Reaction = Callable[[Request], str | Answer | Exception]


@pytest.fixture(autouse=True)
def _short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries wait milliseconds here."""
    monkeypatch.setattr(module, "FIRST_DELAY", 0.001)
    monkeypatch.setattr(module, "LONGEST_DELAY", 0.002)
    monkeypatch.setattr(module, "LATER_DELAY", 0.002)


def request(prompt: str = "p", **fields: Any) -> Request:
    """A request to the model of these tests."""
    return Request("fake:m", prompt, fields.pop("max_tokens", 1), **fields)


def client(ledger: Ledger, reaction: Reaction | FakeProvider, **options: Any) -> Client:
    """A client with one model, which reacts by a function."""
    provider = reaction if isinstance(reaction, FakeProvider) else FakeProvider(reaction)
    return Client(ledger, [MODEL], {MODEL.name: provider}, **options)


def in_turn(*reactions: str | Answer | Exception) -> Reaction:
    """One reaction per call, the last one for ever."""
    left = list(reactions)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


def yes(tokens: int = 3) -> Answer:
    """An answer that costs this many dollars with the model of these tests."""
    return Answer("yes", Usage(tokens - 1, 1))


async def test_asks_once(ledger: Ledger) -> None:
    """A second ask, and a second client on the ledger, are served what was bought; the draw is another answer."""
    provider = FakeProvider(lambda _: yes())
    first = client(ledger, provider)
    bought = await first.ask(request())
    assert bought.cost == 3
    assert await first.ask(request()) == bought
    second = client(ledger, provider)
    assert await second.ask(request()) == bought
    await second.ask(request(draw=1))
    assert provider.calls == 2
    assert (first.budget.spent, second.budget.spent) == (3.0, 3.0)


async def test_identical_requests_share_a_call(ledger: Ledger) -> None:
    """Four hundred rows with one text are one call."""
    provider = FakeProvider(lambda _: yes(), latency=0.01)
    asking = client(ledger, provider)
    answers = await asyncio.gather(*(asking.ask(request()) for _ in range(400)))
    assert len(set(answers)) == 1
    assert provider.calls == 1


async def test_a_cancelled_call_does_not_cancel_who_shares_it(ledger: Ledger) -> None:
    """Who waits for a call that is cancelled asks for itself; the call that may have been paid is recorded."""
    provider = FakeProvider(lambda _: yes(), latency=0.02)
    asking = client(ledger, provider, run="r")
    first, second = (asyncio.ensure_future(asking.ask(request())) for _ in range(2))
    while not provider.calls:  # noqa: ASYNC110  it has left once what it may cost is announced
        await asyncio.sleep(0)
    first.cancel()
    assert (await second).text == "yes"
    assert first.cancelled()
    await asking.settle()
    bound = FRAME_TOKENS + 1 + 1
    assert asking.budget.spent == ledger.spent("r") == bound + 3


async def test_a_cancelled_waiter_leaves_the_call_alone(ledger: Ledger) -> None:
    """Who is cancelled while waiting for another's call takes nobody with it."""
    provider = FakeProvider(lambda _: yes(), latency=0.01)
    asking = client(ledger, provider)
    first, second = (asyncio.ensure_future(asking.ask(request())) for _ in range(2))
    await asyncio.sleep(0)
    second.cancel()
    assert (await first).text == "yes"
    assert provider.calls == 1


async def test_failures_are_tried_again(ledger: Ledger) -> None:
    """What may pass is tried again; the row gets its answer and pays only for what may have been paid."""
    down, lost = Retryable("down"), Retryable("lost", paid=True)
    asking = client(ledger, in_turn(down, lost, down, yes()), run="r", tries=4)
    assert (await asking.ask(request())).text == "yes"
    await asking.settle()
    bound = FRAME_TOKENS + 1 + 1
    assert asking.budget.spent == ledger.spent("r") == bound + 3


async def test_the_tries_end(ledger: Ledger) -> None:
    """A row that keeps failing gets an error, which does not stick: a later run asks again."""
    provider = FakeProvider(in_turn(*[Retryable("down")] * 3, yes()))
    answer = await client(ledger, provider, tries=3).ask(request())
    assert (answer.text, answer.error) == (None, "down (3 tries)")
    assert provider.calls == 3
    assert (await client(ledger, provider, tries=3).ask(request())).text == "yes"


async def test_a_rate_limit_uses_up_no_tries(ledger: Ledger) -> None:
    """However often a row is told to wait, it still has its tries."""
    wait = Retryable("wait", throttled=True, retry_after=0.0)
    asking = client(ledger, in_turn(*[wait] * 30, yes()), tries=1)
    assert (await asking.ask(request())).text == "yes"


async def test_retry_after_is_obeyed_by_all(ledger: Ledger) -> None:
    """While a pause lasts no call leaves for that model, whichever row was told to wait."""
    times: list[float] = []
    wait = Retryable("wait", throttled=True, retry_after=0.1)

    def react(asked: Request) -> Answer | Exception:
        times.append(asyncio.get_running_loop().time())
        return wait if len(times) == 1 else yes()

    asking = client(ledger, react)
    first = asyncio.ensure_future(asking.ask(request("a")))
    while not asking._lanes[MODEL.name].pace.resume_at:  # noqa: ASYNC110  until it has been told to wait
        await asyncio.sleep(0.001)
    await asyncio.gather(first, *(asking.ask(request(str(i))) for i in range(5)))
    assert len(times) == 7
    assert min(times[1:]) - times[0] >= 0.099


async def test_rate_limits_without_end_stop_the_run(ledger: Ledger) -> None:
    """A model that answers nothing but rate limits for too long stops the run, and the message says how to go on."""
    wait = Retryable("wait", throttled=True, retry_after=0.01)
    with pytest.raises(Refused, match="run again later"):
        await client(ledger, in_turn(wait), patience=0.05).ask(request())


async def test_a_row_limited_alone_fails_alone(ledger: Ledger) -> None:
    """A row that is rate-limited for ever while others pass becomes that row's error."""
    wait = Retryable("wait", throttled=True, retry_after=0.01)
    asking = client(ledger, lambda asked: wait if asked.prompt == "huge" else yes(), patience=0.1)
    huge = asyncio.ensure_future(asking.ask(request("huge")))
    for number in count():
        if huge.done():
            break
        assert (await asking.ask(request(str(number)))).text == "yes"
    assert "rate-limited" in str((await huge).error)


async def test_refusals_of_one_row(ledger: Ledger) -> None:
    """What concerns one row is that row's error, without another try."""
    provider = FakeProvider(lambda _: Refused("too long", row_only=True))
    assert (await client(ledger, provider).ask(request())).error == "too long"
    assert provider.calls == 1


async def test_refusals_of_all_stop_the_run(ledger: Ledger) -> None:
    """A wrong key is raised, not tried again."""
    provider = FakeProvider(lambda _: Refused("key"))
    with pytest.raises(Refused, match="key"):
        await client(ledger, provider).ask(request())
    assert provider.calls == 1


async def test_a_model_that_never_answers_stops_the_run(ledger: Ledger) -> None:
    """When the first rows all fail for good there is no point in trying a million."""
    asking = client(ledger, lambda _: Retryable("nobody there"), tries=1)
    for number in range(HOPELESS - 1):
        assert (await asking.ask(request(str(number)))).error
    with pytest.raises(Refused, match="nobody there"):
        await asking.ask(request("last"))


async def test_silence_is_cut_off_and_counts(ledger: Ledger) -> None:
    """A call that does not come back in time is tried again, and counts at its upper bound."""
    asking = client(ledger, FakeProvider(lambda _: yes(), latency=5), timeout=0.01, tries=2, run="r")
    answer = await asking.ask(request())
    await asking.settle()
    assert "did not answer within 0.01 s" in str(answer.error)
    assert asking.budget.spent == ledger.spent("r") == 2 * (FRAME_TOKENS + 2)


async def test_no_more_in_flight_than_asked_for(ledger: Ledger) -> None:
    """Concurrency is a ceiling, and it is used."""
    flying, most = 0, 0

    class Counting(FakeProvider):
        async def complete(self, request: Request) -> Answer:
            nonlocal flying, most
            flying += 1
            most = max(most, flying)
            try:
                return await super().complete(request)
            finally:
                flying -= 1

    asking = client(ledger, Counting(lambda _: yes(), latency=0.002), concurrency=7)
    await asyncio.gather(*(asking.ask(request(str(i))) for i in range(100)))
    assert most == 7


async def test_usage_nobody_stated_is_never_free(ledger: Ledger) -> None:
    """A server that reports no usage is priced at a token per byte."""

    class Silent(FakeProvider):
        async def complete(self, request: Request) -> Answer:
            return Answer("yes")

    answer = await client(ledger, Silent(lambda _: "")).ask(request(max_tokens=4))
    assert answer.cost == FRAME_TOKENS + 1 + 4


async def test_budget_counts_what_earlier_sessions_spent(ledger: Ledger) -> None:
    """The budget is the run's, not the session's; a larger one goes on where it stopped."""
    bound = FRAME_TOKENS + 2.0
    await client(ledger, lambda _: yes(50), budget=bound, run="r").ask(request("a"))
    again = client(ledger, lambda _: yes(50), budget=50 + bound - 1, run="r")
    assert (await again.ask(request("a"))).cost == 50  # bought already: costs nothing now
    with pytest.raises(BudgetExhausted, match="budget="):
        await again.ask(request("b"))
    more = client(ledger, lambda _: yes(50), budget=50 + bound, run="r")
    assert (await more.ask(request("b"))).text == "yes"


async def test_budget_waits_for_what_is_in_flight(ledger: Ledger) -> None:
    """Money set aside for calls in flight comes back when they turn out cheaper; only then is the budget spent."""
    asking = client(ledger, FakeProvider(lambda _: yes(2), latency=0.001), budget=100, run="r")
    answers = await asyncio.gather(*(asking.ask(request(str(i))) for i in range(10)))
    assert [answer.text for answer in answers] == ["yes"] * 10
    assert asking.budget.spent == 20


FATES = ("answer", "down", "lost", "throttled", "slow", "row", "bug")


def fates(draw: Random) -> Iterator[str]:
    """How calls go, one after another."""
    while True:
        yield draw.choice(FATES)


@settings(max_examples=40, deadline=None)
@given(
    budget=st.floats(0, 3000),
    concurrency=st.integers(1, 8),
    sessions=st.integers(1, 3),
    prompts=st.lists(st.text("abcdé", max_size=12), max_size=12),
    seed=st.integers(0, 2**32),
)
def test_budget_is_never_exceeded(
    budget: float, concurrency: int, sessions: int, prompts: list[str], seed: int
) -> None:
    """Whatever calls cost and however they fail, whatever is cancelled: the run's money stays within the budget, at
    every moment and over all sessions, and the ledger knows all of it."""
    draw = Random(seed)
    fate = fates(draw)
    billed = 0.0

    class Billing(FakeProvider):
        async def complete(self, request: Request) -> Answer:
            nonlocal billed
            outcome = next(fate)
            await asyncio.sleep(0)
            most = FRAME_TOKENS + len(request.prompt.encode()) + request.max_tokens
            cost = draw.randint(1, most)
            billed += cost if outcome in ("answer", "lost", "slow", "bug") else 0
            assert billed <= budget
            match outcome:
                case "down":
                    raise Retryable("down")
                case "lost":
                    raise Retryable("lost", paid=True)
                case "throttled":
                    raise Retryable("wait", throttled=True, retry_after=0.0)
                case "row":
                    raise Refused("no", row_only=True)
                case "bug":
                    raise ZeroDivisionError
                case "slow":
                    await asyncio.sleep(1)
            return yes(cost) if cost > 1 else Answer("", Usage(1, 0))

    async def session(ledger: Ledger) -> None:
        asking = client(
            ledger, Billing(lambda _: ""), budget=budget, run="r", concurrency=concurrency, tries=3, timeout=0.001
        )
        tasks = [asyncio.ensure_future(asking.ask(request(prompt))) for prompt in prompts]
        for task in tasks:
            if draw.random() < 0.1:
                task.cancel()
        for task in tasks:
            with suppress(BudgetExhausted, ZeroDivisionError, asyncio.CancelledError):
                await task

    with tempfile.TemporaryDirectory() as folder:
        for _ in range(sessions):
            with Ledger.open(Path(folder, "l")) as ledger:
                asyncio.run(session(ledger))
        with Ledger.open(Path(folder, "l")) as ledger:
            assert billed <= ledger.spent("r") + 1e-9
            assert ledger.spent("r") <= budget + 1e-9


async def test_through_all_faults_at_once(ledger: Ledger) -> None:
    """Over real sockets with every fault: all rows answered, every paid answer recorded, none asked again."""
    server = Forgiving(faults=Faults.all(0.03), hang=0.05, pause=0.002, seed=1)
    async with server as url:
        model = resolve(f"openai:x@{url}?in=1&out=1")
        asking = Client(ledger, [model], make_providers([model]), timeout=30, concurrency=16)
        asked = [Request(model.name, f"row {i}", 9) for i in range(300)]
        answers = await asyncio.gather(*map(asking.ask, asked))
        again = await asyncio.gather(*map(asking.ask, asked))
        await asking.close()
    stats = server.stats()
    assert set(stats["faults"]) == {"throttle", "error", "hang", "drop", "broken", "truncated"}
    assert all(answer.text in ("positive", "negative") for answer in answers)
    assert answers == again
    assert stats["answered"] == stats["distinct"] == ledger.count() == 300


async def test_the_key_is_nowhere(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that a server quotes back reaches neither the ledger nor an error."""
    monkeypatch.setenv("MY_KEY", "sk-very-secret")
    async with MockServer(key="another") as url:
        model = resolve(f"openai:x@{url}?in=1&out=1&key_env=MY_KEY")
        asking = Client(ledger, [model], make_providers([model]), budget=1.0, run="r")
        with pytest.raises(Refused) as caught:
            await asking.ask(Request(model.name, "p", 9))
        await asking.close()
    ledger.event("r", "stopped", str(caught.value))
    files = ledger.path.parent.glob("ledger.db*")
    assert "secret" not in str(caught.value)
    assert "MY_KEY" in str(caught.value), "which variable to set"
    assert not any(b"secret" in file.read_bytes() for file in files)
