"""Reading one of a closed set of labels out of a reply.

In order, the first rule that speaks decides:

1. the whole reply is a label (up to case, quotes, emphasis, a full stop, `_`, `-` and spaces between words), or JSON
   that gives one;
2. answers: "answer: x", "the label is x", and the first and the last line where they are a label, alone or before
   punctuation ("No, because …", "B) Paris"). All answers must be the same label;
3. running text that names exactly one label, in a sentence of a known form that affirms it ("This review is
   positive.", "I would call it spam"). A label that is an everyday word ("no", "other", a single letter) is never read
   out of running text, unless it is what the writer chooses ("I choose B"): "no doubt" is not "no".

Where the line lies. Language has endless ways to deny ("anything but positive", "entailment fails", "spam: unlikely"),
so nothing rests on a list of them: a label counts only where it stands in one of a few forms that affirm, up to a mark
that ends the phrase. Words that deny, qualify or take back (`phrases`) are looked for on top of that. A hedged choice
("probably positive", "most likely B") is still the choice and is read; "possibly", "might be" and "if" are not choices.

Safe direction: anything else is None. "not positive" is not "positive", two labels are none, and of two labels of
which one contains the other ("positive", "very positive") the longer is meant where it is written out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

from smart_llm.errors import InputError
from smart_llm.tasks.label_forms import Forms, fold, forms, is_last, is_letter, is_mark, is_set_off, running
from smart_llm.tasks.phrases import CONDITION, DENIAL, REPORTED, takes_back, words
from smart_llm.tasks.replies import is_key, lines_of, opened, statements
from smart_llm.types import Json

_BRACKETS = re.compile(r"[(\[{]\s*(.*?)\s*[)\]}]\.?")
_BULLET = re.compile(r"(?:[-•·–—]|#{1,6})\s+(?=[^\W\d_])")
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'*)\]]*\s+|\n+|(?<=[。！？])")
_CLAUSE = re.compile(r"[,;:()—–，；：]|\s-\s|\b(?:but|so|therefore|thus|hence|and|because)\b")
_IDIOM = re.compile(r"\b(?:(?:there is )?(?:no|without(?: a| any)?) (?:doubt|question)|undoubtedly)\b")
_BUT = re.compile(r"\bbut\b")
_SHORT_IS = re.compile(r"\b(it|this|that)'s\b")
_VALUE = re.compile(r"\W*(?:yes|no|true|false|n/?a|none|null|low|unlikely|minimal|zero|\d[\d.,]*\s?%?)\W*")
_REASON = re.compile(
    r"\W*(?:(?:because|since|as|due|given|with|and|the|this|it|its|there|he|she|they|overall|but|although|though|while"
    r"|despite|confidence|score|reason|probability|explanation|justification|denn|weil|da|car|parce|porque|ya|perché|потому|так)(?![^\W_])|\w+ing(?!\w)|\W*$)"
)
"""How what follows a label and a comma begins, where it gives a reason or more of the same: not "yeah, right"."""
_EVERYDAY = frozenset(
    {"no", "not", "none", "other", "an", "in", "on", "it", "is", "us", "or", "all", "any", "na", "n/a"}
)
_POLAR = frozenset(
    words(
        """
        yes no true false ja nein oui non sí si да нет 是 否 不是 はい いいえ 예 아니요 none not neither unknown
        """
    )
)
"""Labels whose reasons naturally hold words that deny: "No, there is nothing to see"."""
_AFFIRMATIVE = frozenset(words("yes true ja oui sí si да"))
_NOT = re.compile(r"\W*(?:\w+\s+){0,2}(?:not|nicht|pas|no|не)\W*")
"""What leaves nothing of a yes: "Yes, unfortunately not."."""
_OTHER_KEY = re.compile(r"not|wrong|incorrect|exclud|reject|opposite|alternativ|other|previous|second|expected")
_EXPLAINED = 5
"""Words after "Positive:" that make it an answer with its reason; fewer may be its value ("spam: unlikely")."""
_SHORT = 3
"""Words after an answer that say no more than yes or no to it: "Refund. Denied."."""
_NONE = ""
"""What a rule says that has found out that the reply has no one label; it is no label."""


def separated(text: str) -> list[str]:
    """What was probably meant by one label that holds several: texts between semicolons, bars, tabs, new lines or
    commas; none where it looks like one."""
    for separator in (r"[;\n]", r"[|\t]", r","):
        found = [part.strip() for part in re.split(separator, text) if part.strip()]
        if len(found) > 1:
            return found
    return []


def check_labels(labels: object) -> tuple[str, ...]:
    """The labels as a tuple of texts. InputError: fewer than two, empty ones, or two that count as the same."""
    if isinstance(labels, str) or not hasattr(labels, "__iter__"):
        raise InputError('labels must be a list of texts, such as ["yes", "no"]')
    texts = tuple(str(label).strip() for label in labels)
    if len(texts) < 2:
        meant = f": did you mean {found}?" if len(texts) == 1 and (found := separated(texts[0])) else ""
        raise InputError(f"a task needs at least 2 labels, not {len(texts)}{meant}")
    seen: dict[str, str] = {}
    for text in texts:
        folded = fold(text)
        if not folded.strip(".,;:!"):
            raise InputError(f"label {text!r} has no letters, digits or signs to recognise it by: rename it")
        if folded in seen:
            other = seen[folded]
            if other == text:
                raise InputError(f"label {text!r} is there twice: drop one")
            raise InputError(f"labels {other!r} and {text!r} count as the same answer: rename or drop one")
        seen[folded] = text
    return texts


_folded = lru_cache(maxsize=1024)(fold)
"""Most replies are one of the labels, written in one of a few ways."""


@dataclass(frozen=True)
class LabelReader:
    """Reads one of `labels` out of a reply. Inside, labels are folded; None is "this rule says nothing"."""

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
    def forms(self) -> Forms:
        """The patterns of these labels."""
        return forms(self.by_fold)

    def read(self, reply: str) -> str | None:
        """The label a reply means, as the user wrote it, or None."""
        found = self._exact(reply)
        if found is None:
            text = opened(reply)
            found = self._json(text) if text[:1] in ("{", "[") else self._string(text)
            if found is None and self.forms.word.search(running(text)):
                found = self._answered(text)
        return self.by_fold[found] if found else None

    def _exact(self, text: str) -> str | None:
        folded = _folded(text) if len(text) <= self.longest else ""
        return folded if folded in self.by_fold else None

    def _answered(self, text: str) -> str | None:
        stated = statements(text, labels=True)
        answers = [(each, self._stated(each.rest)) for each in stated if each.own]
        found = {label for _, label in answers if label}
        lines = lines_of(text)
        if found:
            if found & self._denied(each.rest for each, label in answers if not label):
                return _NONE
            return self._agreed(text, found | self._beside(lines), max(each.end for each, label in answers if label))
        first, last = self._alone(lines[0]) if lines else None, self._alone(lines[-1]) if lines else None
        if first or last:
            found = {label for line in lines if (label := self._alone(line))}
            return self._agreed(text, found, len(text) if last else text.index(lines[0]) + len(lines[0]))
        return None if stated else self._named(text)  # "answer: unknown" is no label, whatever else is said

    def _agreed(self, text: str, found: set[str], end: int) -> str:
        """The one label found, unless what follows takes it back or affirms another."""
        after = running(text[end:])
        short = len(after.split()) <= _SHORT and not found & _POLAR
        denied = after.lstrip().startswith("?") or (short and DENIAL.search(after))
        if len(found) != 1 or denied or takes_back(after) or (self._affirmed(after) | self._closing(after)) - found:
            return _NONE
        return found.pop()

    def _denied(self, statements: Iterable[str]) -> set[str]:
        """The labels that statements deny: "the answer is not A"."""
        firsts = [_SENTENCE_END.split(running(each))[0] for each in statements]
        doubted = [first for first in firsts if self._doubts(first, DENIAL, CONDITION)]
        return {hit["label"] for first in doubted for hit in self.forms.word.finditer(first)}

    def _beside(self, lines: list[str]) -> set[str]:
        """What lines say beside a statement. A first line "B) Paris" may be an option out of the prompt."""
        bare = {label for line in lines if (label := self._exact(line))}
        first = self._alone(lines[0])
        return bare | ({first} if first and not is_mark(first) else set())

    def _stated(self, rest: str) -> str | None:
        return self._alone(rest) or self._named(rest)

    def _alone(self, line: str) -> str | None:
        """The label that a line is, or opens with: "Positive. The …", "B) Paris", "Probably spam", "Option B"."""
        line = _BULLET.sub("", line, count=1) if _BULLET.match(line) else line
        if exact := self._exact(line):
            return exact
        if (inner := _BRACKETS.fullmatch(line)) and (exact := self._exact(inner[1])):
            return exact
        text = running(line)
        start = self.forms.opening.match(text)
        if not start or (start["kind"] and _common(start["label"])) or self._mentioned(text) - {start["label"]}:
            return None
        return None if _undone(start["label"], start["end"].strip(), text[start.end() :]) else start["label"]

    def _named(self, text: str) -> str | None:
        """The one label that running text names, and affirms."""
        said = running(text)
        affirmed = {label for label in self._affirmed(said) if not _common(label) or self.forms.choosing.search(said)}
        first = self.forms.word.search(said)
        if not first or len(affirmed) != 1 or self._mentioned(said) - affirmed or takes_back(said[first.end() :]):
            return None
        parts = [part for part in _CLAUSE.split(said) if self.forms.word.search(part)]
        return None if any(self._doubts(part, DENIAL, CONDITION) for part in parts) else affirmed.pop()

    def _affirmed(self, said: str) -> set[str]:
        """The labels that sentences of running text affirm, or consist of."""
        return {label for sentence in _SENTENCE_END.split(said) if (label := self._sentence(sentence))}

    def _sentence(self, sentence: str) -> str | None:
        """The label a sentence affirms, if nothing before it (since a "but") doubts it and nothing after denies it."""
        if bare := self._exact(sentence):
            return bare
        if "?" in sentence or not self.forms.word.search(sentence):
            return None
        sentence = _SHORT_IS.sub(r"\1 is", sentence)
        for start in (0, *(mark.end() for mark in _CLAUSE.finditer(sentence))):
            chosen = self.forms.choosing.match(sentence, start)
            found = chosen or self.forms.affirming.match(sentence, start)
            if found and (chosen or not _common(found["label"])):
                before = _BUT.split(sentence[: found.start("label")])[-1]
                doubted = self._doubts(before, DENIAL, CONDITION, REPORTED)
                undone = not _REASON.match(sentence, found.start("end")) or self._doubts(
                    sentence[found.end() :], DENIAL
                )
                return None if doubted or undone else found["label"]
        return None

    def _closing(self, said: str) -> set[str]:
        """The labels with which sentences end that deny nothing: "That said, I lean to negative."."""
        found = set()
        for sentence in _SENTENCE_END.split(said):
            last = next(reversed([*self.forms.word.finditer(sentence)]), None)
            if last and not _common(last["label"]) and not is_mark(last["label"]) and is_last(sentence, last.end()):
                found |= set() if self._doubts(sentence, DENIAL) else {last["label"]}
        return found

    def _doubts(self, text: str, *words: re.Pattern[str]) -> bool:
        """Whether any of these words stands in a text, apart from the labels in it."""
        rest = self.forms.word.sub(" ", _IDIOM.sub(" ", text))
        return any(pattern.search(rest) for pattern in words)

    def _mentioned(self, said: str) -> set[str]:
        """The labels that a text names; everyday words and letters only where they are set off."""
        hits = self.forms.word.finditer(said)
        return {hit["label"] for hit in hits if not _common(hit["label"]) or is_set_off(said, hit.end())}

    def _string(self, text: str) -> str | None:
        """The label that a text in JSON is: "na\\u00efve"."""
        if text[:1] != '"' or len(text) > 6 * self.longest:
            return None
        try:
            return self._exact(json.loads(text))
        except ValueError:
            return None

    def _json(self, text: str) -> str | None:
        """The label that JSON gives: under a key such as "label", or as the only label in it."""
        try:
            leaves = list(_leaves("", json.loads(text)))
        except (ValueError, RecursionError):
            return None
        keyed = [
            self._alone(value) or _NONE for key, value in leaves if is_key(key) and not _OTHER_KEY.search(key.lower())
        ]
        bare = [(key, label) for key, value in leaves if (label := self._exact(value))]
        if not keyed and not any(_OTHER_KEY.search(key.lower()) or fold(key) in self.by_fold for key, _ in bare):
            keyed = [label for _, label in bare]
        return keyed[0] if len(set(keyed)) == 1 else _NONE


def _common(label: str) -> bool:
    return label in _EVERYDAY or is_letter(label)


def _undone(label: str, end: str, tail: str) -> bool:
    """Whether the rest of its line undoes a label. end: what ends the phrase of the label."""
    if takes_back(tail):
        return True
    if end[:1] in ("", ".", "!", "。") or (end == ")" and is_mark(label)):
        return not is_mark(label) and tail.lstrip()[:1].isdigit()  # "No. 5"
    clause = _SENTENCE_END.split(tail)[0]
    if end in ("because", "since", "as", "due to"):
        return "?" in clause
    if "?" in clause or CONDITION.search(clause) or _VALUE.fullmatch(clause):
        return True
    if is_mark(label):
        return end == "," or clause.lstrip()[:1].isdigit() or (end != ":" and DENIAL.search(clause) is not None)
    if label in _POLAR:
        return label in _AFFIRMATIVE and _NOT.fullmatch(clause) is not None
    short = end == ":" and len(clause.split()) < _EXPLAINED
    aside = end in (",", ";") and not _REASON.match(clause)
    return short or aside or DENIAL.search(clause) is not None


def _leaves(key: str, value: Json) -> Iterator[tuple[str, str]]:
    """(key, text) of every text in a JSON value."""
    if isinstance(value, str):
        yield key, value
    for inner, each in value.items() if isinstance(value, dict) else ():
        yield from _leaves(inner, each)
    for each in value if isinstance(value, list) else ():
        yield from _leaves(key, each)
