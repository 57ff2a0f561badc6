"""Whether a server can keep its model to the labels is learned by asking once, over real sockets, and kept."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import warnings
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pytest
from shapes import Body, Enforcing, Said, Shaped, completion, error

import smart_llm as smart
from smart_llm import events
from smart_llm.engine.learning import learned
from smart_llm.engine.opening import job_of, providers_of, session_of
from smart_llm.errors import BudgetExhausted
from smart_llm.events import Stop
from smart_llm.ledger import Ledger, Reader
from smart_llm.mock import MockServer
from smart_llm.text.numbers import usd

ROWS = [{"text": f"row {i}"} for i in range(150)]
LABELS = smart.Task(prompt="Good? {text}", labels=["yes", "no"])
OBJECT = smart.Task(
    prompt="Good? {text}",
    schema={
        "type": "object",
        "properties": {"good": {"type": "boolean"}},
        "required": ["good"],
        "additionalProperties": False,
    },
)
CHAT = "That is hard to say, as so often."


async def go(
    big: str, small: str, ledger: Path, task: smart.Task = LABELS, rows: Any = ROWS, query: str = "", **options: Any
) -> smart.Run[Any]:
    """One run of a reference and a candidate at these addresses."""
    options = {"agreement": "0.8", "seed": 1} | options
    return await smart.arun(
        rows,
        task,
        reference=f"openai:big@{big}?in=10&out=10",
        candidates=[f"openai:small@{small}?in=1&out=1{query}"],
        ledger=ledger,
        **options,
    )


def models(big: str, small: str) -> dict[str, Any]:
    """The models of a run at these addresses."""
    return {"reference": f"openai:big@{big}?in=10&out=10", "candidates": [f"openai:small@{small}?in=1&out=1"]}


def told(body: Body) -> str:
    """By what a request tells the server to keep to labels."""
    names = ("response_format", "structured_outputs")
    return next((name for name in names if name in body), "")


def setting(run: smart.Run[Any]) -> str:
    """What the plan says of the candidate."""
    settings = run.certificate.plan["settings"]
    return next((each["enforce"] for name, each in settings.items() if "small" in name and "enforce" in each), "")


def bodies(server: Shaped) -> list[str]:
    """How every request of the server's was told, in order."""
    return [told(body) for body in server.bodies]


async def learn(server: Shaped, folder: Path, task: smart.Task = LABELS, **options: Any) -> smart.Run[Any]:
    """A run against this server, and a reference that always answers."""
    text = "yes" if task is LABELS else '{"good": true}'
    async with Shaped({}, text=text) as big, server as small:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return await go(big, small, folder / "ledger.db", task, **options)


@pytest.mark.parametrize(
    ("keeps", "way", "calls"),
    [("schema", "schema", 1), ("both", "schema", 1), ("choice", "choice", 2), ("none", "", 2)],
)
async def test_a_small_model_that_breaks_the_contract(
    keeps: str, way: str, calls: int, tmp_path: Path, port: int
) -> None:
    """A model that chats on two thirds of the rows does so on none where its server (llama.cpp, vLLM, an old vLLM) can
    keep it to the labels, and the run finds that out by itself; a server that keeps nobody is left alone."""
    server = MockServer(rule="label:yes,no", chats={"small": 0.67}, keeps=keeps, port=port)
    heard: list[smart.Event] = []
    async with server as url:
        done = await go(url, url, tmp_path / "ledger.db", on_event=heard.append)
    cheap = [row for row in done.table if "small" in row["answered_by"]]
    assert setting(done) == way
    assert {row["answered_by"] for row in cheap} <= {f"openai:small@{url}"}
    with closing(sqlite3.connect(done.ledger)) as db:
        said = [
            json.loads(text)["text"]
            for (text,) in db.execute("SELECT answer FROM answers WHERE model LIKE ?", ["%small%"])
        ]
        probes = db.execute("SELECT COUNT(*) FROM attempts WHERE outcome = 'probe'").fetchone()[0]
    broken = sum(LABELS.read(smart.Answer(text)) is None for text in said)
    assert probes == calls
    assert (broken == 0) if way else (0.5 < broken / len(said) < 0.8)
    told = [each.text for each in heard if isinstance(each, events.Said) and "its server" in each.text]
    assert len(told) == 1
    assert (f"enforce={way}" if way else "does not keep it to the labels") in told[0]


