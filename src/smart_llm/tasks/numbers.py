"""Reading one number out of a reply.

In order, the first rule that speaks decides:

1. explicit answers: "#### x", "\\boxed{x}", "answer: x", "the answer is x"; they must all say the same number;
2. the last line is a number and nothing else but a currency or percent sign, emphasis and a full stop;
3. the reply contains exactly one number (the same number twice is one).

Read: 1234.5 · 1,234.50 · 1 234 · 1'234 · 1.234,50 · .5 · 6.02e23 · 3 × 10^8 · −5 (any minus) · $5 · 45 % (= 45: the
prompt sets the unit) · 1.2 million. Not read, since it could mean two things: 1,5 · 3/4 · 10:30 · 10–20 · 5k · 0x1F.
A digit inside a name (GPT-4, H2O) is no number.

Safe direction: where two numbers could be meant, the answer is None.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

from smart_llm.tasks.replies import edge_lines, statements, unfenced

_NUMBER = re.compile(
    r"(?P<sign>(?<![\w.)])[-+−–]\s?(?=[$€£¥₹\d.])|(?<=[$€£¥₹])[-−])?[$€£¥₹]?\s?"
    r"(?P<digits>\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!,?\d)"
    r"|\d{1,3}(?:(?:\.\d{3})+,\d+|(?:\.\d{3}){2,})(?![.,]?\d)"
    r"|\d{1,3}(?:[ \u00a0\u202f\u2009'’]\d{3})+(?:\.\d+)?(?![\d'])"
    r"|\d+(?:\.\d+)?|(?<![\d.])\.\d+)"
    r"(?:[eE](?P<exp>[-+−]?\d+)(?!\w)|\s*(?:[x×*·]|\\times)\s*10\s*\^\s*\{?(?P<power>[-+−]?\d+)\}?)?"
)
_SCALES = {"thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_SCALE = re.compile(r"\s+(thousand|million|billion|trillion)s?\b", re.IGNORECASE)
_GLUED = re.compile(r"[^\W\d_¹²³⁰-⁹]*")
_SHORTHAND = frozenset({"k", "m", "b", "t", "bn", "mn", "tn", "mio", "mrd"})
_UNCLEAR = re.compile(r"[\w⁰¹²³⁴-⁹]|[/:]\s?\d|\^")
_BOXED = re.compile(r"\\boxed\{\s*((?:[^{}]|\{[^{}]*\})*)\}|####\s*([^\n]*)")
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|\bbecause\b|\bsince\b|\n")
_BARE_LINE = re.compile(r"^[\s*_`$€£¥₹(\[=\"']*[-+−–]?[\s$€£¥₹]*[\d.][^A-Za-z]*$")
_LARGEST_EXPONENT = 400  # beyond any quantity; keeps arithmetic on answers cheap


def read_number(reply: str) -> Decimal | None:
    """The number a reply means, exactly as written, or None."""
    text = unfenced(reply)
    stated = [a or b for a, b in _BOXED.findall(text)] or [_SENTENCE_END.split(s)[0] for s in statements(text)]
    if found := {_only(part) for part in stated if any(map(str.isdigit, part))}:
        return found.pop() if len(found) == 1 else None
    last = edge_lines(text)[-1]
    if _BARE_LINE.match(last):
        return _only(last)
    return None if stated else _only(text)  # "answer: unknown" is no number, whatever else is said


def _only(text: str) -> Decimal | None:
    """The one number in a text; None for none, several, or one that could mean two things."""
    found = {_value(text, match) for match in _NUMBER.finditer(text) if not _in_name(text, match)}
    return found.pop() if len(found) == 1 else None


def _in_name(text: str, match: re.Match[str]) -> bool:
    start = match.start("digits")
    before = text[:start].rstrip("-") if not match["sign"] else text[: match.start()]
    glued = start == match.start() or bool(match["sign"])
    return glued and bool(before) and (before[-1].isalpha() or before[-1] == "_")


def _value(text: str, match: re.Match[str]) -> Decimal | None:
    end = match.end()
    letters = _GLUED.match(text, end)
    assert letters is not None  # the pattern matches the empty text
    if letters[0].casefold() in _SHORTHAND or _UNCLEAR.match(text, letters.end()):
        return None
    scale = _SCALE.match(text, end)
    exponent = int((match["exp"] or match["power"] or "0").replace("−", "-")[:9])
    exponent += _SCALES[scale[1].lower()] if scale else 0
    return _decimal(_plain(match["digits"]), exponent, negative=(match["sign"] or "").strip() in {"-", "−", "–"})


def _plain(digits: str) -> str:
    """Digits without separators of thousands, with a decimal point."""
    digits = re.sub(r"[ \u00a0\u202f\u2009'’]", "", digits)
    if re.fullmatch(r"\d{1,3}(?:\.\d{3})+,\d+|\d{1,3}(?:\.\d{3}){2,}", digits):
        return digits.replace(".", "").replace(",", ".")
    return digits.replace(",", "")


def _decimal(digits: str, exponent: int, *, negative: bool) -> Decimal | None:
    try:
        value = Decimal(digits).scaleb(exponent) if abs(exponent) <= _LARGEST_EXPONENT else None
    except InvalidOperation:
        return None
    if value is None or abs(value.adjusted()) > _LARGEST_EXPONENT:
        return None
    return -value if negative and value else abs(value)
