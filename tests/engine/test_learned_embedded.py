"""`learned` with embeddings: bought once, used where they tell more, verified, refused without a price."""

import asyncio
import math
import os
import subprocess
import sys
from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from vectors import embedded, model_of

import smart_llm as smart
from smart_llm.errors import InputError
from smart_llm.ledger import Reader
from smart_llm.mock import Faults, MockServer
from smart_llm.providers.embeddings import embedder_of
from smart_llm.providers.specs import resolve
from smart_llm.types import Request, Usage

TASK = smart.Task("Positive or negative?\nReview: {text}", labels=["positive", "negative"])
ROWS = 800
HOME = os.environ.get("SMART_HOME", "")  # as it was before each test was given a folder of its own


def table(hints: int = 0, size: int = ROWS) -> list[str]:
    """Rows whose words tell nothing that could be learned, every one is new; or which say what they mean in one of so
    many pairs of words."""
    rng = Random(2)
    rows = [f"item{rng.randrange(10**9)} in shop {number}" for number in range(size)]
    return [f"{row} {_hint(row, rng.randrange(hints))}" if hints else row for row in rows]


def _hint(row: str, number: int) -> str:
    """A word that tells what the row means."""
    return blake2b(f"{meant(row) > 0} {number}".encode(), digest_size=4).hexdigest()


