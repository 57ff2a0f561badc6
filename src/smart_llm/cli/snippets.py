"""The text of `smart demo`, and what people's ratings of it teach a candidate that costs nothing.

Snippets of movie reviews, each rated by at least ten people from −4 to 4, from the data beside the VADER paper (Hutto
and Gilbert 2014, MIT licence), fetched by hash and kept in the user's folder like the model files. The table has the
clearest of them. The others, with their ratings, are what a user may have from earlier work: the words in them are
counted, and the counts answer. No rating of a snippet in the table is used for that.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
import tarfile
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, log, log1p
from pathlib import Path

from smart_llm.errors import InputError
from smart_llm.files import user_dir
from smart_llm.providers.fake import FakeProvider
from smart_llm.providers.local import downloads as registry
from smart_llm.types import Answer, Request, Usage

LABELS = ("yes", "no")
CLEAR = 2.5
"""A snippet may stand in the table where its readers' mean rating is at least this far from 0."""
TEACHING = 0.5
"""A snippet teaches where it is at least this far: what people rate as neither says nothing of words."""
ROW = "Review:"
"""What stands in front of the snippet in the prompt."""

ARCHIVE = "hutto_ICWSM_2014.tar.gz"
SNIPPETS = "movieReviewSnippets_GroundTruth.txt"


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


def shared_out(snippets: Sequence[Snippet], rows: int) -> tuple[list[Snippet], list[Snippet]]:
    """So many of the clear snippets for the table, in an order that follows from their ids alone; and the rest."""
    clear = [s for s in snippets if abs(s.rating) >= CLEAR]
    table = sorted(clear, key=lambda s: hashlib.sha256(f"demo {s.id}".encode()).digest())[:rows]
    taken = {s.id for s in table}
    return table, [s for s in snippets if s.id not in taken]


def write_table(snippets: Iterable[Snippet], output: Path) -> Path:
    """The table as CSV; the file is rewritten."""
    output.mkdir(parents=True, exist_ok=True)
    path = output / "reviews.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "rating", "text"])
        writer.writerows([s.id, s.rating, s.text] for s in snippets)
    return path


def right(rating: float, answer: str) -> bool:
    """Whether an answer is what the snippet's readers say."""
    return answer == LABELS[rating < 0]


# --------------------------------------------------------------------------- the candidate that costs nothing


def counted(rated: Iterable[Snippet]) -> dict[str, float]:
    """How much each word speaks for a movie, in log-odds: how often it stands in snippets that people liked or
    disliked, each counted by how much they did."""
    good, poor = defaultdict[str, float](float), defaultdict[str, float](float)
    whole = {True: 2.0, False: 2.0}
    for snippet in rated:
        if (much := abs(snippet.rating)) >= TEACHING:
            liked = snippet.rating > 0
            whole[liked] += much
            for word in words(snippet.text):
                (good if liked else poor)[word] += much
    even = log(whole[False] / whole[True])
    return {word: round(log((good[word] + 1) / (poor[word] + 1)) + even, 6) for word in sorted({*good, *poor})}


def words(text: str) -> set[str]:
    """The different words of a text."""
    return set(re.findall(r"[\w'’]+", text.lower()))


class Words(FakeProvider):
    """Answers by counted words. Its answers in a ledger are good as long as the counts are the same."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        super().__init__(self._say, keep=True)
        self._weights = weights
        self._digest = hashlib.sha256(repr(sorted(weights.items())).encode()).hexdigest()[:16]

    @property
    def at(self) -> str:
        """What was counted, as the keys of its answers have it."""
        return f"words {self._digest}"

    def _say(self, request: Request) -> Answer:
        """The label its words speak for, and how sure they are of it."""
        told = words(request.prompt.rpartition(ROW)[2].rpartition("\n")[0])
        odds = sum(self._weights.get(word, 0.0) for word in sorted(told))
        label = LABELS[odds < 0]
        return Answer(label, Usage(output_tokens=1), logprobs=((label, -log1p(exp(-abs(odds)))),))
