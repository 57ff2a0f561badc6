"""What people read first in a certificate: one number of it cannot be changed without `smart verify` saying so."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from msgspec import json

import smart_llm as smart

TASK = smart.Task("Good? {text}", labels=["yes", "no"])
ROWS = [{"text": f"row {i}"} for i in range(400)]


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The JSON of a certificate whose candidate strays now and then."""
    folder = tmp_path_factory.mktemp("printed")
    answers = {"fake:big": lambda r: "yes", "fake:small": lambda r: "no" if r.prompt.endswith("7") else "yes"}
    done = smart.run(
        ROWS, TASK, reference="fake:big?in=1000&out=1000", candidates=["fake:small?in=1&out=1"], agreement=0.8, seed=3,
        providers={name: smart.FakeProvider(answer) for name, answer in answers.items()}, self_check=10,
        ledger=folder / "ledger.db", progress=False,
    )  # fmt: skip
    assert smart.verify(done.certificate) == []
    assert done.certificate.status == "certified"
    return done.certificate.fields()


def changed(value: dict[str, Any], change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """The certificate after this."""
    copy: dict[str, Any] = json.decode(json.encode(value))
    change(copy)
    assert copy != value
    return copy


@pytest.mark.parametrize("name", ["profiled", "agreeing", "lower", "upper"])
@pytest.mark.parametrize("by", [1, 2, -1, 6])
def test_how_a_candidate_fared(issued: dict[str, Any], name: str, by: int) -> None:
    """Rows profiled, rows agreed on, and the limits: no one of them alone."""
    step = by if name in ("profiled", "agreeing") else by / 100
    forged = changed(issued, lambda c: c["delivered"]["standings"][0].update({name: standing(c)[name] + step}))
    assert smart.verify(forged) != []


def standing(c: dict[str, Any]) -> dict[str, Any]:
    """The one candidate's."""
    found: dict[str, Any] = c["delivered"]["standings"][0]
    return found


@pytest.mark.parametrize("by", [1, -1, 6])
def test_how_many_rows_were_profiled(issued: dict[str, Any], by: int) -> None:
    """The count is the evidence's."""
    forged = changed(issued, lambda c: c["delivered"].update(profiled=c["delivered"]["profiled"] + by))
    assert smart.verify(forged) != []


def test_how_many_rows_were_set_aside(issued: dict[str, Any]) -> None:
    """The count is the plan's."""
    assert smart.verify(changed(issued, lambda c: c["delivered"].update(set_aside=1))) != []


@pytest.mark.parametrize(
    "name", ["total", "profiling", "delivery", "self_check", "reference_only", "saving", "paid", "reused"]
)
def test_what_it_cost(issued: dict[str, Any], name: str) -> None:
    """Parts add up, and the saving follows."""
    forged = changed(issued, lambda c: c["cost"].update({name: c["cost"][name] * 1.1 + 0.01}))
    assert smart.verify(forged) != []


@pytest.mark.parametrize("name", ["rows", "agreeing", "lower"])
def test_how_the_reference_agreed_with_itself(issued: dict[str, Any], name: str) -> None:
    """Counts and limits fit."""
    forged = changed(issued, lambda c: c["self_agreement"].update({name: c["self_agreement"][name] - 1}))
    assert smart.verify(forged) != []


def test_a_certificate_of_one_row_speaks_of_one_row(tmp_path: Path) -> None:
    """No plural of one, in claim and text."""
    done = smart.run(
        ROWS[:1], TASK, reference="fake:big?in=1&out=1", candidates=["fake:small?in=0&out=0"], progress=False,
        ledger=tmp_path / "ledger.db",
    )  # fmt: skip
    text = done.certificate.text()
    assert "1 rows" not in text
    assert "The row was asked" in text


@pytest.mark.parametrize(
    ("candidate", "rows", "why", "cheaper"),
    [
        ("learned", 301, "answers to 45 rows taught learned", False),
        ("fake:small?in=9&out=9", 40, "No candidate was asked about any row. To find out how often one agrees", True),
    ],
)
def test_no_advice_to_take_a_cheaper_candidate_than_a_free_one(
    tmp_path: Path, candidate: str, rows: int, why: str, cheaper: bool
) -> None:
    """The table is small: a plain sentence says who was asked for nothing, and advises a cheaper candidate only where
    one costs anything."""
    done = smart.run(
        ROWS[:rows], TASK, reference="fake:big?in=10&out=10",
        candidates=[candidate], progress=False, ledger=tmp_path / "ledger.db", agreement=0.95,
    )  # fmt: skip
    text = " ".join(done.certificate.text().split())
    assert why in text
    assert ("cheaper candidate" in text) == cheaper


def test_rows_that_taught_a_candidate_are_not_said_to_be_none(tmp_path: Path) -> None:
    """Where texts do not tell the answers, the reference answered some for `learned` alone: that is said."""
    done = smart.run(
        [{"text": f"row {i}"} for i in range(600)], TASK, reference="fake:big?in=10&out=10", candidates=["learned"],
        providers={"fake:big": smart.FakeProvider(lambda r: "yes" if hash_of(r.prompt) % 2 else "no")},
        agreement=0.98, seed=3, progress=False, ledger=tmp_path / "ledger.db",
    )  # fmt: skip
    text = " ".join(done.certificate.text().split())
    rows = done.certificate.delivered.profiled
    assert done.certificate.status == "reference-only"
    assert rows
    assert f"answers to {rows} rows taught learned" in text
    assert "No candidate was asked about any row" not in text


def hash_of(text: str) -> int:
    """A number that no word of the text tells."""
    return sha256(text.encode()).digest()[0]


def test_a_file_that_is_no_certificate_is_told_what_is_wanted(tmp_path: Path) -> None:
    """The table, given by mistake, is refused with the name of what a run writes beside it."""
    (tmp_path / "t.csv").write_text("text\nrow\n")
    with pytest.raises(smart.InputError, match=r"not JSON .*name the OUTPUT\.certificate\.json"):
        smart.verify(tmp_path / "t.csv")
