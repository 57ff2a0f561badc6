"""Reading one of a closed set of labels out of a reply.

In order, the first rule that speaks decides:

1. the whole reply is a label (up to case, quotes, emphasis, a full stop, `_`, `-` and spaces between words);
2. "answer: x", "label: x", "the answer is x": all such statements that name a label name the same one;
3. the first or the last line is a label, alone or before punctuation ("No, because …", "B) Paris");
4. the reply makes no such statement, and names exactly one label as a whole word without negating it. A label that is
   an everyday word ("no", "other", a single letter) is never read out of running text: "no doubt" is not "no".

Safe direction: anything else is None. "not positive" is not "positive", two labels are none, and of two labels of
which one contains the other ("positive", "very positive") the longer is meant where it is written out.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cached_property, lru_cache

from smart_llm.errors import InputError
from smart_llm.tasks.replies import edge_lines, statements, unfenced

_AROUND = " \t\n\r\"'`*_“”‘’«»„.!,;:"
_BETWEEN = re.compile(r"(?<=[^\W_])_+(?=[^\W_])|(?<=[^\W\d_])-(?=[^\W\d_])")
_EDGE_UNDERSCORE = re.compile(r"(?<![^\W_])_+|_+(?![^\W_])")
_SENTENCE = re.compile(r"[.;:!?\n]|\bbut\b|\btherefore\b")
_CLAUSE = re.compile(r"[,()—–]")
_NEGATED_ASIDE = re.compile(r"(?:\b(?:not|never|neither|nor|cannot)|n['’]t)\s*[,(—–]")
_NEGATION = re.compile(
    r"\b(?:not?|non|never|neither|nor|cannot|without|hardly|barely|unlike|opposite|than|instead|opposed|lacks?|far"
    r"|unable|unclear|whether|anything|nicht|kein\w*|pas|не|нет)\b|n['’]t\b"
)
_NEGATED_AFTER = re.compile(
    r"[\"'`*”’»]*\s+(?:is|are|was|does|do|did|would|can|could|should|seems?)\s*(?:not\b|n['’]t\b)"
    r"|[\"'`*”’»]*\s+(?:is|are|was|would be|seems?)\s+(?:wrong|incorrect|inaccurate|false)\b|[\"'`*”’»]*\?"
)
_SET_OFF = re.compile(r"[\"'`*”’»]*(?:[.,;:!)\]]|\s+[-–—(]|\s+because\b|\s*(?:\n|$))")
_EVERYDAY = frozenset(
    {"no", "not", "none", "other", "an", "in", "on", "it", "is", "us", "or", "all", "any", "na", "n/a"}
)


def fold(text: str) -> str:
    """The form in which labels are compared: compatibility form, case folded, wrapping and word separators gone."""
    bare = unicodedata.normalize("NFKC", text).casefold().strip(_AROUND)
    return " ".join(_words(bare).split())


def check_labels(labels: object) -> tuple[str, ...]:
    """The labels as a tuple of texts. InputError: fewer than two, empty ones, or two that count as the same."""
    if isinstance(labels, str) or not hasattr(labels, "__iter__"):
        raise InputError('labels must be a list of texts, such as ["yes", "no"]')
    texts = tuple(str(label).strip() for label in labels)
    if len(texts) < 2:
        raise InputError(f"a task needs at least 2 labels, not {len(texts)}")
    seen: dict[str, str] = {}
    for text in texts:
        folded = fold(text)
        if not folded:
            raise InputError(f"label {text!r} has no letters, digits or signs to recognise it by: rename it")
        if folded in seen:
            raise InputError(f"labels {seen[folded]!r} and {text!r} normalise to the same thing: rename or drop one")
        seen[folded] = text
    return texts


@dataclass(frozen=True)
class LabelReader:
    """Reads one of `labels` out of a reply."""

    labels: tuple[str, ...]

    @cached_property
    def by_fold(self) -> dict[str, str]:
        """Folded form → the label as the user wrote it."""
        return {fold(label): label for label in self.labels}

    @cached_property
    def longest(self) -> int:
        """A text longer than this (characters) is no bare label, whatever wraps it."""
        return 2 * max(map(len, [*self.by_fold, *self.labels])) + 40

    @cached_property
    def word(self) -> re.Pattern[str]:
        """Any label as a whole word, longest first: "1" is not in "1.5", "-1", "11" or "1/5"."""
        longest = sorted(self.by_fold, key=len, reverse=True)
        inner = "|".join(map(re.escape, longest))
        return re.compile(rf"(?<![\w+#/$-])(?<!\d[.,])({inner})(?![\w+#/%-]|[.,]\d)")

    @cached_property
    def opening(self) -> re.Pattern[str]:
        """A label at the start of a line, set off by punctuation or wrapping."""
        longest = sorted(self.by_fold, key=len, reverse=True)
        inner = "|".join(map(re.escape, longest))
        return re.compile(rf"[\s(\[\"'`*“‘«]*({inner})[\"'`*”’»]*(?:[.,;:!)\]](?!\d)|\s+[-–—(]|\s+because\b)")

    def read(self, reply: str) -> str | None:
        """The label a reply means, as the user wrote it, or None."""
        if exact := self._exact(reply):
            return exact
        text = unfenced(reply)
        for rule in (self._stated, self._line):
            found = rule(text)
            if found is not None:
                return found or None
        return None if statements(text) else self._named(text)  # "answer: unknown" is no label, whatever else is said

    def _exact(self, text: str) -> str | None:
        return self.by_fold.get(fold(text)) if len(text) <= self.longest else None

    def _stated(self, text: str) -> str | None:
        """The label every statement agrees on; "" (which is no label) where they differ."""
        found = {label for value in statements(text) if (label := self._alone(value) or self._named(value))}
        return None if not found else found.pop() if len(found) == 1 else ""

    def _line(self, text: str) -> str | None:
        found = {label for line in edge_lines(text) if (label := self._alone(line))}
        return None if not found else found.pop() if len(found) == 1 else ""

    def _alone(self, line: str) -> str | None:
        if exact := self._exact(line) or self._exact(line.strip("()[]{}. ")):
            return exact
        start = self.opening.match(_running(line))
        only = self._only(line)
        return only if start and only == self.by_fold[start[1]] else None

    def _only(self, text: str) -> str | None:
        """The one label named in a text, everyday words included, if it is not negated. A letter within a sentence
        ("a dog") is not a label's name."""
        running = _running(text)
        hits = [hit for hit in self.word.finditer(running) if not _letter(hit[1]) or _SET_OFF.match(running, hit.end())]
        if len({hit[1] for hit in hits}) != 1 or any(_negated(running, hit) for hit in hits):
            return None
        return self.by_fold[hits[0][1]]

    def _named(self, text: str) -> str | None:
        label = self._only(text)
        return None if label is None or _everyday(fold(label)) else label


@lru_cache(maxsize=64)
def _running(text: str) -> str:
    """Running text in the form of `fold`, with its punctuation and lines."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    bare = _EDGE_UNDERSCORE.sub(" ", folded) if "_" in folded else folded
    return "\n".join(" ".join(line.split()) for line in _words(bare).split("\n"))


def _words(text: str) -> str:
    """The text with spaces for the signs that join words."""
    return _BETWEEN.sub(" ", text) if "_" in text or "-" in text else text


def _negated(text: str, hit: re.Match[str]) -> bool:
    before = _SENTENCE.split(text[: hit.start()])[-1]
    clause = _CLAUSE.split(before)[-1]
    return bool(_NEGATION.search(clause) or _NEGATED_ASIDE.search(before) or _NEGATED_AFTER.match(text, hit.end()))


def _everyday(folded: str) -> bool:
    return folded in _EVERYDAY or _letter(folded)


def _letter(folded: str) -> bool:
    return len(folded) == 1 and folded.isascii() and folded.isalpha()
