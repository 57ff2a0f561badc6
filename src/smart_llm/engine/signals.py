"""Ctrl-C, from wherever it comes: a run in the main thread hears signals itself, a run in another thread is told.

The first SIGINT or SIGTERM asks every run for a clean stop and gives the signals back to whoever had them before, so a
second one does what it would have done without us. Several runs in one loop share the handlers; the last one to end
gives them back.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from smart_llm.errors import Interrupted
from smart_llm.events import Stop
from smart_llm.text.commands import NOTHING_YET

Result = TypeVar("Result")
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Handlers:
    """The signal handlers of this process while runs are going on in its main thread."""

    def __init__(self) -> None:
        self._stops: list[Stop] = []
        self._before: dict[signal.Signals, Any] = {}

    def add(self, stop: Stop) -> None:
        """This run wants to hear of signals."""
        if not self._before:
            loop = asyncio.get_running_loop()
            for each in SIGNALS:
                self._before[each] = signal.getsignal(each)
                self._listen(loop, each)
        self._stops.append(stop)

    def remove(self, stop: Stop) -> None:
        """It has ended."""
        self._stops.remove(stop)
        if not self._stops:
            self._give_back()

    def _listen(self, loop: asyncio.AbstractEventLoop, each: signal.Signals) -> None:
        """Hear this signal; the loops of Windows do not take signals themselves."""
        try:
            loop.add_signal_handler(each, self._ask)
        except NotImplementedError:
            signal.signal(each, lambda *_: loop.call_soon_threadsafe(self._ask))

    def _ask(self) -> None:
        self._give_back()
        for stop in self._stops:
            stop.request()

    def _give_back(self) -> None:
        loop = asyncio.get_running_loop()
        for each, handler in self._before.items():
            with contextlib.suppress(NotImplementedError):
                loop.remove_signal_handler(each)
            if handler is not None:  # None: not set from Python, and not for us to set
                signal.signal(each, handler)
        self._before.clear()


_handlers = Handlers()
_elsewhere: dict[Stop, asyncio.AbstractEventLoop] = {}
"""Runs in other threads, with their loops."""
_begun = False


def begun() -> bool:
    """Whether any run of this process has opened its ledger."""
    return _begun


@contextlib.contextmanager
def stopping() -> Iterator[Stop]:
    """A stop that signals ask for, as long as the block lasts."""
    global _begun
    stop, _begun = Stop(), True
    if threading.current_thread() is not threading.main_thread():
        _elsewhere[stop] = asyncio.get_running_loop()
        try:
            yield stop
        finally:
            del _elsewhere[stop]
        return
    _handlers.add(stop)
    try:
        yield stop
    finally:
        _handlers.remove(stop)


def wait(work: Coroutine[Any, Any, Result]) -> Result:
    """The result of a coroutine, from code that is not async; inside a running loop (a notebook) it gets a thread."""
    if not _in_a_loop():
        return _here(work)
    pool = ThreadPoolExecutor(1)
    try:
        return _beside(pool.submit(asyncio.run, work))
    finally:
        pool.shutdown(wait=False)


def at_once() -> Interrupted:
    """What to say of a stop that nobody waited for."""
    if not begun():
        return Interrupted(NOTHING_YET)
    return Interrupted("Stopped at once. What was recorded is kept: run the same command again to go on.")


def _in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _here(work: Coroutine[Any, Any, Result]) -> Result:
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:  # the second one: the first asks for a clean stop
        raise at_once() from None


def _beside(running: Future[Result]) -> Result:
    """Wait for a run in another thread; interrupted, ask for a clean stop and wait for that."""
    try:
        return running.result()
    except KeyboardInterrupt:
        for stop, loop in list(_elsewhere.items()):
            loop.call_soon_threadsafe(stop.request)
    return running.result()