def meant(text: str) -> float:
    """What a row means, from −1 to 1."""
    return Random(int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")).uniform(-1, 1)


def telling(text: str) -> list[float]:
    """A vector that points by what the text means."""
    return [meant(text), 0.3, math.sin(len(text)), 0.1]


def mute(text: str) -> list[float]:
    """A vector that tells nothing."""
    return [0.5, 0.3, 0.2, 0.1]


async def run(
    ledger: Path, url: str, stop: int = 0, price: float = 0.02, hints: int = 0, size: int = ROWS
) -> smart.Run[Any]:
    """A run with embeddings of this server, at that price; the process dies at a call of the reference where `stop`
    says so. hints: see `table`."""
    calls = [0]

    def truth(request: Request) -> str:
        calls[0] += 1
        if stop and calls[0] > stop:
            os._exit(9)
        text = request.prompt.split("Review: ")[1]
        return "positive" if meant(text.rpartition(" ")[0] if hints else text) > 0 else "negative"

    return await embedded(ledger, url, table(hints, size), truth, task=TASK, price=price, agreement=0.85)


@pytest.mark.asyncio
async def test_vectors_that_tell_more_than_words_are_used_and_paid_for_once(tmp_path: Path, port: int) -> None:
    """They answer most rows; each text is embedded once, although calls fail now and then; ledger and account say the
    same sum; the certificate verifies; a second run buys nothing."""
    server = MockServer(vectors=telling, faults=Faults(error=0.05, throttle=0.02), seed=1, port=port)
    async with server as url:
        done = await run(tmp_path / "l.db", url)
        asked = server.stats()["models"]["e"]
        again = await run(tmp_path / "l.db", url)
        assert server.stats()["models"]["e"] == asked
    wrong = sum((meant(row["text"]) > 0) != (row["answer"] == "positive") for row in done.table)
    assert done.certificate.granted
    assert wrong <= 0.15 * ROWS
    assert done.saving > 2
    assert asked["answered"] == asked["distinct"] <= ROWS
    assert model_of(tmp_path / "l.db", done.run_id).embeds
    assert done.certificate.cost.by_model["learned"] > 0
    with Reader.open(tmp_path / "l.db") as reader:
        assert done.cost == pytest.approx(reader.spent(done.run_id))
    assert smart.verify(done.certificate, ledger=tmp_path / "l.db") == []
    assert again.certificate.to_json() == done.certificate.to_json()


@pytest.mark.asyncio
async def test_vectors_that_tell_nothing_are_bought_for_the_lessons_alone(tmp_path: Path, port: int) -> None:
    """Cross-validation on the rows with labels decides."""
    server = MockServer(vectors=mute, port=port)
    async with server as url:
        done = await run(tmp_path / "l.db", url)
        assert 0 < server.stats()["models"]["e"]["answered"] < 0.25 * ROWS
    assert done.saving > 0.98


@pytest.mark.asyncio
async def test_lessons_do_without_dear_vectors_once_these_have_cost_enough(tmp_path: Path, port: int) -> None:
    """Words teach on; vectors that tell nothing cost a hundredth of what the reference costs on every row. Rows that
    were answered without any are not taken for rows that the reference would answer for nothing."""
    server = MockServer(vectors=mute, port=port)
    async with server as url:
        done = await run(tmp_path / "l.db", url, price=12, hints=120, size=1500)
        again = await run(tmp_path / "l.db", url, price=12, hints=120, size=1500)
        bought = server.stats()["models"]["e"]["answered"]
    cost = done.certificate.cost
    assert 0 < cost.by_model["learned"] <= 0.01 * cost.reference_only
    asked = sum(row["answered_by"] == "fake:ref" for row in done.table)
    assert cost.reference_only == pytest.approx(len(done.table) * cost.by_model["fake:ref"] / asked, rel=0.02)
    assert 0 < bought < model_of(tmp_path / "l.db", done.run_id).rows
    assert again.certificate.to_json() == done.certificate.to_json()
    assert smart.verify(done.certificate, ledger=tmp_path / "l.db") == []


@pytest.mark.asyncio
async def test_an_embedder_that_is_too_dear_is_refused_before_anything_is_paid(tmp_path: Path) -> None:
    """A vector at half the price of an answer can never be tried out on enough rows."""
    async with MockServer(vectors=telling) as url:
        with pytest.raises(InputError, match=r"a text is expected to cost \$[\d.]+, an answer of the reference \$"):
            await run(tmp_path / "l.db", url, price=50)
    with Reader.open(tmp_path / "l.db") as reader:
        assert [reader.spent(each.run_id) for each in reader.runs()] == [0]


@pytest.mark.asyncio
async def test_killed_and_resumed_it_delivers_the_same_and_pays_no_vector_twice(tmp_path: Path) -> None:
    """Vectors that were bought are in the ledger."""
    code = """
import asyncio, sys
from pathlib import Path
import test_learned_embedded as t
asyncio.run(t.run(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
"""
    server = MockServer(vectors=telling)
    async with server as url:
        here = Path(__file__).parent
        env = {**os.environ, "PYTHONPATH": f"{here}{os.pathsep}{here.parent / 'kit'}"}
        command = [sys.executable, "-c", code, str(tmp_path / "k.db"), url, "60"]
        killed = await asyncio.create_subprocess_exec(*command, env=env, stderr=subprocess.PIPE)
        assert await killed.wait() == 9
        before = server.stats()["models"]["e"]["answered"]
        resumed = await run(tmp_path / "k.db", url)
        bought = server.stats()["models"]["e"]
        assert before > 0
        assert bought["answered"] <= bought["distinct"] + 5  # on their way when the process died
        whole = await run(tmp_path / "w.db", url)
    assert resumed.table == whole.table
    assert resumed.certificate.evidence == whole.certificate.evidence
    assert smart.verify(resumed.certificate, ledger=tmp_path / "k.db") == []


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("learned?embed=openai:e@http://127.0.0.1:1/v1", "no price known of openai:e"),
        ("learned?embed=openai:no-such-model", "no price known of openai:no-such-model"),
        ("learned?embed=openai:e&in=x", "in=x is not a price"),
        ("learned?embed=anthropic:claude-haiku-4-5&in=1", "any other server with /v1/embeddings, openai:NAME@"),
        ("learned?embed=local:f.gguf", "embed=local:f.gguf: no such file"),
        ("learned?embed=local:", "any other server with /v1/embeddings, openai:NAME@"),
        ("learned?embed=static:x&in=1", "needs neither price nor key"),
        ("learned?embed=", "any other server with /v1/embeddings, openai:NAME@"),
        ("learned?pack=3", "unknown option 'pack'"),
        ("learned?in=3", "in= goes with embed="),
        ("learned?embed=openai:e@http://127.0.0.1:1/v1&in=1&key_env=OPENAI_API_KEY", "goes to api.openai.com only"),
    ],
)
def test_what_cannot_embed_is_refused_in_a_line(spec: str, message: str) -> None:
    """A price is needed, as for every model."""
    with pytest.raises(InputError) as told:
        resolve(spec)
    assert message in str(told.value)
    assert "\n" not in str(told.value)


