"""Money can never lie: whatever a server says of tokens, an answer that came is kept, a cost is never below zero, and a
budget holds."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapes import Body, Said, Shaped, completion, message

from smart_llm.client.client import Client
from smart_llm.client.lane import FRAME_TOKENS
from smart_llm.errors import BudgetExhausted, Refused, SmartError
from smart_llm.ledger import Ledger, request_key
from smart_llm.providers import messages, replies
from smart_llm.providers.making import make_providers
from smart_llm.providers.specs import resolve
from smart_llm.types import Answer, Rate, Request, Usage

DOLLARS = "in=1000000&out=1000000"  # one dollar a token
PROMPT = "a prompt of some thirty letters"
BY_BYTES = FRAME_TOKENS + len(PROMPT)


async def ask(said: Said, ledger: Ledger, *, dialect: str = "openai", prices: str = DOLLARS, **fields: Any) -> Answer:
    """The one answer of a server that says this, which must be called once."""
    server = Shaped({"": said})
    async with server as url:
        model = resolve(f"{dialect}:m@{url}?{prices}")
        client = Client(ledger, [model], make_providers([model]))
        answer = await client.ask(Request(model.name, PROMPT, 40, **fields))
        await client.close()
    assert len(server.bodies) == 1
    return answer


UNREADABLE = {
    "null": b"null", "text": b'"many"', "missing": b"", "negative": b"-1000000", "a list": b"[1]", "true": b"true",
    "NaN": b"NaN", "infinite": b"-Infinity", "out of range": b"1e999", "four hundred digits": b"9" * 400,
    "five thousand digits": b"9" * 5000, "empty": b'""', "an object": b"{}",
}  # fmt: skip


@pytest.mark.parametrize("number", UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize("names", ["prompt_tokens completion_tokens", "prompt_tokens", "completion_tokens"])
async def test_usage_that_cannot_be_read_is_not_known(number: bytes, names: str, ledger: Ledger) -> None:
    """The answer is kept, after one call; what is not known is priced by bytes, what is known as it is said."""
    usage = {"prompt_tokens": b"20", "completion_tokens": b"2"} | dict.fromkeys(names.split(), number)
    inside = b", ".join(b'"%s": %s' % (name.encode(), value) for name, value in usage.items() if value)
    body = b'{"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}], "usage": {%s}}' % inside
    answer = await ask((200, body), ledger)
    assert (answer.text, answer.error) == ("yes", None)
    tokens = (BY_BYTES if "prompt" in names else 20) + (len("yes") + 1 if "completion" in names else 2)
    assert answer.cost == pytest.approx(tokens)


@pytest.mark.parametrize("number", [b"null", b'"many"', b"-5", b"9" * 400, b"NaN"])
async def test_usage_of_anthropic_that_cannot_be_read(number: bytes, ledger: Ledger) -> None:
    """The same in Anthropic's dialect."""
    usage = b'{"input_tokens": %s, "output_tokens": %s, "cache_read_input_tokens": %s}' % (number, number, number)
    body = b'{"content": [{"type": "text", "text": "yes"}], "usage": %s}' % usage
    answer = await ask((200, body), ledger, dialect="anthropic")
    assert (answer.text, answer.cost) == ("yes", pytest.approx(BY_BYTES + len("yes") + 1))


