"""Labels known before a run teach its candidate, and are never evidence."""

import csv
import sys
from pathlib import Path
from typing import Any

import pytest
from killing import ended

import smart_llm as smart
from smart_llm.errors import InputError

sys.path.append(str(Path(__file__).parent))
from test_learned_live import REFERENCE, TASK, copied, reviews, run, shown

ROWS = 1500


def test_the_ledgers_answers_teach_and_what_is_known_is_delivered(tmp_path: Path) -> None:
    """A second run, of another target, asks the reference about fewer rows than the same run in an empty ledger: rows
    that it had answered are set aside and delivered for nothing. Killed and resumed it is the same, and it verifies."""
    ledger, other = tmp_path / "l.db", tmp_path / "o.db"
    run(ledger, ROWS, agreement=0.8)
    copy = tmp_path / "k.db"
    copy.write_bytes(ledger.read_bytes())
    second, cold = run(ledger, ROWS, agreement=0.87), run(other, ROWS, agreement=0.87)
    plan = second.certificate.plan
    assert plan.known is not None
    assert plan.known.rows == len(plan.set_aside) == plan.known.answers > 48
    assert second.certificate.cost.paid < cold.cost
    assert sum(row["answer"] != row["truth"] for row in second.table) <= second.certificate.claim.allowance
    assert smart.verify(second.certificate, ledger=ledger) == []
    assert "learned knew beforehand" in second.certificate.text()
    _killed(copy, 20)
    resumed = run(copy, ROWS, agreement=0.87)
    assert shown(resumed) == shown(second)
    assert resumed.certificate.evidence == second.certificate.evidence


def _killed(ledger: Path, stop: int) -> None:
    """The second run, whose process dies after so many calls."""
    code = (
        "import test_learned_live as t; from pathlib import Path; "
        f"t.run(Path({str(ledger)!r}), {ROWS}, stop={stop}, agreement=0.87)"
    )
    died, said = ended(code, str(Path(__file__).parent))
    assert died == 9, said


def labelled(path: Path, rows: list[dict[str, str]], wrong: bool = False) -> str:
    """A file of labels, as people might have given them."""
    other = {"positive": "negative", "negative": "Positive"}
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows([row["text"], other[row["truth"]] if wrong else row["truth"]] for row in rows)
        writer.writerow(["nobody knows", ""])
    return f"{path}:label"


@pytest.mark.parametrize("wrong", [False, True])
def test_labels_of_a_file_teach_and_wrong_ones_break_no_promise(whole: smart.Run, tmp_path: Path, wrong: bool) -> None:
    """Right ones save lessons; with every label wrong the promise holds, since rows of the run decide. Plan and
    certificate name the file, how many labels it has, and their hash."""
    source = labelled(tmp_path / "labels.csv", reviews(ROWS + 400)[ROWS:], wrong)
    done = run(tmp_path / "l.db", ROWS, learn_from=source)
    assert sum(row["answer"] != row["truth"] for row in done.table) <= done.certificate.claim.allowance
    assert wrong or done.cost < whole.cost
    (named,) = done.certificate.plan.learn_from
    assert (named.name, named.labels) == ("labels.csv:label", 400)
    assert f"400 labels of labels.csv:label ({named.digest})" in " ".join(done.certificate.text().split())
    assert smart.verify(done.certificate, ledger=tmp_path / "l.db") == []


def test_another_ledger_teaches(whole: smart.Run, tmp_path: Path) -> None:
    """The reference's answers to other texts under the same task, in another run's ledger."""
    table = reviews(3000)
    told = smart.plan(
        table[ROWS:],
        TASK,
        reference=REFERENCE,
        candidates=["learned"],
        ledger=tmp_path / "new.db",
        learn_from=copied(whole, tmp_path, "old.db"),
    )
    asked = whole.certificate.delivered.by["fake:ref"]
    assert f"{asked:,} labels of old.db" in told.text(400)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere.csv:label", "give a ledger, or a file and its column of labels"),
        ("labels.csv", "also name the column of labels"),
        ("labels.csv:other", "has no column other"),
        ("empty.csv:label", "holds no label of this task"),
    ],
)
def test_sources_that_hold_nothing_are_one_line(tmp_path: Path, source: str, message: str) -> None:
    """Nothing is asked and no ledger is made."""
    labelled(tmp_path / "labels.csv", reviews(5))
    labelled(tmp_path / "empty.csv", [])
    with pytest.raises(InputError, match=message):
        run(tmp_path / "l.db", 300, learn_from=str(tmp_path / source))
    given: dict[str, Any] = {"candidates": ["fake:small?in=0&out=0"], "learn_from": f"{tmp_path / 'labels.csv'}:label"}
    with pytest.raises(InputError, match="name that candidate"):
        run(tmp_path / "l.db", 300, **given)
    assert not (tmp_path / "l.db").exists()
