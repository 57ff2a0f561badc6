"""Functions that end in odd ways or return odd kinds of text: their rows fail or are read, and the run goes on."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

import smart_llm as smart
from smart_llm.types import Request

TASK = smart.Task("Does it complain? {text}", labels=["yes", "no"])
TABLE = [{"text": f"{'broken' if number % 3 == 0 else 'lovely'} thing {number}"} for number in range(200)]


def truth(request: Request) -> str:
    """Whoever knows."""
    return "yes" if "broken" in request.prompt else "no"


def run(ledger: Path, candidate: Any) -> smart.Run[Any]:
    """A run with this function beside a reference that knows the truth."""
    return smart.run(
        TABLE, TASK, reference="fake:ref?in=1000&out=1000", candidates=[smart.Candidate(candidate)], agreement=0.8,
        seed=5, progress=False, ledger=ledger, providers={"fake:ref": smart.FakeProvider(truth, keep=True)}, timeout=5.0
    )  # fmt: skip


class Marked(str):
    """Text of a library's own kind."""

    def __str__(self) -> str:
        raise RuntimeError("not like this")


def first(text: str) -> str:
    """What it looks for is not always there: a StopIteration."""
    return next(word for word in text.split() if re.search("nothing", word))


def closed(text: str) -> str:
    """No Exception, as Python has it."""
    raise GeneratorExit


def cancelled(text: str) -> str:
    """From a library that gave up."""
    raise asyncio.CancelledError


async def gone(text: str) -> str:
    """The same, where it is awaited."""
    raise asyncio.CancelledError


def interrupted(text: str) -> str:
    """Nobody pressed a key: it is in a thread."""
    raise KeyboardInterrupt


@pytest.mark.parametrize("odd", [first, closed, cancelled, gone, interrupted])
def test_whatever_it_raises_fails_its_row_alone(tmp_path: Path, odd: Any) -> None:
    """Every row is answered by the reference, the certificate is final, and the run can be taken up again."""
    for _ in range(2):
        done = run(tmp_path / "one.db", odd)
        assert done.certificate.status != "pending"
        assert [row["answer"] for row in done.table] == ["yes" if "broken" in row["text"] else "no" for row in TABLE]


def marked(text: str) -> str:
    """An answer in a text of its own kind."""
    return Marked("yes" if "broken" in text else "no")


class Waits:
    """An object that is called, and awaited."""

    async def __call__(self, text: str) -> str:
        """What it says."""
        await asyncio.sleep(0)
        return "yes" if "broken" in text else "no"


@pytest.mark.parametrize("odd", [marked, Waits()])
def test_what_can_be_read_is_read(tmp_path: Path, odd: Any) -> None:
    """A text of a subclass is its letters; an object whose call is async is awaited."""
    done = run(tmp_path / "one.db", odd)
    assert {row["answered_by"] for row in done.table if row["answered_by"] != "fake:ref"}
    assert [row["answer"] for row in done.table] == ["yes" if "broken" in row["text"] else "no" for row in TABLE]


def test_a_provider_that_ends_in_no_exception_does_not_pass_for_done(tmp_path: Path) -> None:
    """What a provider of the user's own raises stops the run, and is raised."""

    def answer(request: Request) -> str:
        raise GeneratorExit

    providers = {"fake:ref": smart.FakeProvider(answer, keep=True)}
    with pytest.raises(GeneratorExit):
        smart.run(
            TABLE, TASK, reference="fake:ref?in=1000&out=1000", candidates=[smart.Candidate(marked)], seed=5,
            progress=False, ledger=tmp_path / "one.db", providers=providers,
        )  # fmt: skip
