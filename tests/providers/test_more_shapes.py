"""Shapes of replies that a stranger's servers and proxies send, over real sockets: one row never stops a run, an answer
that was given is read, and nothing is paid for twice."""

from __future__ import annotations

import email.utils
import time

import pytest
from more_shapes import CUT_SHORT, NO_KEY, NO_MONEY, ODD_ROW, OUTSIZED, READ, SLOW_DOWN
from shapes import Said, Shaped, ask, completion, error, message, once, short_delays

from smart_llm.errors import Refused
from smart_llm.ledger import Ledger


@pytest.fixture(autouse=True)
def _short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries wait milliseconds here."""
    short_delays(monkeypatch)


@pytest.mark.parametrize("reply", READ.values(), ids=READ)
async def test_an_answer_is_read_in_whatever_shape(reply: Said, ledger: Ledger) -> None:
    """One call, its text, and what the server says that it used."""
    server = Shaped({"odd": reply})
    (odd,) = await ask(server, ledger, "odd")
    assert (odd.error, odd.text, len(server.bodies)) == (None, "yes", 1)


async def test_a_value_that_a_gateway_has_read_is_json_again(ledger: Ledger) -> None:
    """In JSON mode some gateways send the object itself in place of its text."""
    server = Shaped({"object": (200, completion({"good": True})), "number": (200, completion(5))})
    answers = await ask(server, ledger, "an object", "a number")
    assert [each.text for each in answers] == ['{"good":true}', "5"]


async def test_half_a_character_at_the_end(ledger: Ledger) -> None:
    """A token that ends within a character spoils that character, not the answer that was paid for."""
    body = b'{"model": "m", "choices": [{"message": {"content": "caf\xc3"}, "finish_reason": "length"}]}'
    server = Shaped({"odd": (200, body)})
    (odd,) = await ask(server, ledger, "odd")
    assert (odd.text, odd.finish, len(server.bodies)) == ("caf\ufffd", "length", 1)


@pytest.mark.parametrize(
    "finish", ["stop", "tool_calls", "function_call", "STOP", "eos_token", "unknown", "OTHER", "", 7, ["stop"], {}]
)
async def test_a_call_of_a_tool_is_an_answer_that_says_nothing(finish: object, ledger: Ledger) -> None:
    """However it says why it finished: one call, no text, no error."""
    calls = [{"id": "1", "type": "function", "function": {"name": "answer", "arguments": "{}"}}]
    server = Shaped({"odd": (200, completion(None, finish=finish, tool_calls=calls, reasoning_content="so yes"))})
    (odd,) = await ask(server, ledger, "odd")
    assert (odd.error, odd.text or None, len(server.bodies)) == (None, None, 1)


@pytest.mark.parametrize("reply", CUT_SHORT.values(), ids=CUT_SHORT)
async def test_what_was_broken_off_is_asked_for_again(reply: Said, ledger: Ledger) -> None:
    """An answer that its server did not finish is none; the next one is."""
    server = Shaped({"odd": once(reply)})
    first, odd = await ask(server, ledger, "one", "odd")
    assert (first.text, odd.text, odd.error, len(server.bodies)) == ("yes", "yes", None, 3)


async def test_a_page_is_not_paid_for_and_names_the_address(ledger: Ledger) -> None:
    """An address without /v1, or a page to sign in, is told from a broken completion."""
    server = Shaped({"odd": CUT_SHORT["a page"]})
    _, odd = await ask(server, ledger, "one", "odd", tries=2)
    assert "web page" in str(odd.error)
    assert odd.cost == 0


async def test_a_stream_that_nobody_asked_for_is_called_one(ledger: Ledger) -> None:
    """The message says what is wrong with the server."""
    stream = b'data: {"choices": [{"delta": {"content": "yes"}}]}\n\ndata: [DONE]\n\n'
    server = Shaped({"odd": (200, stream, {"Content-Type": "text/event-stream"})})
    _, odd = await ask(server, ledger, "one", "odd", tries=2)
    assert "it streams" in str(odd.error)


@pytest.mark.parametrize("reply", ODD_ROW.values(), ids=ODD_ROW)
async def test_one_odd_row_in_other_words(reply: Said, ledger: Ledger) -> None:
    """That row's error, after one call, for nothing; the others are answered."""
    server = Shaped({"odd": reply})
    first, odd, last = await ask(server, ledger, "one", "the odd row", "another")
    assert (first.text, last.text) == ("yes", "yes")
    assert odd.error
    assert (odd.cost, server.seen["the odd row"]) == (0, 1)


@pytest.mark.parametrize("name", ["an error in an error", "RFC 9457", "MiniMax, sensitive", "a code and words"])
async def test_the_words_are_told_wherever_they_stand(name: str, ledger: Ledger) -> None:
    """The row's error quotes its server."""
    _, odd = await ask(Shaped({"odd": ODD_ROW[name]}), ledger, "one", "odd")
    assert any(
        words in str(odd.error) for words in ("the row is odd", "The row is odd", "sensitive", "Prompt too long")
    )


@pytest.mark.parametrize("reply", SLOW_DOWN.values(), ids=SLOW_DOWN)
async def test_limits_of_rates_in_other_words(reply: Said, ledger: Ledger) -> None:
    """They are waited for, whatever the status, and use up no tries."""
    server = Shaped({"odd": once(reply, reply)})
    assert [answer.text for answer in await ask(server, ledger, "odd", tries=1)] == ["yes"]
    assert len(server.bodies) == 3


