"""What a run says to whoever waits for it: candidates that are of no use, what was asked again, why nobody was used."""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chance import draw
from commands import usual

import smart_llm as smart
from smart_llm.mock.server import MockServer

LABELS = ["yes", "no"]
ROWS = [{"id": f"K-{i}", "text": f"row {i}"} for i in range(400)]
TASK = smart.Task("Good? {text}", labels=LABELS)
Command = Callable[..., tuple[int, str, str]]
Answering = Callable[[smart.Request], Any]


def well(request: smart.Request) -> str:
    """What the reference says."""
    return LABELS[draw(request.prompt) < 0.4]


def rarely(request: smart.Request) -> str:
    """What the reference says on a third of the rows."""
    return well(request) if draw(request.prompt + "f") < 1 / 3 else LABELS[well(request) == LABELS[0]]


def refused(_: smart.Request) -> str:
    """A server that knows no such model."""
    raise smart.Refused("404: no such model here", row_only=True)


def run(tmp_path: Path, candidates: dict[str, Answering], **options: Any) -> tuple[smart.Run[Any], list[str]]:
    """A run of these candidates, and every sentence it said."""
    said: list[str] = []
    reference = options.pop("reference", well)
    given: dict[str, Any] = {
        "reference": "fake:big?in=10&out=10",
        "candidates": [f"{name}?in=1&out=1" for name in candidates],
        "providers": {
            name: smart.FakeProvider(answer, keep=True)
            for name, answer in {"fake:big": reference, **candidates}.items()
        },
        "ledger": tmp_path / "ledger.db",
        "agreement": 0.9,
        "seed": 3,
        "on_event": lambda event: said.append(event.text) if isinstance(event, smart.Said) else None,
    }
    rows = options.pop("rows", ROWS)
    return smart.run(rows, options.pop("task", TASK), **{**given, **options}), said


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda _: "It depends.", ["'It depends.'", "labels alone", "leave it out"]),
        (refused, ["every call failed", "smart doctor", "leave it out"]),
        (lambda _: smart.Answer("", finish="length"), ["?thinking=2000", "?effort=none"]),
        (lambda _: smart.Answer(None, finish="content_filter"), ["safety filter", "leave it out"]),
    ],
)
def test_a_candidate_of_no_use_is_named_once(tmp_path: Path, answer: Answering, words: list[str]) -> None:
    """Every call fails, or every answer breaks the contract: progress, certificate and report say it, with what to do,
    and each of them once."""
    done, said = run(tmp_path, {"fake:bad": answer, "fake:small": well}, report=tmp_path / "r.html")
    told = [text for text in said if "gave no proper answer" in text]
    noted = [note for note in done.certificate.notes if "gave no proper answer" in note]
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert len(told) == len(noted) == 1
    assert all(word in noted[0] for word in ["fake:bad", *words])
    assert "fake:bad" in told[0]
    assert done.certificate.text().count("gave no proper") == 1
    assert page.count("gave no proper answer") == 1
    assert not any("fake:small gave" in text for text in [*said, *done.certificate.notes])


def test_a_candidate_that_answers_seldom_is_named(tmp_path: Path) -> None:
    """Most answers break the contract: the note has the counts."""
    done, _ = run(tmp_path, {"fake:bad": lambda r: well(r) if draw(r.prompt + "x") < 0.35 else "?"}, rows=ROWS * 5)
    (note,) = [note for note in done.certificate.notes if note.startswith("fake:bad gave")]
    assert "gave a proper answer to only" in note


def test_nothing_is_quoted_where_no_text_is_kept(tmp_path: Path) -> None:
    """An answer may quote its row: with `store_text=False` it stands in no certificate."""
    done, said = run(tmp_path, {"fake:bad": lambda r: f"secret {r.prompt}"}, store_text=False)
    assert "gave no proper answer" in done.certificate.to_json()
    assert "secret" not in done.certificate.to_json()
    assert not any("secret" in text for text in said)


def test_a_run_taken_up_again_notes_the_same(tmp_path: Path) -> None:
    """The note is made of evidence alone: run again, the certificate is the same."""
    candidates: dict[str, Answering] = {"fake:bad": refused, "fake:odd": lambda _: "?", "fake:small": well}
    first, _ = run(tmp_path, candidates)
    assert run(tmp_path, candidates)[0].certificate.notes == first.certificate.notes


