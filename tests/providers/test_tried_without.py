"""Parameters that a server does not take in words that nobody has foreseen: one try without them shows it, and nothing
else is learnt from a refusal of one row."""

from __future__ import annotations

import json

import pytest
from shapes import Said, Shaped, ask, error, short_delays, while_there

from smart_llm.ledger import Ledger

SCHEMA = json.dumps(
    {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
)
PARAMETERS: dict[str, tuple[str, int, str]] = {
    "one value alone": ("temperature", 400, "This model only supports temperature=1."),
    "another tier": ("logprobs", 403, "logprobs: this feature requires a different tier"),
    "not implemented": ("logprobs", 501, "Cannot return logprobs with this chat template"),
    "in another language": ("temperature", 400, "Der Parameter temperature wird hier nicht angenommen"),
    "OpenRouter names none": ("logprobs", 404, "No endpoints found that can handle the requested parameters."),
    "a word for itself": ("logprobs", 422, "logprobs?!"),
}
SCHEMAS = {
    "a mode": "JSON mode is not available for this model",
    "a type in it": "Unsupported type in properties: null",
    "no words": "",
    "in another language": "该模型不支持此功能",
}


@pytest.fixture(autouse=True)
def _short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries wait milliseconds here."""
    short_delays(monkeypatch)


@pytest.mark.parametrize(("name", "status", "words"), PARAMETERS.values(), ids=PARAMETERS)
async def test_a_parameter_refused_in_any_words(name: str, status: int, words: str, ledger: Ledger) -> None:
    """The first row is asked once more without it, and all others never with it; the limit of tokens stays."""
    server = Shaped({"row": while_there(name, status, error(words))})
    answers = await ask(server, ledger, "row 1", "row 2", "row 3", logprobs=True)
    assert [each.text for each in answers] == ["yes"] * 3
    assert [name in body for body in server.bodies] == [True, False, False, False]
    assert all("max_tokens" in body for body in server.bodies)


@pytest.mark.parametrize("words", SCHEMAS.values(), ids=SCHEMAS)
async def test_a_schema_refused_in_any_words(words: str, ledger: Ledger) -> None:
    """Once without it; the contract is checked in any case."""
    server = Shaped({"row": while_there("response_format", 400, error(words))})
    answers = await ask(server, ledger, "row 1", "row 2", "row 3", schema=SCHEMA)
    assert [each.text for each in answers] == ["yes"] * 3
    assert ["response_format" in body for body in server.bodies] == [True, False, False, False]


async def test_a_schema_of_anthropic_refused_in_any_words(ledger: Ledger) -> None:
    """The same in the other dialect."""
    server = Shaped({"row": while_there("output_config", 400, error("this feature is not for you"))})
    answers = await ask(server, ledger, "row 1", "row 2", dialect="anthropic", schema=SCHEMA)
    assert [each.text for each in answers] == ["yes"] * 2
    assert ["output_config" in body for body in server.bodies] == [True, False, False]


@pytest.mark.parametrize("words", ["odd row at temperature 0 with logprobs", "these parameters are odd", "odd"])
async def test_an_odd_row_teaches_nothing(words: str, ledger: Ledger) -> None:
    """Refused without the parameters, too: it was not these. It is that row's error, first or not."""
    refusal: Said = (400, error(words))
    server = Shaped({"odd": refusal})
    odd, after, other = await ask(server, ledger, "odd", "one", "another odd", logprobs=True, schema=SCHEMA)
    assert (bool(odd.error), after.text, bool(other.error)) == (True, "yes", True)
    assert words in str(odd.error)
    assert server.seen == {"odd": 2, "one": 1, "another odd": 1}
    assert {"temperature", "logprobs", "response_format", "max_tokens"} <= server.bodies[-1].keys()


LIMITS = [
    "[max_tokens] value not supported for a prompt of this size",
    "max_tokens of 20 is not allowed for this request (4000 input tokens)",
    "Unsupported value: 'max_tokens'. Use a smaller one for this prompt.",
    "max_tokens cannot be used with a prompt of 9,000 tokens",
]


@pytest.mark.parametrize("words", LIMITS)
@pytest.mark.parametrize("param", [None, "max_tokens"])
async def test_a_limit_that_was_taken_before_is_known(words: str, param: str | None, ledger: Ledger) -> None:
    """However a server words that it is too much for one row: other rows are never asked without a limit."""
    server = Shaped({"odd": while_there("max_tokens", 400, error(words, param=param))})
    first, odd, last = await ask(server, ledger, "one", "odd", "another")
    assert (first.text, bool(odd.error), last.text) == ("yes", True, "yes")
    assert [body.get("max_tokens") for body in server.bodies] == [20] * 3


@pytest.mark.parametrize("words", LIMITS)
async def test_a_limit_refused_with_and_without_is_kept(words: str, ledger: Ledger) -> None:
    """The very first row is refused in any case: the limit was not the reason, and goes with the next row."""
    server = Shaped({"odd": (400, error(words))})
    odd, last = await ask(server, ledger, "odd", "another")
    assert (bool(odd.error), last.text) == (True, "yes")
    assert server.bodies[-1].get("max_tokens") == 20
