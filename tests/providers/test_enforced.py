"""Labels that a server is made to keep to, over real sockets: what is sent, what is read, what is learnt."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from making import make_provider
from shapes import Enforcing, Said, Shaped, completion, error, once, while_there

import smart_llm as smart
from smart_llm.client.lane import sent_bytes
from smart_llm.errors import InputError, Refused
from smart_llm.ledger import request_key
from smart_llm.providers import enforced
from smart_llm.providers.specs import resolve
from smart_llm.tasks.labels import LabelReader
from smart_llm.types import Answer, Request

LABELS = ("na\u00efve (a+b)", "no", '5" long')


async def ask(server: Shaped, way: str, *prompts: str, dialect: str = "openai", labels: Any = LABELS) -> list[Answer]:
    """The provider's answers to these prompts, one after another."""
    async with server as url:
        model = resolve(f"{dialect}:m@{url}?in=1&out=1&enforce={way}")
        provider = make_provider(model)
        try:
            return [await provider.complete(Request(model.name, prompt, 20, labels=labels)) for prompt in prompts]
        finally:
            await provider.close()


@pytest.mark.parametrize(
    ("kind", "way", "dialect"),
    [
        ("vLLM", "choice", "openai"),
        ("vLLM before 0.12", "choice", "openai"),
        ("SGLang", "choice", "openai"),
        ("schema", "schema", "openai"),
        ("Anthropic", "schema", "anthropic"),
    ],
)
async def test_every_kind_of_server_is_told_in_its_own_words(kind: str, way: str, dialect: str) -> None:
    """Enforced, each server gives a label, which is read as the user wrote it; not enforced, it chats."""
    read = LabelReader(LABELS).read
    (told,) = await ask(Enforcing(kind), way, "one", dialect=dialect)
    (free,) = await ask(Enforcing(kind), "none", "one", dialect=dialect)
    assert (read(told.text or ""), read(free.text or "")) == (LABELS[0], None)


@pytest.mark.parametrize(
    "label", ["yes", "na\u00efve", 'a "quote"', "back\\slash", "a/b", "5", "true", "None", "label"]
)
@pytest.mark.parametrize("bare", [True, False])
async def test_labels_are_read_out_of_json(label: str, bare: bool) -> None:
    """Any label in any JSON that the schema allows; what is not the label breaks the contract."""
    read = LabelReader((label, "another")).read
    for ascii_only in (True, False):
        for indent in (None, 2):
            text = json.dumps(label if bare else {"label": label}, ensure_ascii=ascii_only, indent=indent)
            assert read(text) == label
            assert read(f" {text}\n") == label
    other = json.dumps("else" if bare else {"label": "else"})
    assert read(other) is None


async def test_the_object_and_the_bare_string() -> None:
    """A server of one's own is asked for a string, a known provider for an object, closed and strict."""
    server = Enforcing("schema")
    await ask(server, "schema", "one")
    (body,) = server.bodies
    assert body["response_format"]["json_schema"]["schema"] == {"type": "string", "enum": list(LABELS)}
    known = make_provider(resolve("openai:gpt-5.2?in=1&out=1&enforce=schema"), environ={"OPENAI_API_KEY": "k"})
    sent = known.body(Request("openai:gpt-5.2?enforce=schema", "x", 9, labels=("a", "b")))  # type: ignore[attr-defined]
    assert b'"strict":true' in sent
    assert b'"type":"object"' in sent
    await known.close()


async def test_a_string_that_is_refused_is_asked_for_as_an_object() -> None:
    """A gateway to OpenAI wants an object at the root; it gets it after one refusal, and labels stay enforced."""
    words = "Invalid schema for response_format 'answer': schema must be a JSON Schema of 'type: \"object\"'."

    def picky(body: dict[str, Any], prompt: str) -> Said:
        schema = body["response_format"]["json_schema"]["schema"]
        if schema["type"] != "object":
            return 400, error(words, param="response_format", code="invalid_json_schema")
        return 200, completion('{"label": "no"}')

    server = Shaped({"": picky})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        answers = await ask(server, "schema", "one", "two")
    assert [LabelReader(LABELS).read(each.text or "") for each in answers] == ["no", "no"]
    assert len(server.bodies) == 3


