"""A model that is down is waited for, or stops the run: it uses no row up, and it is no evidence. Over real sockets."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from chance import draw
from killing import Command
from ports import kept, usual

import smart_llm as smart
from smart_llm.errors import Refused, Retryable
from smart_llm.events import Decided, Said
from smart_llm.ledger import Reader
from smart_llm.mock.http import Call, Reply, reply
from smart_llm.mock.server import MockServer
from smart_llm.types import Answer, Request, Usage

TASK = smart.Task("Yes or no?\n{text}", labels=["yes", "no"])
ROWS = [{"text": f"row {i}"} for i in range(300)]


class Weather(MockServer):
    """A server that can be down. fails: (model, place of the call among all) → whether this call goes wrong; how: a
    status, or "drop", "hang". asked: calls to each model while it was down."""

    def __init__(self, fails: Callable[[str, int], bool] | None = None, how: int | str = 500, **options: Any) -> None:
        super().__init__(**{"rule": "label:yes,no", "errors": {"small": 0.04}, **options})
        self.fails, self.how = fails or (lambda model, place: False), how
        self.calls, self.down = 0, list[tuple[str, float]]()

    def handle(self, call: Call) -> Reply:
        """As the weather is."""
        self.calls += 1
        model = "big" if b'"model":"big"' in call.body else "small"
        if not self.fails(model, self.calls):
            return super().handle(call)
        self.down.append((model, time.monotonic()))
        if self.how == "hang":
            return Reply(b"", 30.0, hang_up=True)
        if self.how == "drop":
            return Reply(b"", hang_up=True)
        return Reply(reply(int(self.how), b'{"error": {"message": "no"}}'))


class Flaky(Weather):
    """Fails on this share of all calls once each model has answered some: it is there. Which they are follows from a
    request and how often it came, not from the order in which requests come. sent: how often each came."""

    def __init__(self, share: float, **options: Any) -> None:
        super().__init__(**options)
        self.share, self.sent, self.answered = share, Counter[bytes](), Counter[bool]()

    def handle(self, call: Call) -> Reply:
        """A reply, or an error."""
        self.sent[call.body] += 1
        big = b'"model":"big"' in call.body
        there = self.answered[big] >= 5
        failing = there and draw(f"{call.body.decode()} {self.sent[call.body]}", "fails") < self.share
        self.answered[big] += not failing
        self.fails = lambda model, place: failing
        return super().handle(call)


class Outage:
    """Down for so many seconds from the first call of one of these models on that `starts` says so of: that call goes
    wrong, however slow this machine is. whom: the models that are down."""

    def __init__(self, starts: Callable[[int], bool], seconds: float, whom: tuple[str, ...] = ("big", "small")) -> None:
        self._starts, self._seconds, self._whom, self._since = starts, seconds, whom, 0.0

    def __call__(self, model: str, place: int) -> bool:
        """Whether this call goes wrong."""
        if model not in self._whom or not (self._since or self._starts(place)):
            return False
        self._since = self._since or time.monotonic()
        return time.monotonic() <= self._since + self._seconds


async def run(url: str, path: Path, **options: Any) -> smart.Run:
    """A run of two models."""
    return await smart.arun(
        options.pop("rows", ROWS),
        TASK,
        reference=f"openai:big@{url}?in=10&out=10",
        candidates=[f"openai:small@{url}?in=1&out=1"],
        **{"agreement": 0.9, "seed": 3, "ledger": path, **options},
    )


def whole(done: smart.Run) -> Rows:
    """What was delivered, without the address."""
    return [(row["answer"], row["answered_by"].split("@")[0], row["status"]) for row in done.table]


Rows = list[tuple[str, str, str]]


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[tuple[int, Rows]]:
    """A port, and what is delivered there when nothing goes wrong: the address is part of the models' names."""

    async def calm(port: int) -> Rows:
        async with Weather(port=port) as url:
            return whole(await run(url, tmp_path_factory.mktemp("calm") / "l.db"))

    with kept(*usual(f"{__name__} {worker_id}")) as port:
        yield port, asyncio.run(calm(port))


@pytest.fixture
def port(calm: tuple[int, Rows]) -> int:
    """The port."""
    return calm[0]


