"""Nothing is lost: killed gateways, providers that are down, clients that go away, ledgers that are in use."""

from __future__ import annotations

import json
import resource
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gateways import (
    NUMBERS,
    REVIEWS,
    SMALL_WINDOWS,
    Reply,
    Served,
    asking,
    counted,
    mocking,
    serving,
    texts,
    under_way,
    until,
    verified,
    waiting,
)
from ports import kept

from smart_llm.gateway.book import asked_of, events_of
from smart_llm.gateway.verify import verify_windows
from smart_llm.ledger import Reader
from smart_llm.mock.faults import Faults
from smart_llm.mock.http import Call
from smart_llm.mock.http import Reply as Answered
from smart_llm.mock.server import MockServer
from smart_llm.procedures.stream import Accepted, Deferred, Event, Restarted, Settled, Tossed

Command = Callable[..., tuple[int, str, str]]


def recorded(folder: Path) -> list[Event]:
    """The events of the only series in a ledger."""
    with Reader.open(folder / "gateway.db") as reader:
        [series] = {event.run_id for event in all_events(reader)}
        return list(events_of(reader, series))


def all_events(reader: Reader) -> list[Any]:
    """Those that belong to a series."""
    runs = reader._db.execute("SELECT DISTINCT run FROM events WHERE kind = 'stream'").fetchall()
    return [event for (run,) in runs for event in reader.events(run)]


def test_a_killed_gateway_goes_on_where_it_was(tmp_path: Path, command: Command) -> None:
    """After each SIGKILL in the middle of traffic, every answer that went out is in the ledger with its coin, the
    window goes on, what was under way counts as without an answer, and the counts verify."""
    config, seen = (REVIEWS + SMALL_WINDOWS), list[Reply]()
    with mocking(errors={"small": 0.1}, latency=0.01, jitter=0.02) as mock:
        for number in range(3):
            with serving(tmp_path, config.format(url=mock.url)) as served:
                seen += filter(None, asking(served, [f"film {number}/{i}" for i in range(150)], killed_after=40))
    answered = [reply for reply in seen if reply.status == 200]
    assert len(answered) >= 3 * 40
    events = recorded(tmp_path)
    tossed = {event.request: event.audit for event in events if isinstance(event, Tossed)}
    accepted = {event.request for event in events if isinstance(event, Accepted)}
    assert sum(isinstance(event, Restarted) for event in events) == 2
    assert len({reply.headers["x-smart-request"] for reply in answered}) == len(answered)
    for reply in answered:
        number = int(reply.headers["x-smart-request"])
        if "small" in reply.headers["x-smart-answered-by"]:
            assert number in accepted
            assert tossed[number] == (reply.headers["x-smart-audited"] == "true")
    windows = verified(command, tmp_path)
    assert sum(window["decided"] for window in windows) == max(
        event.request for event in events if hasattr(event, "tried")
    )


class SlowReference(MockServer):
    """The reference takes seconds for every answer, once it was told to."""

    slow = False

    def handle(self, call: Call) -> Answered:
        """The candidate answers at once."""
        answer = super().handle(call)
        return replace(answer, delay=3.0) if self.slow and b'"model":"big"' in call.body else answer


@pytest.mark.parametrize("stored", [True, False])
def test_audits_that_were_out_are_asked_for_again(tmp_path: Path, command: Command, stored: bool) -> None:
    """A gateway that is killed while an audit behind an answer is out asks for it again when it next begins; without
    stored text it counts as a miss."""
    with mocking(SlowReference()) as mock:
        config = f"store_text = {str(stored).lower()}\n" + (REVIEWS + SMALL_WINDOWS).format(url=mock.url)
        with serving(tmp_path, config) as served:
            while not any(r and "small" in r.headers["x-smart-answered-by"] for r in asking(served, texts())):
                pass
            mock.server.slow = True  # so that audits are still out when the gateway is killed
            asker = threading.Thread(target=until_it_is_gone, args=(served,))
            asker.start()
            until(lambda: waiting(served) > 0)
            served.process.kill()
            asker.join()
        mock.server.slow = False
        with serving(tmp_path, config) as served:
            until(lambda: waiting(served) == 0)
            assert served.stop() == 0
    windows = verified(command, tmp_path)
    assert sum(window["audits_awaited"] for window in windows) == 0
    assert (sum(window["audits_failed"] for window in windows) > 0) == (not stored)


def until_it_is_gone(served: Served) -> None:
    """Ask and ask."""
    while None not in asking(served, texts()):
        pass


def page(served: Served) -> str:
    """What its page says."""
    return served.get("/").body.decode()


