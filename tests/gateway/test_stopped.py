"""Stops in a hurry, places that cannot be written, ledgers that two want to write, and records that were changed."""

from __future__ import annotations

import itertools
import json
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from forks import ran
from gateways import (
    NUMBERS,
    REVIEWS,
    SMALL_WINDOWS,
    asking,
    hurried,
    mocking,
    serving,
    texts,
    under_way,
    until,
    verified,
    waiting,
)
from ports import kept

from smart_llm.gateway.gateway import DRAINING

Command = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_does_not_wait(tmp_path: Path, command: Command, how: signal.Signals) -> None:
    """Whether requests or audits are under way: it ends soon, in order, without a traceback; whoever waits is told so,
    and what was answered is in the ledger."""
    with mocking() as mock:
        config = "timeout = 400\n" + (REVIEWS + SMALL_WINDOWS).format(url=mock.url)
        with serving(tmp_path, config) as served:
            while not any(r and "small" in r.headers["x-smart-answered-by"] for r in asking(served, texts())):
                pass
            mock.server._latency = 300.0
            with ThreadPoolExecutor(8) as pool:
                replies = [pool.submit(asking, served, [f"late {number}"]) for number in range(8)]
                until(lambda: under_way(served) == 8)
                hurried(served, how)
                assert served.process.wait(60) == 0
                told = [reply for each in replies for reply in each.result() if reply is not None]
        assert {reply.status for reply in told} == {503}
        assert not any("Traceback" in line or "Exception" in line for line in served.log)
    assert not list(tmp_path.glob("gateway.db-ahead.*"))
    assert verified(command, tmp_path)


def test_a_second_signal_ends_the_wait_for_audits(tmp_path: Path, command: Command) -> None:
    """While it waits for audits behind answers a second signal ends that; they are asked for again later."""
    with ExitStack() as stack:
        small = stack.enter_context(mocking())
        with mocking(port=stack.enter_context(kept())) as big:
            config = (REVIEWS + SMALL_WINDOWS).format(url=big.url)
            config = config.replace(f"openai:small@{big.url}", f"openai:small@{small.url}")
            served = stack.enter_context(serving(tmp_path, config))
            while not any(r and "small" in r.headers["x-smart-answered-by"] for r in asking(served, texts())):
                pass

        def audited() -> bool:  # the reference is down: an audit is tried again after a while
            served.chat(f"film {next(NUMBERS)}")
            return waiting(served) > 0

        until(audited)
        began = time.monotonic()
        hurried(served)
        assert served.process.wait(60) == 0
        assert time.monotonic() - began < DRAINING
    assert sum(window["audits_awaited"] for window in verified(command, tmp_path)) > 0


def test_places_that_cannot_be_written(tmp_path: Path, command: Command) -> None:
    """What keeps a gateway from its ledger or the files ahead of it is said in a line, at the start and by `smart
    verify`; a folder that cannot be written at the end costs nothing."""
    config = (REVIEWS + SMALL_WINDOWS).format(url="http://127.0.0.1:9/v1")
    for name, code in (("gateway.db-ahead.0", 5), ("gateway.db-wal", 5), ("gateway.db.lock", 2), ("gateway.db", 5)):
        folder = tmp_path / name.replace(".", "-")
        folder.mkdir()
        (folder / "gateway.toml").write_text(config)
        (folder / name).mkdir()
        for verb, what in (("serve", "gateway.toml"), ("verify", "gateway.db"))[: 1 + (name == "gateway.db-ahead.0")]:
            found, out, err = command(verb, folder / what)
            assert (found, out, len(err.splitlines())) == (code, "", 1), (name, verb, err)
            assert "gateway.db" in err
    with mocking() as mock:
        with serving(tmp_path, (REVIEWS + SMALL_WINDOWS).format(url=mock.url)) as served:
            assert served.chat("film").status == 200
            for left in tmp_path.glob("gateway.db-ahead.*"):
                left.unlink()
                (left / "kept").mkdir(parents=True)
            assert served.stop() == 0
        assert not any("Traceback" in line for line in served.log)


def test_a_full_disk_is_named(tmp_path: Path, command: Command) -> None:
    """Where there is no room to begin, that is what is said, not that the ledger is none."""

    def no_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, 8_000))

    (tmp_path / "gateway.toml").write_text(REVIEWS.format(url="http://127.0.0.1:9/v1"))
    ended = subprocess.run(
        [sys.executable, "-m", "smart_llm", "serve", tmp_path / "gateway.toml", "--listen", "127.0.0.1:0"],
        capture_output=True,
        text=True,
        preexec_fn=no_room,
    )
    assert (ended.returncode, len(ended.stderr.splitlines())) == (5, 1), ended.stderr
    assert "cannot be written" in ended.stderr


@pytest.mark.parametrize("place", ["reference", "candidate"])
def test_answers_to_other_requests_are_found(tmp_path: Path, command: Command, place: str) -> None:
    """A record that pairs the candidate's answer to one request with the reference's answer to another, or takes one
    model's answer for another's, does not verify, though each of them is in the ledger and they agree."""
    ledger = tmp_path / "gateway.db"
    with mocking() as mock, serving(tmp_path, (REVIEWS + SMALL_WINDOWS).format(url=mock.url)) as served:
        answered = {served.chat(f"film {number}").json["choices"][0]["message"]["content"] for number in range(30)}
        assert len(answered) == 2
        assert served.stop() == 0
    verified(command, tmp_path)
    with closing(sqlite3.connect(ledger, isolation_level=None)) as base:
        base.execute("DROP TRIGGER events_no_update")
        rows = base.execute("SELECT id, payload FROM events WHERE kind = 'asked'").fetchall()
        told = [each for _, payload in rows for each in json.loads(payload) if each["keys"]]
        says = {key: json.loads(said)["text"] for key, said in base.execute("SELECT key, answer FROM answers")}
        one, other = next(
            (one, other)
            for one, other in itertools.combinations(told, 2)
            if says.get(one["reference"], "") == says.get(other["reference"])
        )
        changed = {
            "reference": one | {"reference": other["reference"]},
            "candidate": one | {"keys": {"0": one["reference"]}},
        }[place]
        for number, payload in rows:
            asked = [changed if each == one else each for each in json.loads(payload)]
            base.execute("UPDATE events SET payload = ? WHERE id = ?", (json.dumps(asked), number))
    code, out, err = command("verify", ledger)
    said = {"reference": "asked something else than the reference", "candidate": "is recorded that openai:big"}[place]
    assert (code, said in out + err) == (5, True), out + err