@pytest.mark.parametrize("usage", ["none", 5, [], None, {}])
async def test_usage_that_is_no_usage(usage: Any, ledger: Ledger) -> None:
    """Whatever stands in its place, the answer is kept and priced by bytes."""
    for dialect, body in (("openai", completion("yes")), ("anthropic", message("yes"))):
        answer = await ask((200, {**body, "usage": usage}), ledger, dialect=dialect)
        assert (answer.text, answer.cost) == ("yes", pytest.approx(BY_BYTES + len("yes") + 1))


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 20.0, "completion_tokens": 1.5}, Usage(20, 2)),
        ({"prompt_tokens": "20", "completion_tokens": "2"}, Usage(20, 2)),
        ({"input_tokens": 20, "output_tokens": 2}, Usage(20, 2)),
        ({"prompt_tokens": 20, "completion_tokens": 2, "num_cached_tokens": 16}, Usage(20, 2, 16)),
        ({"prompt_tokens": 20, "completion_tokens": 2, "cached_tokens": 16}, Usage(20, 2, 16)),
        (
            {"prompt_tokens": 20, "completion_tokens": 2, "prompt_tokens_details": {"num_cached_tokens": 16}},
            Usage(20, 2, 16),
        ),
        ({"prompt_tokens": 20, "completion_tokens": 2, "prompt_tokens_details": 7}, Usage(20, 2)),
        (
            {"prompt_tokens": 20, "completion_tokens": 2, "total_tokens": 22,
             "prompt_tokens_details": {"cached_tokens": 2000}},
            Usage(2020, 2, 2000),
        ),
        (
            {"prompt_tokens": 20, "completion_tokens": 2, "total_tokens": 2022,
             "prompt_tokens_details": {"cached_tokens": 2000}},
            Usage(2020, 2, 2000),
        ),
        (
            {"prompt_tokens": 20, "completion_tokens": 2, "cache_read_input_tokens": 2000,
             "cache_creation_input_tokens": 30},
            Usage(2050, 2, 2000, written_tokens=30),
        ),
        ({"prompt_tokens": None, "completion_tokens": 2, "total_tokens": 22}, Usage(20, 2)),
        ({"prompt_tokens": 20, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": -9}}, Usage(20, 2)),
    ],
)  # fmt: skip
async def test_usage_as_gateways_write_it(usage: Any, expected: Usage, ledger: Ledger) -> None:
    """Fractions, text and other names are read; where more was cached than was sent, the two are added."""
    assert (await ask((200, completion(usage=usage)), ledger)).usage == expected


async def test_more_cached_than_sent_is_never_paid_back(ledger: Ledger) -> None:
    """A gateway that leaves cached tokens out of the prompt's: all of them are paid for, each at its price."""
    usage = {"prompt_tokens": 8, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 1000}}
    answer = await ask((200, completion(usage=usage)), ledger, prices="in=100&out=200&cached=10")
    assert answer.cost == pytest.approx((8 * 100 + 1000 * 10 + 2 * 200) / 1e6)


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.integers(10**30, 10**400),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=4), inside, max_size=3),
    max_leaves=4,
)
NAMES = (
    "prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "output_tokens", "cached_tokens",
    "cache_read_input_tokens", "cache_creation_input_tokens", "prompt_cache_hit_tokens", "num_cached_tokens",
)  # fmt: skip
DETAILS = ("prompt_tokens_details", "completion_tokens_details", "output_tokens_details")
RATES = st.builds(
    Rate, *[st.floats(0, 100)] * 2, cached=st.none() | st.floats(0, 100), written=st.none() | st.floats(0, 9)
)


@given(
    st.dictionaries(st.sampled_from(NAMES), ANY | st.integers(-9, 99))
    | st.dictionaries(
        st.sampled_from(DETAILS), ANY | st.dictionaries(st.sampled_from(NAMES), ANY | st.integers(-9, 99))
    ),
    RATES,
)
def test_no_usage_costs_less_than_nothing(usage: dict[str, Any], rate: Rate) -> None:
    """Whatever usage says, in either dialect: parts are no larger than the whole, and the cost is at least 0."""
    for read, body in ((replies.answer, completion("yes", usage=usage)), (messages.answer, message(usage=usage))):
        answer = read(json.dumps(body).encode())
        found = answer.usage
        assert answer.text == "yes"
        assert found.cached_tokens + found.written_tokens <= found.input_tokens
        assert found.reasoning_tokens <= found.output_tokens
        assert min(found.input_tokens, found.output_tokens, found.cached_tokens, found.written_tokens) >= 0
        assert 0 <= rate.cost(found) < float("inf")


# --------------------------------------------------------------------------- log-probabilities

OWN = {
    "null": b"null", "minus infinity": b"-Infinity", "NaN": b"NaN", "text": b'"low"', "missing": b"", "out of range":
    b"-1e999", "above zero": b"5",
}  # fmt: skip


