"""Reading one number out of a reply.

In order, the first rule that speaks decides:

1. explicit answers: "#### x", "\\boxed{x}", "answer: x", "the answer is x"; they must all say the same number;
2. the last line is a number and nothing else but a currency or percent sign, emphasis and a full stop; other such lines
   must say the same;
3. the reply contains exactly one number (the same number twice is one), in a sentence that states it.

Read: 1234.5 · 1,234.50 · 1 234 · 1'234 · 1.234,50 · .5 · 6.02e23 · 3 × 10^8 · −5 (a minus that touches its number) · $5
· 45 % (= 45: the prompt sets the unit) · 42 kg · 1.2 million.

Broken contracts, since they are no number, another number, or cannot be told:

* signs in words or conventions: minus 5 · a loss of 5 · (5), which accountants write for −5 · 5- · "- 5" (a bullet?);
* bounds and approximations, in words or signs: <5 · ≥5 · ~5 · at least 5 · about 5 · 5+ · 5 or so. "About 5" is another
  claim than 5, and a candidate's 5 must not pass for it;
* fractions, ratios, ranges, lists, powers, factorials: 1½ · 3/4 · 4 out of 5 · 5–7 · 5, 5 · 10² · 5! · √5;
* multiples that need a reading of their own: 5k · 5 dozen · 5万; times and dates: 10:30 · 5 pm · 5 May; ordinals: 5th;
* grouping that cannot be told (`numerals`): 1.500 € · 1,5;
* what is denied, asked, conditional or taken back: not 5 · 5? · 5 is wrong · 5. Wait, …

A digit inside a name (GPT-4, H2O, step 3) is no number.

Safe direction: where two numbers could be meant, the answer is None.
"""

from __future__ import annotations

import re
from decimal import Decimal

from smart_llm.tasks import numerals
from smart_llm.tasks.folding import typed
from smart_llm.tasks.number_words import NUMBER_WORDS, is_name, is_qualified
from smart_llm.tasks.numerals import SIGNS_OF_MONEY, SPACES, UNITS, Numeral, is_english
from smart_llm.tasks.phrases import CONDITION, DENIAL, takes_back
from smart_llm.tasks.replies import lines_of, opened, statements

_BARE = re.compile(r"-?(?:\d+|0?\.\d+|\d+\.\d{1,2})\.?", re.ASCII)
_MONEY = rf"(?:(?:us|r|a|c|hk|nz|s)?[{SIGNS_OF_MONEY}]|(?<!\w)(?:usd|eur|gbp|jpy|chf|inr|cny|rub|kr|rp)(?=[\s\d]))"
_NUMBER = re.compile(
    rf"(?=[\d.+−–$-]|[{SIGNS_OF_MONEY}]|[a-z]{{1,3}}[\s\d{SIGNS_OF_MONEY}])"
    rf"(?P<sign>[-−–+]\s?(?=[.\d]|{_MONEY}))?(?P<money>{_MONEY}\s?)?(?P<inner>[-−–+](?=[.\d]))?"
    rf"(?P<digits>(?:(?<![\w.,])\.)?\d+(?:[.,']\d+|[{SPACES}]\d{{3}}(?!\d))*)"
    r"(?:e(?P<exp>[-+−]?\d+)(?!\w)|\s*(?:[x×*·⋅]|\\times|\\cdot)\s*10"
    r"(?:\s*(?:\^|\*\*)\s*[{(]?(?P<power>[-+−]?\d+)[})]?|(?P<raised>[⁺⁻]?[⁰¹²³⁴-⁹]+))(?!\w))?",
    re.IGNORECASE,
)
_RAISED = str.maketrans("⁺⁻⁰¹²³⁴⁵⁶⁷⁸⁹−", "+-0123456789-")
_SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_SCALE = re.compile(r"[\s-]+(hundred|thousand|million|billion|trillion)s?(?!\w)")
_GLUED = re.compile(r"°?[^\W\d_]*")
_LETTER_UNITS = frozenset(("°", "°C", "°F", "L", "V", "W", "J"))
_MILLIONS = re.compile(r"\s[mt](?!\w)", re.IGNORECASE)
_AROUND = 400
"""Characters on either side of a numeral that are looked at; sentences are shorter."""
_MANY = 32
"""Numerals in one part of a reply; more are noise."""
_MAY_TOUCH_A_SIGN = "([{\"'*_`=:>→…"
_SIGN_AFTER = re.compile(rf"\s?(?:%|[{SIGNS_OF_MONEY}])")
_LATEX = [
    (re.compile(r"\\[()\[\]]|\\(?=[$%])|\\displaystyle"), ""),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\\[,;: ]"), " "),
    (re.compile(r"\\(?:text|mathrm|textbf|mathbf)\s*\{([^{}]*)\}"), r" \1 "),
]
_ARABIC = str.maketrans("٫٬", ".,")
_BOXED = re.compile(r"\\boxed\s*\{\s*((?:[^{}]|\{[^{}]*\})*)\}|(?<!#)####(?!#)\s*([^\n]*)")
_SENTENCE_END = re.compile(r"[.!?…](?=\s|$)|\n|[。！？]")
_REASON = re.compile(r"\bbecause\b|\bsince\b")
_BARE_LINE = re.compile(rf"[\s*_`{SIGNS_OF_MONEY}(\[=\"'<>≤≥~≈]*[-+−–]?[\s{SIGNS_OF_MONEY}]*[\d.][^A-Za-z]*$")


