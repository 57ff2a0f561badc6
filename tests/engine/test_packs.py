"""Rows asked about in packs: one call, one entry in the ledger, one fixed answer for every row of the table."""

from __future__ import annotations

import re
from itertools import chain, pairwise
from math import fsum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import usual

import smart_llm as smart
from smart_llm import cli
from smart_llm.engine.ways import Prompt, Way
from smart_llm.errors import BudgetExhausted, InputError
from smart_llm.ledger import Ledger, Reader, request_key
from smart_llm.mock.faults import Faults
from smart_llm.mock.packs import Packs
from smart_llm.mock.server import MockServer
from smart_llm.providers.specs import read_book, resolve
from smart_llm.tables import open_table
from smart_llm.types import Model, Part, Request

INSTRUCTIONS = "Say whether the text below is meant as praise or as blame, by these rules. " + "Mind the tone. " * 60
TASK = smart.Task(INSTRUCTIONS + "\n\n{text}", labels=["yes", "no"])
ITEM = re.compile(r"^<item (\d+)>\n(.*?)\n</item \1>$", re.DOTALL | re.MULTILINE)


def rows(count: int, copies: int = 1) -> list[dict[str, str]]:
    """Short texts, each of them in so many rows."""
    return [{"text": f"the {i % (count // copies)}th remark"} for i in range(count)]


async def run(url: str, table: Any, folder: Path, candidate: str = "pack=20", **options: Any) -> smart.Run[Any]:
    """A run against the mock: the candidate costs a tenth of the reference."""
    small = f"openai:small@{url}?in=1&out=1&{candidate}"
    given = {"agreement": "0.9", "seed": 5, "progress": False, "ledger": folder / "ledger.db", **options}
    return await smart.arun(table, TASK, reference=f"openai:big@{url}?in=10&out=10", candidates=[small], **given)


def spent(folder: Path, run_id: str) -> float:
    """USD, as the ledger has it."""
    with Reader.open(folder / "ledger.db") as reader:
        return reader.spent(run_id)


async def test_a_pack_is_paid_for_once_and_the_promise_is_checked_from_the_ledger(tmp_path: Path) -> None:
    """Far fewer calls than rows; run again, nothing is bought; the certificate verifies with the ledger; what the rows
    cost is the ledger's total."""
    server = MockServer(rule="label:yes,no", errors={"small": 0.03})
    async with server as url:
        first = await run(url, rows(1500), tmp_path, output=tmp_path / "out.csv")
        before = server.stats()["models"]["small"]["requests"]
        again = await run(url, rows(1500), tmp_path, output=tmp_path / "out.csv")
        assert server.stats()["models"]["small"]["requests"] == before <= 75
    assert first.certificate.granted
    assert first.saving > 4
    assert (again.cost, again.table) == (first.cost, first.table)
    assert abs(spent(tmp_path, first.run_id) - first.cost) < 1e-12
    assert smart.verify(str(tmp_path / "out.csv.certificate.json"), ledger=tmp_path / "ledger.db") == []
    name = next(name for name in first.certificate.delivered["by"] if "small" in name)
    assert name.endswith("?pack=20")
    assert first.certificate.plan["ways"][name] == {"pack": 20, "rules": "packs/1"}


