"""Text from rows, prompts and models made safe to look at: what would be invisible, or would move other text, is shown.

Escaping for HTML is another matter, and done by the template engine. This is about what escaping leaves alone: control
characters, overrides of the writing direction, blanks of no width, tags that nobody sees (with which a row may speak to
a model and not to its reader), halves of surrogate pairs. Each is replaced by its number, as in ⟨U+202E⟩.
"""

from __future__ import annotations

import re
import unicodedata

_BREAKS = re.compile(r"[\t-\r\x1c-\x1e\x85\u2028\u2029]+")
"""What ends a line somewhere, and tabs."""
LONGEST = 600
"""Characters of a text that are shown."""
KEPT = frozenset("\n\t\u200c\u200d")
"""Line ends and tabs; joiners, which scripts and emoji need."""
HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Categories of Unicode that have no face of their own."""


def visible(text: str) -> str:
    """The same text with nothing hidden in it."""
    if text.isascii() and text.isprintable():
        return text
    text = text.replace("\r\n", "\n")
    return "".join(_shown(sign) for sign in text)


def on_a_line(text: str) -> str:
    """The same with nothing hidden in it and on one line, which begins as far in as it did."""
    return visible(_BREAKS.sub(" ", text))


def cut(text: str, longest: int = LONGEST) -> str:
    """Its beginning, where it is long, and how long it is."""
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text):,} characters)"


def _shown(sign: str) -> str:
    hidden = sign not in KEPT and unicodedata.category(sign) in HIDDEN
    return f"⟨U+{ord(sign):04X}⟩" if hidden else sign
