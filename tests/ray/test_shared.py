"""One ledger, many workers: every request is bought once, whoever wants it and whoever dies."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smart_llm.client.client import Client
from smart_llm.errors import InputError, Retryable
from smart_llm.ledger import Ledger, request_key
from smart_llm.ray import shared
from smart_llm.ray.leases import Asker, LeasedLedger
from smart_llm.ray.shared import BUSY, SharedLedger
from smart_llm.stats.sampling import uniforms
from smart_llm.types import Answer, Model, Rate, Request, Usage

MODEL = Model("m", "fake", "m", Rate(1.0, 1.0))
KEYS = [request_key(Request("m", prompt, 9)) for prompt in ("a", "b")]


class Shop:
    """A provider that counts what is bought. failing: prompts that fail so many times first."""

    def __init__(self, failing: dict[str, int]) -> None:
        self.bought: Counter[str] = Counter()
        self._failing = dict(failing)
        self._random = Random(1)

    async def complete(self, request: Request) -> Answer:
        """One call."""
        await asyncio.sleep(0.001 * self._random.random())
        if self._failing.get(request.prompt, 0):
            self._failing[request.prompt] -= 1
            raise Retryable("down")
        self.bought[request.prompt] += 1
        return Answer(f"answer to {request.prompt}", Usage(5, 1))

    async def close(self) -> None:
        """Nothing."""


def worker(office: SharedLedger, owner: str, shop: Shop, *, tries: int = 1) -> Asker:
    """A worker's client, as a worker makes it."""

    async def look(keys: list[str]) -> list[shared.Found]:
        await asyncio.sleep(0)
        return office.look(owner, keys)

    client = Client(
        LeasedLedger(lambda writes: office.write(owner, writes), store_text=True),
        [MODEL],
        {"m": shop},
        tries=tries,
        run="r",
    )
    return Asker(client, look, lambda key: office.wait(owner, key), lambda key: office.drop(owner, [key]))


rows = st.lists(st.lists(st.integers(0, 12), max_size=12), min_size=2, max_size=4)


@settings(max_examples=25, deadline=None)
@given(rows=rows, failing=st.dictionaries(st.integers(0, 12).map(str), st.integers(1, 2), max_size=3))
def test_every_request_is_bought_once(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[int]], failing: dict[str, int]
) -> None:
    """Workers with overlapping rows: each request is paid for once, and everybody gets its answer; where a worker's
    try fails, another may try, and only those who tried have an error. A failure may have a witness asked again."""

    async def play() -> None:
        shop = Shop(failing)
        with Ledger.open(tmp_path_factory.mktemp("l") / "l.db") as ledger:
            office = SharedLedger(ledger)
            asks = [
                (str(prompt), worker_.ask(Request("m", str(prompt), 9)))
                for worker_, prompts in zip([worker(office, f"w{k}", shop) for k in range(4)], rows, strict=False)
                for prompt in prompts
            ]
            answers = await asyncio.gather(*[ask for _, ask in asks])
            assert shop.bought.total() <= len(shop.bought) + sum(failing.values())
            for (prompt, _), answer in zip(asks, answers, strict=True):
                assert answer.text == f"answer to {prompt}" or (answer.error and prompt in failing)
            standing = ledger.get_many([request_key(Request("m", prompt, 9)) for prompt in shop.bought])
            assert len(standing) == len(shop.bought) == office.put
            assert office.bought == pytest.approx(sum(answer.cost for answer in standing.values()))

    asyncio.run(play())


async def test_what_a_dead_worker_was_buying_is_bought_by_the_next(tmp_path: Path) -> None:
    """A worker that comes back under its name has died: who waited for its purchases makes them, once."""
    shop = Shop({})
    with Ledger.open(tmp_path / "l.db") as ledger:
        office = SharedLedger(ledger)
        office.hello("w", "w/1")
        requests = [Request("m", str(number), 9) for number in range(5)]
        assert office.look("w/1", [request_key(each) for each in requests]) == [None] * 5
        others = [worker(office, name, shop) for name in ("x", "y")]
        waiting = [asyncio.ensure_future(other.ask(each)) for other in others for each in requests]
        await asyncio.sleep(0.05)
        assert not any(each.done() for each in waiting)
        assert not shop.bought
        office.hello("w", "w/2")
        assert [answer.text for answer in await asyncio.gather(*waiting)] == [f"answer to {n}" for n in range(5)] * 2
    assert set(shop.bought.values()) == {1}


