"""One model behind several servers: load is spread, a dead server costs nothing, and names do not depend on nodes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import virtual
from making import make_provider

from smart_llm.errors import InputError, Refused, Retryable
from smart_llm.mock import MockServer
from smart_llm.mock.limits import Limits
from smart_llm.providers.fake import FakeProvider
from smart_llm.providers.making import make_providers
from smart_llm.providers.replicas import Spread
from smart_llm.providers.specs import read_book, resolve
from smart_llm.types import Answer, Request

run = virtual.run

A, B = "http://a:8000/v1", "http://b:8000/v1"
WORKING: Callable[[Request], str] = lambda request: "yes"  # noqa: E731


def request(number: int = 0) -> Request:
    """Any request."""
    return Request("m", f"prompt {number}", 7)


def test_servers_get_equal_shares_and_slow_ones_less() -> None:
    """Equal servers share the calls equally; one that takes four times as long gets far fewer."""
    equal = [FakeProvider(WORKING, latency=0.1) for _ in range(3)]
    uneven = [FakeProvider(WORKING, latency=0.1), FakeProvider(WORKING, latency=0.4)]

    async def many(servers: list[FakeProvider]) -> None:
        spread, left = Spread(servers), iter(range(300))

        async def worker() -> None:
            for number in left:
                await spread.complete(request(number))

        await asyncio.gather(*[worker() for _ in range(12)])

    run(many(equal))
    run(many(uneven))
    assert [server.calls for server in equal] == [100, 100, 100]
    assert uneven[0].calls > 3 * uneven[1].calls > 0


def test_an_unreachable_server_costs_no_try_and_is_asked_ever_less() -> None:
    """What was certainly not paid is asked at once elsewhere; a dead server is tried again at growing distances."""
    dead, alive = FakeProvider(lambda _: Retryable("cannot be reached")), FakeProvider(WORKING, latency=0.1)

    async def hundred_seconds() -> None:
        spread = Spread([dead, alive])
        for number in range(1000):
            assert (await spread.complete(request(number))).text == "yes"

    run(hundred_seconds())
    assert alive.calls == 1000
    assert dead.calls <= 9  # 0.5 + 1 + 2 + … + 30 + 30 seconds


def test_a_server_that_comes_back_is_used_again() -> None:
    """After its rest a server that works is an equal among equals."""
    down = True
    back = FakeProvider(lambda _: Retryable("down") if down else "yes")
    other = FakeProvider(WORKING)

    async def work() -> None:
        nonlocal down
        spread = Spread([back, other])
        await spread.complete(request())
        down = False
        await asyncio.sleep(1.0)
        for number in range(20):
            await spread.complete(request(number))

    run(work())
    assert (back.calls, other.calls) == (11, 11)


def test_what_may_have_been_paid_is_not_asked_elsewhere() -> None:
    """The client is told of it and decides; its next try goes to the other server."""
    broken, other = FakeProvider(lambda _: Retryable("broke off", paid=True)), FakeProvider(WORKING)

    async def work() -> Answer:
        spread = Spread([broken, other])
        with pytest.raises(Retryable, match="broke off"):
            await spread.complete(request())
        assert other.calls == 0
        return await spread.complete(request())

    assert run(work()).text == "yes"
    assert broken.calls == 1


def test_one_rate_limit_is_no_limit_of_all() -> None:
    """A call that meets a 429 goes on to a server that takes it; only when all refuse is it a rate limit."""
    slow = FakeProvider(lambda _: Retryable("slow down", throttled=True, retry_after=5.0))
    also_slow = FakeProvider(lambda _: Retryable("slow down", throttled=True, retry_after=3.0))
    free = FakeProvider(WORKING)

    async def work() -> None:
        spread = Spread([slow, free])
        for _ in range(10):
            assert (await spread.complete(request())).text == "yes"
        assert slow.calls == 1
        with pytest.raises(Retryable) as caught:
            await Spread([slow, also_slow]).complete(request())
        assert caught.value.throttled

    run(work())


def test_a_refusal_stops_wherever_it_comes_from() -> None:
    """A server that does not know the model is a mistake to be told, not a load to be moved."""
    wrong = FakeProvider(lambda _: Refused("does not know this model"))

    async def work() -> None:
        with pytest.raises(Refused, match="does not know"):
            await Spread([wrong, FakeProvider(WORKING)]).complete(request())

    run(work())


def test_a_silent_server_is_left_alone() -> None:
    """A call given up for silence rests its server."""
    silent, other = FakeProvider(WORKING, latency=1e6), FakeProvider(WORKING)

    async def work() -> None:
        spread = Spread([silent, other])
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await spread.complete(request())
        for _ in range(5):
            await spread.complete(request())

    run(work())
    assert (silent.calls, other.calls) == (1, 5)


def test_the_name_is_the_first_address_alone(tmp_path: Path) -> None:
    """Nodes come and go; the model, its answers in the ledger and its plan stay the same."""
    one = resolve(f"openai:qwen@{A}?in=0&out=0")
    two = resolve(f"openai:qwen@{A}?in=0&out=0&also={B}/,{A}")
    (tmp_path / "models.toml").write_text(f'[q]\nmodel = "openai:qwen"\nurl = "{A}"\nalso = ["{B}"]\nin = 0\nout = 0\n')
    booked = resolve("q", book=read_book(tmp_path / "models.toml"))
    assert one.name == two.name == booked.name
    assert (one.also, two.also, booked.also) == ((), (B,), (B,))


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("openai:gpt-4o?also=http://b/v1", "address of your own"),
        (f"openai:q@{A}?in=0&out=0&also=b:8000", "is not an address"),
        (f"openai:q@{A}?in=0&out=0&also=ftp://b/v1", "is not an address"),
        (f"openai:q@{A}?in=0&out=0&also=http://me:secret@b/v1", "no password"),
    ],
)
def test_addresses_that_cannot_be_used(spec: str, said: str) -> None:
    """Told before anything is spent, and without a password in the message."""
    with pytest.raises(InputError, match=said) as caught:
        resolve(spec)
    assert "secret" not in str(caught.value)


async def test_over_real_sockets_with_a_node_that_is_down() -> None:
    """Two mock servers and a closed port: every answer comes, once, from both; the key goes to each of them."""
    async with MockServer(key="k") as one, MockServer(key="k") as two:
        spec = f"openai:q@{one}?in=0&out=0&key_env=MINE&also={two},http://127.0.0.1:9/v1"
        provider = make_provider(resolve(spec), environ={"MINE": "k"})
        name = resolve(spec).name
        try:
            answers = await asyncio.gather(*[provider.complete(Request(name, str(i), 9)) for i in range(60)])
        finally:
            await provider.close()
    assert Counter(answer.error for answer in answers) == {None: 60}


async def test_limits_told_by_one_server_are_not_the_limits_of_all() -> None:
    """Headers of a server among several are not passed on, even where another model is asked there alone."""
    told: list[str] = []
    async with MockServer(limits=Limits(requests=600)) as one, MockServer() as two:
        spread, alone = resolve(f"openai:q@{one}?in=0&out=0&also={two}"), resolve(f"openai:r@{one}?in=0&out=0")
        made = make_providers([spread, alone])
        made[alone.name].told = lambda model, headers: told.append(model)  # type: ignore[attr-defined]
        for model in (spread, alone):
            for number in range(4):
                await made[model.name].complete(Request(model.name, str(number), 9))
        for provider in made.values():
            await provider.close()
    assert set(told) == {alone.name}