def test_a_lock_that_is_removed_lets_no_second_gateway_in(tmp_path: Path, command: Command) -> None:
    """Also where its lock is deleted while a gateway runs, another one is refused, and the first goes on."""
    with ExitStack() as stack:
        config = (REVIEWS + SMALL_WINDOWS).format(url=stack.enter_context(mocking()).url)
        served = stack.enter_context(serving(tmp_path, config))
        assert served.chat("film").status == 200
        (tmp_path / "gateway.db.lock").unlink()
        with pytest.raises(AssertionError, match="Another process writes the ledger"), serving(tmp_path, config):
            pass
        assert served.chat("film again").status == 200
        assert served.stop() == 0
    assert [window["decided"] for window in verified(command, tmp_path)] == [2]


def test_two_gateways_on_one_ledger_are_refused(tmp_path: Path) -> None:
    """A second gateway on a ledger that is in use says so in a line, and ends with exit code 2."""
    with mocking() as mock, serving(tmp_path, REVIEWS.format(url=mock.url)):
        again = ran([sys.executable, "-m", "smart_llm", "serve", tmp_path / "gateway.toml", "--listen", "127.0.0.1:0"])
    assert again.returncode == 2
    assert "is using the ledger" in again.stderr
    assert len(again.stderr.splitlines()) == 1


def test_what_is_told_to_be_known_is_looked_up(tmp_path: Path, command: Command) -> None:
    """`smart verify` finds a request recorded as answered from the ledger whose answer the ledger does not have."""
    ledger = tmp_path / "gateway.db"
    with mocking() as mock, serving(tmp_path, (REVIEWS + SMALL_WINDOWS).format(url=mock.url)) as served:
        assert [served.chat("film again").status for _ in range(2)] == [200, 200]
        assert served.stop() == 0
    verified(command, tmp_path)
    with closing(sqlite3.connect(ledger, isolation_level=None)) as base:
        base.execute("DROP TRIGGER events_no_update")
        for number, payload in base.execute("SELECT id, payload FROM events WHERE kind = 'asked'").fetchall():
            asked = [each | ({"reference": "nothing"} if each["request"] == 2 else {}) for each in json.loads(payload)]
            base.execute("UPDATE events SET payload = ? WHERE id = ?", (json.dumps(asked), number))
    code, out, err = command("verify", ledger)
    assert (code, "request 2: the reference's answer is not in the ledger" in out + err) == (5, True)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a gateway that has ended in order, in its second window."""
    folder = tmp_path_factory.mktemp("recorded")
    with mocking() as mock, serving(folder, (REVIEWS + SMALL_WINDOWS).format(url=mock.url)) as served:
        asking(served, [f"film {number}" for number in range(70)])
        assert served.stop() == 0
    return folder


READ_AT_THE_START = ("series", "stream", "summary", "folded", "written")


@pytest.mark.parametrize("kind", ["asked", *READ_AT_THE_START])
@pytest.mark.parametrize("damage", ["garbage", "", '"text"', '[{"request": 1}]'])
def test_a_damaged_record_is_said_to_be(
    recorded: Path, tmp_path: Path, command: Command, kind: str, damage: str
) -> None:
    """Where an event holds something else than a gateway writes, `smart verify` says so and ends with exit code 5; a
    gateway does not begin on what it has to read and cannot."""
    for name in ("gateway.db", "gateway.toml"):
        shutil.copy(recorded / name, tmp_path / name)
    with closing(sqlite3.connect(tmp_path / "gateway.db", isolation_level=None)) as base:
        base.execute("DROP TRIGGER events_no_update")
        base.execute("UPDATE events SET payload = ? WHERE kind = ?", (damage, kind))
    code, out, err = command("verify", tmp_path / "gateway.db")
    assert (code, "Traceback" in err, err.startswith("smart")) == (5, False, True), out + err
    if kind in READ_AT_THE_START and (kind != "series" or not damage.startswith(("[", '"'))):
        code, out, err = command("serve", tmp_path / "gateway.toml", "--listen", "127.0.0.1:0")
        assert (code, out, len(err.splitlines())) == (5, "", 1), err


def test_requests_without_a_record_are_found(recorded: Path, tmp_path: Path, command: Command) -> None:
    """Where it is not recorded what was asked, `smart verify` says so of every request."""
    shutil.copy(recorded / "gateway.db", tmp_path / "gateway.db")
    with closing(sqlite3.connect(tmp_path / "gateway.db", isolation_level=None)) as base:
        base.execute("DROP TRIGGER events_no_update")
        base.execute("UPDATE events SET payload = '[]' WHERE kind = 'asked'")
    code, out, err = command("verify", tmp_path / "gateway.db")
    assert (code, "request 1: what was asked for it is not recorded" in out + err) == (5, True), out + err
