"""The demo with fakes in place of models and of the text it fetches: it is the ordinary run, told step by step."""

import csv
import io
import tarfile
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest

from smart_llm.certificates.verify import verify
from smart_llm.cli import demonstration as module
from smart_llm.cli.demonstration import LABELS, PROMPT, Show, Snippet, by_words, demo, read_snippets, write_table
from smart_llm.engine.outputs import certificate_path
from smart_llm.errors import InputError
from smart_llm.providers.fake import FakeProvider
from smart_llm.providers.local import weights
from smart_llm.types import Request

SNIPPETS = [Snippet(i, (-1) ** i * 1.5, f"Number {i} is {'bad' if i % 2 else 'good'}") for i in range(400)]


def honest(request: Request) -> str:
    """What a perfect model would say of SNIPPETS."""
    return LABELS["bad" in request.prompt]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the demo says; models are functions, nothing is fetched."""
    show = Show("fake:strong?in=10&out=10", ("fake:weak?in=1&out=1",), 300, "0.90", 1)
    monkeypatch.setattr(module, "SHOWS", {"default": show})
    monkeypatch.setattr(module, "reviews", lambda say: SNIPPETS)
    monkeypatch.setattr(
        module, "_stand_ins", lambda show: {n: FakeProvider(honest) for n in ("fake:strong", "fake:weak")}
    )
    monkeypatch.setattr(weights, "pull", lambda tier, progress: progress("nothing to pull"))
    return []


def test_demo_runs_certifies_and_verifies(said: list[str], tmp_path: Path) -> None:
    """Every row is answered, the certificate is printed and verifies, both costs are shown, the note on people too."""
    done = demo(output=tmp_path / "out", say=said.append)
    text = "\n".join(said)
    with (tmp_path / "out" / "answered.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["ok"] * 300
    assert done.certificate.granted
    assert done.saving > 1.5
    assert done.certificate.text() in text
    assert "  verifies" in said
    assert "100.0% of the delivered answers" in text
    assert verify(certificate_path(tmp_path / "out" / "answered.csv"), done.ledger) == []


def test_demo_run_again_buys_nothing(said: list[str], tmp_path: Path) -> None:
    """The second demo in the same folder takes its answers from the ledger, to the same result."""
    first = demo(rows=60, output=tmp_path, say=said.append)
    again = demo(rows=60, output=tmp_path, say=said.append)
    assert again.run_id == first.run_id
    assert again.certificate.evidence == first.certificate.evidence


def test_demo_says_what_it_will_do_first(said: list[str], tmp_path: Path) -> None:
    """Models, promise and folder are named before anything is pulled."""
    demo(rows=40, output=tmp_path / "out", say=said.append)
    before = "\n".join(said[: said.index("nothing to pull")])
    assert all(word in before for word in ("fake:strong", "fake:weak", "40", "0.90", "0.95", str(tmp_path / "out")))


def test_unknown_tier_is_bad_input() -> None:
    """It names the tiers there are."""
    with pytest.raises(InputError, match="default or tiny"):
        demo("huge")  # type: ignore[arg-type]


def test_table_follows_from_ids_alone(tmp_path: Path) -> None:
    """The same rows whatever order the snippets come in; fewer rows are the beginning of more."""
    whole = write_table(SNIPPETS, 50, tmp_path / "a").read_text()
    assert write_table(SNIPPETS[::-1], 50, tmp_path / "b").read_text() == whole
    assert whole.startswith(write_table(SNIPPETS, 20, tmp_path / "c").read_text())
    assert len(whole.splitlines()) == 51


def test_table_keeps_clear_snippets_only(tmp_path: Path) -> None:
    """A snippet its readers were of two minds about is left out, whichever side it leans to."""
    snippets = [Snippet(i, rating, f"text {i}") for i, rating in enumerate([0.9, -0.9, 1.0, -1.0, 0.0, 3.0])]
    with write_table(snippets, 9, tmp_path).open() as file:
        assert sorted(row["id"] for row in csv.DictReader(file)) == ["2", "3", "5"]


def test_snippets_are_read_from_the_archive_in_the_archive(tmp_path: Path) -> None:
    """Id, rating and text of each line, sorted by id, whatever else is packed beside them."""
    lines = '2\t-1.5\tIt\'s dull, and "long".\n1\t2.25\tA joy é\n'.encode()
    tarred = io.BytesIO()
    with tarfile.open(fileobj=tarred, mode="w:gz") as tar:
        for name, data in (("x/other.txt", b"no"), (f"x/{module.SNIPPETS}", lines)):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("v/setup.py", "")
        archive.writestr(f"v/extra/{module.ARCHIVE}", tarred.getvalue())
    assert read_snippets(tmp_path / "a.zip") == [
        Snippet(1, 2.25, "A joy é"),
        Snippet(2, -1.5, 'It\'s dull, and "long".'),
    ]


@pytest.mark.parametrize(
    ("text", "answer"),
    [("A funny, warm joy.", "yes"), ("Dull and TOO long.", "no"), ("It is a film.", "unsure")],
)
def test_word_list_reads_the_row_alone(text: str, answer: str) -> None:
    """It counts words of the snippet, not of the instructions, and breaks the contract where it cannot say."""
    assert by_words(Request("m", PROMPT.replace("{text}", text), 4)) == answer


def test_the_end_is_honest_and_says_what_next(said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Certified or not: what was seen, in words that fit, and what to run now."""
    demo(output=tmp_path / "a", say=said.append)
    end = " ".join(" ".join(said[-9:]).split())
    assert "cheaper models gave" in end
    assert "smart mock-provider" in end
    said.clear()
    poor = {"fake:strong": FakeProvider(honest), "fake:weak": FakeProvider(by_chance)}
    monkeypatch.setattr(module, "_stand_ins", lambda show: poor)
    done = demo(output=tmp_path / "b", say=said.append)
    end = " ".join(" ".join(said[-9:]).split())
    assert done.certificate.status == "reference-only"
    assert "nothing was saved" in end
    assert "fake:weak agreed on" in end
    assert "smart mock-provider" in end


def by_chance(request: Request) -> str:
    """What somebody says who has not read it."""
    return LABELS[sha256(request.prompt.encode()).digest()[0] % 2]
