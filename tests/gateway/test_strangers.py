"""Clients that send what no SDK sends: none of them holds a connection, memory or the others for longer than it may."""

from __future__ import annotations

import json
import resource
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import pytest
from gateways import REVIEWS, Served, mocking, serving

Command = Callable[..., tuple[int, str, str]]
ASKED = json.dumps({"model": "smart/reviews", "messages": [{"role": "user", "content": "Film"}]}).encode()
START = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
HEAD = START + b"content-length: %d\r\n\r\n" % len(ASKED)
HEALTH = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n"
SHORT = "timeout = 2\n"
SOON = 50.0
"""Seconds that no machine is too busy for, and far fewer than for ever."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A gateway that gives everything two seconds."""
    with mocking() as mock:
        with serving(tmp_path_factory.mktemp("gateway"), SHORT + REVIEWS.format(url=mock.url)) as found:
            while found.chat("Film").status != 200:
                pass  # from now on the ledger has the answer, and two seconds are enough for it
            yield found
            assert found.stop() == 0
        assert [line for line in found.log if not line.startswith("base URL")] == []


def connected(served: Served) -> Any:
    """A connection that is closed at the end of the block."""
    return closing(socket.create_connection(("127.0.0.1", int(served.url.rpartition(":")[2])), timeout=SOON))


def heard(wire: socket.socket) -> bytes:
    """What comes until the connection is cut."""
    whole = bytearray()
    try:
        while data := wire.recv(65536):
            whole += data
    except ConnectionError:
        pass
    return bytes(whole)


@pytest.mark.parametrize(
    ("before", "sent", "said"),
    [
        (b"", HEAD, b"408"),
        (b"", HEAD[:-2] + b"expect: 100-continue\r\n\r\n", b"100"),
        (b"", START + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", b"408"),
        (HEAD + ASKED, HEAD[:30], b""),
        (HEALTH + b"\r\n", b"\r\n", b""),
        (HEALTH + b"\r\n", HEALTH, b""),
        (HEALTH + b"content-length: 100\r\n\r\n", b"x", b""),
    ],
    ids=["no body", "no body after 100", "no more chunks", "second head", "a line", "half a head", "unasked body"],
)
def test_whoever_stops_in_the_middle_is_cut_off(served: Served, before: bytes, sent: bytes, said: bytes) -> None:
    """A request that stops anywhere, be it the first of its connection or a later one, is told so or hung up on within
    the time for an answer."""
    with connected(served) as wire:
        if before:
            wire.sendall(before)
            assert wire.recv(65536).split()[1] == b"200"
        began = time.monotonic()
        wire.sendall(sent)
        assert heard(wire)[9:12] == said
        assert time.monotonic() - began < SOON


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (HEALTH, b"x-more: of the same\r\n"),
        (HEALTH + b"x-long: ", b"0123456789abcdef"),
        (b"GET /", b"0123456789abcdef"),
        (HEAD + ASKED + HEALTH, b"x-more: of the same\r\n"),
        (START + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", b"x-more: of the same\r\n"),
        (START + b"transfer-encoding: chunked\r\n\r\n2;", b"0123456789abcdef"),
        (HEALTH + b"\r\n", b"\r\n\r\n\r\n\r\n"),
    ],
    ids=["headers", "one header", "address", "second head", "trailers", "chunk extension", "blank lines"],
)
def test_heads_without_end_are_cut_off(served: Served, start: bytes, piece: bytes) -> None:
    """Of what is no body only so much is read: whoever goes on is cut off long before the time for it is over, and
    costs no memory."""
    before, began = memory(served), time.monotonic()
    with connected(served) as wire:
        wire.sendall(start)
        sent = list[int]()
        with suppress(ConnectionError):
            while len(sent) < 400:
                wire.sendall(piece * 4096)
                sent.append(1)
        assert len(sent) < 400
        assert time.monotonic() - began < SOON
        assert memory(served) - before < 30
    assert served.get("/healthz").status == 200