def test_it_goes_on_from_notes(tmp_path: Path, command: Command) -> None:
    """A gateway that begins again reads its notes of how the stream stood and the events since alone: it goes on in the
    same window where older events are gone. `smart verify` reads all of them, and finds a note that was changed."""
    ledger, config = tmp_path / "gateway.db", REVIEWS + "window = 30\nagreement = 0.8\n"
    with mocking(errors={"small": 0.1}) as mock:
        for number in range(2):
            with serving(tmp_path, config.format(url=mock.url)) as served:
                asking(served, [f"film {number}/{i}" for i in range(70)])
                assert served.stop() == 0
        assert len(verified(command, tmp_path)) == 5
        with closing(sqlite3.connect(ledger, isolation_level=None)) as base:
            base.execute("DROP TRIGGER events_no_update")
            base.execute("DROP TRIGGER events_no_delete")
            notes = base.execute("SELECT id, payload FROM events WHERE kind = 'summary' ORDER BY id").fetchall()
            changed = notes[-1][1].replace('"decided":', '"decided":1')
            base.execute("UPDATE events SET payload = ? WHERE id = ?", (changed, notes[-1][0]))
            [(series,)] = base.execute("SELECT id FROM events WHERE kind = 'series'").fetchall()
        code, out, err = command("verify", ledger)
        assert (code, "how the stream stood then is not what its events say" in out + err) == (5, True)
        with closing(sqlite3.connect(ledger, isolation_level=None)) as base:
            base.execute("UPDATE events SET payload = ? WHERE id = ?", (notes[-1][1], notes[-1][0]))
            base.execute("DELETE FROM events WHERE kind = 'stream' AND id < ?", (notes[-1][0],))
        with serving(tmp_path, config.format(url=mock.url)) as served:
            reply = served.chat("film again")
            assert (reply.headers["x-smart-window"], reply.headers["x-smart-request"]) == ("5", "141")
            assert 'smart_windows{route="reviews",state="kept"} 4.0' in served.get("/metrics").body.decode()
            assert served.stop() == 0
        with closing(sqlite3.connect(ledger, isolation_level=None)) as base:
            base.execute("UPDATE events SET payload = replace(payload, 'stream/2', 'stream/1') WHERE id = ?", (series,))
        code, out, err = command("verify", ledger)
        assert (code, "another version" in out + err) == (5, True)


def test_a_candidate_that_is_down_costs_nobody_an_answer(tmp_path: Path, command: Command) -> None:
    """While a candidate's address refuses connections the reference answers, soon without trying the candidate; when
    it is back it is asked again."""
    with kept() as port, mocking() as big, ExitStack() as stack:
        config = (REVIEWS + SMALL_WINDOWS).format(url=big.url)
        config = config.replace(f"openai:small@{big.url}", f"openai:small@http://127.0.0.1:{port}/v1")
        served = stack.enter_context(serving(tmp_path, config))
        replies = asking(served, [f"film {i}" for i in range(20)])
        assert all(r is not None and r.status == 200 and "big" in r.headers["x-smart-answered-by"] for r in replies)
        asked = counted(served, "smart_calls_total", "small")
        assert all(r is not None and r.status == 200 for r in asking(served, [f"more {i}" for i in range(20)]))
        assert counted(served, "smart_calls_total", "small") < asked + 10
        until(lambda: served.chat(f"film {next(NUMBERS)}/more").status == 200 and "left alone" in page(served))
        with mocking(port=port):
            by = ""
            for i in range(200):
                by = served.chat(f"again {i}").headers["x-smart-answered-by"]
                if "small" in by:
                    break
                time.sleep(0.05)
            assert "small" in by
        assert served.stop() == 0
    assert all(window["unanswered"] == 0 for window in verified(command, tmp_path))


def test_a_reference_that_is_down_is_told_and_counted(tmp_path: Path) -> None:
    """Where neither can answer, a client is told 502 or 503 and when to come again; the metrics count it, and the
    gateway recovers by itself."""
    with kept() as port, ExitStack() as stack:
        config = "timeout = 8\n" + (REVIEWS + SMALL_WINDOWS).format(url=f"http://127.0.0.1:{port}/v1")
        served = stack.enter_context(serving(tmp_path, config))
        replies = asking(served, [f"film {i}" for i in range(10)])
        assert all(r is not None and r.status in (502, 503) and int(r.headers["retry-after"]) >= 1 for r in replies)
        assert all(r is not None and "film" not in r.body.decode() for r in replies)
        assert b'smart_refused_total{route="reviews",status="50' in served.get("/metrics").body
        with mocking(port=port):
            deadline = time.monotonic() + 60
            while served.chat("Still there?").status != 200:
                assert time.monotonic() < deadline
                time.sleep(0.2)


