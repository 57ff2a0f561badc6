"""`learned` with embeddings at its limits: equal rows, rows set aside, lessons told again, vectors that do not fit."""

import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from vectors import embedded, model_of

import smart_llm as smart
from smart_llm.errors import InputError, Refused
from smart_llm.learned.learner import Learner, Shelf
from smart_llm.ledger.entries import TAUGHT
from smart_llm.mock import MockServer
from smart_llm.types import Request

TASK = smart.Task("Positive or negative?\nReview: {text}", labels=["positive", "negative"])
OTHER = smart.Task("Positive?\nReview: {text}", labels=["positive", "negative"])
WEIGHTS = {f"w{number}": Random(number).gauss(0, 1) for number in range(60)}


def texts(count: int) -> list[str]:
    """Different ones."""
    rng = Random(3)
    return [" ".join(rng.sample(sorted(WEIGHTS), 10)) for _ in range(count)]


def sentiment(text: str) -> str:
    """What it means, by its words, and a little that they do not tell."""
    noise = Random(text).gauss(0, 0.5)
    return "positive" if sum(WEIGHTS[word] for word in text.split()) + noise > 0 else "negative"


def answer(request: Request) -> str:
    """By the text alone."""
    return sentiment(request.prompt.split("Review: ")[1])


async def run(ledger: Path, url: str, rows: list[str], price: float, task: smart.Task = TASK) -> smart.Run[Any]:
    """A run with embeddings of this server, at that price."""
    return await embedded(ledger, url, rows, answer, task=task, price=price, agreement=0.75)


@pytest.mark.asyncio
async def test_rows_that_ask_the_same_make_vectors_no_cheaper(tmp_path: Path) -> None:
    """The reference is paid once for equal rows, so the limit is a share of that."""
    async with MockServer(vectors=lambda _: [0.5, 0.3, 0.2]) as url:
        with pytest.raises(InputError, match=r"on 250 different rows"):
            await run(tmp_path / "l.db", url, texts(250) * 20, price=50)


@pytest.mark.asyncio
async def test_a_dear_embedder_is_refused_before_rows_set_aside_are_asked(tmp_path: Path) -> None:
    """Rows of an earlier pilot are asked again under another prompt, but not in vain."""
    asked = list[str]()

    def counted(request: Request) -> str:
        asked.append(request.prompt)
        return answer(request)

    given: dict[str, Any] = {"reference": "fake:ref?in=100&out=100", "seed": 4, "ledger": tmp_path / "l.db"}
    rows, fake = [{"text": text} for text in texts(400)], smart.FakeProvider(counted, keep=True)
    await smart.aplan(
        rows, TASK, candidates=["fake:c?in=1&out=1"], pilot=20, procedure="reference-only",
        providers={"fake:ref": fake, "fake:c": fake}, **given,
    )  # fmt: skip
    before = len(asked)
    async with MockServer() as url:
        with pytest.raises(InputError, match=r"too much to find out on 380 different rows"):
            await smart.arun(
                rows, OTHER, candidates=[f"learned?embed=openai:e@{url}&in=50"], providers={"fake:ref": fake},
                progress=False, **given,
            )  # fmt: skip
    assert before > 0
    assert len(asked) == before


@pytest.mark.asyncio
async def test_vectors_of_several_lengths_are_refused_in_a_line(tmp_path: Path) -> None:
    """Nothing can be learned from them together."""
    async with MockServer(vectors=lambda text: [0.5] * (3 + len(text) % 3)) as url:
        with pytest.raises(Refused, match=r"vectors of . and of . numbers came from the same embedder"):
            await run(tmp_path / "l.db", url, texts(1000), price=0.02)


def stopped_before_taught(ledger: Path, run_id: str, *, without: str = "") -> None:
    """The ledger as it would be, had the run been killed before its model was written. without: what earlier versions
    did not write of a lesson."""
    with closing(sqlite3.connect(ledger, isolation_level=None)) as base:
        base.execute("DROP TRIGGER events_no_delete")
        base.execute("DROP TRIGGER events_no_update")
        (first,) = base.execute("SELECT min(id) FROM events WHERE kind = ?", (TAUGHT,)).fetchone()
        base.execute("DELETE FROM events WHERE id >= ?", (first,))
        base.execute("UPDATE events SET payload = json_remove(payload, ?)", (f"$.{without or 'nothing'}",))
        base.execute("UPDATE runs SET state = 'running', certificate = NULL WHERE id = ?", (run_id,))


@pytest.mark.asyncio
async def test_killed_after_its_last_lesson_it_learns_the_same_model(tmp_path: Path) -> None:
    """It is taught again by what that lesson began with; an earlier version's ledger is gone on with."""
    ledger, older = tmp_path / "l.db", tmp_path / "older.db"
    async with MockServer(vectors=lambda _: [0.5, 0.3, 0.2]) as url:
        done = await run(ledger, url, texts(800), price=0.02)
        model = model_of(ledger, done.run_id).digest
        older.write_bytes(ledger.read_bytes())
        for path, without in ((ledger, ""), (older, "by_vectors")):
            stopped_before_taught(path, done.run_id, without=without)
            again = await run(path, url, texts(800), price=0.02)
            assert again.run_id == done.run_id
            assert model_of(path, done.run_id).digest == model
            assert again.table == done.table
            assert smart.verify(again.certificate, ledger=path) == []


def test_where_all_rows_that_could_be_named_were_asked_about_none_is_named() -> None:
    """Those whose vectors are paid for may be few."""
    rows = texts(300)
    shelf = Shelf(len(rows), lambda at: [rows[k] for k in at], lambda at: np.array([[value(rows[k])] for k in at]))
    learner = Learner(shelf)
    learner.few = 100
    learner.teach(np.arange(300), [sentiment(text) for text in rows])
    assert learner.fitted is not None
    assert learner.fitted.embeds
    named, odds = learner.least_sure(np.arange(300), 50)
    assert len(named) == len(odds) == 0


def value(text: str) -> np.float32:
    """A vector of one number that says all."""
    return np.float32(1 if sentiment(text) == "positive" else -1)
