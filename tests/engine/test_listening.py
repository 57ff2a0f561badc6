"""Who listens to a run, and who may stop it: a function that fails, Ctrl-C in a thread, runs side by side."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import smart_llm as smart
from smart_llm.engine.signals import stopping, wait
from smart_llm.ledger import Reader
from smart_llm.mock.server import MockServer
from smart_llm.types import Request

TASK = smart.Task("Yes or no?\n{text}", labels=["yes", "no"])
BIG, SMALL = "fake:big?in=10&out=10", "fake:small?in=1&out=1"


def providers(latency: float = 0.0, interrupted_at: int = 0) -> dict[str, smart.FakeProvider]:
    """Two models that agree. interrupted_at: the call of the reference during which somebody presses Ctrl-C."""

    def answer(request: Request) -> str:
        return "yes" if len(request.prompt) % 2 else "no"

    def big(request: Request) -> str:
        nonlocal interrupted_at
        if (interrupted_at := interrupted_at - 1) == 0:
            os.kill(os.getpid(), signal.SIGINT)
        return answer(request)

    return {"fake:big": smart.FakeProvider(big, latency=latency), "fake:small": smart.FakeProvider(answer)}


def usual(path: Path, **options: Any) -> dict[str, Any]:
    """Arguments of a run."""
    given: dict[str, Any] = {"reference": BIG, "candidates": [SMALL], "agreement": "0.9", "seed": 7, "concurrency": 4}
    return {**given, "providers": providers(), "ledger": path / "ledger.db", **options}


def rows(count: int = 400) -> list[dict[str, Any]]:
    """A table of texts."""
    return [{"text": "x" * (i % 7) + f" {i}"} for i in range(count)]


def paid(path: Path) -> int:
    """Answers in the ledger."""
    with Reader.open(path / "ledger.db") as reader:
        return reader.count()


def test_events_tell_the_whole_story(tmp_path: Path) -> None:
    """Profiling, a decision, delivery up to the last row, the end; spending never falls, and all events are frozen."""
    heard: list[smart.Event] = []
    done = smart.run(rows(), TASK, **usual(tmp_path, on_event=heard.append))
    kinds = [type(event).__name__ for event in heard if not isinstance(event, smart.Said)]
    order = sorted(set(kinds), key=kinds.index)
    assert order == ["Profiling", "Decided", "Delivering", "Ended"]
    last = [event for event in heard if isinstance(event, smart.Delivering)][-1]
    assert (last.done, last.rows) == (400, 400)
    spent = [event.spent for event in heard if not isinstance(event, smart.Said)]
    assert spent == sorted(spent)
    assert spent[-1] == pytest.approx(done.cost)
    with pytest.raises(AttributeError):
        last.done = 3  # type: ignore[misc]


@pytest.mark.parametrize("kind", [smart.Profiling, smart.Decided, smart.Delivering])
def test_a_function_that_fails_stops_the_run_cleanly(tmp_path: Path, kind: type) -> None:
    """Its own exception comes out with a note on how to go on; all bought is kept, and the next run ends the job."""
    calls = 0

    def failing(event: smart.Event) -> None:
        nonlocal calls
        calls += isinstance(event, kind)
        if calls:
            raise RuntimeError("my mistake")

    given = providers()
    with pytest.raises(RuntimeError, match="my mistake") as caught:
        smart.run(rows(), TASK, **usual(tmp_path, on_event=failing, providers=given))
    assert calls == 1
    assert "run again to go on" in " ".join(caught.value.__notes__)
    before = paid(tmp_path)
    assert before == sum(provider.calls for provider in given.values())
    again = providers()
    done = smart.run(rows(), TASK, **usual(tmp_path, providers=again))
    assert {row["status"] for row in done.table} == {"ok"}
    assert paid(tmp_path) == before + sum(provider.calls for provider in again.values())


def test_a_display_beside_a_function(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`progress=True` writes to stderr beside the user's function; a script that asks for nothing stays quiet."""
    heard: list[smart.Event] = []
    smart.run(rows(), TASK, **usual(tmp_path, on_event=heard.append, progress=True))
    shown = capsys.readouterr()
    assert heard
    assert "certified: 400 rows" in shown.err
    assert shown.out == ""
    smart.run(rows(), TASK, **usual(tmp_path))
    assert capsys.readouterr().err == ""