@pytest.mark.parametrize(
    "wrong",
    [Packs(worse=0.05), Packs(together=0.05), Packs(omit=0.05), Packs(double=0.05), Packs(spoil=0.2), Packs(spoil=1.0)],
    ids=lambda wrong: str(wrong).partition("(")[2],
)
async def test_whatever_goes_wrong_in_packs_every_row_is_answered_and_every_cent_found(
    tmp_path: Path, wrong: Packs
) -> None:
    """Items answered otherwise, left out or doubled, packs in words: the reference answers what cannot be used, a pack
    is halved at most once, and the rows' costs add up to the ledger's total."""
    server = MockServer(rule="label:yes,no", errors={"small": 0.02}, packs=wrong)
    async with server as url:
        done = await run(url, rows(600, 2), tmp_path, "pack=8", output=tmp_path / "out.csv", agreement="0.85")
        asked = server.stats()["models"]["small"]
    assert asked["requests"] == asked["distinct"] <= 3 * -(-300 // 8)
    assert done.certificate.claim["errors"] == 0
    assert abs(spent(tmp_path, done.run_id) - done.cost) < 1e-12
    assert smart.verify(str(tmp_path / "out.csv.certificate.json"), ledger=tmp_path / "ledger.db") == []


async def test_a_stopped_run_goes_on_and_buys_no_pack_twice(tmp_path: Path) -> None:
    """Stopped by its budget again and again, a run ends with the table, the cost and the calls of one that was not."""
    server = MockServer(rule="label:yes,no", errors={"small": 0.03}, packs=Packs(spoil=0.1))
    alone, stopped = tmp_path / "alone", tmp_path / "stopped"
    alone.mkdir(), stopped.mkdir()
    async with server as url:
        whole = await run(url, rows(1000), alone)
        calls = server.stats()["requests"]
        budget, stops = whole.cost * 0.3, 0
        while True:
            try:
                done = await run(url, rows(1000), stopped, budget=budget)
                break
            except BudgetExhausted:
                budget, stops = budget + whole.cost * 0.15, stops + 1
        assert stops > 2
        assert server.stats()["requests"] == 2 * calls
    assert done.table == whole.table
    assert done.cost == pytest.approx(whole.cost, abs=1e-12)
    assert spent(stopped, done.run_id) == pytest.approx(done.cost, abs=1e-12)


@pytest.mark.parametrize("seed", [1, 2])
async def test_every_cent_is_found_through_failed_calls_broken_packs_and_stops(tmp_path: Path, seed: int) -> None:
    """Calls fail and are made again, items are left out or doubled, packs are halved, and the budget ends the run
    several times: its rows' costs add up to what the ledger says was bought, model by model."""
    wrong, faults = Packs(omit=0.1, double=0.05, spoil=0.2), Faults.all(0.02)
    server = MockServer(
        rule="label:yes,no", errors={"small": 0.02}, packs=wrong, faults=faults, hang=0.02, pause=0.01, seed=seed
    )
    budget, stops = 0.1, 0
    async with server as url:
        while True:
            try:
                done = await run(url, rows(600, 2), tmp_path, "pack=8", agreement="0.8", budget=budget, seed=seed)
                break
            except BudgetExhausted:
                budget, stops = budget + 0.1, stops + 1
    assert stops > 1
    assert sum(server.stats()["faults"].values()) > 1
    cost = done.certificate.cost
    with Reader.open(tmp_path / "ledger.db") as reader:
        bought = reader.spent(done.run_id) - reader.lost(done.run_id)
    assert abs(cost["total"] - bought) < 1e-12
    assert abs(fsum(cost["by_model"].values()) - bought) < 1e-12


def packed(count: int, way: str = "pack=7", *, copies: int = 1, name: str = "small") -> tuple[Way, Any]:
    """A way of a table of so many rows."""
    table = open_table(rows(count, copies))
    model = resolve(f"openai:{name}@http://127.0.0.1:1/v1?in=1&out=1&{way}")
    return Way(table, TASK, model), table


def part(way: Way, table: Any, row: int) -> Request:
    """What is asked about a row."""
    return way.request(Prompt.of("", row, table.cells_at([row], ["text"])[0]))


def test_which_rows_share_a_call_follows_from_table_task_and_way_alone() -> None:
    """Made anew it is the same; another table, task, model or size of packs is another packing."""
    (way, table), (same, _), (other, _) = packed(200), packed(200), packed(200, name="tiny")
    keys = [request_key(part(way, table, row)) for row in range(200)]
    assert keys == [request_key(part(same, table, row)) for row in range(199, -1, -1)][::-1]
    calls = [way.layout.sharing(number).tolist() for number in range(len(way.layout.ends))]
    assert [set(call) for call in calls] != [set(other.layout.sharing(number).tolist()) for number in range(29)]
    assert sorted(chain(*calls)) == list(range(200))
    assert [len(call) for call in calls] == [7] * 28 + [4]
    near = [abs(a - b) for call in calls for a, b in pairwise(call)]
    assert np.mean(near) > 40  # rows of a call are no neighbours in the table


def test_equal_rows_share_a_place() -> None:
    """Rows with the same text stand in a pack once, and have one address."""
    way, table = packed(120, copies=3)
    assert way.places.max() == 39
    assert len({request_key(part(way, table, row)) for row in (4, 44, 84)}) == 1
    texts = [text for pack in range(len(way.layout.ends)) for _, text in ITEM.findall(way.pack(pack).whole.prompt)]
    assert sorted(texts) == sorted({row["text"] for row in rows(120, 3)})


def test_rows_are_delivered_with_many_calls_on_their_way() -> None:
    """All rows, none twice; the first ones are of calls of their own."""
    way, table = packed(210)
    order = way.in_order(np.arange(210))
    assert sorted(order.tolist()) == list(range(210))
    first = [request_key(part(way, table, row)).partition("#")[0] for row in order[:30].tolist()]
    assert len(set(first)) == 30


def test_a_pack_is_halved_by_a_fixed_rule() -> None:
    """The first half is the larger; each row's half is known before anything is asked, and a single row has none."""
    way, table = packed(7)
    pack = way.pack(0)
    halves = [len(ITEM.findall(half.prompt)) for half in pack.halves]
    assert halves == [4, 3]
    for row in range(7):
        found = part(way, table, row)
        assert isinstance(found, Part)
        assert found.half is not None
        own = table.cells_at([row], ["text"])[0]["text"]
        assert ITEM.findall(found.call.prompt)[found.number - 1][1] == own
        assert ITEM.findall(found.half.call.prompt)[found.half.number - 1][1] == own
    lonely, table = packed(1)
    assert part(lonely, table, 0).half is None  # type: ignore[attr-defined]


async def test_prompts_of_their_own_and_parts_of_a_row(tmp_path: Path) -> None:
    """A way's prompt, system text and cut are what is sent; reading and equivalence stay the task's."""
    (tmp_path / "short.txt").write_text("Praise? {text}")
    seen: dict[str, Request] = {}

    def answer(request: Request) -> str:
        seen[request.model.partition(":")[2].partition("?")[0]] = request
        return "Yes."

    table = [{"text": f"{i} " + "many words " * 40} for i in range(60)]
    way = smart.Candidate(
        "fake:small?in=1&out=1", prompt=tmp_path / "short.txt", system="Be brief.", head=60, tail=20, max_tokens=5
    )
    provider = smart.FakeProvider(answer)
    done = await smart.arun(
        table,
        TASK,
        reference="fake:big?in=100&out=100",
        candidates=[way],
        agreement="0.5",
        providers={"fake:big": provider, "fake:small": provider},
        ledger=tmp_path / "ledger.db",
        progress=False,
    )
    small = seen["small"]
    assert small.prompt.startswith("Praise? ")
    assert (small.system, small.max_tokens) == ("Be brief.", 5)
    assert "characters are left out here" in small.prompt
    assert len(small.prompt) < 160
    assert seen["big"].prompt.startswith(INSTRUCTIONS)
    assert {row["answer"] for row in done.table} == {"yes"}
    assert done.certificate.plan["ways"][small.model]["prompt"] == "Praise? {text}"
    assert (
        small.model
        == "fake:small?head=60&tail=20&prompt=short.txt&system=text-" + small.model[-21:-13] + "&max_tokens=5"
    )


@pytest.mark.parametrize(
    ("candidates", "why"),
    [
        (["fake:b?in=1&out=1&pack=0"], "pack=0 is not a number of rows in a call; write 1 to 200"),
        (["fake:b?in=1&out=1&pack=201"], "pack=201 is not a number of rows"),
        (["fake:b?in=1&out=1&pack=x"], "pack=x is not a number of rows"),
        (["fake:b?in=1&out=1&head=0"], "head=0 is not a number of characters"),
        (["fake:b?in=1&out=1&tail=-1"], "tail=-1 is not a number of characters"),
        (["fake:b?in=1&out=1&max_tokens=0"], "max_tokens=0 is not a number of tokens"),
        (["fake:b?in=1&out=1&prompt=nowhere.txt"], "prompt=nowhere.txt cannot be read: No such file"),
        (["fake:b?in=1&out=1&prompt=Is+it+{tex}?"], r"names \{tex\}, but there is no such column"),
        ([smart.Candidate("fake:b?in=1&out=1", prompt="Is it?")], "uses no column"),
        ([smart.Candidate("fake:b?in=1&out=1", prompt="{other}")], r"shows \{other\}, which the task's own does not"),
        ([smart.Candidate("fake:b?in=1&out=1", pack=20, pack_template="All of it")], r"no \{items\}"),
        ([smart.Candidate("fake:b?in=1&out=1", pack_template="{items}")], "goes with pack="),
        ([smart.Candidate("fake:b?in=1&out=1", pack=3, draws=2)], "give one"),
        (["fake:b?in=1&out=1&pack=3", smart.Candidate("fake:b?in=1&out=1", pack=3)], "given twice"),
        (
            [smart.Candidate("fake:b?in=1&out=1", prompt="{text}"), "fake:b?in=1&out=1&prompt=same.txt"],
            "is the same way of answering as",
        ),
        (["fake:b?in=1&out=1", "fake:b?in=1&out=1&prompt=task.txt"], "is the same way of answering as fake:b"),
        (
            ["fake:b?in=1&out=1&pack=3", f"fake:b?in=1&out=1&pack=3&max_tokens={TASK.max_tokens}"],
            "is the same way of answering as",
        ),
        (["fake:a?in=9&out=9&prompt=task.txt"], "is the reference itself"),
        (["fake:b?in=1&out=1&prompt=a/x.txt", "fake:b?in=1&out=1&prompt=b/x.txt"], "two files have this name"),
        (["fake:b?in=1&out=1&prompt="], "prompt= is empty; write the name of a file or a text"),
    ],
)
def test_ways_that_cannot_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, candidates: list[Any], why: str
) -> None:
    """One line that says what to write, before anything is asked."""
    monkeypatch.chdir(tmp_path)
    Path("same.txt").write_text("{text}\n")
    Path("task.txt").write_text(TASK.prompt + "\n")
    for name in "ab":
        Path(name).mkdir()
        Path(name, "x.txt").write_text(f"{name} {{text}}")
    table = [{"text": "a", "other": "b"}] * 3
    with pytest.raises(InputError, match=why) as refused:
        smart.run(table, TASK, reference="fake:a?in=9&out=9", candidates=candidates, ledger="l.db")
    assert str(refused.value).count("\n") <= 1
    assert not Path("l.db").exists()