async def test_a_worker_that_lives_again_keeps_its_claims(tmp_path: Path) -> None:
    """Saying hello twice in one life frees nothing, and a claim is only its owner's to drop."""
    with Ledger.open(tmp_path / "l.db") as ledger:
        office = SharedLedger(ledger)
        office.hello("w", "w/1")
        assert office.look("w/1", [KEYS[0]]) == [None]
        office.hello("w", "w/1")
        office.drop("x/1", [KEYS[0]])
        assert office.look("x/1", [KEYS[0]]) == [BUSY]
        office.drop("w/1", [KEYS[0]])
        assert office.look("x/1", [KEYS[0]]) == [None]


async def test_silence_ends_a_claim_and_a_sign_of_life_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that was killed and never came back holds nobody up for ever; one that beats keeps what it has."""
    monkeypatch.setattr(shared, "SILENCE", 0.1)
    now = [0.0]
    with Ledger.open(tmp_path / "l.db") as ledger:
        office = SharedLedger(ledger, clock=lambda: now[0])
        office.look("dead", [KEYS[0]])
        office.look("alive", [KEYS[1]])
        a, b = (asyncio.ensure_future(office.wait("x", key)) for key in KEYS)
        await asyncio.sleep(0)
        for _ in range(3):
            assert not a.done()
            now[0] += 0.04
            office.drop("alive", [])
        assert await a is None
        assert not b.done()
        office.drop("alive", [KEYS[1]])
        assert await b is None


async def test_an_answer_bought_twice_all_the_same_stands_once(tmp_path: Path) -> None:
    """A worker taken for dead that was not: the first answer stands and both get it; both payments are on record."""
    with Ledger.open(tmp_path / "l.db") as ledger:
        office = SharedLedger(ledger)
        request = Request("m", "p", 9)
        journals = [
            LeasedLedger(lambda writes, owner=owner: office.write(owner, writes), store_text=True)
            for owner in ("first", "second")
        ]
        key = request_key(request)
        said = [
            await journal.put(key, request, Answer(text, Usage(1, 1), 0.5), run="r")
            for journal, text in zip(journals, ("one", "two"), strict=True)
        ]
        assert [answer.text for answer in said] == ["one", "one"]
        assert ledger.spent("r") == 1.0


async def test_announced_calls_are_settled_by_number(tmp_path: Path) -> None:
    """With a budget every call is on record before it leaves: what a dead worker had out counts at its upper bound."""
    with Ledger.open(tmp_path / "l.db") as ledger:
        office = SharedLedger(ledger)
        journal = LeasedLedger(lambda writes: office.write("w", writes), store_text=False)
        requests = [Request("m", str(number), 9) for number in range(3)]
        keys = [request_key(each) for each in requests]
        first, second, _ = await asyncio.gather(*[journal.send(key, "m", 0.5, run="r") for key in keys])
        await journal.put(keys[0], requests[0], Answer("yes", Usage(1, 1), 0.1), run="r", attempt=first)
        await journal.attempt(keys[1], "m", "failed", 0.0, run="r", settles=second)
        assert ledger.spent("r") == pytest.approx(0.1 + 0.0 + 0.5)


def test_a_ledger_that_is_lent_is_free_and_comes_back_with_what_was_written(tmp_path: Path) -> None:
    """While it is lent another process can write it; the lender then sees that, and is the only writer again."""
    path = tmp_path / "l.db"
    write = (
        "import asyncio, sys; from pathlib import Path; from smart_llm.ledger import Ledger, request_key; "
        "from smart_llm.types import Answer, Request, Usage; r = Request('m', 'p', 9)\n"
        "with Ledger.open(Path(sys.argv[1])) as ledger:\n"
        "    async def put(): await ledger.put(request_key(r), r, Answer('yes', Usage(1, 1), 0.1), run='r')\n"
        "    asyncio.run(put())\n"
    )
    with Ledger.open(path) as ledger:
        with pytest.raises(InputError), Ledger.open(path):
            pass
        with ledger.lent() as lent:
            subprocess.run([sys.executable, "-c", write, str(lent)], check=True)
        found = ledger.get(request_key(Request("m", "p", 9)))
        with pytest.raises(InputError), Ledger.open(path):
            pass
    assert found is not None
    assert found.text == "yes"


@given(seed=st.integers(0, 2**53), start=st.integers(0, 100), rows=st.integers(0, 50))
def test_a_partition_draws_what_the_table_draws(seed: int, start: int, rows: int) -> None:
    """The blank scores of rows start … start + rows are the same numbers, drawn from there or from the beginning."""
    whole = uniforms(seed, "shares", start + rows)
    assert uniforms(seed, "shares", rows, start=start).tolist() == whole[start:].tolist()