@pytest.mark.parametrize(
    ("kind", "way", "asked"),
    [
        ("schema", "schema", ["response_format"]),
        ("vLLM", "choice", ["response_format", "structured_outputs"]),
        ("vLLM before 0.12", "choice", ["response_format", "structured_outputs"]),
        ("SGLang", "choice", ["response_format", "structured_outputs"]),
    ],
)
async def test_every_kind_of_server_is_asked_in_turn(kind: str, way: str, asked: list[str], tmp_path: Path) -> None:
    """One call, or two where the server passes over a schema; after them every request is told in the same way."""
    server = Enforcing(kind)
    done = await learn(server, tmp_path)
    assert setting(done) == way
    assert bodies(server)[: len(asked)] == asked
    assert set(bodies(server)[len(asked) :]) == {asked[-1]}


def refusing(*said: Any) -> Callable[[Body, str], Said]:
    """A server that answers like this whenever it is told anything, and else chats."""
    return lambda body, prompt: said if told(body) else (200, completion(CHAT))  # type: ignore[return-value]


ODD: dict[str, Any] = {
    "its own words": (400, error("Constrained decoding needs the enterprise edition.")),
    "a language nobody knows": (422, error("Nicht unterstuetzt")),
    "a page": (400, b"<html><body>Bad Request</body></html>"),
    "a list": (422, {"detail": [{"loc": ["body", "response_format"], "msg": "extra fields not permitted"}]}),
    "not built in": (501, error("not implemented")),
    "it fails": (500, error("list index out of range")),
    "it fails behind a proxy": (502, b"<html>Bad Gateway</html>"),
    "an error inside a 200": (200, {"error": {"message": "grammar is broken", "code": 500}}),
    "nothing": (200, completion("")),
    "null": (200, completion(None)),
    "cut off": (200, completion('"ye', finish="length")),
    "an echo of the schema": (200, completion('{"type": "string", "enum": ["yes", "no"]}')),
    "another label": (200, completion('"maybe"')),
    "no completion": (200, b"ok"),
    "a half": (200, b'{"choices": [{"mess'),
}


@pytest.mark.parametrize("name", ODD)
async def test_what_a_server_says_stops_no_run(name: str, tmp_path: Path) -> None:
    """A server that refuses, fails or answers something else when it is told is told nothing in the run itself."""
    server = Shaped({"": refusing(*ODD[name])})
    done = await learn(server, tmp_path)
    assert setting(done) == ""
    asked = bodies(server)
    last = max(i for i, each in enumerate(asked) if each)
    assert last < 24
    assert done.certificate.status in ("certified", "reference-only")
    assert done.certificate.errors["rows"] == 0


async def test_a_server_that_hangs_when_it_is_told(tmp_path: Path) -> None:
    """It is told from one that is not there by asking it the same in the ordinary way."""

    class Hanging(Shaped):
        """Never answers a request that tells it anything."""

        def handle(self, call: Any) -> Any:
            reply = super().handle(call)
            return type(reply)(b"", 60.0, hang_up=True) if told(self.bodies[-1]) else reply

    server = Hanging({}, text=CHAT)
    done = await asyncio.wait_for(learn(server, tmp_path, timeout=0.3), 30)
    assert setting(done) == ""
    assert done.certificate.errors["rows"] == 0


async def test_a_server_that_is_still_loading(tmp_path: Path) -> None:
    """It is waited for, and what it can do is learned once it answers."""
    server, left = Enforcing("schema"), [3]

    def loading(body: Body, prompt: str) -> Said:
        left[0] -= 1
        return (503, {"error": {"code": 500, "message": "not ready"}}) if left[0] >= 0 else None

    server._reactions = {"": loading}
    done = await learn(server, tmp_path)
    assert setting(done) == "schema"


async def test_a_rate_limit_says_nothing_of_labels(tmp_path: Path) -> None:
    """A 429 is waited out, and what comes then counts."""
    server, left = Enforcing("schema"), [2]

    def slow(body: Body, prompt: str) -> Said:
        left[0] -= 1
        return (429, error("Slow down."), {"Retry-After": "0.01"}) if left[0] >= 0 else None

    server._reactions = {"": slow}
    done = await learn(server, tmp_path)
    assert setting(done) == "schema"


async def test_a_row_that_is_refused_says_nothing_of_labels(tmp_path: Path) -> None:
    """Where the first row is too long for the server, it is asked about another one."""
    long = (400, error("This model's maximum context length is 2048 tokens."))
    server = Enforcing("schema", {"row 0": long})
    done = await learn(server, tmp_path, rows=[{"text": "row 0"}, *({"text": f"line {i}"} for i in range(120))])
    assert setting(done) == "schema"


# --------------------------------------------------------------------------- what is kept