@pytest.fixture
def undisturbed(calm: tuple[int, Rows]) -> Rows:
    """What is delivered there when nothing goes wrong."""
    return calm[1]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow one another in milliseconds."""
    monkeypatch.setattr("smart_llm.client.client.FIRST_DELAY", 0.0005)
    monkeypatch.setattr("smart_llm.client.client.LONGEST_DELAY", 0.002)
    monkeypatch.setattr("smart_llm.client.client.LATER_DELAY", 0.002, raising=False)


@pytest.mark.parametrize(
    ("calls", "whom", "concurrency"),
    [
        (0, ("big", "small"), 512),
        (9, ("big",), 1),
        (9, ("big",), 512),
        (40, ("small",), 512),
        (260, ("big", "small"), 1),
    ],
)
async def test_an_outage_changes_nothing(
    tmp_path: Path, undisturbed: Rows, port: int, concurrency: int, calls: int, whom: tuple[str, ...]
) -> None:
    """Down for a while, from the first call on, while profiling or while delivering, one model or both: every row is
    answered as in the undisturbed run, and few calls were made in vain."""
    server = Weather(Outage(lambda place: place > calls, 1.5, whom), port=port)
    async with server as url:
        done = await run(url, tmp_path / "l.db", concurrency=concurrency)
    assert whole(done) == undisturbed
    assert done.certificate.errors["rows"] == 0
    assert smart.verify(done.certificate, tmp_path / "l.db") == []
    assert 0 < len(server.down) <= 3 * concurrency + 40


@pytest.mark.parametrize("how", [500, "drop", "hang"])
async def test_an_outage_of_any_kind(tmp_path: Path, undisturbed: Rows, port: int, how: int | str) -> None:
    """Errors, dropped connections, silence: the same."""
    server = Weather(Outage(lambda place: place > 100, 1.2), how=how, port=port)
    async with server as url:
        done = await run(url, tmp_path / "l.db", concurrency=32, timeout=0.5)
    assert whole(done) == undisturbed
    assert len(server.down) > 0


@pytest.mark.parametrize("calls", [0, 60, 260])
async def test_an_outage_without_end_stops_the_run_and_the_same_command_goes_on(
    tmp_path: Path, undisturbed: Rows, port: int, calls: int
) -> None:
    """Longer than patience: `Refused` soon after, with how to go on; nothing is given up, and when the model is back
    the same command ends as the undisturbed run does."""
    server = Weather(Outage(lambda place: place > calls, float("inf")), port=port)
    async with server as url:
        started = time.monotonic()
        for _ in range(2):
            with pytest.raises(Refused, match="run again"):
                await run(url, tmp_path / "l.db", patience=1.0)
        assert time.monotonic() - started < 120, "soon: the patience that is not asked for is ten minutes"
        server.fails = lambda model, place: False
        done = await run(url, tmp_path / "l.db")
    assert whole(done) == undisturbed
    assert smart.verify(done.certificate, tmp_path / "l.db") == []
    with Reader.open(tmp_path / "l.db") as reader:
        assert not [each for each in reader.account(reader.runs()[0].run_id) if each.outcome == "gave up"]


async def test_a_server_that_is_gone_stops_the_run(tmp_path: Path) -> None:
    """Connections are refused in mid-run: exit 3, one or two lines with what to do, a pending certificate."""
    source = tmp_path / "t.csv"
    source.write_text("text\n" + "".join(f"row {i}\n" for i in range(3000)))
    server = Weather(lambda model, place: place > 700, how="hang")  # the run cannot end before the server does
    url = await server.start()
    command = [
        *(sys.executable, "-m", "smart_llm.cli", "run", str(source), "--prompt", "? {text}", "--labels", "yes,no"),
        *("--reference", f"openai:big@{url}?in=10&out=10", "--candidate", f"openai:small@{url}?in=1&out=1"),
        *("--seed", "1", "--json", "--patience", "1"),
    ]
    process = Command(command)
    while server.calls < 700:  # noqa: ASYNC110  the server has no event to wait for
        await asyncio.sleep(0.01)
    await server.stop()
    _, err = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 3
    assert b"run again to go on" in err
    assert b"Traceback" not in err
    assert json.loads((tmp_path / "t.answers.csv.certificate.json").read_text())["status"] == "pending"


async def test_an_outage_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user hears what is wrong and how long it is waited for, and that answers come again."""
    from smart_llm.engine import watch

    monkeypatch.setattr(watch, "STALL", 0.4)
    heard: list[Any] = []

    def said(*words: str) -> bool:
        texts = [event.text for event in heard if isinstance(event, Said)]
        return any(all(word in text for word in words) for text in texts)

    async with Weather(lambda model, place: place > 60 and not said("has answered nothing for")) as url:
        await run(url, tmp_path / "l.db", on_event=heard.append)
    assert said("has answered nothing for", "500", "600 s in all")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("share", [0.5, 0.7])