def test_a_certificate_without_a_candidates_answer_says_why(tmp_path: Path) -> None:
    """Certified, but the reference had answered every row before: one sentence says so, then and later on."""
    run(tmp_path, {"fake:small": well}, procedure="reference-only")
    for _ in range(2):
        done, _ = run(tmp_path, {"fake:small": well}, agreement=0.8)
        assert done.certificate.status == "certified"
        assert done.certificate.delivered["by"]["fake:small"] == 0
        (note,) = [note for note in done.certificate.notes if note.startswith("Candidates were certified")]
        assert "the reference's answer was there already" in note


@pytest.mark.parametrize(
    ("candidates", "options", "words"),
    [
        ({"fake:far": rarely, "fake:none": lambda _: "?"}, {}, ["fake:far came"]),
        ({"fake:none": lambda _: "?"}, {}, ["fake:none agreed on none"]),
        ({"fake:small": well}, {"rows": ROWS[:5]}, ["lets no row of 5 differ"]),
        ({"fake:small": well}, {"procedure": "reference-only"}, ["asked for"]),
    ],
)
def test_reference_only_says_why(
    tmp_path: Path, candidates: dict[str, Answering], options: dict[str, Any], words: list[str]
) -> None:
    """Which candidate came nearest, or why none was asked: in the certificate's text and in the report."""
    done, _ = run(tmp_path, candidates, report=tmp_path / "r.html", **options)
    assert done.certificate.status == "reference-only"
    line = next(line for line in done.certificate.text(400).splitlines() if line.startswith("  why "))
    for word in words:
        assert word in line
        assert word in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_people_read_short_names_and_machines_full_ones(tmp_path: Path) -> None:
    """Text and report call a model by its name without its address; the JSON has all of it."""
    address = "openai:small@http://127.0.0.1:9/v1"
    done, _ = run(tmp_path, {address: well}, report=tmp_path / "r.html")
    assert address not in done.certificate.text()
    assert "openai:small" in done.certificate.text()
    assert address in done.certificate.to_json()
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert page.count(address) <= 2


def test_a_learned_score_is_told_in_words(tmp_path: Path) -> None:
    """No name of a term stands in a note: what the score looks at is said in words."""

    def unsure(request: smart.Request) -> str:
        if draw(request.prompt) < 0.15:
            return LABELS[draw(request.prompt + "u") < 0.5]
        return well(request)

    texts = [{"text": f"{'long ' * 40 if draw(f'Good? {i}') < 0.3 else 'short'} {i}"} for i in range(1500)]
    done, _ = run(
        tmp_path,
        {"fake:small": lambda r: "no" if len(r.prompt) > 100 else well(r), "fake:tiny": unsure},
        rows=texts,
        agreement=0.95,
    )
    for note in done.certificate.notes:
        assert not any(term in note for term in ("usual", "answer_length", "text_length", "same:"))


def lost(share: float, answer: Any) -> Answering:
    """The reference, with something else on a share of the rows."""
    return lambda request: answer(request) if draw(request.prompt + "l") < share else well(request)


@pytest.mark.parametrize("retry", ["errors", "broken"])
def test_a_retry_that_finds_nothing_says_so(tmp_path: Path, retry: str) -> None:
    """No earlier run, and a run whose rows all have an answer: a sentence each, not silence."""
    _, said = run(tmp_path, {"fake:small": well}, retry=retry)
    assert any("holds no earlier run" in text for text in said)
    _, said = run(tmp_path, {"fake:small": well}, retry=retry)
    (told,) = [text for text in said if text.startswith("retry=")]
    assert "nothing is to be asked again: every row has an answer" in told


def test_a_retry_counts_what_it_asked(tmp_path: Path) -> None:
    """How many rows were asked again, how many of them have an answer now, and which are left as they are."""
    ill = lost(0.2, lambda _: "who knows")
    first, _ = run(tmp_path, {"fake:small": well}, reference=ill, agreement=0.7)
    before = first.certificate.errors["rows"]
    assert before > 3
    _, said = run(tmp_path, {"fake:small": well}, retry="errors", reference=well, agreement=0.7)
    (told,) = [text for text in said if text.startswith("retry=")]
    assert "nothing is to be asked again" in told
    assert "retry='broken' asks about them" in told
    done, said = run(tmp_path, {"fake:small": well}, retry="broken", reference=well, agreement=0.7)
    (told,) = [text for text in said if text.startswith("retry=")]
    left = done.certificate.errors["rows"]
    assert f"{before - left:,} of the rows without an answer were asked about again" in told
    assert f"{before - left:,} of them have one now" in told
    assert not left or "counted as evidence" in told