def read_number(reply: str) -> Decimal | None:
    """The number a reply means, exactly as written, or None."""
    if _BARE.fullmatch(reply):
        return numerals.value(reply.removesuffix(".").lstrip("-"), 0, negative=reply[0] == "-")
    text = _prepared(reply)
    lines = lines_of(text)
    bare = [line for line in lines if _BARE_LINE.match(line) and len(_NUMBER.findall(line)) == 1]
    stated = _stated(text)
    if found := {_only(part, text, alone=True) for part, _ in stated if any(map(str.isdigit, part))}:
        edges = {_only(line, text, alone=True) for line in bare if line in (lines[0], lines[-1])}
        return None if takes_back(text[stated[-1][1] :].lower()) else _one(found | edges)
    if lines and lines[-1] in bare:
        return _one({_only(line, text, alone=True) for line in bare})
    return None if stated else _told(text)  # "answer: unknown" is no number, whatever else is said


def _prepared(reply: str) -> str:
    text = typed(opened(reply)).translate(_ARABIC)
    if "\\" in text or "{" in text:
        for pattern, put in _LATEX:
            text = pattern.sub(put, text)
    return text


def _stated(text: str) -> list[tuple[str, int]]:
    """What is stated as the answer, to the end of its sentence, and where it begins or ends in the text; an empty one
    for each statement that is not the writer's answer."""
    boxed = [(match[1] or match[2] or "", match.end()) for match in _BOXED.finditer(text)]
    return boxed or [
        (_REASON.split(_sentence(each.rest))[0] if each.own else "", each.start) for each in statements(text)
    ]


def _sentence(text: str) -> str:
    end = _SENTENCE_END.search(text)
    return text[: end.end()] if end else text


def _one(found: set[Decimal | None]) -> Decimal | None:
    return found.pop() if len(found) == 1 else None


def _told(text: str) -> Decimal | None:
    """The one number in running text, unless what follows takes it back."""
    first = _NUMBER.search(text)
    value = _only(text, text, alone=False) if first else None
    return None if value is None or (first and takes_back(text[first.end() :].lower())) else value


def _only(part: str, text: str, *, alone: bool) -> Decimal | None:
    """The one number in a part of the text; None for none, several, or one that could mean two things. alone: nothing
    else is to be expected in this part."""
    found: Decimal | None = None
    for count, match in enumerate(_NUMBER.finditer(part)):
        if count > _MANY:
            return None
        if not _in_name(part, match):
            value = _value(part, match, text, alone)
            if value is None or found not in (None, value):
                return None
            found = value
    return found


def _in_name(text: str, match: re.Match[str]) -> bool:
    start = match.start()
    touched = text[:start] if match["money"] else text[:start].rstrip("-")
    touches = touched[-1:].isalpha() or touched[-1:] == "_"
    return (touches and match["sign"] in (None, "-")) or is_name(
        text[max(0, start - 40) : start], text[match.end() : match.end() + 2]
    )


def _value(part: str, match: re.Match[str], text: str, alone: bool) -> Decimal | None:
    before, after = part[max(0, match.start() - _AROUND) : match.start()], part[match.end() : match.end() + _AROUND]
    negative = _negative(match, before)
    rest = _past_unit(after)
    if negative is None or rest is None or _denied(before, after, alone):
        return None
    scale = _SCALE.match(rest.lower())
    if scale and not is_english(text):
        return None
    rest = rest[scale.end() :] if scale else rest
    if is_qualified(before, rest) or (match["money"] and _MILLIONS.match(rest)):
        return None
    power = match["exp"] or match["power"] or match["raised"]
    numeral = Numeral(match["digits"], text, match["money"] or "", after, alone, bool(power or scale))
    digits = numerals.plain(numeral)
    exponent = int((power or "0").translate(_RAISED)[:9]) + (_SCALES[scale[1]] if scale else 0)
    return numerals.value(digits, exponent, negative=negative) if digits else None


def _negative(match: re.Match[str], before: str) -> bool | None:
    """Whether the number has a minus; None where that cannot be told (a dash, a bullet, a range, two signs)."""
    sign, inner = match["sign"] or "", match["inner"] or ""
    mark = sign.strip() or inner
    touches = before[-1:] not in ("", *_MAY_TOUCH_A_SIGN) and not before[-1:].isspace()
    apart = sign != sign.strip() and mark != "−"
    dash = mark == "–" and before.strip() != ""
    if sign and (inner or touches or apart or dash):
        return None
    return mark in ("-", "−", "–")


def _past_unit(after: str) -> str | None:
    """What follows a numeral and its unit; None where what touches it is no unit."""
    sign = _SIGN_AFTER.match(after)
    rest = after[sign.end() :] if sign else after
    unit = _GLUED.match(rest)
    name = unit[0] if unit else ""
    small = name if len(name) == 1 else name.casefold()  # 5g is a weight, 5G a network
    known = not name or small in UNITS or name in _LETTER_UNITS
    return rest[len(name) :] if known else None


def _denied(before: str, after: str, alone: bool) -> bool:
    """Whether the number is denied, asked, conditional, or one of several of which some are in words."""
    head = _SENTENCE_END.split(before)[-1].lower()
    tail = _sentence(after).lower()
    said = head if alone else head + " # " + tail
    doubted = "?" in tail or DENIAL.search(said) or CONDITION.search(said)
    return bool(doubted or NUMBER_WORDS.search(head + " # " + tail))