async def test_most_calls_fail(tmp_path: Path, undisturbed: Rows, port: int, share: float) -> None:
    """A model that answers few calls is tried for longer: every row is answered as in the undisturbed run."""
    server = Flaky(share, port=port)
    async with server as url:
        done = await run(url, tmp_path / "l.db", concurrency=64)
    assert max(server.sent.values()) > 8
    assert whole(done) == undisturbed
    assert smart.verify(done.certificate, tmp_path / "l.db") == []


# ---------------------------------------------------------------------- rows that fail by themselves


class Model(smart.FakeProvider):
    """Strays on a share of the prompts; fails where `fails(prompt, calls so far)` says so."""

    def __init__(self, error: float, fails: Callable[[str, int], bool] = lambda prompt, calls: False) -> None:
        super().__init__(self._said, latency=0.0002)
        self.error, self.fails = error, fails

    def _said(self, request: Request) -> Answer | Exception:
        if self.fails(request.prompt, self.calls):
            return Retryable("broken")
        strays = draw(request.prompt, "small") < self.error
        return Answer("yes" if (draw(request.prompt, "truth") < 0.5) != strays else "no", Usage(20, 1))


def fake(path: Path, big: Model, small: Model, rows: int = 300, **options: Any) -> smart.Run:
    """A run of two stand-ins."""
    return smart.run(
        [{"text": f"row {i}"} for i in range(rows)],
        TASK,
        reference="fake:big?in=10&out=10",
        candidates=["fake:small?in=1&out=1"],
        providers={"fake:big": big, "fake:small": small},
        **{"agreement": 0.9, "seed": 3, "ledger": path, **options},
    )


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("concurrency", "few"), [(1, 2), (4, 2), (64, 2), (64, 30)])
def test_rows_that_fail_by_themselves_are_errors(tmp_path: Path, concurrency: int, few: int) -> None:
    """The reference fails on some rows whatever is done, first and last among them: they are errors, the run ends, and
    ends again when only they are left to be asked, in moments: 8 calls without a judge, 33 where no share is known."""
    lost = {f"row {i}" for i in (0, 7, *range(300 - few, 300))}
    big = Model(0.0, lambda prompt, calls: prompt.split("\n")[1] in lost)
    for _ in range(2):
        calls, started = big.calls, time.monotonic()
        done = fake(tmp_path / "l.db", big, Model(0.0), procedure="reference-only", concurrency=concurrency)
        assert {row["text"] for row in done.table if row["status"] != "ok"} == lost
        assert time.monotonic() - started < 20
    assert big.calls - calls <= 42 * len(lost)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("share", [0.02, 0.3])
def test_a_candidate_that_fails_on_some_rows_sends_them_to_the_reference(tmp_path: Path, share: float) -> None:
    """While others are answered, a row whose call fails is that row's: bad in the evidence, the reference's when it
    delivers."""
    small = Model(0.01, lambda prompt, calls: draw(prompt, "lost") < share)
    done = fake(tmp_path / "l.db", Model(0.0), small, rows=900)
    assert {row["status"] for row in done.table} == {"ok"}
    lost = [row for row in done.table if draw(f"Yes or no?\n{row['text']}", "lost") < share]
    assert {row["answered_by"] for row in lost} == {"fake:big"}
    assert done.certificate.delivered["by"]["fake:small"] > (600 if share < 0.1 else 50)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("seed", range(2))