@pytest.mark.parametrize(
    ("way", "names", "said"),
    [
        (
            "choice",
            enforced.CHOICE,
            "Unrecognized request arguments supplied: guided_choice, regex, structured_outputs",
        ),
        ("choice", enforced.CHOICE, "property '{name}' is unsupported"),
        ("choice", enforced.CHOICE, "Failed to parse grammar"),
        ("schema", ("response_format",), "This model does not support response format `json_schema`."),
        ("schema", ("response_format",), "response_format: Extra inputs are not permitted"),
    ],
)
async def test_a_server_that_takes_none_of_it_is_learnt_once_and_said(
    way: str, names: tuple[str, ...], said: str
) -> None:
    """Later rows go out without it from the beginning; one warning names the model, the setting and the reason."""

    def refuses(body: dict[str, Any], prompt: str) -> Said:
        name = next((name for name in names if name in body), None)
        return (400, error(said.format(name=name))) if name else (200, completion("no"))

    server = Shaped({"": refuses})
    with pytest.warns(UserWarning, match=f"enforce={way}") as caught:
        answers = await ask(server, way, "one", "two", "three")
    assert [answer.text for answer in answers] == ["no"] * 3
    assert len(caught) == 1
    assert not any(name in body for body in server.bodies[-3:] for name in names)
    assert len(server.bodies) <= 3 + 3


async def test_a_parameter_that_was_removed_leaves_the_new_one() -> None:
    """A vLLM that refuses `guided_choice` and names `structured_outputs` instead is still told the labels."""
    words = "guided_choice was removed in v0.12.0. Please use structured_outputs: {'choice': ...}."
    server = Enforcing("vLLM", {"": while_there("guided_choice", 400, error(words))})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        answers = await ask(server, "choice", "one", "one more")
    assert [each.text for each in answers] == [LABELS[0]] * 2
    assert ["guided_choice" in body for body in server.bodies] == [True, False, False]


async def test_what_is_asked_stays_as_it_is_after_the_first_answer() -> None:
    """Evidence and delivery are asked alike: a refusal after answers under the setting is that row's error."""
    server = Enforcing("schema", {"odd": once((400, error("Failed to generate JSON.", code="json_validate_failed")))})
    with pytest.raises(Refused):
        await ask(server, "schema", "one", "odd")
    assert all("response_format" in body for body in server.bodies)


def test_the_setting_makes_another_model() -> None:
    """It is in the name, so in the plan and in every key of the ledger; `none` is the default and says nothing."""
    plain, told = resolve("openai:m@http://h/v1?in=1&out=1"), resolve("openai:m@http://h/v1?in=1&out=1&enforce=choice")
    assert told.name == "openai:m@http://h/v1?enforce=choice"
    assert resolve(f"{told.name}&in=1&out=1").enforce == "choice"
    assert resolve("openai:m@http://h/v1?in=1&out=1&enforce=none").name == plain.name
    assert len({request_key(Request(each.name, "x", 9, labels=("a", "b"))) for each in (plain, told)}) == 2


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("openai:m@http://h/v1?in=1&out=1&enforce=yes", "write one of choice, schema, none"),
        ("anthropic:claude-haiku-4-5?enforce=choice", "write enforce=schema"),
        ("anyllm:cohere/command-a?in=1&out=1&enforce=choice", "write enforce=schema"),
        ("local:smollm2-135m?enforce=choice", "keep to labels anyhow"),
        ("fake:x?in=1&out=1&enforce=schema", "leave enforce out"),
    ],
)
def test_settings_that_cannot_be(spec: str, message: str) -> None:
    """They are refused before anything is sent, with what to write."""
    with pytest.raises(InputError, match=message):
        resolve(spec)


def test_a_task_without_labels_has_nothing_to_enforce() -> None:
    """It is said before anything is spent."""
    with pytest.raises(InputError, match="this task has none"):
        smart.plan(
            [{"text": "a"}],
            task=smart.Task(prompt="{text}", answer="text"),
            reference="openai:m@http://127.0.0.1:1/v1?in=1&out=1&enforce=choice",
            candidates=["fake:x?in=1&out=1"],
        )


def test_a_schema_is_part_of_what_a_call_can_cost() -> None:
    """Its bytes are set aside by the budget, as those of the prompt."""
    plain, told = (resolve(f"openai:m@http://h/v1?in=1&out=1&enforce={way}") for way in ("none", "schema"))
    request = Request(told.name, "x", 9, labels=LABELS)
    assert sent_bytes(request, told) - sent_bytes(request, plain) == len(enforced.schema(LABELS).encode())


async def test_a_whole_run_with_a_small_model_that_chats(tmp_path: Path) -> None:
    """Not enforced, every answer of the candidate breaks the contract; enforced, none does, and the name says so."""
    reference, small = Shaped({}, text="yes"), Enforcing("vLLM")
    async with reference as big, small as url:
        for way, delivered in (("none", False), ("choice", True)):
            done = await smart.arun(
                [{"text": f"row {i}"} for i in range(120)],
                task=smart.Task(prompt="Good? {text}", labels=["yes", "no"]),
                reference=f"openai:big@{big}?in=10&out=10",
                candidates=[f"openai:small@{url}?in=1&out=1&enforce={way}"],
                agreement="0.8",
                ledger=tmp_path / f"{way}.db",
                seed=1,
            )
            cheap = [row["answered_by"] for row in done.table if "small" in row["answered_by"]]
            assert bool(cheap) == delivered
            assert all("enforce=choice" in name for name in cheap)
