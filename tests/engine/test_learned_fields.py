"""`learned` for JSON answers with closed fields, and what it refuses."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

import smart_llm as smart
from smart_llm.errors import InputError
from smart_llm.learned.model import Joint, kept_model
from smart_llm.ledger import Reader
from smart_llm.ledger.entries import TAUGHT
from smart_llm.types import Request

SCHEMA = {
    "type": "object",
    "properties": {
        "mood": {"enum": ["good", "bad"]},
        "urgent": {"type": "boolean"},
        "shop": {"anyOf": [{"$ref": "#/$defs/shop"}, {"type": "null"}]},
    },
    "required": ["mood", "urgent"],
    "$defs": {"shop": {"type": "string", "enum": ["north", "south"]}},
}
TASK = smart.Task("What does it say?\nReview: {text}", schema=SCHEMA)
WORDS = {"mood": {"good": "lovely", "bad": "broken"}, "urgent": {True: "today", False: "sometime"}}


def reviews(rows: int) -> list[dict[str, Any]]:
    """Reviews whose words tell all fields; a shop is not always named."""
    rng, found = random.Random(1), []
    for number in range(rows):
        said = {"mood": rng.choice(["good", "bad"]), "urgent": rng.random() < 0.4}
        shop = rng.choice(["north", "south", None])
        words = [f"w{rng.randrange(300)}" for _ in range(6)]
        words += [WORDS[field][value] for field, value in said.items() if rng.random() < 0.9]
        said |= {"shop": shop} if shop else {}
        words += [shop] if shop else []
        rng.shuffle(words)
        found.append({"text": f"{' '.join(words)} {number}", "truth": json.dumps(said)})
    return found


def run(ledger: Path, rows: int = 900, **options: Any) -> smart.Run[Any]:
    """A run with `learned` as its only candidate."""
    table = reviews(rows)
    truth = {row["text"]: row["truth"] for row in table}
    provider = smart.FakeProvider(lambda request: truth[request.prompt.split("Review: ")[1]], keep=True)
    given: dict[str, Any] = {"candidates": ["learned"], "agreement": 0.8, "seed": 3, "progress": False} | options
    task = given.pop("task", TASK)
    return smart.run(
        table, task, reference="fake:ref?in=1&out=1", ledger=ledger, providers={"fake:ref": provider}, **given
    )


def test_every_field_has_a_model_and_the_promise_is_about_the_whole_answer(tmp_path: Path) -> None:
    """Most rows are answered for nothing, by objects that satisfy the schema; the ledger keeps the models, a run that
    is run again uses them, and the certificate verifies."""
    done = run(tmp_path / "l.db")
    wrong = sum(not TASK.equivalent(row["answer"], json.loads(row["truth"])) for row in done.table)
    by = [row for row in done.table if row["answered_by"] == "learned"]
    assert done.certificate.granted
    assert wrong <= 0.2 * 900
    assert len(by) > 300
    assert any("shop" not in row["answer"] for row in by)
    assert smart.verify(done.certificate, ledger=tmp_path / "l.db") == []
    with Reader.open(tmp_path / "l.db") as reader:
        (taught,) = [event for event in reader.events(done.run_id) if event.kind == TAUGHT]
    model = kept_model(taught.payload)
    assert isinstance(model, Joint)
    assert model.names == ("mood", "urgent", "shop")
    assert model.digest == Joint.from_bytes(model.to_bytes()).digest
    again = run(tmp_path / "l.db")
    assert again.certificate.to_json() == done.certificate.to_json()
    assert again.table == done.table


def fields(**properties: Any) -> dict[str, Any]:
    """A schema with these."""
    return {"type": "object", "properties": properties}


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"schema": fields(mood={"enum": ["good"]}, why={"type": "string"})}, "and why is not; leave it out"),
        ({"schema": fields(price={"type": "number"})}, "and price is not; leave it out"),
        ({"schema": fields(tags={"type": "array", "items": {"enum": ["a", "b"]}})}, "and tags is not"),
        ({"schema": fields(of={"anyOf": [{"enum": ["a"]}, {"type": "string"}]})}, "and of is not"),
        ({"schema": {"enum": ["a", "b"]}}, "it learns labels, or JSON answers whose fields are all closed"),
        ({"answer": "json"}, "it learns labels, or JSON answers"),
        ({"answer": "text"}, "it learns labels, or JSON answers"),
        ({"answer": "number"}, "it learns labels, or JSON answers"),
    ],
)
def test_open_answers_are_refused_in_a_line(tmp_path: Path, task: dict[str, Any], message: str) -> None:
    """Before anything is asked."""
    with pytest.raises(InputError, match=message) as told:
        run(tmp_path / "l.db", 300, task=smart.Task("Review: {text}", **task))
    assert "\n" not in str(told.value)
    assert not (tmp_path / "l.db").exists()


def test_a_prompt_without_words_is_refused_where_it_stands_alone(tmp_path: Path) -> None:
    """Numbers tell a learner of words nothing; beside another candidate the run notices by itself."""
    table = [{"a": str(number), "b": str(-number)} for number in range(300)]
    task = smart.Task("Is {a} larger than {b}?", labels=["yes", "no"])

    def answer(request: Request) -> str:
        return "yes"

    providers = {"fake:ref": smart.FakeProvider(answer), "fake:small": smart.FakeProvider(answer)}
    given: dict[str, Any] = {"reference": "fake:ref?in=1&out=1", "providers": providers, "progress": False}
    with pytest.raises(InputError, match=r"the prompt shows no words of a row \(a, b\)"):
        smart.run(table, task, candidates=["learned"], ledger=tmp_path / "l.db", **given)
    done = smart.run(
        table, task, candidates=["learned", "fake:small?in=0.1&out=0.1"], ledger=tmp_path / "l.db", **given
    )
    assert done.certificate.granted
