"""The beginning and the end of a long text, cut between words, or at least between signs. Pure."""

from __future__ import annotations

import re
import unicodedata

CUT = "[… {count:,} characters are left out here …]"
"""What stands for the part of a text that is not shown."""
_LAST_GAP, _GAP = re.compile(r".*(?=\s)", re.DOTALL), re.compile(r"\s")
_JOINER, _FLAG, _SKIN = "\u200d", ("\U0001f1e6", "\U0001f1ff"), ("\U0001f3fb", "\U0001f3ff")


def part_of(text: str, head: int, tail: int) -> str:
    """The beginning and the end of a text, at most so many characters of each; what stands there says how much is left
    out."""
    if len(text) <= head + tail:
        return text
    first = text[: _apart(text, head, -1)]
    last = text[_apart(text, len(text) - tail, 1) :]
    if head and not text[len(first)].isspace() and (gap := _LAST_GAP.match(first)) and gap.end() > head // 2:
        first = first[: gap.end()]
    if tail and not text[-len(last) - 1].isspace() and (gap := _GAP.search(last)) and gap.start() < tail // 2:
        last = last[gap.start() :]
    first, last = first.rstrip(), last.lstrip()
    left_out = CUT.format(count=len(text) - len(first) - len(last))
    return "\n".join(part for part in (first, left_out, last) if part)


def _apart(text: str, place: int, step: int) -> int:
    """The nearest place, in steps, at which no sign is cut in two: no letter from its accents."""
    while 0 < place < len(text) and _joined(text, place):
        place += step
    return place


def _joined(text: str, place: int) -> bool:
    before, after = text[place - 1], text[place]
    if after.isascii():
        return before + after == "\r\n"
    if _FLAG[0] <= after <= _FLAG[1]:  # two letters are a flag
        letters = re.search(f"[{_FLAG[0]}-{_FLAG[1]}]*$", text[max(0, place - 100) : place])
        return letters is not None and len(letters[0]) % 2 == 1
    return _JOINER in (before, after) or _SKIN[0] <= after <= _SKIN[1] or unicodedata.category(after).startswith("M")
