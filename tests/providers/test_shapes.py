"""Replies in the shape of each provider and server, over real sockets: what becomes of the row, of the run and of later
requests."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from shapes import (
    NO_TEXT,
    NO_TEXT_ANTHROPIC,
    ROW,
    ROW_ANTHROPIC,
    SCHEMA_REFUSED,
    SPOILT,
    STOP,
    WAIT,
    Said,
    Shaped,
    ask,
    completion,
    error,
    once,
    short_delays,
    while_there,
)

from smart_llm.client import trust
from smart_llm.errors import Refused
from smart_llm.ledger import Ledger


@pytest.fixture(autouse=True)
def _short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries wait milliseconds here."""
    short_delays(monkeypatch)


@pytest.mark.parametrize("reply", ROW.values(), ids=ROW)
async def test_a_row_that_is_refused_is_that_rows_error(reply: Said, ledger: Ledger) -> None:
    """However a server refuses one request: one call, nothing paid, and rows before and after it are answered."""
    server = Shaped({"odd": reply})
    first, odd, last = await ask(server, ledger, "one", "the odd row", "another")
    assert (first.text, last.text) == ("yes", "yes")
    assert odd.error
    assert odd.cost == 0
    assert server.seen["the odd row"] == 1
    assert [body.get("max_tokens") for body in server.bodies] == [20] * 3


@pytest.mark.parametrize("reply", ROW_ANTHROPIC.values(), ids=ROW_ANTHROPIC)
async def test_a_row_that_anthropic_refuses(reply: Said, ledger: Ledger) -> None:
    """The same in Anthropic's dialect, also for an empty cell."""
    server = Shaped({"odd": reply})
    first, odd, last = await ask(server, ledger, "one", "the odd row", "another", dialect="anthropic")
    assert (first.text, last.text) == ("yes", "yes")
    assert odd.error
    assert (odd.cost, server.seen["the odd row"]) == (0, 1)


async def test_the_reason_behind_a_router_is_told(ledger: Ledger) -> None:
    """OpenRouter's "Provider returned error" comes with the provider's own words."""
    (odd,) = await ask(Shaped({"odd": ROW["OpenRouter, inside a 200"]}), ledger, "odd")
    assert "Row is odd" in str(odd.error)


@pytest.mark.parametrize("reply", NO_TEXT.values(), ids=NO_TEXT)
async def test_a_reply_without_text_is_an_answer(reply: Said, ledger: Ledger) -> None:
    """Filtered, refused, null or missing: an answer that says nothing, after one call."""
    server = Shaped({"odd": reply})
    (odd,) = await ask(server, ledger, "odd")
    assert (odd.error, odd.text or None) == (None, None)
    assert len(server.bodies) == 1
    assert odd.cost > 0


@pytest.mark.parametrize("reply", NO_TEXT_ANTHROPIC.values(), ids=NO_TEXT_ANTHROPIC)
async def test_a_message_without_text_is_an_answer(reply: Said, ledger: Ledger) -> None:
    """The same in Anthropic's dialect."""
    server = Shaped({"odd": reply})
    (odd,) = await ask(server, ledger, "odd", dialect="anthropic")
    assert (odd.error, odd.text or None, len(server.bodies)) == (None, None, 1)


@pytest.mark.parametrize("reply", WAIT.values(), ids=WAIT)
async def test_who_asks_to_wait_is_waited_for(reply: Said, ledger: Ledger) -> None:
    """A rate limit inside a 200, or a model that is still being loaded, uses up no tries."""
    server = Shaped({"odd": once(reply, reply)})
    assert [answer.text for answer in await ask(server, ledger, "odd", tries=1)] == ["yes"]
    assert len(server.bodies) == 3


@pytest.mark.parametrize("reply", STOP.values(), ids=STOP)
async def test_credit_and_keys_stop_the_run(reply: Said, ledger: Ledger) -> None:
    """Said inside a 200 too, and in the provider's words."""
    assert reply is not None
    words = reply[1]["error"]["message"].split(".")[0]
    with pytest.raises(Refused, match=words) as caught:
        await ask(Shaped({"odd": reply}), ledger, "one", "odd")
    assert not caught.value.row_only
    assert not caught.value.maybe_row


@pytest.mark.parametrize("status", [400, 422, 200])
async def test_many_refusals_in_a_row_stop_the_run(status: int, ledger: Ledger) -> None:
    """A server that refuses everything is not asked about a million rows, and its words are told. One that refuses most
    rows, but not all in a row, is."""
    refusal: Said = (status, error("no such thing as rows", code=400))
    server = Shaped({"odd": refusal})
    prompts = ["one", *(f"odd {i}" for i in range(100))]
    with pytest.raises(Refused, match=r"20 requests in a row.*no such thing as rows"):
        await ask(server, ledger, *prompts)
    assert len(server.bodies) == 1 + trust.REFUSALS
    mixed = [f"odd {i}" if i % 15 else f"even {i}" for i in range(100)]
    answers = await ask(Shaped({"odd": refusal}), ledger, *mixed)
    assert [bool(answer.error) for answer in answers] == ["odd" in prompt for prompt in mixed]


async def test_a_failure_behind_a_200_is_tried_again_and_not_paid(ledger: Ledger) -> None:
    """A router whose provider failed says so inside a 200: another try helps, and it cost nothing."""
    reply: Said = (200, {"error": {"code": 502, "message": "Provider returned error"}})
    server = Shaped({"odd": once(reply, reply)})
    (answer,) = await ask(server, ledger, "odd")
    assert answer.text == "yes"
    assert ledger.spent("r") == pytest.approx(answer.cost)


# --------------------------------------------------------------------------- parameters


