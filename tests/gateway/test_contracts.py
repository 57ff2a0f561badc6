"""Routes of every output contract, over real sockets: what is passed on, and what counts as an answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydantic
import pytest
from gateways import Served, mocking, serving
from later import openai

from smart_llm.mock.scripted import Scripted

MODELS = """reference = "openai:big@{url}?in=10&out=10"
candidates = ["openai:small@{url}?in=1&out=1", "openai:middle@{url}?in=3&out=3"]
window = 40
agreement = 0.8
audit = "before"
"""
ROUTES = f"""
[route.stars]
answer = "number"
tolerance = 0.5
{MODELS}
[route.film]
schema = "film.json"
{MODELS}
[route.any]
answer = "json"
{MODELS}
[route.title]
answer = "text"
equivalence = "text"
max_tokens = 12
{MODELS}
"""


class Film(pydantic.BaseModel):
    """What the JSON routes answer with."""

    model_config = pydantic.ConfigDict(extra="forbid")
    title: str
    year: int


def answer(model: str, prompt: str) -> str:
    """What fits the question."""
    number = int(prompt.rpartition(" ")[2])
    if "Stars" in prompt:
        return f"{3.0 if model == 'big' else 3.2}"
    if "JSON" in prompt:
        return json.dumps({"title": f"Film {number}", "year": 1900 + number % 100}, indent=model == "big" or None)
    return f"The  Title {number}" if model == "small" else f"the title {number}"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One gateway with all routes."""
    folder: Path = tmp_path_factory.mktemp("gateway")
    (folder / "film.json").write_text(json.dumps(Film.model_json_schema()))
    with mocking(answer=answer) as mock, serving(folder, ROUTES.format(url=mock.url)) as found:
        yield found


@pytest.mark.parametrize(
    ("route", "asks"), [("stars", "Stars of film"), ("any", "JSON of film"), ("title", "Title of")]
)
def test_every_contract_comes_to_be_answered_by_a_candidate(served: Served, route: str, asks: str) -> None:
    """Where candidates agree with the reference by the route's own equivalence, they come to answer, in their own
    words; audits before the answer are answered by the reference."""
    replies = [served.chat(f"{asks} {i}", f"smart/{route}") for i in range(60)]
    assert {reply.status for reply in replies} == {200}
    by = [reply.headers["x-smart-answered-by"] for reply in replies]
    assert any("big" in each for each in by)
    assert any("big" not in each for each in by)
    for reply in replies:
        if reply.headers["x-smart-audited"] == "true":
            assert "big" in reply.headers["x-smart-answered-by"]
    windows = {reply.headers["x-smart-window"] for reply in replies}
    assert windows == {"1", "2"}


def test_structured_output_of_the_sdk(served: Served) -> None:
    """OpenAI's SDK parses an answer into its model: with the route's own schema, and on a route without one; another
    schema than the route's is refused."""

    class Other(pydantic.BaseModel):
        author: str

    with openai.OpenAI(api_key="any", base_url=f"{served.url}/v1", max_retries=0) as client:

        def parsed(route: str, kind: type[pydantic.BaseModel]) -> Any:
            ask: list[Any] = [{"role": "user", "content": "JSON of film 77"}]
            reply = client.chat.completions.parse(model=f"smart/{route}", messages=ask, response_format=kind)
            return reply.choices[0].message.parsed

        assert parsed("film", Film) == parsed("any", Film) == Film(title="Film 77", year=1977)
        with pytest.raises(openai.BadRequestError, match="a schema of its own"):
            parsed("film", Other)
        with pytest.raises(openai.BadRequestError, match="not with JSON"):
            parsed("title", Film)


def test_only_what_is_on_the_list_reaches_a_provider(tmp_path: Path) -> None:
    """Fields that no answer should depend on stay here; length and temperature are passed on, and the route's length
    holds where a client names none."""
    private = {"user": "user-of-ours", "metadata": {"team": "team-of-ours"}, "seed": 7, "store": True}
    message = {"role": "assistant", "content": "a title"}
    reply = {"model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    scripted = Scripted(*[(200, reply)] * 10)
    with (
        mocking(scripted) as mock,
        serving(tmp_path, f"[route.title]\nanswer = 'text'\n{MODELS}".format(url=mock.url)) as own,
    ):
        assert own.chat("Title of 501", "smart/title", **private, max_tokens=12).status == 200
        assert own.chat("Title of 502", "smart/title", max_completion_tokens=9, temperature=0.5).status == 200
        assert own.chat("Title of 503", "smart/title").status == 200
    assert len(scripted.bodies) >= 3
    assert all("of-ours" not in json.dumps(body) for body in scripted.bodies)
    assert {(each["max_tokens"], each["temperature"]) for each in scripted.bodies} == {(12, 0), (9, 0.5), (1024, 0)}
    known = {"model", "messages", "max_tokens", "temperature", "logprobs", "prompt_cache_options"}
    assert {name for each in scripted.bodies for name in each} <= known