def test_what_cannot_be_recorded_is_not_answered(tmp_path: Path, command: Command) -> None:
    """Once the ledger cannot be written, no answer goes out any more, and the gateway ends with exit code 5 and one
    line; what was written before is whole, and another gateway goes on from it."""

    def no_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))

    with mocking() as mock:
        config = (REVIEWS + SMALL_WINDOWS).format(url=mock.url)
        with serving(tmp_path, config, before=no_room) as served:
            replies = [reply for _ in range(60) for reply in asking(served, texts())]
            assert served.process.wait(30) == 5
        answered = [reply for reply in replies if reply is not None and reply.status == 200]
        assert replies[-1] is None or replies[-1].status == 503
        assert "cannot be written" in served.log[-1]
        assert not any("Traceback" in line for line in served.log)
        events = recorded(tmp_path)
        known = {event.request for event in events if isinstance(event, Accepted | Deferred)}
        assert {int(reply.headers["x-smart-request"]) for reply in answered} <= known
        with serving(tmp_path, config) as served:
            assert served.chat("film again").status == 200
            assert served.stop() == 0
    assert verified(command, tmp_path)


def test_rate_limits_reach_the_client_only_at_last(tmp_path: Path) -> None:
    """While the reference answers with its rate limit alone, requests wait for it; only when their time is over are
    they told 429, and when to come again."""
    limited = Faults(throttle=1.0)
    with mocking(faults=limited) as mock, serving(tmp_path, "timeout = 6\n" + REVIEWS.format(url=mock.url)) as served:
        began = time.monotonic()
        reply = served.chat("film")
        assert (reply.status, "retry-after" in reply.headers) == (429, True)
        assert "rate limit" in reply.json["error"]["message"]
        assert 1 < time.monotonic() - began < 50


def test_a_client_that_goes_away_changes_nothing(tmp_path: Path) -> None:
    """A client that hangs up before its answer comes: the request is decided and recorded as if it had stayed."""
    with mocking(latency=3.0) as mock, serving(tmp_path, (REVIEWS + SMALL_WINDOWS).format(url=mock.url)) as served:
        body = json.dumps({"model": "smart/reviews", "messages": [{"role": "user", "content": "Gone"}]}).encode()
        host, port = served.url.removeprefix("http://").split(":")
        for number in (1, 2):
            with socket.create_connection((host, int(port))) as wire:
                head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n"
                wire.sendall(head.encode() + body)
                until(lambda number=number: under_way(served) == number)
        until(lambda: under_way(served) == 0)
        assert served.stop() == 0
    events = recorded(tmp_path)
    decided = {event.request for event in events if isinstance(event, Accepted | Deferred)}
    ended = {event.request for event in events if isinstance(event, Tossed | Settled)}
    known = {event.request for event in events if isinstance(event, Deferred) and event.known}
    assert decided == ended | known == {1, 2}
    with Reader.open(tmp_path / "gateway.db") as reader:
        [series] = {event.run_id for event in all_events(reader)}
        assert len(list(asked_of(reader, series))) == 2
        assert reader.count() >= 1


def test_slow_clients_hold_nobody_up(tmp_path: Path) -> None:
    """A request that comes in pieces is answered, and others meanwhile. One whose body, or head, does not come within
    the time for an answer is told so, or hung up on; one that does not read its answer keeps nobody waiting."""
    body = json.dumps({"model": "smart/reviews", "messages": [{"role": "user", "content": "Slow"}]}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    with (
        mocking() as mock,
        serving(tmp_path, "timeout = 3\n" + (REVIEWS + SMALL_WINDOWS).format(url=mock.url)) as served,
    ):
        place = ("127.0.0.1", int(served.url.rpartition(":")[2]))
        whole, bodiless, headless, deaf = (socket.create_connection(place, timeout=20) for _ in range(4))
        with whole, bodiless, headless, deaf:
            bodiless.sendall(head + body[:20])
            headless.sendall(head[:30])
            deaf.sendall((head + body) * 20)
            for start in range(0, len(head + body), 40):
                whole.sendall((head + body)[start : start + 40])
                assert served.chat(f"film {start}").status == 200
            assert whole.recv(20).split()[1] == b"200"
            assert bodiless.recv(20).split()[1] == b"408"
            assert headless.recv(20) == b""
            assert served.chat("film again").status == 200
            assert served.stop() == 0


def test_a_stop_answers_what_is_on_its_way(tmp_path: Path, command: Command) -> None:
    """On SIGTERM requests on their way are answered, audits behind answers come back, and it ends with exit code 0;
    whoever comes later is refused a connection."""
    with mocking(latency=0.4) as mock, serving(tmp_path, (REVIEWS + SMALL_WINDOWS).format(url=mock.url)) as served:
        with ThreadPoolExecutor(12) as pool:
            waiting = [pool.submit(served.chat, f"film {i}") for i in range(12)]
            until(lambda: sum(each.done() for each in waiting) + under_way(served) == 12)
            served.process.send_signal(signal.SIGTERM)
            assert [each.result().status for each in waiting] == [200] * 12
        assert served.process.wait(20) == 0
        assert asking(served, ["late"]) == [None]
    windows = verified(command, tmp_path)
    assert [window["audits_awaited"] for window in windows] == [0]
    _, problems = verify_windows(tmp_path / "gateway.db")
    assert not problems
