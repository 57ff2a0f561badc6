"""`learned` in live runs: taught, kept, resumed, verified."""

import json
import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from killing import ended

import smart_llm as smart
from smart_llm.errors import InputError
from smart_llm.learned.model import kept_model, to_keep
from smart_llm.types import Request

WORDS = {"positive": ["great", "lovely", "fine", "superb"], "negative": ["awful", "broken", "poor", "hate"]}
TASK = smart.Task("Is this positive or negative?\nReview: {text}", labels=["positive", "negative"])
REFERENCE = "fake:ref?in=1&out=1"


def reviews(rows: int) -> list[dict[str, str]]:
    """Reviews whose words tell most of them apart."""
    rng, found = random.Random(1), []
    for number in range(rows):
        label = rng.choice(sorted(WORDS))
        words = [f"w{rng.randrange(300)}" for _ in range(9)]
        words += [rng.choice(WORDS[label]) for _ in range(rng.choice([0, 1, 2, 2]))]
        rng.shuffle(words)
        found.append({"text": f"{' '.join(words)} {number}", "truth": label})
    return found


def reference(rows: list[dict[str, str]], stop: int = 0) -> smart.FakeProvider:
    """Who knows the truth; the process dies at a call where `stop` says so."""
    truth, calls = {row["text"]: row["truth"] for row in rows}, [0]

    def answer(request: Request) -> str:
        calls[0] += 1
        if stop and calls[0] > stop:
            os._exit(9)
        return truth[request.prompt.split("Review: ")[1]]

    return smart.FakeProvider(answer, keep=True)


def run(ledger: Path, rows: int = 1500, stop: int = 0, **options: Any) -> smart.Run[Any]:
    """A run with `learned` as its only candidate, unless told otherwise."""
    table = reviews(rows)
    given: dict[str, Any] = {"candidates": ["learned"], "agreement": 0.85, "seed": 3, "progress": False} | options
    given = {"providers": {"fake:ref": reference(table, stop)}} | given
    return smart.run(table, TASK, reference=REFERENCE, ledger=ledger, **given)


def shown(done: smart.Run[Any]) -> list[tuple[str, str]]:
    """What is delivered, and by whom."""
    return [(row["answer"], row["answered_by"]) for row in done.table]


def copied(done: smart.Run, folder: Path, name: str = "l.db") -> Path:
    """A copy of a run's ledger."""
    return Path(shutil.copy(done.ledger, folder / name))


def test_it_answers_most_rows_and_the_certificate_verifies(whole: smart.Run, tmp_path: Path) -> None:
    """The promise is kept, the saving is what the words are worth, and the ledger agrees with the certificate."""
    wrong = sum(row["answer"] != row["truth"] for row in whole.table)
    assert whole.certificate.granted
    assert wrong <= 0.15 * 1500
    assert whole.saving > 3
    assert smart.verify(whole.certificate, ledger=whole.ledger) == []
    assert run(copied(whole, tmp_path)).certificate.to_json() == whole.certificate.to_json()


def test_beside_another_candidate_it_is_one_of_them(tmp_path: Path) -> None:
    """Beside a model that is cheaper than the reference the run costs less than with that alone."""
    table = reviews(4000)
    truth = {row["text"]: row["truth"] for row in table}

    def small(request: Request) -> str:
        text = request.prompt.split("Review: ")[1]
        right = int(text.rsplit(" ", 1)[1]) % 10 > 0
        return truth[text] if right else ("negative" if truth[text] == "positive" else "positive")

    def costs(*candidates: str) -> float:
        providers = {"fake:ref": reference(table), "fake:small": smart.FakeProvider(small, keep=True)}
        done = smart.run(
            table,
            TASK,
            reference=REFERENCE,
            candidates=candidates,
            agreement=0.85,
            seed=3,
            progress=False,
            ledger=tmp_path / f"{len(candidates)}.db",
            providers=providers,
        )
        assert smart.verify(done.certificate, ledger=tmp_path / f"{len(candidates)}.db") == []
        return done.cost

    small_spec = "fake:small?in=0.5&out=0.5"
    assert costs(small_spec, "learned") < costs(small_spec)


