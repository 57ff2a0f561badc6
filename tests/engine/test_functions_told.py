"""What is said of a function of the user's own: normal use is no fault, and what helps is about functions."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import smart_llm as smart

TASK = smart.Task("Does {Text} complain?", labels=["yes", "no"])
ROWS = [{"Text": f"{'odd' if n % 3 == 0 else 'broken' if n % 3 == 1 else 'lovely'} thing {n}"} for n in range(300)]
GARBLED = re.compile(r"\.\)\.|\.\.|it was empty|: ,|, ,|\(\)")


def truth(request: Any) -> str:
    """Whoever knows."""
    return "no" if "lovely" in request.prompt else "yes"


def run(folder: Path, *candidates: Any, **options: Any) -> tuple[smart.Run[Any], list[str]]:
    """A run with these candidates, and every sentence it said."""
    said: list[str] = []
    done = smart.run(
        ROWS, options.pop("task", TASK), reference="fake:ref?in=1000&out=1000",
        candidates=[smart.Candidate(each) for each in candidates], ledger=folder / "ledger.db", agreement=0.9, seed=5,
        providers={"fake:ref": smart.FakeProvider(truth, keep=True)},
        on_event=lambda event: said.append(event.text) if isinstance(event, smart.Said) else None, **options,
    )  # fmt: skip
    return done, said


def seldom(Text: str) -> str | None:
    """Right where it says anything, which is one row in three."""
    return "yes" if "odd" in Text else None


def wrong(Text: str) -> str | None:
    """Says what is no label in two rows of three, and nothing of the others."""
    return None if "odd" in Text else "perhaps"


def raises(Text: str) -> str:
    """Fails in every row."""
    return str(len(Text) / 0)


def never(Text: str) -> str | None:
    """Has nothing to say."""
    return None


def misspelt(text: str) -> str:
    """Its parameter differs from the column in case alone, so it is given a dict."""
    return "yes" if "broken" in text else "no"


@pytest.mark.parametrize("candidate", [seldom, {"odd": "yes"}])
def test_a_row_it_cannot_say_is_no_fault(tmp_path: Path, candidate: Any) -> None:
    """None, and an expression that is not found, are neither scolded nor counted as breaches."""
    done, said = run(tmp_path, candidate, report=tmp_path / "r.html")
    assert not [text for text in [*said, *done.certificate.notes] if "proper answer" in text]
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "broke the output contract" not in page
    assert "about which it had nothing to say" in page


def test_a_plan_does_not_call_it_a_breach_either(tmp_path: Path) -> None:
    """A pilot with a function that passes two rows in three on: no word of the contract or of paying twice."""
    plan = smart.plan(
        ROWS, TASK, reference="fake:ref?in=1000&out=1000", candidates=[smart.Candidate(seldom)], pilot=40,
        ledger=tmp_path / "ledger.db", providers={"fake:ref": smart.FakeProvider(truth, keep=True)}, progress=False,
        procedure="reference-only",  # whose forecast takes no time
    )  # fmt: skip
    assert "contract" not in plan.text()
    assert "had no answer to" in plan.text()


@pytest.mark.parametrize(
    ("candidate", "words", "others"),
    [
        (raises, ["mend the function, or leave it out", "gave no proper answer"], ["address", "server", "prompt"]),
        (wrong, ["it said 'perhaps'", "let it return one of the labels, or leave it out", "had nothing to say about"],
         ["address", "prompt"]),
        (re.compile("(thing)"), ["it said 'thing'", "let it say one of the labels (PATTERN=ANSWER)"], ["function"]),
    ],
)  # fmt: skip
def test_advice_is_about_what_it_is(tmp_path: Path, candidate: Any, words: list[str], others: list[str]) -> None:
    """A function that raises, or says what is no answer: whole sentences, and nothing about servers."""
    done, said = run(tmp_path, candidate)
    told = [text for text in [*said, *done.certificate.notes] if "proper answer" in text]
    assert len(told) == 2
    for text in told:
        assert all(word in text for word in words)
        assert not any(word in text for word in others)
        assert not GARBLED.search(text), text


def test_what_it_raised_is_said_once_and_where(tmp_path: Path) -> None:
    """The exception and its line, in a sentence that ends once."""
    _, said = run(tmp_path, raises)
    (told,) = [text for text in said if "gave no proper answer" in text]
    assert re.search(
        r"every call failed: function:raises raised ZeroDivisionError \(\w+\.py, line \d+\)\. The ref", told
    )


def test_one_that_never_says_anything_is_named_without_blame(tmp_path: Path) -> None:
    """A plain fact, since it may be meant so."""
    done, _ = run(tmp_path, never)
    (note,) = [note for note in done.certificate.notes if "function:never" in note]
    assert "had nothing to say about any of the" in note
    assert "proper" not in note


@pytest.mark.parametrize(
    ("function", "near"),
    [(misspelt, "Text"), (lambda _text: "yes", "Text"), (lambda row: "yes", None), (seldom, None)],
)
def test_a_parameter_spelt_like_a_column(tmp_path: Path, function: Callable[..., Any], near: str | None) -> None:
    """Plan and run say that it is given a dict, and which column it may mean; else nothing."""
    _, said = run(tmp_path, function)
    plan = smart.plan(ROWS, TASK, reference="fake:ref?in=1&out=1", candidates=[smart.Candidate(function)])
    for text in ("\n".join(said), re.sub(r"\s+", " ", plan.text())):
        assert ("is no column, so it is given the row as a dict. Did you mean" in text) == (near is not None)
        assert near is None or f"Did you mean {near}?" in text


@pytest.mark.parametrize(
    "reply", [smart.Answer(""), smart.Answer("<think>hm</think>"), smart.Answer("", finish="empty")]
)
def test_an_empty_reply_of_a_server_is_a_whole_sentence(tmp_path: Path, reply: smart.Answer) -> None:
    """Also of a model: what was wrong, then what to do."""
    said: list[str] = []
    done = smart.run(
        ROWS, TASK, reference="fake:ref?in=1000&out=1000", candidates=["fake:bad?in=1&out=1"], agreement=0.9, seed=5,
        providers={"fake:ref": smart.FakeProvider(truth), "fake:bad": smart.FakeProvider(lambda _: reply)},
        on_event=lambda event: said.append(event.text) if isinstance(event, smart.Said) else None,
        ledger=tmp_path / "ledger.db",
    )  # fmt: skip
    told = [text for text in [*said, *done.certificate.notes] if "gave no proper answer" in text]
    assert told
    assert all(
        re.search(r"asked about: [^.]+\. The reference answers instead: .+, or leave it out\.$", t) for t in told
    )
