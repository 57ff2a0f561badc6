"""The demo with functions in place of its model and its text: it is the ordinary run, told step by step."""

import csv
import io
import re
import tarfile
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest

from smart_llm.certificates.verify import verify
from smart_llm.cli import demonstration as module
from smart_llm.cli import snippets
from smart_llm.cli.demonstration import AGREEMENT, CONFIDENCE, PROMPT, SEED, SHOW, WORDS, Show, demo
from smart_llm.cli.snippets import LABELS, Snippet, Words, counted, read_snippets, shared_out, write_table
from smart_llm.engine.outputs import certificate_path
from smart_llm.providers.fake import FakeProvider
from smart_llm.providers.local import weights
from smart_llm.types import Request

ROOT = Path(__file__).parents[1]
SNIPPETS = [Snippet(i, (-1) ** i * 3.0, f"Number {i} is {'bad' if i % 2 else 'good'}") for i in range(800)]
STRONG = "fake:strong"


def honest(request: Request) -> str:
    """What a perfect model would say of SNIPPETS."""
    return LABELS["bad" in request.prompt]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the demo says; the reference is a function, nothing is fetched."""
    strong = FakeProvider(honest, keep=True)
    whole = module._providers
    monkeypatch.setattr(module, "SHOW", Show(f"{STRONG}?in=10&out=10", SHOW.candidates, SHOW.model, 300, 1))
    monkeypatch.setattr(module, "reviews", lambda say: SNIPPETS)
    monkeypatch.setattr(module, "_providers", lambda free: {**whole(free), STRONG: strong})
    monkeypatch.setattr(weights, "pull", lambda what, progress: progress("nothing to pull"))
    return []


def test_demo_runs_certifies_and_verifies(said: list[str], tmp_path: Path) -> None:
    """Every row is answered, the certificate is printed and verifies, and both shares right are told."""
    done = demo(output=tmp_path / "out", say=said.append)
    text = "\n".join(said)
    with (tmp_path / "out" / "answered.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["ok"] * 300
    assert done.certificate.granted
    assert done.saving > 2.3
    assert done.certificate.text() in text
    assert "  verifies" in said
    assert f"{done.certificate.delivered.profiled} (100.0%) of the rows asked of {STRONG} at random" in text
    assert "300 of 300 (100.0%) of the delivered table" in text
    assert verify(certificate_path(tmp_path / "out" / "answered.csv"), done.ledger) == []


def test_shares_right_are_counted_against_the_ratings(
    said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reference that is wrong on a tenth of the rows is shown to be, beside what is delivered."""
    wrong = {s.text for s in SNIPPETS if s.id % 10 == 0}

    def mostly(request: Request) -> str:
        text = request.prompt.rpartition("Review: ")[2].partition("\n")[0]
        return LABELS[("bad" in text) ^ (text in wrong)]

    whole = module._providers
    monkeypatch.setattr(module, "_providers", lambda free: {**whole(free), STRONG: FakeProvider(mostly)})
    done = demo(output=tmp_path, say=said.append)
    with (tmp_path / "answered.csv").open() as file:
        rows = list(csv.DictReader(file))
    right = sum((float(row["rating"]) > 0) == (row["answer"] == "yes") for row in rows)
    itself, delivered = (line for line in said if re.search(r"^  \d+ of \d+ \(", line))
    assert delivered == f"  {right} of 300 ({right / 3:.1f}%) of the delivered table"
    share = float(re.findall(r"\((.*)%\)", itself)[0])
    assert 80 < share < 97
    assert re.findall(r"of (\d+)", itself) == [str(done.certificate.delivered.profiled)]


def test_demo_run_again_buys_nothing(said: list[str], tmp_path: Path) -> None:
    """The second demo in the same folder takes its answers from the ledger, to the same result."""
    first = demo(rows=60, output=tmp_path, say=said.append)
    again = demo(rows=60, output=tmp_path, say=said.append)
    assert again.run_id == first.run_id
    assert again.certificate.evidence == first.certificate.evidence


def test_demo_says_what_it_will_do_first(said: list[str], tmp_path: Path) -> None:
    """Models, promise, seed and folder are named before anything is pulled."""
    demo(rows=40, output=tmp_path / "out", say=said.append)
    before = "\n".join(said[: said.index("nothing to pull")])
    assert all(word in before for word in (STRONG, WORDS, "40", "0.90", "0.95", f"seed {SEED}", str(tmp_path / "out")))


def test_demo_is_the_same_every_time(said: list[str], tmp_path: Path) -> None:
    """Its seed is fixed: in two folders the same rows are profiled, to the same certificate but for its day."""
    first, second = (demo(output=tmp_path / name, say=said.append).certificate for name in ("a", "b"))
    assert first.evidence == second.evidence
    assert first.delivered == second.delivered
    assert first.text() == second.text()


def test_table_follows_from_ids_alone() -> None:
    """The same rows whatever order the snippets come in; fewer rows are the beginning of more; the rest is the rest."""
    whole, rest = shared_out(SNIPPETS, 50)
    assert shared_out(SNIPPETS[::-1], 50)[0] == whole
    assert shared_out(SNIPPETS, 20)[0] == whole[:20]
    assert sorted([*whole, *rest], key=lambda s: s.id) == SNIPPETS


