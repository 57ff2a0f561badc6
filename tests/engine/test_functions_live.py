"""Functions and regular expressions as candidates, in live runs: certified, resumed, refused."""

import asyncio
import os
import re
import subprocess
import sys
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from forks import ran

import smart_llm as smart
from smart_llm.errors import InputError
from smart_llm.types import Request

TASK = smart.Task("Does {text} complain? Shop: {shop}", labels=["yes", "no"])
REFERENCE = "fake:ref?in=1000&out=1000"
COMPLAINS = re.compile("broken|refund")


def table(rows: int = 600) -> list[dict[str, str]]:
    """Every third row complains, one in twenty-five in words that no rule knows."""
    said = []
    for number in range(rows):
        word = "odd" if number % 25 == 0 else "broken" if number % 3 == 0 else "lovely"
        said.append({"text": f"{word} thing {number}", "shop": "north", "note": str(number)})
    return said


def truth(request: Request) -> str:
    """Whoever knows."""
    return "yes" if re.search("broken|odd", request.prompt) else "no"


def run(ledger: Path, *candidates: Any, rows: int = 300, **options: Any) -> smart.Run[Any]:
    """A run with these candidates beside a reference that knows the truth."""
    provider = smart.FakeProvider(truth, keep=True)
    given: dict[str, Any] = {"agreement": 0.9, "seed": 5, "progress": False} | options
    return smart.run(
        table(rows), TASK, reference=REFERENCE, candidates=candidates, ledger=ledger,
        providers={"fake:ref": provider}, **given,
    )  # fmt: skip


def classify(text: str) -> str:
    """By the column it names."""
    return "yes" if COMPLAINS.search(text) else "no"


def of_row(row: dict[str, str]) -> str:
    """By the whole row."""
    assert set(row) == {"text", "shop"}, "what the prompt shows, and no more"
    return classify(row["text"])


async def awaited(text: str) -> str:
    """As a coroutine."""
    await asyncio.sleep(0)
    return classify(text)


def how_sure(text: str) -> tuple[str, float]:
    """With how probable it is."""
    return classify(text), 0.6 if "odd" in text else 0.99


class Reply(Enum):
    """Labels of the user's own."""

    YES = "yes"
    NO = "no"


def member(text: str, *, word: str = "broken") -> Reply:
    """A member of an Enum, with a parameter that is no column."""
    return Reply.YES if word in text else Reply.NO


class Shop:
    """An object that is called."""

    def __call__(self, text: str, shop: str) -> str:
        """Of rows of one shop."""
        return classify(text) if shop == "north" else "no"


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (classify, "function:classify"),
        (of_row, "function:of_row"),
        (awaited, "function:awaited"),
        (how_sure, "function:how_sure"),
        (member, "function:member"),
        (Shop(), "function:Shop"),
        (lambda row: classify(row["text"]), "function:lambda"),
        ({"broken|refund": "yes", "": "no"}, "regex:broken-refund-yes-no"),
        (re.compile("(?P<yes>broken)|(?P<no>lovely)"), "regex:P-yes-broken-P-no-lovely"),
    ],
)
def test_it_is_certified_like_every_other_candidate(tmp_path: Path, given: Any, name: str) -> None:
    """It answers many rows for nothing, the promise holds, and it is named."""
    done = run(tmp_path / "l.db", smart.Candidate(given))
    wrong = sum(row["answer"] != truth(Request("x", row["text"], 1)) for row in done.table)
    by = {row["answered_by"] for row in done.table}
    assert done.certificate.granted
    assert wrong <= 30
    assert done.saving > 1.5
    assert [each for each in by if each.startswith(name)]
    assert [each.name for each in done.certificate.plan.models if each.name.startswith(name)]


def test_it_is_verified_taken_up_and_reported(tmp_path: Path) -> None:
    """The ledger agrees with the certificate, the same command finds its run, and the report names the function."""
    done = run(tmp_path / "l.db", smart.Candidate(classify))
    assert smart.verify(done.certificate, ledger=tmp_path / "l.db") == []
    assert run(tmp_path / "l.db", smart.Candidate(classify)).certificate.to_json() == done.certificate.to_json()
    assert "function:classify" in done.report(tmp_path / "r.html").read_text()


def test_a_failure_is_the_rows_own(tmp_path: Path) -> None:
    """What raises, says nothing, or says no label is never delivered; the row goes to the reference, without a word of
    the exception in the ledger."""

    def moody(text: str) -> str | None:
        number = int(text.split()[-1])
        if number % 10 == 0:
            raise ValueError(f"secret {text}")
        return None if number % 10 == 1 else "perhaps" if number % 10 == 2 else classify(text)

    done = run(tmp_path / "l.db", smart.Candidate(moody), agreement=0.6)
    odd = [row for row in done.table if int(row["text"].split()[-1]) % 10 < 3]
    assert done.certificate.granted
    assert {row["answered_by"] for row in odd} == {"fake:ref"}
    assert all(row["answer"] == truth(Request("x", row["text"], 1)) for row in odd)
    assert b"secret" not in (tmp_path / "l.db").read_bytes()


def test_one_that_always_raises_leaves_a_run_without_it(tmp_path: Path) -> None:
    """The reference answers every row; the user is told why, and the certificate says so."""
    said: list[str] = []

    def never(text: str) -> str:
        raise KeyError(text)

    done = run(tmp_path / "l.db", smart.Candidate(never), on_event=lambda e: said.append(getattr(e, "text", "")))
    assert {row["answered_by"] for row in done.table} == {"fake:ref"}
    assert any("KeyError (test_functions_live.py, line" in each for each in said)
    assert "every call failed" in " ".join(done.certificate.notes)


