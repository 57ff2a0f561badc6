"""`smart demo`: the main job on real models and real text, on a machine without keys.

It is the ordinary `run` on an ordinary table; this file only fetches what it needs, chooses the options, and says what
is going on. Text: snippets of movie reviews, each rated by at least ten people from −4 to 4, from the data beside the
VADER paper (Hutto and Gilbert 2014, MIT licence), fetched by hash and kept in the user's folder like the model files.
Snippets whose readers were of two minds (a mean between −1 and 1) are left out of the table; the run never sees a
rating, they are only compared with its answers afterwards.

Tier `default`: a 1.5B reference, a 0.5B and a 135M candidate. Tier `tiny` (one small download): the 135M model is the
reference, and the candidate is no language model at all but a word list, which leaves a snippet it knows no word of to
the reference. It shows how a run goes, not what one saves.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
import tarfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from smart_llm import api
from smart_llm.certificates.certificate import alone
from smart_llm.certificates.verify import verify
from smart_llm.engine.outputs import certificate_path
from smart_llm.errors import InputError
from smart_llm.events import Listener, nobody
from smart_llm.execution import Run
from smart_llm.files import user_dir
from smart_llm.providers.base import Provider
from smart_llm.providers.fake import FakeProvider
from smart_llm.providers.local import downloads as registry
from smart_llm.providers.local import weights
from smart_llm.tasks import Task
from smart_llm.text.wrapping import wrapped
from smart_llm.types import Request

LABELS = ("yes", "no")
PROMPT = """Does the reviewer like the movie? Answer with one word: yes or no.

Review: {text}
Likes it:"""
CLEAR = 1.0
"""A snippet stands in the table where its readers' mean rating is at least this far from 0."""

ARCHIVE = "hutto_ICWSM_2014.tar.gz"
SNIPPETS = "movieReviewSnippets_GroundTruth.txt"

GOOD = """
beautiful beautifully best brilliant charming compelling delightful engaging enjoyable entertaining excellent
fascinating fine fresh fun funny good great gripping hilarious honest impressive intelligent joy love lovely
masterpiece moving perfect performance performances powerful rewarding rich smart solid strong sweet tender
terrific touching warm witty wonderful
"""
POOR = """
annoying awful bad bland bore boring clichéd contrived dull dumb empty fails failure flat forgettable lack lacks
lame lazy less limp mediocre mess minutes never nothing pointless poor predictable pretentious sentimental silly
slow stale stupid tedious thin tired too ugly unfortunately unfunny waste weak why without worse worst
"""


@dataclass(frozen=True, slots=True)
class Show:
    """What a tier runs. rows: unless the user says otherwise; minutes: on two idle cores, downloads included."""

    reference: str
    candidates: tuple[str, ...]
    rows: int
    agreement: str
    minutes: int


SHOWS: Mapping[weights.Tier, Show] = {
    "default": Show("local:qwen2.5-coder-1.5b", ("local:qwen2.5-coder-0.5b", "local:smollm2-135m"), 400, "0.80", 8),
    "tiny": Show("local:smollm2-135m", ("fake:words?in=0&out=0",), 300, "0.75", 2),
}
CONFIDENCE = "0.95"


def demo(
    tier: weights.Tier = "default",
    *,
    rows: int | None = None,
    output: Path = Path("demo-output"),
    say: Callable[[str], None] = print,
    on_event: Listener = nobody,
) -> Run[Path]:
    """Fetch, run, certify, verify; `say` is told every step. Running it again continues from the ledger in `output`.

    Errors: `InputError` where something cannot be fetched, and whatever `run` raises.
    """
    if tier not in SHOWS:
        raise InputError(f"there is no tier {tier!r}: choose {' or '.join(SHOWS)}")
    show = SHOWS[tier]
    for line in _intention(show, rows or show.rows, output):
        say(line)
    weights.pull(tier, progress=say)
    table = write_table(reviews(say), rows or show.rows, output)
    say("loading the models and asking them: the first answer takes a few seconds")
    done = api.run(
        table,
        Task(PROMPT, labels=LABELS),
        reference=show.reference,
        candidates=show.candidates,
        agreement=show.agreement,
        confidence=CONFIDENCE,
        output=output / "answered.csv",
        report=output / "report.html",
        providers=_stand_ins(show),
        concurrency=2 * (os.cpu_count() or 1),  # a stop waits for what is in flight: no more than keeps the cores busy
        on_event=on_event,
    )
    larger = f"smart demo (about {SHOWS['default'].minutes} minutes), with larger models." if tier == "tiny" else None
    for line in _outcome(done, output / "answered.csv", larger):
        say(line)
    return done


# --------------------------------------------------------------------------- the text


@dataclass(frozen=True, slots=True)
class Snippet:
    """One sentence of a review. rating: mean over its human readers, −4 (worst) to 4."""

    id: int
    rating: float
    text: str


def reviews(say: Callable[[str], None]) -> list[Snippet]:
    """All snippets, fetched once and kept in the user's folder. Errors: `InputError` when offline the first time."""
    folder = user_dir() / "texts"
    (pin,) = registry.pins("reviews")
    with registry.alone(folder, "reviews"):
        if registry.find(pin, folder) is None:
            say("downloading movie-review snippets with human ratings, MIT licence, 2 MB")
            registry.download([pin], folder, "source")
        archive = registry.find(pin, folder)
    if archive is None:
        raise InputError(f"{pin.package} was downloaded but is not in {folder}: try again")
    return read_snippets(archive)


