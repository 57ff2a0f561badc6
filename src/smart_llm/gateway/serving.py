"""`smart serve`: the gateway on a socket, until it is told to stop.

On SIGTERM or SIGINT it listens no more, answers what it was asked, waits for audits behind answers, and closes the
ledger; a second signal does not wait.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from smart_llm.errors import InputError, LedgerError
from smart_llm.gateway.config import Config

FINISHING = 30.0
"""Seconds that requests on their way have when the gateway stops, beyond the time they have anyway."""
KEPT = 75
"""Seconds that an idle connection is kept: longer than clients keep theirs, so that none is closed under a request."""
BACKLOG, CONNECTIONS = 2048, 4096
AT_ONCE = 32
"""Connections that are accepted in one turn of the event loop: each takes a file before it can give way."""


def serve(config: Config, ready: Callable[[str], None]) -> None:
    """Run until a signal comes. ready: is told the address. `LedgerError` where the ledger cannot be written."""
    try:
        import uvicorn  # noqa: F401
    except ImportError:
        raise InputError("smart serve needs what a server is made of: pip install 'smart-llm[gateway]'") from None
    with _listening(config.host, config.port) as wire:
        asyncio.run(_run(config, wire, ready))


async def _run(config: Config, wire: socket.socket, ready: Callable[[str], None]) -> None:
    import uvicorn

    from smart_llm.gateway.app import Application
    from smart_llm.gateway.gateway import Gateway
    from smart_llm.gateway.wire import ARRIVING, protocol, room

    gateway = await Gateway.open(config)
    gc.collect()
    gc.freeze()  # what is there by now stays: the collector need not look at it again and again
    most = room(CONNECTIONS)
    settings = uvicorn.Config(
        Application(gateway),
        http=protocol(min(ARRIVING, config.timeout), most),
        lifespan="off",
        log_config=None,
        log_level="error",  # what strangers send is no news
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        backlog=AT_ONCE,
        limit_concurrency=most + 1,  # idle ones give way before
        timeout_keep_alive=KEPT,
        timeout_graceful_shutdown=int(config.timeout + FINISHING),
    )
    server = _quiet(uvicorn.Server)(settings)
    under_way = server.server_state.tasks
    _on_signals(server, gateway)
    gateway.stop = lambda: setattr(server, "should_exit", True)
    host, port = wire.getsockname()[:2]
    ready(f"http://{f'[{host}]' if ':' in host else host}:{port}")
    await server.serve(sockets=[wire])
    await asyncio.gather(*under_way, return_exceptions=True)
    await gateway.close()
    if gateway.broken is not None:
        raise LedgerError(f"The gateway has stopped, because its ledger cannot be written: {gateway.broken}")


def _on_signals(server: Any, gateway: Any) -> None:
    """Stop at the first signal; the second one ends every wait."""

    def signalled(number: int) -> None:
        if server.should_exit:
            gateway.hurry()
            for task in server.server_state.tasks:
                task.cancel()
        server.handle_exit(number, None)

    for each in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(each, signalled, each)


def _quiet(server: type) -> type:
    """A server whose signals are ours: uvicorn's would end this process by the signal, after all is done."""

    class Quiet(server):  # type: ignore[misc]
        should_exit: bool

        async def startup(self, sockets: list[socket.socket]) -> None:
            await super().startup(sockets)
            for wire in sockets:
                wire.listen(
                    BACKLOG
                )  # it was told how many are accepted in a turn, and takes that for how many may wait

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            self.force_exit, self.should_exit = bool(self.should_exit), True

    return Quiet


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, proto=socket.IPPROTO_TCP)[0]
        wire = socket.socket(family, kind, protocol)  # said to be TCP: only then asyncio sends small pieces at once
        with suppress(OSError):
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            wire.bind(place)
        except OSError:
            wire.close()
            raise
    except OSError as error:
        raise InputError(f"Cannot listen on {host}:{port}: {error.strerror}.") from None
    with wire:
        wire.listen(BACKLOG)
        wire.setblocking(False)
        yield wire