def test_a_price_is_paid_for_every_call(tmp_path: Path) -> None:
    """What the user states is what a row costs."""
    done = run(tmp_path / "l.db", smart.Candidate(classify, price=0.001, name="mine"))
    calls = done.certificate.cost.by_model["function:mine"]
    assert calls == pytest.approx(0.001 * round(calls / 0.001))
    assert calls > 0.1
    assert "$0.001 a row" in done.report(tmp_path / "r.html").read_text()


def test_another_function_is_another_run(tmp_path: Path) -> None:
    """A function that has changed, or what it refers to, gives no answers of the old one away and draws a new order."""
    said: list[str] = []
    words = {"broken"}

    def by_words(text: str) -> str:
        return "yes" if any(word in text for word in words) else "no"

    def tell(event: smart.Event) -> None:
        said.extend([event.text] if isinstance(event, smart.Said) else [])

    first = run(tmp_path / "l.db", smart.Candidate(by_words))
    words.add("odd")
    second = run(tmp_path / "l.db", smart.Candidate(by_words), on_event=tell)
    assert first.run_id != second.run_id
    assert first.certificate.seed != second.certificate.seed
    assert any("function:by_words has changed" in each for each in said)


def test_what_cannot_be_hashed_is_good_for_this_process_unless_a_version_says_more(tmp_path: Path) -> None:
    """The user is told; with a version another process resumes the run."""
    code = """
import random, sys
from pathlib import Path
import test_functions_live as t, smart_llm as smart
chance = random.Random(1)
def f(text):
    chance.random()
    return t.classify(text)
said = []
done = t.run(Path(sys.argv[1]), smart.Candidate(f, version=sys.argv[2] or None),
             on_event=lambda e: said.append(getattr(e, "text", "")))
print(done.run_id, any("cannot be hashed" in each for each in said))
"""

    def started(version: str, *, by: Any = subprocess.run) -> list[str]:
        here = Path(__file__).parent
        env = {**os.environ, "PYTHONPATH": f"{here}{os.pathsep}{here.parent / 'kit'}"}
        command = [sys.executable, "-c", code, str(tmp_path / "l.db"), version]
        options = {} if by is ran else {"capture_output": True, "text": True, "check": True}
        return str(by(command, env=env, **options).stdout).split()

    one, other = started("", by=ran), started("")
    assert one[0] != other[0]
    assert one[1] == other[1] == "True"
    one, other = started("3", by=ran), started("3")
    assert one == other
    assert one[1] == "False"


def two(text: str, other: str) -> str:
    """Wants a column that is not there."""
    return text + other


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"candidates": [smart.Candidate(two)]}, "function:two: the function wants other, which the prompt does not"),
        ({"candidates": [smart.Candidate(classify)], "engine": "ray"}, "it answers in the process of the run"),
        ({"reference": "regex:a=yes", "candidates": ["fake:a?in=0&out=0"]}, "cannot define the promise"),
        ({"candidates": [classify]}, r"Write smart.Candidate\(classify\)"),
        ({"candidates": [smart.Candidate(classify), smart.Candidate(classify)]}, "is given twice"),
        (
            {"candidates": ["regex:broken=yess;=no"]},
            "says 'yess', which is none of the labels yes, no. Did you mean yes",
        ),
        ({"candidates": ["regex:broken=yes;="]}, "says '', which is none of the labels yes, no"),
        ({"candidates": [smart.Candidate({"broken": "complaint"})]}, "says 'complaint', which is none"),
        ({"candidates": ["regex:(?P<yes>broken)|(?P<other>.)"]}, "says 'other', which is none"),
        ({"candidates": ["regex:broken|refund"]}, "says 'broken', which is none"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_line(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    """Before anything is asked."""
    with pytest.raises(InputError, match=message) as told:
        smart.run(table(), TASK, **({"reference": "fake:ref?in=1&out=1", "ledger": tmp_path / "l.db"} | options))
    assert "\n" not in str(told.value)
    assert not (tmp_path / "l.db").exists()


@pytest.mark.parametrize("said", ["regex:broken=YES;=no", "regex:(?P<yes>broken)|(?P<no>.)", r"regex:(\w+) thing"])
def test_rules_that_may_say_a_label_are_run(tmp_path: Path, said: str) -> None:
    """In other letters than the label's, by the name of a group, or by what stands in the row."""
    assert run(tmp_path / "l.db", said).certificate.delivered.by["fake:ref"] > 0


def odd(text: str) -> str:
    """Says what is no label of every tenth row."""
    return "perhaps" if text.endswith("0") else classify(text)


def test_an_answer_that_is_no_label_breaks_the_contract_of_its_row(tmp_path: Path) -> None:
    """A row of which a function says what is none of the labels goes on to the reference; no such answer is ever
    delivered."""
    done = run(tmp_path / "l.db", smart.Candidate(odd))
    assert done.certificate.granted
    assert {row["answered_by"] for row in done.table if row["text"].endswith("0")} == {"fake:ref"}
    assert {row["answer"] for row in done.table} == {"yes", "no"}


def test_no_text_is_kept_where_none_is_to_be(tmp_path: Path) -> None:
    """What a function is given stays out of the ledger, too."""
    run(tmp_path / "l.db", smart.Candidate(classify), store_text=False)
    assert b"lovely thing" not in (tmp_path / "l.db").read_bytes()