def test_a_budget_smaller_than_one_pack_is_raised_to_what_the_pack_may_cost(command: Command, tmp_path: Path) -> None:
    """Where twice the budget would not let the next call through, the command that is named has more."""
    table = tmp_path / "t.csv"
    table.write_text("text\n" + "".join(f"row {i} " + "word " * 50 + "\n" for i in range(300)))
    given = usual(table, candidate="fake:small?in=1&out=1&pack=50", budget="0.0001")
    code, _, said = command(*given, "--yes")
    needed = re.search(r"the next may cost \$([\d.]+\d)", said)
    assert code == 4
    assert needed is not None
    typed = shlex.split(said.splitlines()[-1].removeprefix("go on: "))
    assert typed[-2] == "--budget"
    assert float(typed[-1]) >= float(needed[1]) > 0.0002


def test_a_stop_at_the_budget_says_how_to_go_on(command: Command, tmp_path: Path) -> None:
    """What is kept, where, what was written, and one command that goes on from there and reaches the end."""
    table = tmp_path / "t.csv"
    table.write_text("text\n" + "".join(f"row {i}\n" for i in range(300)))
    given = usual(table, budget="0.001", report=tmp_path / "r.html", output=tmp_path / "o.csv")
    code, printed, said = command(*given, "--yes")
    assert (code, printed) == (4, "")
    kept, written, again = said.splitlines()[-3:]
    assert kept.startswith("kept: ")
    assert re.search(r"^kept: \d+ replies for \$0.000\d+, in the ledger", kept)
    assert kept.endswith(f"in the ledger {table}.ledger.db")
    assert f"{tmp_path / 'o.csv'}.certificate.json (pending), {tmp_path / 'r.html'}" in written
    typed = shlex.split(again.removeprefix("go on: "))
    assert typed[-2:] == ["--budget", "0.002"]
    assert typed.count("--budget") == 1
    for _ in range(9):
        code, printed, said = command(*typed[1:])
        if code == 0:
            break
        typed = shlex.split(said.splitlines()[-1].removeprefix("go on: "))
    assert code == 0
    assert f"written: {tmp_path / 'o.csv'}" in printed
    assert f"report: {tmp_path / 'r.html'}" in printed


def test_a_stop_over_broken_answers_names_the_retry(command: Command, tmp_path: Path, port: int) -> None:
    """The command that goes on asks again for what was broken."""
    table = tmp_path / "t.csv"
    table.write_text("text\n" + "".join(f"row {i}\n" for i in range(60)))

    async def served() -> tuple[int, str, str]:
        async with MockServer(rule="label:oui,non", port=port) as url:
            models = {"reference": f"openai:big@{url}?in=10&out=10", "candidate": f"openai:small@{url}?in=1&out=1"}
            return await asyncio.to_thread(command, *usual(table, **models), "--yes")

    code, _, said = asyncio.run(served())
    assert code == 3
    assert "rows answered" not in said
    assert re.search(r"^kept: \d+ replies for \$", said, re.MULTILINE)
    assert said.splitlines()[-1].startswith("go on: smart run")
    assert said.splitlines()[-1].endswith("--retry broken")


def test_a_finished_run_names_every_file(command: Command, tmp_path: Path) -> None:
    """The table, the certificate and the ledger, and how to get a report where none was asked for."""
    table = tmp_path / "t.csv"
    table.write_text("text\n" + "".join(f"row {i}\n" for i in range(60)))
    code, printed, _ = command(*usual(table), "--yes")
    assert code == 0
    for name in ("t.answers.csv", "t.answers.csv.certificate.json", "t.csv.ledger.db"):
        assert str(tmp_path / name) in printed
    asked = printed.splitlines()[-1].removeprefix("report: ").removesuffix(" makes one")
    assert command(*shlex.split(asked)[1:], "--html", tmp_path / "r.html")[0] == 0


@pytest.mark.parametrize("seed", [3, None])
def test_what_a_given_seed_takes_for_granted_is_printed(tmp_path: Path, seed: int | None) -> None:
    """Whoever reads the certificate in print is told that the seed was given, and only where it was."""
    done, _ = run(tmp_path, {"fake:small": well}, seed=seed)
    text = " ".join(done.certificate.text(80).split())
    assert ("did not know what the models answer to this table" in text) == (seed is not None)