@pytest.mark.parametrize("number", OWN.values(), ids=OWN)
async def test_a_log_probability_that_cannot_be_read_takes_the_score(number: bytes, ledger: Ledger) -> None:
    """The score is dropped, the answer and its usage are kept."""
    token = b'{"token": "yes"%s}' % (b', "logprob": ' + number if number else b"")
    body = (
        b'{"choices": [{"message": {"content": "yes"}, "logprobs": {"content": [%s]}}],'
        b' "usage": {"prompt_tokens": 20, "completion_tokens": 2}}' % token
    )
    answer = await ask((200, body), ledger, logprobs=True)
    assert (answer.text, answer.logprobs, answer.listed) == ("yes", (), ())
    assert answer.usage == Usage(20, 2)


@pytest.mark.parametrize(
    "found", [b"5", b"[]", b'"none"', b'{"content": 7}', b'{"content": [null]}', b'{"tokens": [1]}']
)
async def test_log_probabilities_of_no_known_shape(found: bytes, ledger: Ledger) -> None:
    """Whatever stands in their place, the answer is kept without a score."""
    body = b'{"choices": [{"message": {"content": "yes"}, "logprobs": %s}]}' % found
    answer = await ask((200, body), ledger, logprobs=True)
    assert (answer.text, answer.logprobs) == ("yes", ())


async def test_another_token_of_probability_zero_leaves_the_score(ledger: Ledger) -> None:
    """What could not have been said (−∞) is left out of what might have been, and the score is kept."""
    listed = (
        b'[{"token": "yes", "logprob": -0.5}, {"token": "no", "logprob": -Infinity}, {"token": "n", "logprob": -1}]'
    )
    place = b'{"token": "yes", "logprob": -0.5, "top_logprobs": %s}' % listed
    body = b'{"choices": [{"message": {"content": "yes"}, "logprobs": {"content": [%s]}}]}' % place
    answer = await ask((200, body), ledger, logprobs=True, labels=("yes", "no"))
    assert (answer.logprobs, answer.listed) == ((("yes", -0.5),), ((("n", -1.0),),))


# --------------------------------------------------------------------------- budgets