@pytest.mark.parametrize("reply", SCHEMA_REFUSED.values(), ids=SCHEMA_REFUSED)
async def test_a_schema_that_is_refused_is_left_out(reply: Said, ledger: Ledger) -> None:
    """In whose words ever: the request goes out once more without the schema, later ones from the beginning."""
    assert reply is not None
    server = Shaped({"": while_there("response_format", *reply)}, text='{"a": 1}')
    answers = await ask(server, ledger, "one", "two", schema='{"type": "object"}')
    assert [answer.text for answer in answers] == ['{"a": 1}'] * 2
    assert ["response_format" in body for body in server.bodies] == [True, False, False]


@pytest.mark.parametrize("reply", SPOILT.values(), ids=SPOILT)
async def test_a_row_that_fails_by_the_schema_is_asked_without_it(reply: Said, ledger: Ledger) -> None:
    """It is that row's matter: the row is asked once more without the schema, all others go on with it."""
    assert reply is not None
    server = Shaped({"odd": while_there("response_format", *reply)}, text='{"a": 1}')
    answers = await ask(server, ledger, "odd", "two", "odd as well", "four", schema='{"type": "object"}')
    assert [answer.text for answer in answers] == ['{"a": 1}'] * 4
    asked = Counter((str(body["messages"][-1]["content"]), "response_format" in body) for body in server.bodies)
    assert asked == {("odd", True): 1, ("odd", False): 1, ("two", True): 1, ("odd as well", True): 1,
                     ("odd as well", False): 1, ("four", True): 1}  # fmt: skip


async def test_a_row_that_fails_without_a_schema_too_is_its_own_error(ledger: Ledger) -> None:
    """It is asked twice at most, and the run goes on."""
    server = Shaped({"odd": SPOILT["Groq"]}, text='{"a": 1}')
    odd, two = await ask(server, ledger, "odd", "two", schema='{"type": "object"}')
    assert (odd.text, two.text) == (None, '{"a": 1}')
    assert "Failed to generate JSON" in str(odd.error)
    assert server.seen["odd"] == 2


@pytest.mark.parametrize("status", [400, 403, 422])
@pytest.mark.parametrize(
    "words",
    [
        "The parameters `temperature` and `logprobs` are not supported with this model.",
        "Unsupported parameters: temperature, logprobs",
        "You are not allowed to request logprobs or temperature from this model",
        [{"type": "extra_forbidden", "loc": ["body", "temperature"]}, {"type": "extra_forbidden",
          "loc": ["body", "logprobs"]}],
    ],
)  # fmt: skip
async def test_two_parameters_named_at_once_are_both_learnt(status: int, words: Any, ledger: Ledger) -> None:
    """A refusal that names two parameters costs one more call, whatever its status."""
    server = Shaped(
        {"": while_there("logprobs", status, {"detail": words} if isinstance(words, list) else error(words))}
    )
    answers = await ask(server, ledger, "one", "two", logprobs=True)
    assert [answer.text for answer in answers] == ["yes", "yes"]
    assert [sorted({"temperature", "logprobs"} & body.keys()) for body in server.bodies] == [
        ["logprobs", "temperature"],
        [],
        [],
    ]


@pytest.mark.parametrize(
    "words",
    [
        "'max_tokens' or 'max_completion_tokens' is too large: 20. This model supports at most 16 completion tokens.",
        "max_tokens must be at least 1 and at most 16",
        "max_tokens: 20 > 16, which is the maximum allowed number of output tokens",
        "Invalid value for max_tokens: it exceeds what is left for this prompt",
        "the text of this row says max_tokens",
    ],
)
async def test_a_limit_that_is_too_large_is_not_unknown(words: str, ledger: Ledger) -> None:
    """Words about the value of max_tokens concern one row; later rows go out with their limit."""
    server = Shaped({"odd": (400, error(words, type="invalid_request_error"))})
    _, odd, last = await ask(server, ledger, "one", "odd", "another")
    assert odd.error
    assert last.text == "yes"
    assert [(body.get("max_tokens"), body.get("max_completion_tokens")) for body in server.bodies] == [(20, None)] * 3


@pytest.mark.parametrize(
    "words",
    [
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        "Unrecognized request argument supplied: max_tokens",
        "max_tokens: Extra inputs are not permitted",
    ],
)
async def test_a_limit_under_another_name_is_learnt(words: str, ledger: Ledger) -> None:
    """A model that says that it does not know max_tokens is given the limit under its other name."""
    server = Shaped({"": while_there("max_tokens", 400, error(words))})
    answers = await ask(server, ledger, "one", "two")
    assert [answer.text for answer in answers] == ["yes", "yes"]
    assert [body.get("max_completion_tokens") for body in server.bodies] == [None, 20, 20]


async def test_nothing_is_learnt_from_a_row_that_is_quoted(ledger: Ledger) -> None:
    """A refusal that quotes the row, which speaks of temperature, says nothing of the parameter."""
    words = "Your prompt was flagged by our content filter: 'the temperature is not supported'"
    server = Shaped({"odd": (400, error(words, code="content_filter"))})
    await ask(server, ledger, "odd", "another", logprobs=True)
    assert all("temperature" in body for body in server.bodies)


async def test_odd_fields_beside_an_answer_do_no_harm(ledger: Ledger) -> None:
    """Fields of a kind nobody expects (a model of 5, a reason of null) leave the answer alone."""
    odd = {**completion("yes", finish=None), "model": 5, "created": "now"}
    (answer,) = await ask(Shaped({"odd": (200, odd)}), ledger, "odd")
    assert (answer.text, answer.snapshot, answer.finish) == ("yes", "", "stop")