@pytest.mark.parametrize("stop", [50, 90, 200])
def test_killed_and_resumed_it_delivers_the_same(whole: smart.Run, tmp_path: Path, stop: int) -> None:
    """In the first lesson's rows, among those chosen, in the look: the same table and the same evidence."""
    code = (
        f"import test_learned_live as t; from pathlib import Path; t.run(Path({str(tmp_path / 'k.db')!r}), stop={stop})"
    )
    assert ended(code, str(Path(__file__).parent))[0] == 9
    resumed = run(tmp_path / "k.db")
    assert shown(resumed) == shown(whole)
    assert resumed.certificate.evidence == whole.certificate.evidence
    assert smart.verify(resumed.certificate, ledger=tmp_path / "k.db") == []


def changed(ledger: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """A ledger whose kept model somebody has changed, past all that forbids it."""
    with sqlite3.connect(ledger) as base:
        base.execute("drop trigger events_no_update")
        row, payload = base.execute("select id, payload from events where kind = 'taught'").fetchone()
        kept = json.loads(payload)
        change(kept)
        base.execute("update events set payload = ? where id = ?", (json.dumps(kept), row))


def other_model(kept: dict[str, Any]) -> None:
    """One that says the opposite, with a hash that fits."""
    fitted = kept_model(kept)
    wrong = replace(fitted, weights=-fitted.weights, offset=-fitted.offset)
    kept |= to_keep(wrong, tuple(kept["around"]))


def broken_model(kept: dict[str, Any]) -> None:
    """One that cannot be read."""
    kept["model"] = kept["model"][:400]


@pytest.mark.parametrize(
    ("change", "message"), [(other_model, "not what the model that was kept says"), (broken_model, "cannot be read")]
)
def test_a_model_that_was_changed_in_the_ledger_is_found_out(
    whole: smart.Run, tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    """The answers that were evidence must be those of the model that is kept."""
    ledger = copied(whole, tmp_path)
    changed(ledger, change)
    assert any(message in problem for problem in smart.verify(whole.certificate, ledger=ledger))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": 100}, "100 different rows are too few"),
        ({"candidates": ["learned?pack=3"]}, "unknown option .pack."),
        ({"candidates": ["learned", "learned"]}, "given twice"),
        ({"procedure": "smart/2024"}, "goes with the default procedure"),
    ],
)
def test_what_it_cannot_do_is_said_before_anything_is_asked(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    """Bad input is one line, and nothing is spent."""
    with pytest.raises(InputError, match=message):
        run(tmp_path / "l.db", **({"rows": 1500} | options))
    assert not (tmp_path / "l.db").exists()


def test_it_learns_labels_only(tmp_path: Path) -> None:
    """Numbers and open text have no closed set to choose from."""
    with pytest.raises(InputError, match="it learns labels"):
        smart.run(
            reviews(300),
            smart.Task("How many? {text}", answer="number"),
            reference=REFERENCE,
            candidates=["learned"],
            ledger=tmp_path / "l.db",
        )


def test_ways_auto_offers_it_where_it_may_pay(tmp_path: Path) -> None:
    """With labels and two thousand rows it is one of the ways; on smaller tables it is not. No pilot can ask it."""
    table = reviews(2000)
    given: dict[str, Any] = {"reference": REFERENCE, "candidates": ["fake:small?in=0.1&out=0.1"], "ways": "auto"}
    options = {**given, "ledger": tmp_path / "l.db"}
    assert "learned" in [model.name for model in smart.plan(table, TASK, **options).models]
    assert "learned" not in [model.name for model in smart.plan(table[:1000], TASK, **options).models]
    with pytest.raises(InputError, match="cannot be piloted"):
        smart.plan(table, TASK, **{**options, "candidates": ["learned"]}, pilot=20)


@pytest.mark.parametrize("seed", [1, 2])
def test_where_all_rows_are_as_sure_a_share_of_them_is_certified_and_verifies(tmp_path: Path, seed: int) -> None:
    """The mix after lessons: what was piloted, chosen and taught is told from the evidence."""
    table = [{"text": f"{'great' if n % 3 else 'awful'} thing {n % 7}{n % 11} {n}"} for n in range(900)]
    wrong = {row["text"] for n, row in enumerate(table) if n % 17 == 0}

    def answer(request: Request) -> str:
        text = request.prompt.split("Review: ")[1]
        return "positive" if ("great" in text) != (text in wrong) else "negative"

    done = smart.run(
        table,
        TASK,
        reference=REFERENCE,
        candidates=["learned"],
        agreement=0.85,
        seed=seed,
        ledger=tmp_path / "l.db",
        providers={"fake:ref": smart.FakeProvider(answer, keep=True)},
        progress=False,
    )
    assert "mix" in done.certificate.evidence
    assert smart.verify(done.certificate, ledger=tmp_path / "l.db") == []