def test_failures_while_profiling_hide_no_errors(tmp_path: Path, seed: int) -> None:
    """Half of the first 400 prompts the candidate is asked about fail, but not the very first; afterwards it answers
    everything. The delivered table of a certified run has no more misses than allowed: a failed call is bad in the
    evidence."""
    first: dict[str, int] = {}

    def fails(prompt: str, calls: int) -> bool:
        return 0 < first.setdefault(prompt, len(first)) < 400 and draw(prompt, "half") < 0.5

    done = fake(tmp_path / "l.db", Model(0.0), Model(0.14, fails), rows=2000, seed=seed)
    wrong = sum(
        row["answer"] != ("yes" if draw(f"Yes or no?\n{row['text']}", "truth") < 0.5 else "no") for row in done.table
    )
    assert not done.certificate.granted or wrong <= 200


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("seed", range(2))
def test_an_outage_of_the_candidate_hides_no_errors(tmp_path: Path, seed: int) -> None:
    """The candidate is down for the most part of profiling, longer than patience: the run stops, and once the candidate
    is back, what is certified keeps its promise."""
    down = [True]
    small = Model(0.14, lambda prompt, calls: down[0] and calls > 60)
    with pytest.raises(Refused, match="run again"):
        fake(tmp_path / "l.db", Model(0.0), small, rows=2000, seed=seed, patience=0.3)
    down[0] = False
    done = fake(tmp_path / "l.db", Model(0.0), small, rows=2000, seed=seed)
    wrong = sum(
        row["answer"] != ("yes" if draw(f"Yes or no?\n{row['text']}", "truth") < 0.5 else "no") for row in done.table
    )
    assert not done.certificate.granted or wrong <= 200
    assert smart.verify(done.certificate, done.ledger) == []


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("concurrency", [1, 64])
def test_an_outage_while_delivering_uses_no_row_up(tmp_path: Path, concurrency: int) -> None:
    """The candidate goes down as soon as it may deliver: the run waits, then stops; no row is handed to the reference
    for it, and the same command ends as if nothing had been."""
    calm = fake(tmp_path / "calm.db", Model(0.0), Model(0.04), rows=900)
    down = [False]

    def decided(event: Any) -> None:
        down[0] = down[0] or isinstance(event, Decided)

    small = Model(0.04, lambda prompt, calls: down[0])
    with pytest.raises(Refused, match="run again"):
        fake(
            tmp_path / "l.db",
            Model(0.0),
            small,
            rows=900,
            patience=0.3,
            on_event=decided,
            concurrency=concurrency,
        )
    done = fake(tmp_path / "l.db", Model(0.0), Model(0.04), rows=900)
    assert done.table == calm.table
    assert done.cost == pytest.approx(calm.cost)


@pytest.mark.usefixtures("quick")
async def test_a_server_that_was_never_there_costs_no_row(tmp_path: Path, port: int) -> None:
    """The first row is asked about alone; nobody answering it is no failure of the row."""
    with pytest.raises(smart.Refused, match="cannot be reached"):
        await run(f"http://127.0.0.1:{port}/v1", tmp_path / "l.db", patience=2.0)
    async with Weather(port=port) as url:
        done = await run(url, tmp_path / "l.db")
    assert {row["status"] for row in done.table} == {"ok"}
    assert done.certificate.errors["rows"] == 0
    with Reader.open(tmp_path / "l.db") as reader:
        asks = [event.payload for run in reader.runs() for event in reader.events(run.run_id) if event.kind == "ask"]
    assert asks
    assert all(ask["failed"] == [] for ask in asks)


@pytest.mark.usefixtures("quick")
async def test_a_first_row_that_no_server_bears_does_not_stop_the_run(tmp_path: Path) -> None:
    """A row that always fails and happens to come first is that row's error: the model answers another."""
    poison: list[str] = []

    def big(request: smart.Request) -> str | Exception:
        poison.extend([request.prompt] * (not poison))
        return smart.Retryable("internal error") if request.prompt in poison else "yes"

    done = await smart.arun(
        ROWS,
        TASK,
        reference="fake:big?in=10&out=10",
        candidates=["fake:small?in=1&out=1"],
        providers={"fake:big": smart.FakeProvider(big), "fake:small": smart.FakeProvider(lambda _: "yes")},
        agreement=0.9,
        ledger=tmp_path / "l.db",
    )
    assert done.certificate.errors["rows"] == 1
    assert smart.verify(done.certificate, tmp_path / "l.db") == []