@pytest.mark.parametrize("reply", NO_MONEY.values(), ids=NO_MONEY)
async def test_no_money_in_other_words(reply: Said, ledger: Ledger) -> None:
    """The run stops with the server's words."""
    with pytest.raises(Refused, match="insufficient balance"):
        await ask(Shaped({"odd": reply}), ledger, "one", "odd")


@pytest.mark.parametrize("reply", OUTSIZED.values(), ids=OUTSIZED)
async def test_one_request_larger_than_a_limit_in_other_words(reply: Said, ledger: Ledger) -> None:
    """However the two numbers are told: that row's error, after one call."""
    server = Shaped({"odd": reply})
    first, odd, last = await ask(server, ledger, "one", "the odd row", "another")
    assert (first.text, bool(odd.error), last.text, server.seen["the odd row"]) == ("yes", True, "yes", 1)


@pytest.mark.parametrize("reply", NO_KEY.values(), ids=NO_KEY)
async def test_a_key_refused_inside_a_200(reply: Said, ledger: Ledger) -> None:
    """The run stops at once, and says that it is the key."""
    server = Shaped({"odd": reply})
    with pytest.raises(Refused, match="does not accept the key"):
        await ask(server, ledger, "one", "odd")
    assert server.seen["odd"] == 1


@pytest.mark.parametrize(
    "finish",
    [
        "max_output_tokens",
        "max_completion_tokens",
        "length_limit",
        "token_limit",
        "ERROR_LIMIT",
        "incomplete",
        "LENGTH",
    ],
)
async def test_cut_off_in_other_words(finish: str, ledger: Ledger) -> None:
    """Whatever a server calls it: half an answer is known to be half of one."""
    (odd,) = await ask(Shaped({"odd": (200, completion("12", finish=finish))}), ledger, "odd")
    assert (odd.text, odd.finish) == ("12", "length")


@pytest.mark.parametrize("finish", ["IMAGE_SAFETY", "blocked_by_guardrail", "PROHIBITED_CONTENT", "content-filtered"])
async def test_held_back_in_other_words(finish: str, ledger: Ledger) -> None:
    """What a filter left of an answer is no answer."""
    (odd,) = await ask(Shaped({"odd": (200, completion("12", finish=finish))}), ledger, "odd")
    assert (odd.text, odd.finish) == (None, "content_filter")


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry-After": "0.01s"},
        {"Retry-After": "10ms"},
        {"Retry-After": " 0 "},
        {"Retry-After": "-3"},
        {"Retry-After": "soon", "RateLimit-Reset": "0"},
        {"retry-after-ms": "ten", "Retry-After": "0.01"},
        {"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"},
        {"Retry-After": "Thursday, 01-Jan-70 00:00:00 GMT"},
        {"Retry-After": f"{time.time():.0f}"},
        {"Retry-After": "1970-01-01T00:00:00Z"},
        {"Retry-After": email.utils.formatdate(time.time(), localtime=True)},
    ],
    ids=map(str, range(11)),
)
async def test_times_to_wait_in_many_forms(headers: dict[str, str], ledger: Ledger) -> None:
    """Seconds with a unit, milliseconds, dates of three kinds, seconds since 1970: all say to go on soon."""
    server, began = Shaped({"odd": once((429, error("slow down"), headers))}), time.monotonic()
    assert (await ask(server, ledger, "one", "odd"))[1].text == "yes"
    assert time.monotonic() - began < 60


@pytest.mark.parametrize(
    "usage",
    [
        [1, 2],
        "22 tokens",
        {"promptTokens": 20, "completionTokens": 2},
        {"prompt_tokens": {"total": 20}, "completion_tokens": "two"},
        {"prompt_tokens": -20, "completion_tokens": -2, "total_tokens": -22},
        {"prompt_tokens": True, "completion_tokens": False},
        {"prompt_tokens": "1e3", "completion_tokens": "NaN"},
        {"prompt_tokens_details": [], "completion_tokens_details": "none"},
        {"prompt_tokens": 20, "completion_tokens": 2, "completion_tokens_details": {"reasoning_tokens": 10**9}},
    ],
    ids=str,
)
async def test_usage_in_further_shapes_spoils_nothing(usage: object, ledger: Ledger) -> None:
    """The answer stands, after one call, at a price that its size explains."""
    server = Shaped({"odd": (200, completion("yes", usage=usage))})
    (odd,) = await ask(server, ledger, "odd")
    assert (odd.error, odd.text, len(server.bodies)) == (None, "yes", 1)
    assert 0 < odd.cost < 2e-4


@pytest.mark.parametrize(
    ("fields", "text", "finish"),
    [
        ({"stop_reason": "pause_turn"}, "yes", "pause_turn"),
        ({"stop_reason": "tool_use", "content": [{"type": "tool_use", "id": "1", "input": {}}]}, "", "tool_use"),
        ({"content": [{"type": "thinking", "thinking": "no"}, {"type": "text", "text": "yes"}]}, "yes", "stop"),
        ({"stop_reason": None}, "yes", "stop"),
        ({"content": "yes"}, "yes", "stop"),
        ({"usage": None}, "yes", "stop"),
        ({"usage": {"input_tokens": "many", "output_tokens": {}}}, "yes", "stop"),
    ],
    ids=str,
)
async def test_messages_of_anthropic_in_further_shapes(
    fields: dict[str, object], text: str, finish: str, ledger: Ledger
) -> None:
    """The text that was said, after one call."""
    server = Shaped({"odd": (200, message("yes", **fields))})
    (odd,) = await ask(server, ledger, "odd", dialect="anthropic")
    assert (odd.error, odd.text or "", odd.finish, len(server.bodies)) == (None, text, finish, 1)