def memory(served: Served) -> float:
    """Resident megabytes."""
    status = Path(f"/proc/{served.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1000


def test_a_head_of_many_lines_is_read(served: Served) -> None:
    """Large heads are no fault, nor are many requests in a row, of any size, on one connection."""
    with connected(served) as wire:
        many = b"".join(b"x-%d: %d\r\n" % (i, i) for i in range(2000))
        padded = ASKED + b" " * 30_000
        head = START + b"content-length: %d\r\n\r\n" % len(padded)
        for _ in range(30):
            wire.sendall(HEALTH + many + b"\r\n")
            assert wire.recv(65536).split()[1] == b"200"
            wire.sendall(head + padded)
            assert wire.recv(65536).split()[1] == b"200"
        chunks = b"".join(b"1\r\n%c\r\n" % each for each in padded)
        wire.sendall(START + b"transfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
        assert wire.recv(65536).split()[1] == b"200"
        wire.sendall((HEAD + ASKED) * 100)
        whole = b""
        while whole.count(b"HTTP/1.1 200") < 100:
            whole += (data := wire.recv(65536))
            assert data


@pytest.mark.parametrize(
    "body",
    [
        {"model": "smart/" + "ab" * 1_900_000},
        {"model": "smart/" + "reviews" * 540_000},
        {"model": "smart/reviews", "x" * 3_800_000: 1},
        {"model": "smart/reviews", "messages": [{"role": "user", "y" * 3_800_000: 1}]},
    ],
    ids=["model", "like a route", "field", "field of a message"],
)
def test_endless_names_cost_nothing(served: Served, body: dict[str, Any]) -> None:
    """A name of a million letters is not compared with others letter by letter, nor sent back."""
    spent = cpu(served)
    reply = served.post("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], **body})
    assert (reply.status // 100, len(reply.body) < 1000) == (4, True)
    assert cpu(served) - spent < 0.7


def cpu(served: Served) -> float:
    """CPU-seconds so far."""
    fields = Path(f"/proc/{served.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


GARBAGE = {
    "not HTTP": (b"SSH-2.0-OpenSSH\r\n\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "length and chunks": (START + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "two lengths": (START + b"content-length: 5\r\ncontent-length: 6\r\n\r\n", 400),
    "negative length": (START + b"content-length: -5\r\n\r\n", 400),
    "no chunk": (START + b"transfer-encoding: chunked\r\n\r\nzz\r\n", 400),
    "no chunk later": (START + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\nqq\r\n", 400),
    "gzip, chunked": (START + b"content-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 415),
    "half a line end": (HEALTH + b"x: a\rb\r\n\r\n", 400),
    "websocket": (HEALTH + b"connection: upgrade\r\nupgrade: websocket\r\n\r\n", 200),
    "HEAD": (HEALTH.replace(b"GET", b"HEAD") + b"\r\n", 200),
    "OPTIONS": (START.replace(b"POST", b"OPTIONS") + b"\r\n", 405),
    "GET": (START.replace(b"POST", b"GET") + b"\r\n", 405),
    "CONNECT": (b"CONNECT localhost:80 HTTP/1.1\r\nhost: localhost\r\n\r\n", 400),
    "HTTP/1.0": (HEAD.replace(b"1.1", b"1.0") + ASKED, 200),
    "HTTP/1.0 without a host": (HEAD.replace(b"1.1\r\nhost: localhost", b"1.0") + ASKED, 403),
    "whole address": (HEAD.replace(b"/v1", b"http://evil.example/v1") + ASKED, 200),
    "two hosts": (HEAD.replace(b"host: ", b"host: evil.example\r\nhost: ") + ASKED, 403),
    "two origins": (HEAD[:-2] + b"origin: http://evil.example\r\norigin: http://localhost\r\n\r\n" + ASKED, 403),
    "packed on the way": (START + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 415),
    "two codings": (HEAD[:-2] + b"content-encoding: gzip\r\ncontent-encoding: identity\r\n\r\n" + ASKED, 415),
    "not packed": (HEAD[:-2] + b"content-encoding: Identity\r\n\r\n" + ASKED, 200),
    "UTF-16": (START + b"content-length: 2\r\n\r\n\xff\xfe", 400),
}


@pytest.mark.parametrize(("sent", "status"), GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_told_so(served: Served, sent: bytes, status: int) -> None:
    """Whatever is sent, it is answered in HTTP, nothing else is disturbed, and the log does not fill with it."""
    with connected(served) as wire:
        wire.sendall(sent)
        assert int(wire.recv(65536).split()[1]) == status
    assert served.get("/healthz").status == 200


OFFER = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n"
OFFERED = HEAD[:-2] + OFFER + b"\r\n"
CHUNKED = START + OFFER + b"transfer-encoding: chunked\r\n\r\n"
CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(ASKED), ASKED)


@pytest.mark.parametrize(
    "pieces",
    [
        (OFFERED + ASKED,),
        (OFFERED, ASKED),
        (OFFERED + ASKED[:9], ASKED[9:]),
        (CHUNKED + CHUNKS,),
        (CHUNKED, CHUNKS[:7], CHUNKS[7:]),
        (OFFERED.replace(b"h2c", b"websocket") + ASKED,),
        (HEALTH + OFFER + b"\r\n",),
        (HEAD + ASKED + OFFERED, ASKED),
        ((HEALTH + OFFER + b"\r\n") * 1500,),
    ],
    ids=[
        "at once",
        "head, body",
        "in the body",
        "chunks",
        "pieces of chunks",
        "websocket",
        "no body",
        "second",
        "many",
    ],
)
def test_an_offer_of_another_protocol_is_passed_over(served: Served, pieces: tuple[bytes, ...]) -> None:
    """Java's own client offers HTTP/2 with every request: its body is read as that of any other, and so is the request
    after it on the same connection."""
    with connected(served) as wire:
        for piece in (*pieces, OFFERED + ASKED + HEALTH + b"connection: close\r\n\r\n"):
            wire.sendall(piece)
            time.sleep(0.1)  # so that they are read one by one
        got = heard(wire)
        assert got.count(b"HTTP/1.1 200") == got.count(b"HTTP/1.1 ") == sum(map(sent, pieces)) + 2


def sent(piece: bytes) -> int:
    """How many requests."""
    return piece.count(b" HTTP/1.1\r\n")


def test_a_length_in_thousands_of_digits(served: Served) -> None:
    """It is read, or the request is refused; nobody is told of a fault of the gateway's own."""
    for length, status in ((b"0" * 5000 + b"%d" % len(ASKED), b"200"), (b"9" * 5000, b"400")):
        with connected(served) as wire:
            wire.sendall(START + b"content-length: " + length + b"\r\n\r\n" + ASKED)
            assert wire.recv(65536).split()[1] == status


def test_whoever_does_not_read_is_cut_off(tmp_path: Path, command: Command) -> None:
    """Clients that ask and ask and read no answer: their connections are cut, and a stop does not wait for them."""
    config = SHORT + REVIEWS.replace('labels = ["positive", "negative"]', 'answer = "text"\nmax_tokens = 40000')
    with mocking(answer=lambda model, prompt: "word " * 20_000) as mock:
        with serving(tmp_path, config.format(url=mock.url)) as served:
            while served.chat("Film").status != 200:  # from now on the ledger has the answer
                time.sleep(0.5)
            with connected(served) as deaf:
                deaf.settimeout(1)
                with suppress(OSError):  # until nothing more is taken
                    while True:
                        deaf.sendall((HEAD + ASKED) * 500)
                with connected(served) as slow:
                    slow.sendall((HEAD + ASKED) * 19 + HEAD[:-2] + b"connection: close\r\n\r\n" + ASKED)
                    got = bytearray()
                    while data := slow.recv(100_000):
                        got += data
                        time.sleep(0.05)
                    assert got.count(b"HTTP/1.1 200") == 20
                served.process.send_signal(signal.SIGTERM)
                assert served.process.wait(20) == 0
        assert not any("Traceback" in line or "Exception" in line for line in served.log)
    assert command("verify", tmp_path / "gateway.db")[0] == 0


def test_silent_connections_give_way(tmp_path: Path) -> None:
    """Many more connections than the system lets a process have: those on which nothing is asked give way, so that all
    others are answered at once, and the log has no line of it."""

    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))

    with mocking() as mock, serving(tmp_path, REVIEWS.format(url=mock.url), before=few) as served, ExitStack() as stack:
        asking = stack.enter_context(connected(served))
        asking.sendall(HEAD)  # this one is no silent one
        for number in range(600):
            stack.enter_context(connected(served)).sendall(b"" if number % 2 else HEALTH)
        began = time.monotonic()
        assert served.chat("film").status == 200
        assert time.monotonic() - began < SOON
        asking.sendall(ASKED)
        assert asking.recv(65536).split()[1] == b"200"
        assert served.stop() == 0
    assert not any("Traceback" in line or "resource" in line for line in served.log)