async def test_the_reference_is_asked_row_by_row(tmp_path: Path) -> None:
    """Its answers define the promise, so it has no way of its own."""
    for way in ("pack=2", "head=9", "prompt={text}!"):
        with pytest.raises(InputError, match="one row a call"):
            await smart.arun(
                [{"text": "a"}],
                TASK,
                reference=f"fake:a?in=9&out=9&{way}",
                candidates=["fake:b?in=1&out=1"],
                ledger=tmp_path / "l.db",
            )


async def test_packs_by_batch_are_one_line_each(tmp_path: Path) -> None:
    """By batch a pack is one request of the batch, and the answers are those of the ordinary run."""
    server = MockServer(rule="label:yes,no", errors={"small": 0.03})
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir(), two.mkdir()
    quick = smart.BatchOptions(poll=0.05, longest=0.05, quiet=0.05)
    async with server as url:
        plain = await run(url, rows(400), one, "pack=10&batch_in=0.5&batch_out=0.5")
        batched = await run(url, rows(400), two, "pack=10&batch_in=0.5&batch_out=0.5", batch=quick)
    with Ledger.open(two / "ledger.db") as ledger:
        small = next(model for model in batched.certificate.models if "small" in model["name"])
        assert ledger.count(small["name"]) <= 40
        assert small["batch"]
        assert abs(ledger.spent(batched.run_id) - batched.cost) < 1e-12
    truth = [row["answer"] for row in plain.table]
    assert np.mean([row["answer"] == said for row, said in zip(batched.table, truth, strict=True)]) > 0.9