async def test_what_was_learned_is_kept(tmp_path: Path) -> None:
    """The same command resumes its run; another one with this model asks nobody and takes the same setting; a plan says
    beforehand that it will be learned, and then what was."""
    server, ledger = Enforcing("schema"), tmp_path / "ledger.db"
    async with Shaped({}, text="yes") as big, server as small:
        options: dict[str, Any] = {
            "reference": f"openai:big@{big}?in=10&out=10",
            "candidates": [f"openai:small@{small}?in=1&out=1"],
            "ledger": ledger,
        }
        plan = await smart.aplan(ROWS, LABELS, **options)
        assert "will be learned by one call" in plan.text(400)
        assert not server.bodies
        first = await go(big, small, ledger)
        asked = len(server.bodies)
        again = await go(big, small, ledger)
        assert (again.run_id, len(server.bodies)) == (first.run_id, asked)
        assert again.certificate.plan_hash == first.certificate.plan_hash
        other = await go(big, small, ledger, rows=[{"text": f"other {i}"} for i in range(120)])
        assert setting(other) == "schema"
        assert set(bodies(server)) == {"response_format"}
        assert "by a schema (?enforce=schema)" in (await smart.aplan(ROWS, LABELS, **options)).text(400)


async def test_a_plan_never_changes_on_resume(tmp_path: Path, port: int) -> None:
    """A server that learns to keep its model to labels between two sessions of a run is told nothing all the same; nor
    does it ask for anything that a run stopped by its budget has taken."""
    ledger = tmp_path / "ledger.db"
    old, new = Shaped({}, text=CHAT), Enforcing("schema")
    old._address = new._address = ("127.0.0.1", port)
    async with Shaped({}, text="yes") as big:
        async with old as small:
            with pytest.raises(BudgetExhausted):
                await go(big, small, ledger, budget=0.006)
        async with new as small:
            done = await go(big, small, ledger)
    assert setting(done) == ""
    assert not any(bodies(new))


async def test_the_call_is_paid_by_the_run(tmp_path: Path) -> None:
    """Its price is in the account of the run, which agrees with what the servers were paid."""
    server = Enforcing("vLLM")
    done = await learn(server, tmp_path)
    price = (20 + 2) / 1e6
    with Reader.open(tmp_path / "ledger.db") as reader:
        spent = reader.spent(done.run_id)
        probes = [each for each in reader.account(done.run_id) if each.outcome == "probe"]
    assert sum(each.calls for each in probes) == 2
    assert sum(each.cost for each in probes) == pytest.approx(2 * price)
    assert done.certificate.cost["learning"] == pytest.approx(2 * price)
    assert (
        f"learning whether servers keep to the answers allowed cost {usd(2 * price)} besides" in done.certificate.text()
    )
    page = (tmp_path / "r.html").read_text() if done.report(tmp_path / "r.html") else ""
    assert "asked what its server can do" in page
    assert ">probe<" not in page
    assert done.certificate.cost["lost_at_most"] == 0
    assert spent == pytest.approx(done.cost + 2 * price)


async def test_the_call_is_within_the_budget(tmp_path: Path) -> None:
    """A budget that does not allow it stops before anything is sent, and a larger one goes on."""
    server, ledger = Enforcing("schema"), tmp_path / "ledger.db"
    async with Shaped({}, text="yes") as big, server as small:
        with pytest.raises(BudgetExhausted):
            await go(big, small, ledger, budget=1e-9)
        assert not server.bodies
        done = await go(big, small, ledger, budget=1.0)
    assert setting(done) == "schema"


async def test_what_is_not_learned_without_being_asked_for(tmp_path: Path) -> None:
    """Nobody is asked where the user has said it, where nothing can be enforced, and about the reference."""
    for query, task, way in (
        ("&enforce=none", LABELS, ""),
        ("&enforce=schema", LABELS, "response_format"),
        ("", smart.Task(prompt="Good? {text}", answer="text"), ""),
    ):
        server = Enforcing("schema")
        async with Shaped({}, text="yes") as big, server as small:
            await go(big, small, tmp_path / f"{query}{way}{task is LABELS}.db", task, query=query)
        assert set(bodies(server)) == {way}


async def test_the_reference_only_if_it_is_said(tmp_path: Path) -> None:
    """The reference's answers define the promise: it is held to the labels where the user says so."""
    for query, way in (("", ""), ("&enforce=auto", "response_format")):
        server = MockServer(rule="label:yes,no", keeps="schema")
        seen: list[Body] = []

        class Watching(Shaped):
            """Keeps to labels, and remembers what it was told."""

            def text(self, body: Body) -> str:
                seen.append(body)  # noqa: B023
                return '"yes"' if "response_format" in body else "yes"

        async with server, Watching({}) as big, Enforcing("schema") as small:
            await smart.arun(
                ROWS,
                LABELS,
                reference=f"openai:big@{big}?in=10&out=10{query}",
                candidates=[f"openai:small@{small}?in=1&out=1"],
                agreement="0.8",
                ledger=tmp_path / f"{len(query)}.db",
            )
        assert {told(body) for body in seen} == {way}