def test_vectors_stay_in_the_process_of_the_run(tmp_path: Path) -> None:
    """Workers on Ray do not have those that were bought for the evidence."""
    given: dict[str, Any] = {"candidates": ["learned?embed=openai:text-embedding-3-small"], "engine": "ray"}
    with pytest.raises(InputError, match="embed= goes without"):
        smart.run(
            [{"text": f"thing {n}"} for n in range(300)], smart.Task("Good? {text}", labels=["yes", "no"]),
            reference="fake:ref?in=1&out=1", ledger=tmp_path / "l.db", **given,
        )  # fmt: skip


def test_a_listed_model_has_its_listed_price() -> None:
    """Embedding models say nothing, so one direction is enough."""
    model = resolve("learned?embed=openai:text-embedding-3-small")
    assert model.rate.input == 0.02
    assert model.name == "learned"
    assert model.at == "embed openai:text-embedding-3-small"


def test_static_vectors_of_words_are_looked_up_here(tmp_path: Path) -> None:
    """By the library's own format; the plan knows the vectors by their content."""
    model2vec = pytest.importorskip("model2vec", reason="model2vec is not installed")
    tokenizers = pytest.importorskip("tokenizers", reason="tokenizers is not installed")
    seen = []
    for sign in (1.0, -1.0):
        words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0, "good": 1, "bad": 2}, "[UNK]"))
        words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
        vectors = np.array([[0.1, 0.1], [sign, 0.0], [0.0, sign]], np.float32)
        model2vec.StaticModel(vectors, words).save_pretrained(str(tmp_path / f"m{sign}"))
        model = resolve(f"learned?embed=static:{tmp_path}/m{sign}")
        embedder = embedder_of(model)
        assert embedder is not None
        vector, usage = asyncio.run(embedder.embed("good"))
        assert vector @ np.array([sign, 0.0]) > 0.9
        assert usage == Usage()
        seen.append(model.at)
    assert str(seen[0]).split()[-1] != str(seen[1]).split()[-1]
    with pytest.raises(InputError, match="cannot be loaded"):
        resolve(f"learned?embed=static:{tmp_path}/nowhere")


LONG = "-" * 4096 + "✓" * 9000
"""Too many tokens in as many characters as are tried, few in half of them."""


@pytest.mark.slow
def test_a_model_file_on_this_machine_embeds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alike texts point alike, a long one is cut, and its CPU-seconds are what it costs."""
    pytest.importorskip("xllamacpp", reason="xllamacpp is not installed")
    monkeypatch.setenv("SMART_HOME", HOME)
    try:
        model = resolve("learned?embed=local:smollm2-135m")
    except InputError as error:
        pytest.skip(f"the tiny model is not here: {error}")
    embedder = embedder_of(model)

    async def vectors(*texts: str) -> list[Any]:
        assert embedder is not None
        found = [await embedder.embed(text) for text in texts]
        await embedder.close()
        return [vector / np.linalg.norm(vector) for vector, used in found if used.cpu_seconds > 0]

    lovely, nice, bolts, _ = asyncio.run(vectors("what a lovely day", "what a nice day", "four bolts, M8", LONG))
    assert lovely @ nice > lovely @ bolts
    assert model.rate.cpu_hour > 0
