"""What the mock says: by rule, from a recorded table, or from a function of yours.

Everything follows from a hash of the prompt, so the same prompt gets the same answer from the same model, in any order
and in any run; at a temperature, the n-th draw is the same. A rule fixes the answer all models would give; a model's
error rate decides on which prompts it strays.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeAlias

from smart_llm.errors import InputError


@dataclass(frozen=True, slots=True)
class Said:
    """An answer. logprob: natural log of how sure the model is of it. other: what it says instead when it is drawn at a
    temperature and is not (None: it never does)."""

    text: str
    logprob: float = -0.1
    other: str | None = None

    @property
    def against(self) -> float:
        """Natural log of the probability of the other answer."""
        return math.log(max(1e-9, 1 - math.exp(self.logprob)))

    def drawn(self, *place: str) -> Said:
        """A draw, which follows from the place."""
        if self.other is None or uniform("draw", *place) < math.exp(self.logprob):
            return self
        return Said(self.other, self.against, self.text)


Answerer: TypeAlias = Callable[[str, str], "Said | str | None"]
"""(model, prompt) → what the model says, or None where it knows nothing of this prompt."""

BROKEN = "I would rather not decide that."
"""What breaks every contract but free text."""


def uniform(*parts: str) -> float:
    """A number in [0, 1) that follows from the parts."""
    digest = blake2b("\x1f".join(parts).encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53


def by_rule(rule: str, errors: Mapping[str, float], seed: int = 0) -> Answerer:
    """`label:a,b,…` one of the labels, `number:LOW,HIGH` a whole number between, `echo` the prompt's last line, `guess`
    one of the answers that the question names ("good, bad or neutral?"), a number where it asks how many, else yes or
    no.

    errors: by model, the share of prompts it answers otherwise (0 where it is not named).
    """
    kind, _, options = rule.partition(":")
    choose = _RULES.get(kind)
    if choose is None:
        raise InputError(f"--rule {rule}: no such rule; there are label:a,b · number:LOW,HIGH · echo · guess.")
    try:
        choices = choose(options)
    except ValueError:
        raise InputError(f"--rule {rule}: write label:a,b or number:LOW,HIGH.") from None

    def answer(model: str, prompt: str) -> Said:
        place = uniform(str(seed), prompt)
        rate = errors.get(model, 0.0)
        strays = rate > 0 and uniform(str(seed), model, prompt) < rate
        sure = uniform(str(seed), "sure", model, prompt)
        sure = 0.4 + 0.4 * sure if strays else 0.6 + 0.399 * sure
        return Said(choices(prompt, place, strays), math.log(sure), choices(prompt, place, not strays))

    return answer


Chooser: TypeAlias = Callable[[str, float, bool], str]


def _label(options: str) -> Chooser:
    labels = [label.strip() for label in options.split(",") if label.strip()]
    if len(labels) < 2:
        raise ValueError(options)
    return lambda _, place, strays: labels[(int(place * len(labels)) + strays) % len(labels)]


def _number(options: str) -> Chooser:
    low, high = map(int, options.split(","))
    return lambda _, place, strays: str(low + int(place * (high - low + 1)) + strays)


def _echo(_: str) -> Chooser:
    return lambda prompt, _, strays: prompt.rstrip().rsplit("\n", 1)[-1] + (" (more or less)" if strays else "")


def _guess(_: str) -> Chooser:
    number = _number("0,9")

    def guess(prompt: str, place: float, strays: bool) -> str:
        if asks_a_number(prompt):
            return number(prompt, place, strays)
        return _label(",".join(named(prompt)))(prompt, place, strays)

    return guess


HOW_MANY = re.compile(r"\b(?:how (?:many|much)|combien|wie ?viele?|cu[aá]nt[oa]s?)\b(?P<asks>[^.?!\n]*[?:])?", re.I)


def asks_a_number(prompt: str) -> bool:
    """Whether the prompt asks how many, and not only a row's text says so: as a question before any that names its
    answers, or in a prompt that asks no question before."""
    for found in HOW_MANY.finditer(prompt):
        before = prompt[: found.start()]
        if found["asks"]:
            return NAMED.search(prompt, 0, found.end()) is None
        if "?" not in before and NAMED.search(prompt) is None:
            return True
    return False


NAMED = re.compile(r"([^\W\d_][\w-]*)((?:,\s*[^\W\d_][\w-]*)*),?\s+(?:or|oder|ou|o)\s+([^\W\d_][\w-]*)(?=\s*[?:])")
"""Answers as a question names them; a question mark or a colon follows."""


def named(prompt: str) -> list[str]:
    """The answers that a question names, if it does: the first words with "or" between them."""
    found = NAMED.search(prompt)
    if found is None:
        return ["yes", "no"]
    words = [found[1], *found[2].split(","), found[3]]
    return list(dict.fromkeys(each.strip() for each in words if each.strip()))


_RULES: Mapping[str, Callable[[str], Chooser]] = {"label": _label, "number": _number, "echo": _echo, "guess": _guess}


class Recorded:
    """Answers from a recorded table (item_id, model, answer, cost_usd, score?, input): the item is the one whose
    input stands in the prompt, the longest where several do.
    """

    WINDOW = 24

    def __init__(self, path: Path | str) -> None:
        rows = _read(Path(path))
        self._items: dict[str, str] = {}
        self._said: dict[tuple[str, str], Said] = {}
        for row in rows:
            item = str(row["item_id"])
            if row.get("input"):
                self._items[row["input"].strip()] = item
            self._said[row["model"], item] = Said(_text(row["answer"]), _logprob(row.get("score")))
        self._starts: dict[str, list[str]] = {}
        for text in sorted(self._items, key=len, reverse=True):
            self._starts.setdefault(text[: self.WINDOW], []).append(text)
        self._lengths = sorted({len(start) for start in self._starts}, reverse=True)
        self.models = sorted({model for model, _ in self._said})

    def __call__(self, model: str, prompt: str) -> Said | None:
        """What this model said about the item in the prompt."""
        text = max(self._found(prompt), key=len, default=None)
        return None if text is None else self._said.get((model, self._items[text]))

    def _found(self, prompt: str) -> Iterator[str]:
        for length in self._lengths:
            for place in range(len(prompt) - length + 1):
                for text in self._starts.get(prompt[place : place + length], ()):
                    if prompt.startswith(text, place):
                        yield text


def _text(answer: object) -> str:
    return BROKEN if answer is None else str(answer)


def _logprob(score: float | None) -> float:
    """Scores are log-probabilities, or shares in (0, 1]."""
    if score is None or math.isnan(score):
        return -0.1
    return score if score <= 0 else math.log(min(score, 1.0))


def _read(path: Path) -> list[dict[str, Any]]:
    import polars as pl  # only here: the server itself starts without it

    readers: dict[str, Callable[[Path], pl.DataFrame]] = {
        ".parquet": pl.read_parquet,
        ".csv": pl.read_csv,
        ".jsonl": pl.read_ndjson,
    }
    if path.suffix not in readers or not path.is_file():
        raise InputError(f"--answers {path}: not a file that can be read; give .parquet, .csv or .jsonl.")
    frame = readers[path.suffix](path)
    missing = {"item_id", "model", "answer", "input"} - set(frame.columns)
    if missing:
        raise InputError(f"--answers {path}: no column {', '.join(sorted(missing))}.")
    return frame.to_dicts()