async def test_a_schema_that_a_server_cannot_bear(tmp_path: Path) -> None:
    """A task with a schema does not send it to a server that fails on it, and does to one that takes it."""
    broken = Shaped({"": lambda body, prompt: (500, error("boom")) if told(body) else None}, text='{"good": true}')
    done = await learn(broken, tmp_path, OBJECT)
    assert setting(done) == "none"
    assert done.certificate.errors["rows"] == 0
    assert any("small" in row["answered_by"] for row in done.table)
    fine = Shaped({}, text='{"good": true}')
    (tmp_path / "fine").mkdir()
    done = await learn(fine, tmp_path / "fine", OBJECT)
    assert (setting(done), set(bodies(fine))) == ("", {"response_format"})


async def test_a_pilot_learns_for_the_run(tmp_path: Path) -> None:
    """Who pilots first asks then, on the pilot's account; the run takes what was learned and asks nobody again."""
    server, ledger = Enforcing("schema"), tmp_path / "ledger.db"
    async with Shaped({}, text="yes") as big, server as small:
        await smart.aplan(
            ROWS,
            LABELS,
            pilot=10,
            procedure="smart/2024",  # whose forecast is quick
            reference=f"openai:big@{big}?in=10&out=10",
            candidates=[f"openai:small@{small}?in=1&out=1"],
            agreement="0.8",
            seed=1,
            ledger=ledger,
        )
        assert len(server.bodies) == 1 + 10
        done = await go(big, small, ledger)
    assert (setting(done), set(bodies(server))) == ("schema", {"response_format"})
    assert done.certificate.cost["learning"] == 0


async def test_a_server_that_was_not_there_is_asked_again(tmp_path: Path, port: int) -> None:
    """A run that could not learn it and has bought nothing does not decide for ever."""
    ledger, server, reference = tmp_path / "ledger.db", Enforcing("schema"), Shaped({"": (500, error("down"))})
    server._address = ("127.0.0.1", port)
    async with reference as big:
        with pytest.raises(smart.ProviderError):
            await go(big, f"http://127.0.0.1:{port}/v1", ledger, patience=0.5)
        reference._reactions = {}
        async with server as small:
            done = await go(big, small, ledger)
    assert setting(done) == "schema"


async def test_a_key_that_is_refused_is_said_by_the_run(tmp_path: Path) -> None:
    """What stops a run anyhow is no matter of labels: it stops in the words it always has."""
    server = Shaped({"": (401, error("who are you", code="invalid_api_key"))})
    async with Shaped({}, text="yes") as big, server as small:
        with pytest.raises(smart.Refused, match="does not accept the key"):
            await go(big, small, tmp_path / "ledger.db")


async def test_flaky_servers_are_not_misjudged(tmp_path: Path) -> None:
    """A server that fails on two thirds of all calls, told or not, is found to keep its model to the labels."""
    for seed in range(8):
        random, server = Random(seed), Enforcing("schema")
        flaky = lambda body, prompt, random=random: (500, error("odd")) if random.random() < 0.66 else None  # noqa: E731
        server._reactions = {"": flaky}
        (tmp_path / str(seed)).mkdir()
        async with Shaped({}, text="yes") as big, server as small:
            job = job_of(ROWS, LABELS, smart.Options(**models(big, small), ledger=tmp_path / f"{seed}.db"))
            with Ledger.open(tmp_path / f"{seed}.db") as ledger:
                options = smart.Options(**models(big, small))
                providers = providers_of(job, options)
                session = session_of(ledger, providers, Stop(), events.nobody, options)
                settled, session = await learned(job, session)
                for provider in session.providers.values():
                    await provider.close()
        assert [model.enforce for model in settled.models] == ["", "schema"]


async def test_a_server_that_goes_away_meanwhile_is_not_asked_for_ever(tmp_path: Path) -> None:
    """It answers once without being told, and then nobody: what cannot be learned is not, and the run says why."""
    left = [1]

    def going(body: Body, prompt: str) -> Said:
        left[0] -= not told(body)
        return (500, error("gone")) if told(body) or left[0] < 0 else None

    async with Shaped({}, text="yes") as big, Shaped({"": going}) as small:
        with pytest.raises(smart.ProviderError, match="small"):
            await asyncio.wait_for(go(big, small, tmp_path / "ledger.db", patience=0.5), 30)