def read_snippets(archive: Path) -> list[Snippet]:
    """The snippets inside the source archive (a zip with a tar in it), in the order of their ids."""
    with zipfile.ZipFile(archive) as outer:
        (inner,) = [name for name in outer.namelist() if name.endswith(ARCHIVE)]
        with tarfile.open(fileobj=io.BytesIO(outer.read(inner))) as tar:
            member = next(m for m in tar if m.name.endswith(SNIPPETS))
            file = tar.extractfile(member)
            lines = file.read().decode("utf-8").splitlines() if file else []
    parts = [line.split("\t") for line in lines]
    return sorted((Snippet(int(i), float(rating), text) for i, rating, text in parts), key=lambda s: s.id)


def write_table(snippets: Sequence[Snippet], rows: int, output: Path) -> Path:
    """`rows` of the clear snippets as CSV, in an order that follows from their ids alone; the file is rewritten."""
    clear = [s for s in snippets if abs(s.rating) >= CLEAR]
    mixed = sorted(clear, key=lambda s: hashlib.sha256(f"demo {s.id}".encode()).digest())
    output.mkdir(parents=True, exist_ok=True)
    path = output / "reviews.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "rating", "text"])
        writer.writerows([s.id, s.rating, s.text] for s in mixed[:rows])
    return path


# --------------------------------------------------------------------------- the stand-in of the tiny tier


def by_words(request: Request) -> str:
    """The candidate that is no language model: counts words; "unsure", which breaks the contract, where they tie."""
    words = re.findall(r"\w+", request.prompt.rpartition("Review:")[2].lower())
    good, poor = GOOD.split(), POOR.split()
    balance = sum((word in good) - (word in poor) for word in words)
    return "unsure" if balance == 0 else LABELS[balance < 0]


def _stand_ins(show: Show) -> dict[str, Provider]:
    return {c.partition("?")[0]: FakeProvider(by_words, keep=True) for c in show.candidates if c.startswith("fake:")}


# --------------------------------------------------------------------------- what is said


def _intention(show: Show, rows: int, output: Path) -> list[str]:
    named = [c.partition("?")[0] for c in show.candidates]
    lines = [
        f"smart demo: {rows:,} snippets of movie reviews that human readers found clearly for or against the movie.",
        "  Does the reviewer like the movie? Everything runs on this machine; no model is shown the readers' ratings.",
        f"  reference {show.reference}, candidate{'s' * (len(named) > 1)} {', '.join(named)}",
        f"  promise: agreement with the reference ≥ {show.agreement}, confidence {CONFIDENCE}",
        f"  about {show.minutes} minutes on two cores, downloads included; everything it writes goes to {output}/",
    ]
    if any(name.startswith("fake:") for name in named):
        lines.append("  fake:words is a list of words, no language model: this tier shows how a run goes, not a saving")
    return lines


def _outcome(done: Run[Path], answered: Path, larger: str | None) -> list[str]:
    certificate = certificate_path(answered)
    problems = verify(certificate, done.ledger)
    cost = done.certificate.cost
    return [
        "",
        done.certificate.text(),
        "",
        f"this run ${cost.total:.6f}, the reference on every row ≈ ${cost.reference_only:.6f}: measured"
        " CPU-seconds at an assumed USD 0.05 a CPU-hour, so only their ratio means something",
        human(answered),
        f"smart verify {certificate} --ledger {done.ledger}",
        *([f"  does not verify: {problem}" for problem in problems] or ["  verifies"]),
        f"answers: {answered}",
        f"report, to open in a browser: {answered.with_name('report.html')}",
        "",
        *wrapped(_ending(done, larger=larger)),
    ]


def _ending(done: Run[Path], *, larger: str | None) -> list[str]:
    """What came of it, in everyday words, whichever way it went, and what to run now."""
    c = done.certificate
    by, reference, rows = c.delivered.by, c.claim.reference, c.claim.rows
    if c.granted:
        cheap = sum(n for model, n in by.items() if model != reference)
        share = c.cost.total / c.cost.reference_only
        came = (
            f"cheaper models gave {cheap:,} of the {rows:,} answers, and all of it cost {share:.0%} of what "
            f"{reference} alone would have cost. They were compared with it on {c.delivered.profiled:,} rows first."
        )
    else:
        came = (
            f"nothing was saved. {alone(c)} So {reference} answered every row, and the agreement holds by "
            "definition. Every run ends like this whose candidates are not good enough, or not cheap enough."
        )
    own = (
        "your own table: start smart mock-provider, which answers for free and prints the command to give; then smart "
        "plan TABLE says what it would cost with real models."
    )
    return [f"What you saw: {came}", *([f"Next: {larger}"] if larger else []), f"{'Or' if larger else 'Next'}: {own}"]


def human(answered: Path) -> str:
    """A side note: how the delivered answers stand to the human ratings, which the run never saw."""
    with answered.open(newline="", encoding="utf-8") as file:
        rated = [(float(r["rating"]), r["answer"]) for r in csv.DictReader(file) if float(r["rating"]) and r["answer"]]
    right = sum((rating > 0) == (answer == LABELS[0]) for rating, answer in rated)
    return f"side note: {right / max(1, len(rated)):.1%} of the delivered answers have the sign of the human rating"
