"""The forms in which a reply states a label: how labels are folded, and the patterns that find them.

A closed set of labels is read more freely than texts are compared (`folding`): "STRASSE" is the label "Straße", since
nothing else can be meant. Two labels that fold to the same thing are refused when the task is made.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from smart_llm.tasks.folding import FULL_STOPS, INVISIBLE, typed
from smart_llm.tasks.phrases import UNSPACED

_WRAPPING = rf"\s\"'`_{INVISIBLE}"
_LEADING = re.compile(rf"^[{_WRAPPING}*]+")
_TRAILING = re.compile(rf"[{_WRAPPING}]+$")
_TRAILING_STARS = re.compile(rf"[{_WRAPPING}*]+$")
_END_MARK = re.compile(rf"(?<![.…])(?:!+|[{FULL_STOPS}])$")
_BETWEEN = re.compile(r"(?<=[^\W_])_+(?=[^\W_])|(?<=[^\W\d_])-(?=[^\W\d_])")
_EDGE_UNDERSCORE = re.compile(r"(?<![^\W_])_+|_+(?![^\W_])")
_UNSPACED = re.compile(rf"[{UNSPACED}]")

_LEADS = (
    "a an the clearly definitely certainly obviously evidently surely simply just overall likely most_likely"
    " very_likely probably most_probably indeed best_described_as eindeutig klar"
    " wahrscheinlich clairement sans_doute probablement claramente probablemente chiaramente probabilmente"
)
_DEGREES = "very really quite pretty so extremely highly strongly overwhelmingly entirely completely"
_HEADS = "answer option choice label class category grade rating score level antwort réponse respuesta risposta"
_KINDS = (
    r"review|sentiment|tone|feedback|comment|statement|sentence|text|message|e?mail|tweet|post|article|label|class"
    r"|category|classification|prediction|verdict|one|rating|score|stance|emotion|opinion|answer|option|choice"
    r"|relationship|question|request|document|issue|ticket|case|report|risk|priority|severity|urgency|level|stars?|points?|overall|in\s+(?:sentiment|tone|nature|general)"
)
_OPEN = r"[\s\"'`*(\[{]{0,8}"
_CLOSE = r"(?:[\"'`)\]}]|\*\*){0,8}"
_END = (
    rf"{_CLOSE}(?P<kind>\s+(?:{_KINDS})(?!\w))?(?:\s+(?:for|in|of)\s+(?:this|the)\s+[\w']+)?{_CLOSE}"
    r"(?P<end>\s*$|[.!](?![\d.])|[,;:)\]。、](?!\d)|\s+[-–—(]|—|\s+(?:because|since|as|due\s+to)\b)"
)
_SET_OFF = re.compile(rf"{_CLOSE}(?:\s*(?:$|\n)|[.,;:!?)\]。、]|\s+[-–—(]|\s+(?:because|and|or)\b)")

_SUBJECT = (
    r"(?:it|this|that|(?:the|this|that|its|overall)\s+(?:(?!(?:of|in|end|start|first|last|only)\b)[\w']+\s+){0,2}?"
    rf"(?:{_KINDS}|film|movie|hypothesis|language|topic|intent|passage|snippet)"
    r"(?:\s+(?:of|in|for|expressed|conveyed|between|towards?|about)\s+(?:[\w']+\s+){0,6}?[\w']+)?)"
)
_FILED = (
    r"(?:classified|labell?ed|categori[sz]ed|rated|considered|described|marked|tagged|regarded|identified)(?:\s+as)?"
)
_VERB = (
    rf"(?:is|was|seems(?:\s+to\s+be)?|appears\s+to\s+be|(?:is|was|should\s+be|can\s+be|would\s+be)\s+(?:best\s+)?{_FILED}"
    r"|expresses|conveys|describes|shows|reflects|indicates|demonstrates|has|belongs\s+to|falls\s+(?:under|into|in)|is\s+about|is\s+written\s+in)"
)
_INTRO = (
    r"(?:(?:i\s+(?:think|believe|feel|conclude|would\s+say)(?:\s+that)?|i'd\s+say(?:\s+that)?"
    r"|overall|therefore|so|thus|hence)\s+)?"
)
_I = r"(?:i'd|i'll|i(?:\s+(?:would|will|have|think\s+i\s+would))?)"
_OBJECT = rf"(?:\s+(?:this|it|that|(?:the|this|that)\s+(?:\w+\s+)?(?:{_KINDS})))?(?:\s+(?:as|to\s+be|is))?"
_CALL = rf"{_INTRO}{_I}\s+(?:classify|label|rate|categori[sz]e|tag|mark|consider|give|call|say|assign){_OBJECT}"
_CHOOSE = rf"{_INTRO}{_I}\s+(?:choose|chose|pick|picked|select|selected|go\s+with|answer|vote\s+for)"
_FEW = 300
"""With more labels than this, one is taken to hold another without comparing them all."""


def fold(text: str) -> str:
    """The form in which labels are compared: one way of typing, case folded, wrapping, a full stop and word separators
    gone. Signs that may mean something stay: "!spam", ".5", "A*" (a star that opens nothing), "spam:", "spam…"."""
    bare = typed(text).casefold()
    led = _LEADING.sub("", bare)
    starred = "**" in led or "*" in bare[: len(bare) - len(led)]
    trailing = _TRAILING_STARS if starred else _TRAILING
    return " ".join(_words(trailing.sub("", _END_MARK.sub("", trailing.sub("", led)))).split())


@lru_cache(maxsize=64)
def running(text: str) -> str:
    """Running text in the form of `fold`, with its punctuation and lines."""
    folded = typed(text).casefold()
    bare = _EDGE_UNDERSCORE.sub(" ", folded) if "_" in folded else folded
    return "\n".join(" ".join(line.split()) for line in _words(bare).split("\n"))


def is_letter(folded: str) -> bool:
    """Whether a label is a single Latin letter, which running text is full of."""
    return len(folded) == 1 and folded.isascii() and folded.isalpha()


def is_mark(folded: str) -> bool:
    """Whether a label is a letter or a number, such as the mark of an option."""
    return is_letter(folded) or folded.isdigit()


def is_set_off(text: str, end: int) -> bool:
    """Whether a mark of punctuation, a conjunction or the end of the line follows."""
    return _SET_OFF.match(text, end) is not None


def is_last(text: str, end: int) -> bool:
    """Whether nothing but marks follows."""
    return not any(sign.isalnum() for sign in text[end:])


@dataclass(frozen=True, slots=True)
class Forms:
    """Patterns for a set of labels, over `running` text; group "label" is the label, "end" what ends its phrase.

    word: any label as a whole word, the longest first ("1" is not in "1.5", "-1", "11" or "1/5").
    opening: a label at the start of a line or statement. affirming: a clause that says what something is, or what the
    writer calls it. choosing: "I choose B".
    """

    word: re.Pattern[str]
    opening: re.Pattern[str]
    affirming: re.Pattern[str]
    choosing: re.Pattern[str]


def forms(labels: Iterable[str]) -> Forms:
    """The patterns for these labels, given folded."""
    longest = sorted(labels, key=len, reverse=True)
    inner = f"{_OPEN}(?P<label>{'|'.join(map(re.escape, longest))})"
    leads = _leads(longest)
    heads = "|".join(word for word in _HEADS.split() if word not in longest)
    return Forms(
        word=re.compile(f"(?P<label>{'|'.join(map(_whole, longest))})"),
        opening=re.compile(rf"{_OPEN}(?:(?:the\s+)?(?:{heads})\s+)?{leads}{inner}{_END}"),
        affirming=re.compile(rf"\W*(?:{_INTRO}{_SUBJECT}\s+{_VERB}|{_CALL})\s+{leads}{inner}{_END}"),
        choosing=re.compile(rf"\W*{_CHOOSE}\s+{leads}{inner}{_END}"),
    )


def _leads(labels: Sequence[str]) -> str:
    """Words that may stand before a label. "Very" only where no label of the set holds another one, for "extremely
    positive" is not "positive" beside a label "very positive"."""
    many = len(labels) > _FEW
    nested = many or any(f" {one} " in f" {other} " for one in labels for other in labels if one != other)
    words = f"{_LEADS} {'' if nested else _DEGREES}".split()
    return rf"(?:(?:{'|'.join(word.replace('_', ' ') for word in words if word not in labels)})\s+)*"


def _whole(label: str) -> str:
    """A label as a whole word, on the sides on which its script parts words by spaces."""
    left = "" if _UNSPACED.match(label[0]) else r"(?<![\w+#/$-])(?<!\d[.,])"
    right = "" if _UNSPACED.match(label[-1]) else r"(?![\w+#/%-]|[.,]\d)"
    return left + re.escape(label) + right


def _words(text: str) -> str:
    """The text with spaces for the signs that join words."""
    return _BETWEEN.sub(" ", text) if "_" in text or "-" in text else text