def test_the_name_of_a_way_is_the_same_however_it_was_written() -> None:
    """Options in any order, or `smart.Candidate`: one model, one name."""
    one = resolve("openai:x@http://127.0.0.1:1/v1?head=100&pack=20&in=1&out=1")
    two = resolve(str(smart.Candidate("openai:x@http://127.0.0.1:1/v1?in=1&out=1", pack=20, head=100)))
    assert isinstance(one, Model)
    assert one == two
    assert one.name == "openai:x@http://127.0.0.1:1/v1?pack=20&head=100"


def test_a_file_of_models_holds_ways(tmp_path: Path) -> None:
    """`pack = 20` and the others stand under a model like its prices."""
    book = tmp_path / "models.toml"
    book.write_text(
        '["openai:x@http://127.0.0.1:1/v1"]\nin = 1\nout = 1\n[packed]\nmodel = "openai:x@http://127.0.0.1:1/v1"\n'
        'in = 1\nout = 1\npack = 20\nhead = 100\nprompt = "Good? {text}"\nsystem = "Be brief."\n',
        encoding="utf-8",
    )
    model = resolve("packed", book=read_book(book))
    assert (model.way.pack, model.way.head, model.way.prompt) == (20, 100, "Good? {text}")
    assert model.way.system == "Be brief."
    assert resolve("openai:x@http://127.0.0.1:1/v1", book=read_book(book)).way.plain


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("pack = [3]", "pack is a list; write one value"),
        ("pack = true", "pack=True is not a number of rows"),
        ("pack = 2.5", "pack=2.5 is not a number of rows"),
        ("head = { a = 1 }", "head="),
        ("prompt = 5", "prompt=5 cannot be read"),
        ('pack = 3\npack_template = ""', "pack_template= is empty"),
    ],
)
def test_a_file_of_models_with_ways_that_cannot_be_used(tmp_path: Path, line: str, why: str) -> None:
    """Whatever TOML can say under a model is either a way or an error in one line."""
    book = tmp_path / "models.toml"
    book.write_text(f'[m]\nmodel = "openai:x@http://127.0.0.1:1/v1"\nin = 1\nout = 1\n{line}\n', encoding="utf-8")
    with pytest.raises(InputError, match=why):
        resolve("m", book=read_book(book))