class Manner:
    """How one server treats limits and usage: ignores the limit of output tokens, lies about usage, leaves it out."""

    def __init__(self, seed: int) -> None:
        draw = self.draw = Random(seed)
        self.ignores = draw.choice([0.0, 0.0, 0.3, 1.0])
        self.lies = draw.choice([0.0, 0.0, 0.3, 1.0])
        self.silent = draw.choice([0.0, 0.3, 1.0])

    def reply(self, body: Body, prompt: str) -> Said:
        """One answer, and what it says that it used."""
        draw = self.draw
        words = draw.randint(1, body["max_tokens"])
        if draw.random() < self.ignores:
            words = body["max_tokens"] * draw.randint(2, 50)
        usage: Any = {"prompt_tokens": 4 + len(prompt) // 4, "completion_tokens": words}
        if draw.random() < self.lies:
            lie: Any = draw.choice([0, -5, None, "x", 0.5, 10**9, 10**400, words * 100, -(10**6)])
            usage[draw.choice([*usage, "total_tokens", "cached_tokens"])] = lie
        return 200, completion("so " * words, usage=None if draw.random() < self.silent else usage)


async def _one_run(seed: int, url: str, ledger: Ledger) -> bool:
    """A run of eight rows at one of the servers, with some budget; whether a reply broke its bound."""
    draw, run = Random(-seed), f"run {seed}"
    model = resolve(f"openai:m@{url}?in=1&out=5&cached=0.1")
    asked = [Request(model.name, f"server {seed:03} row {row}", 12) for row in range(8)]
    bound = (FRAME_TOKENS + len(asked[0].prompt) + 5 * 12) / 1e6
    budget, providers = draw.choice([0.0002, 0.001, 0.005, 0.05]), make_providers([model])
    client = Client(ledger, [model], providers, budget=budget, run=run, concurrency=draw.choice([1, 4, 8]))
    found = await asyncio.gather(*map(client.ask, asked), return_exceptions=True)
    assert all(isinstance(each, Answer | Refused | BudgetExhausted) for each in found)
    answers = [each for each in found if isinstance(each, Answer)]
    assert all(each.cost <= bound * 1.000001 for each in answers)  # what is handed out kept to its bound
    recorded = [answer.cost for each in asked if (answer := ledger.get(request_key(each)))]
    broke = sum(cost > bound * 1.000001 for cost in recorded)
    assert broke <= 1
    assert ledger.spent(run) <= budget * 1.000001 + broke * max(recorded, default=0.0)
    if broke:
        with pytest.raises(Refused, match="does not keep to limits"):
            await client.ask(Request(model.name, f"server {seed:03} once more", 12))
    await client.close()
    return bool(broke)


async def test_500_random_servers_and_budgets(ledger: Ledger) -> None:
    """Whatever limits they ignore and whatever they say of usage: no more is spent than the budget and the one reply
    that broke its bound, and with that reply the run stops and says why."""
    manners = {f"server {seed:03}": Manner(seed).reply for seed in range(500)}
    broke = 0
    async with Shaped(manners) as url:
        for start in range(0, 500, 50):
            broke += sum(await asyncio.gather(*(_one_run(start + i, url, ledger) for i in range(50))))
    assert 100 < broke < 400


async def test_a_server_without_limits_sends_one_answer(ledger: Ledger) -> None:
    """With sixty-four calls allowed in flight: the first reply shows what the server is like, and no other call is
    made."""
    long = completion("word " * 5000, usage={"prompt_tokens": 10, "completion_tokens": 5000})
    server = Shaped({"": (200, long)})
    async with server as url:
        model = resolve(f"openai:m@{url}?in=1&out=5")
        client = Client(ledger, [model], make_providers([model]), budget=1.0, run="r")
        found = await asyncio.gather(
            *(client.ask(Request(model.name, f"row {i}", 12)) for i in range(200)), return_exceptions=True
        )
        await client.close()
    assert all(isinstance(each, SmartError) for each in found)
    assert (len(server.bodies), ledger.count()) == (1, 1)  # the answer was paid, and is kept


@pytest.mark.parametrize("short", [1, 2, 3])
async def test_who_waits_for_money_is_told_who_broke_the_budget(short: int, ledger: Ledger) -> None:
    """Calls that wait because the budget has room for one alone: once a reply breaks its bound, every one of them is
    told that, and none that a budget is reached."""
    replies, long = [completion("yes", usage=None)] * short, completion("word " * 500, usage=None)

    def reply(_: Body, prompt: str) -> Said:
        return 200, replies.pop() if replies else long

    async with Shaped({"": reply}) as url:
        model = resolve(f"openai:m@{url}?in=1&out=5")
        bound = 60 * 5e-6 + 200e-6
        client = Client(ledger, [model], make_providers([model]), budget=1.5 * bound, run="r")
        asked = (client.ask(Request(model.name, f"row {i}", 60)) for i in range(20))
        found = await asyncio.gather(*asked, return_exceptions=True)
        await client.close()
    failed = [each for each in found if isinstance(each, BaseException)]
    assert len(failed) == 20 - short
    assert all("does not keep to limits" in str(each) for each in failed), {str(each)[:80] for each in failed}


async def test_without_a_budget_a_long_answer_is_an_answer(ledger: Ledger) -> None:
    """Nobody asked for a limit of money: what comes is counted as it is."""
    long = completion("word " * 500, usage={"prompt_tokens": 10, "completion_tokens": 500})
    answer = await ask((200, long), ledger, prices="in=1&out=5")
    assert answer.cost == pytest.approx((10 + 5 * 500) / 1e6)


@pytest.mark.parametrize("text", ["Straßenverkehrsordnung " * 30, "日本語の文章です。" * 20, "yes"])
async def test_without_usage_a_kept_limit_breaks_no_budget(text: str, tmp_path: Path) -> None:
    """A reply has more bytes than tokens: a server that states no usage and keeps its limit is not taken for one that
    ignores it."""
    with Ledger.open(tmp_path / "l") as ledger:
        async with Shaped({"": (200, completion(text, usage=None))}) as url:
            model = resolve(f"openai:m@{url}?in=1&out=5")
            client = Client(ledger, [model], make_providers([model]), budget=1.0, run="r")
            answers = [await client.ask(Request(model.name, f"row {i}", 200)) for i in range(3)]
            await client.close()
    assert [answer.text for answer in answers] == [text] * 3