def test_table_keeps_clear_snippets_only(tmp_path: Path) -> None:
    """A snippet that its readers did not find clear is left to teach, whichever side it leans to."""
    marked = [Snippet(i, rating, f"text {i}") for i, rating in enumerate([2.4, -2.4, 2.5, -2.5, 0.0, 3.0])]
    table, rest = shared_out(marked, 9)
    with write_table(table, tmp_path).open() as file:
        assert sorted(row["id"] for row in csv.DictReader(file)) == ["2", "3", "5"]
    assert [s.id for s in rest] == [0, 1, 4]


def test_snippets_are_read_from_the_archive_in_the_archive(tmp_path: Path) -> None:
    """Id, rating and text of each line, sorted by id, whatever else is packed beside them."""
    lines = '2\t-1.5\tIt\'s dull, and "long".\n1\t2.25\tA joy é\n'.encode()
    tarred = io.BytesIO()
    with tarfile.open(fileobj=tarred, mode="w:gz") as tar:
        for name, data in (("x/other.txt", b"no"), (f"x/{snippets.SNIPPETS}", lines)):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("v/setup.py", "")
        archive.writestr(f"v/extra/{snippets.ARCHIVE}", tarred.getvalue())
    assert read_snippets(tmp_path / "a.zip") == [
        Snippet(1, 2.25, "A joy é"),
        Snippet(2, -1.5, 'It\'s dull, and "long".'),
    ]


def said_of(text: str, rated: list[Snippet]) -> tuple[str, float]:
    """What words counted in these snippets say of a text, and how sure they are."""
    answer = Words(counted(rated))._say(Request("m", PROMPT.replace("{text}", text), 4))
    return answer.text or "", answer.logprobs[0][1]


def test_words_speak_as_people_rated_them() -> None:
    """The side whose snippets have more of the words, surer the more there are; ratings weigh."""
    rated = [Snippet(0, 3, "funny and warm"), Snippet(1, -3, "dull and long"), Snippet(2, 0.2, "dull dull dull")]
    assert said_of("A FUNNY thing.", rated)[0] == "yes"
    assert said_of("Dull!", rated)[0] == "no"
    assert said_of("funny, warm", rated)[1] > said_of("funny", rated)[1]
    assert said_of("and", rated)[1] == pytest.approx(-0.693, abs=1e-3)
    assert counted([*rated, Snippet(3, 4, "funny")])["funny"] > counted(rated)["funny"]


def test_words_read_the_row_alone() -> None:
    """The instructions, which have words of their own, say nothing."""
    rated = [Snippet(0, 3, "yes like movie good"), Snippet(1, -3, "bad")]
    assert said_of("bad", rated)[0] == "no"


def test_other_counts_are_another_candidate() -> None:
    """What one set of counts said is not taken from a ledger for another."""
    first, second = (Words(counted([Snippet(0, much, "good")])) for much in (1, 2))
    assert first.at == Words(counted([Snippet(0, 1, "good")])).at != second.at


def test_the_end_is_honest_and_says_what_next(said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Certified or not: what was seen, in words that fit, and what to run now."""
    demo(output=tmp_path / "a", say=said.append)
    end = " ".join(" ".join(said[-9:]).split())
    assert f"{WORDS} gave" in end
    assert "smart mock-provider" in end
    said.clear()
    whole = module._providers
    monkeypatch.setattr(module, "_providers", lambda free: {**whole(free), STRONG: FakeProvider(by_chance)})
    done = demo(output=tmp_path / "b", say=said.append)
    end = " ".join(" ".join(said[-9:]).split())
    assert done.certificate.status == "reference-only"
    assert "nothing was saved" in end
    assert f"{WORDS} agreed on" in end
    assert "smart mock-provider" in end


def by_chance(request: Request) -> str:
    """What somebody says who has not read it."""
    return LABELS[sha256(request.prompt.encode()).digest()[0] % 2]


def test_readme_prints_what_the_demo_prints() -> None:
    """Its excerpt has the rows, models, agreement, confidence and seed of the demo, and a saving that is really so."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = readme[readme.index("CERTIFIED") :].partition("```")[0]
    assert f"agreement ≥ {float(AGREEMENT)} at confidence {CONFIDENCE}, {SHOW.rows:,} rows" in shown
    assert f"made from seed {SEED})" in shown
    assert SHOW.reference in shown
    by = {name: int(count.replace(",", "")) for name, count in re.findall(r"(local:[\w.-]+) ([\d,]+)[,\n]", shown)}
    assert by.keys() == {SHOW.reference, WORDS}
    assert sum(by.values()) == SHOW.rows
    told = float(re.findall(r"([\d.]+)× the", shown)[0])
    paid, whole = (float(re.findall(words + r" \$([\d.]+)", shown)[0]) for words in ("cost      ", "row ≈"))
    assert told == pytest.approx(whole / paid, rel=0.02)
    shares = re.findall(r"^  (\d+) of ([\d,]+) \(([\d.]+)%\) of", shown, re.MULTILINE)
    assert [f"{100 * int(right) / int(of.replace(',', '')):.1f}" for right, of, _ in shares] == [
        s for _, _, s in shares
    ]
    assert len(shares) == 2