@pytest.mark.parametrize("odd", [{"pack": True}, {"prompt": 5}, {"system": b"x"}, {"head": 2.5}])
def test_what_is_no_way_in_python_is_an_error_of_ours(odd: dict[str, Any]) -> None:
    """Values of another type than a way has are named, before anything is asked."""
    with pytest.raises(InputError, match=next(iter(odd))):
        resolve(str(smart.Candidate("fake:b?in=1&out=1", **odd)))


@pytest.mark.parametrize("way", ["pack=0", "pack=900", "head=0", "prompt=nowhere.txt", "pack=3&pack_template=All"])
def test_the_command_line_says_what_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], way: str
) -> None:
    """Exit code 2, one line, and nothing is made."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text("text\na\nb\n", encoding="utf-8")
    arguments = ["smart", *map(str, usual("t.csv", candidate=f"fake:small?in=1&out=1&{way}"))]
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not list(tmp_path.glob("*.db"))


async def test_a_pilot_before_the_run_counts_whole_calls(tmp_path: Path, port: int) -> None:
    """What a pilot bought in packs is the run's, whole calls of it, and the totals agree."""
    async with MockServer(rule="label:yes,no", errors={"small": 0.03}, packs=Packs(spoil=0.1), port=port) as url:
        options: dict[str, Any] = {
            "reference": f"openai:big@{url}?in=10&out=10",
            "candidates": [f"openai:small@{url}?in=1&out=1&pack={size}" for size in (5, 20)],
            "agreement": "0.9",
            "seed": 3,
            "ledger": tmp_path / "ledger.db",
        }
        planned = await smart.aplan(rows(400), TASK, pilot=12, procedure="reference-only", **options)
        with Reader.open(tmp_path / "ledger.db") as reader:
            total = float(reader._db.execute("SELECT SUM(cost) FROM answers").fetchone()[0])
        assert planned.pilot is not None
        assert planned.pilot["cost"] == pytest.approx(total, abs=1e-12)
        done = await smart.arun(rows(400), TASK, progress=False, **options)
    with Reader.open(tmp_path / "ledger.db") as reader:
        total = float(reader._db.execute("SELECT SUM(cost) FROM answers").fetchone()[0])
    assert done.cost == pytest.approx(total, abs=1e-12)