async def test_runs_side_by_side_stop_together_and_give_the_handlers_back(tmp_path: Path) -> None:
    """One Ctrl-C stops every run of the loop cleanly; afterwards the handlers are those of before."""
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        path.mkdir()
    given = [providers(0.01) for _ in paths]
    runs = [
        asyncio.create_task(smart.arun(rows(4000), TASK, **usual(path, providers=each)))
        for path, each in zip(paths, given, strict=True)
    ]
    while not all(sum(provider.calls for provider in each.values()) > 20 for each in given):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)
    ended = await asyncio.gather(*runs, return_exceptions=True)
    assert [type(each) for each in ended] == [smart.Interrupted] * 2
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert all(paid(path) for path in paths)


async def test_handlers_stay_while_another_run_goes_on() -> None:
    """The first of two runs to end leaves the second's Ctrl-C to it; the last gives the handlers back."""
    before = signal.getsignal(signal.SIGINT)
    with stopping() as first:
        with stopping() as second:
            pass
        os.kill(os.getpid(), signal.SIGINT)
        while not first.requested:  # noqa: ASYNC110  a signal comes when it comes
            await asyncio.sleep(0.01)
        assert not second.requested
    assert signal.getsignal(signal.SIGINT) == before


class LoopWithoutSignals(asyncio.SelectorEventLoop):
    """As on Windows: a loop that takes no signals."""

    def add_signal_handler(self, sig: int, callback: object, *args: object) -> None:
        """Not on this system."""
        raise NotImplementedError

    def remove_signal_handler(self, sig: int) -> bool:
        """Not on this system."""
        raise NotImplementedError


def test_a_loop_that_takes_no_signals_stops_all_the_same(tmp_path: Path) -> None:
    """Ctrl-C stops a run cleanly where the loop takes no signals, and the handlers of before are given back."""

    def before() -> list[object]:
        return [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]

    async def work() -> None:
        outside = before()
        try:
            await smart.arun(rows(4000), TASK, **usual(tmp_path, providers=providers(0.01, interrupted_at=20)))
        finally:
            assert before() == outside

    with asyncio.Runner(loop_factory=LoopWithoutSignals) as runner, pytest.raises(smart.Interrupted):
        runner.run(work())
    assert paid(tmp_path)


async def test_inside_a_running_loop(tmp_path: Path) -> None:
    """`smart.run` works where a loop is running already, as in a notebook."""
    done = smart.run(rows(50), TASK, **usual(tmp_path))
    assert len(done.table) == 50


async def test_a_run_in_a_thread_is_stopped_by_the_notebooks_interrupt(tmp_path: Path) -> None:
    """The interrupt that reaches the waiting thread becomes a clean stop of the run beside it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(smart.Interrupted):
            smart.run(rows(4000), TASK, **usual(tmp_path, providers=providers(0.01, interrupted_at=20)))
    finally:
        signal.signal(signal.SIGINT, before)
    assert paid(tmp_path)


def test_wait_hands_results_and_errors_through() -> None:
    """A coroutine's result and its exception come out unchanged."""

    async def three() -> int:
        return 3

    async def failing() -> int:
        raise ValueError("no")

    assert wait(three()) == 3
    with pytest.raises(ValueError, match="no"):
        wait(failing())


async def test_ctrl_c_on_a_terminal(tmp_path: Path) -> None:
    """On a real terminal: a live display, Ctrl-C ends it with what was kept and how to go on, exit code 130."""
    (tmp_path / "t.csv").write_text("text\n" + "".join(f"row {i}\n" for i in range(3000)))
    ours, theirs = pty.openpty()
    async with MockServer(rule="label:yes,no", latency=0.01) as url:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "smart_llm.cli", "run", str(tmp_path / "t.csv"), "--prompt", "? {text}"),
            *("--labels", "yes,no", "--reference", f"openai:big@{url}?in=10&out=10", "--yes", "--seed", "1"),
            *("--candidate", f"openai:small@{url}?in=1&out=1", "--concurrency", "4"),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
        )
        os.close(theirs)
        seen = await asyncio.to_thread(read, ours, until=b"profiled", seconds=120)
        process.send_signal(signal.SIGINT)
        seen += await asyncio.to_thread(read, ours, until=None, seconds=120)
        assert await process.wait() == 130, seen.decode()
    assert b"rows answered and $" in seen
    assert b"again" in seen
    assert b"Traceback" not in seen


def read(terminal: int, *, until: bytes | None, seconds: float) -> bytes:
    """What is written to a terminal until this appears, or it is closed."""
    seen, end = b"", time.monotonic() + seconds
    while time.monotonic() < end and (until is None or until not in seen):
        try:
            seen += os.read(terminal, 4096)
        except OSError:  # the other side is closed
            break
    return seen
