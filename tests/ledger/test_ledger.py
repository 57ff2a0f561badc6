"""What is recorded is durable, sealed, private, and never changed."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import os
import sqlite3
import stat
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smart_llm.errors import InputError, LedgerError, SmartError
from smart_llm.ledger import Ledger, Reader, keys, request_key, tagged
from smart_llm.types import Answer, Request, Usage

REQUEST = Request("m", "Is this good?", 8, labels=("yes", "no"))
KEY = request_key(REQUEST)
ANSWER = Answer("yes", Usage(12, 1, 4, 0, 0.25), 0.002, (("yes", -0.1),), "stop", "m-2026")

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
tokens = st.integers(0, 10**6)
answers = st.builds(
    Answer,
    text=st.none() | texts,
    usage=st.builds(Usage, tokens, tokens, tokens, tokens, st.floats(0, 1e6)),
    cost=st.floats(0, 1e6),
    logprobs=st.lists(st.tuples(texts, st.floats(-1e4, 0)), max_size=3).map(tuple),
    finish=texts,
    snapshot=texts,
)
requests = st.builds(
    Request,
    model=texts,
    prompt=texts,
    max_tokens=st.integers(1, 9),
    system=st.none() | texts,
    labels=st.none() | st.lists(texts, max_size=2).map(tuple),
    schema=st.none() | texts,
    temperature=st.sampled_from([0.0, 0.5, 1.0]),
    logprobs=st.booleans(),
    draw=st.integers(0, 2),
    before=st.lists(st.tuples(texts, texts), max_size=2).map(tuple),
)


def test_canonical_request_has_every_field() -> None:
    """No field of a request is left out of its key, and defaults are the same on both sides."""
    ours = {f.name: f.default for f in dataclasses.fields(Request)}
    wire = {f.name: f.default for f in msgspec.structs.fields(keys._CanonicalRequest)}
    assert ours.keys() == wire.keys()
    wire["temperature"] = wire["temperature"] or 0.0
    assert all(wire[name] == ours[name] for name in ours if ours[name] is not dataclasses.MISSING)


def test_canonical_answer_has_every_field() -> None:
    """No field of an answer or its usage is lost in the ledger, but `error`, which is never recorded."""
    for kind, wire in ((Answer, keys._CanonicalAnswer), (Usage, keys._CanonicalUsage)):
        named = {f.name for f in dataclasses.fields(kind)} - {"error"}
        assert named == {f.name for f in msgspec.structs.fields(wire)}


def test_key_is_a_contract() -> None:
    """The canonical form never changes: a changed key would pay for every recorded answer again."""
    assert keys.request_json(REQUEST) == b'{"labels":["yes","no"],"max_tokens":8,"model":"m","prompt":"Is this good?"}'
    assert KEY == "b2:e2fadbde5cff5cf9654ed0a2b3b1e31a"


@given(requests, requests)
def test_keys_differ_exactly_where_requests_do(one: Request, other: Request) -> None:
    """Same request, same key; any other field, another key."""
    assert (request_key(one) == request_key(other)) == (one == other)


def test_text_that_is_no_unicode_is_told() -> None:
    """A lone surrogate in a cell is bad input, not a crash."""
    with pytest.raises(InputError, match="not valid Unicode"):
        request_key(Request("m", "\ud800", 1))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(requests, answers), max_size=6))
def test_first_answer_stands(pairs: list[tuple[Request, Answer]]) -> None:
    """Whatever is put, in whatever order, the first answer to a request is what get, get_many and put give back."""

    async def play(ledger: Ledger) -> None:
        first: dict[str, Answer] = {}
        for request, answer in pairs:
            key = request_key(request)
            stands = await ledger.put(key, request, answer)
            assert stands == first.setdefault(key, answer)
        assert {key: ledger.get(key) for key in first} == first == ledger.get_many(first)
        assert ledger.count() == len(first)
        assert ledger.verify() == []

    with tempfile.TemporaryDirectory() as folder, Ledger.open(Path(folder, "l")) as ledger:
        asyncio.run(play(ledger))


async def test_second_answer_costs_but_is_not_used(ledger: Ledger) -> None:
    """An answer bought twice is not replaced, and what the second cost is not forgotten, even in one commit."""
    second = dataclasses.replace(ANSWER, text="no", cost=0.5)
    got = await asyncio.gather(*(ledger.put(KEY, REQUEST, a, run="r") for a in (ANSWER, second, ANSWER)))
    assert got == [ANSWER, ANSWER, ANSWER]
    assert ledger.spent("r") == pytest.approx(0.002 + 0.5 + 0.002)


async def test_errors_do_not_stick(ledger: Ledger) -> None:
    """A final failure is no answer: a run that goes on asks again."""
    with pytest.raises(ValueError, match="not an answer"):
        await ledger.put(KEY, REQUEST, Answer(None, error="timeout"))
    assert ledger.get(KEY) is None


async def test_spent_counts_the_unknown_at_its_bound(ledger: Ledger) -> None:
    """Announced calls count in full until an answer or an attempt settles them."""
    numbers = [await ledger.send(f"b2:{i}", "m", 1.0, run="r") for i in range(3)]
    assert ledger.spent("r") == 3.0
    await ledger.put(KEY, REQUEST, ANSWER, run="r", attempt=numbers[0])
    await ledger.attempt("b2:1", "m", "failed", 0.0, run="r", settles=numbers[1])
    assert ledger.spent("r") == pytest.approx(1.0 + ANSWER.cost)
    assert ledger.spent("another") == 0


@pytest.mark.parametrize("table", ["answers", "attempts", "events"])
@pytest.mark.parametrize("verb", ["UPDATE {} SET created = 0", "DELETE FROM {}"])
async def test_the_past_cannot_be_changed(ledger: Ledger, table: str, verb: str) -> None:
    """The file itself refuses changes of what was recorded."""
    await ledger.put(KEY, REQUEST, ANSWER)
    await ledger.attempt(KEY, "m", "failed", 0.0)
    ledger.event("r", "note", {})
    with sqlite3.connect(ledger.path) as other, pytest.raises(sqlite3.IntegrityError, match="can only be added to"):
        other.execute(verb.format(table))
    other.close()


CHANGES = [
    "answer = json_set(answer, '$.text', 'no')",
    "answer = json_set(answer, '$.usage.input_tokens', 13)",
    "answer = json_set(answer, '$.cost', 0.001), cost = 0.001",
    "answer = json_set(answer, '$.finish', 'length')",
    "answer = json_remove(answer, '$.logprobs')",
    "cost = 0.001",
    "request = json_set(request, '$.prompt', 'Is this bad?')",
    "request = NULL, key = 'b2:0'",
    "model = 'n'",
    "digest = 'b2:0'",
]


@pytest.mark.parametrize("change", CHANGES)
async def test_verify_sees_any_change(ledger: Ledger, change: str) -> None:
    """Whoever changes a recorded figure behind our back is found out."""
    await ledger.put(KEY, REQUEST, ANSWER)
    assert ledger.verify() == []
    with sqlite3.connect(ledger.path) as other:
        other.execute("DROP TRIGGER answers_no_update")
        other.execute(f"UPDATE answers SET {change}")
    other.close()
    assert len(ledger.verify()) == 1


def test_verify_sees_a_changed_plan(ledger: Ledger) -> None:
    """A plan is sealed by its hash."""
    ledger.start_run({"agreement": 0.9}, lookup="l", seed=1)
    with sqlite3.connect(ledger.path) as other:
        other.execute("UPDATE runs SET plan = '{}'")
    other.close()
    assert "plan" in ledger.verify()[0]


def test_runs_are_found_again(ledger: Ledger) -> None:
    """A run is found by its lookup key, newest first, with plan, seed and certificate as they were given."""
    assert ledger.find_run("l") is None
    ledger.start_run({"n": 1}, lookup="l", seed=1)
    run = ledger.start_run({"n": 2}, lookup="l", seed=2**63)
    assert (run.recorded, run.seed, run.state, run.certificate) == ({"n": 2}, 2**63, "pending", None)
    assert run.plan_hash == tagged(b'{"n":2}')
    ledger.finish_run(run.run_id, {"granted": True})
    found = ledger.find_run("l")
    assert found is not None
    assert (found.run_id, found.state, found.certificate) == (run.run_id, "done", {"granted": True})
    assert [r.recorded["n"] for r in ledger.runs()] == [1, 2]
    with pytest.raises(LedgerError, match="no run"):
        ledger.finish_run("nonsense", {})


def test_events_keep_their_order(ledger: Ledger) -> None:
    """Events are read as they happened, of their own run only."""
    for number in range(3):
        ledger.event("r", "look", {"n": number})
    ledger.event("other", "look", {})
    assert [event.payload["n"] for event in ledger.events("r")] == [0, 1, 2]


async def test_owner_only(ledger: Ledger) -> None:
    """Ledger, write-ahead log and index are readable by their owner only, also where the ledger was wider before."""
    await ledger.put(KEY, REQUEST, ANSWER)
    for file in ledger.path.parent.glob("ledger.db*"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    ledger.close()
    os.chmod(ledger.path, 0o644)
    Ledger.open(ledger.path).close()
    assert stat.S_IMODE(ledger.path.stat().st_mode) == 0o600


def test_without_text(tmp_path: Path) -> None:
    """With store_text=False no prompt is in the file, the answer is found all the same, and it verifies."""
    secret = Request("m", "a very private prompt", 8)
    with Ledger.open(tmp_path / "l", store_text=False) as ledger:
        asyncio.run(ledger.put(request_key(secret), secret, ANSWER))
        assert ledger.get(request_key(secret)) == ANSWER
        assert ledger.verify() == []
    assert not any(b"private" in file.read_bytes() for file in tmp_path.glob("l*"))


async def test_read_while_it_runs(ledger: Ledger) -> None:
    """A reader sees what is durable, and cannot write."""
    await ledger.put(KEY, REQUEST, ANSWER)
    with Reader.open(ledger.path) as reader:
        assert reader.get(KEY) == ANSWER
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader._db.execute("DELETE FROM runs")
    await ledger.put(request_key(dataclasses.replace(REQUEST, draw=1)), REQUEST, ANSWER)


def test_what_is_no_ledger_is_told(tmp_path: Path) -> None:
    """A missing file, another file, a folder, a newer schema: one clear line each."""
    (tmp_path / "text").write_text("not a database, but long enough to be looked at" * 50)
    with pytest.raises(InputError, match="no ledger"):
        Reader.open(tmp_path / "missing")
    with pytest.raises(LedgerError, match="not a ledger"):
        Reader.open(tmp_path / "text")
    with pytest.raises(LedgerError, match="not a ledger"):
        Ledger.open(tmp_path / "text")
    with pytest.raises(InputError, match="cannot be created"):
        Ledger.open(tmp_path / "no" / "such" / "folder")
    assert not (tmp_path / "no").exists()
    Ledger.open(tmp_path / "new").close()
    with sqlite3.connect(tmp_path / "new") as other:
        other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(LedgerError, match="schema 99"):
        Ledger.open(tmp_path / "new")


def test_closed_is_closed(tmp_path: Path) -> None:
    """Closing twice does no harm; writing afterwards is told."""
    ledger = Ledger.open(tmp_path / "l")
    ledger.close()
    ledger.close()
    with pytest.raises(LedgerError, match="closed"):
        ledger.event("r", "late", {})


async def test_a_disk_that_fails_is_told_and_survived(ledger: Ledger) -> None:
    """A write that fails raises where it was awaited, and the next one works."""
    await ledger.put(KEY, REQUEST, ANSWER)
    with pytest.raises(LedgerError, match="could not be written"):
        ledger._writer.execute("INSERT INTO answers VALUES (1)", ())
    ledger.event("r", "after", {})
    assert [event.kind for event in ledger.events("r")] == ["after"]


def test_costs_come_back_to_the_last_bit(ledger: Ledger) -> None:
    """Money and log-probabilities lose nothing on the way."""
    odd = dataclasses.replace(ANSWER, cost=0.1 + 0.2, logprobs=(("a", -math.pi),))
    asyncio.run(ledger.put(KEY, REQUEST, odd))
    assert ledger.get(KEY) == odd


def test_what_is_no_file_is_no_ledger(tmp_path: Path) -> None:
    """A dangling link, a folder or a device is an error in a line; nothing is made beside it or changed in it."""
    (tmp_path / "link.db").symlink_to(tmp_path / "nowhere" / "x.db")
    (tmp_path / "folder").mkdir(mode=0o755)
    os.mkfifo(tmp_path / "pipe", 0o644)
    before = {each.name: each.lstat().st_mode for each in tmp_path.iterdir()}
    for name in before:
        with pytest.raises(SmartError) as caught:
            Ledger.open(tmp_path / name)
        assert "\n" not in str(caught.value)
    assert {each.name: each.lstat().st_mode for each in tmp_path.iterdir()} == before


def test_a_ledger_of_two_names_is_not_written(tmp_path: Path) -> None:
    """By a hard link two writers would not see each other's locks: it is refused under either name until one is gone;
    reading does no harm."""
    path, other = tmp_path / "a.db", tmp_path / "b.db"
    Ledger.open(path).close()
    other.hardlink_to(path)
    for each in (path, other):
        with pytest.raises(InputError, match="hard link"):
            Ledger.open(each)
        Reader.open(each).close()
    other.unlink()
    Ledger.open(path).close()
