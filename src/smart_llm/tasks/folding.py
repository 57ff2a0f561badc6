"""The form in which texts are compared: what two ways of typing the same text may differ in, and nothing else.

Folded: case (one letter for one letter), runs of Unicode spaces, the shape of quote marks, a pair of quote marks around
the whole, one final full stop, and ways to type the same character (composed and decomposed accents, full-width forms
of ASCII, hyphens that do not break, ligatures of Latin letters). Nothing that can carry meaning is touched: no article,
no other punctuation, no operator, no sign, no leading point.

Left alone on purpose, since the other form may mean something else:

* "ß" is not "ss" ("in Maßen", in moderation, is not "in Massen", in masses), and dotless "ı" is not "i";
* superscripts, subscripts, fractions and circled digits (10² is not 102, ½ is not 1/2, H₂ may be an index);
* letters of mathematical alphabets (ℝ is not R), signs such as "№" or "™", "…" and dashes of other lengths;
* invisible characters within a word, which join or part letters in some scripts. At the edges they mean nothing.

Safe direction: two forms that differ are two texts, which costs agreement and never makes a promise mean less.
"""

from __future__ import annotations

import re
import unicodedata

INVISIBLE = "\u00ad\u200b\u200c\u200d\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff"
"""Characters that are not seen, as a range for a regular expression."""
FULL_STOPS = ".。।۔።։"

_EDGES = re.compile(rf"^[\s{INVISIBLE}]+|[\s{INVISIBLE}]+$")
_WIDE = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20, 0xFF61: 0x3002}
_LIGATURES = {"\ufb00": "ff", "\ufb01": "fi", "\ufb02": "fl", "\ufb03": "ffi", "\ufb04": "ffl", "\ufb06": "st"}
_DOUBLE = dict.fromkeys("“”„‟«»「」『』", '"')
_SINGLE = dict.fromkeys("‘’‚‛‹›", "'")
_HYPHENS = {"\u2010": "-", "\u2011": "-"}
_SHAPES = str.maketrans({**_HYPHENS, **{chr(wide): chr(plain) for wide, plain in _WIDE.items()}, **_LIGATURES})
_QUOTES = str.maketrans({**_DOUBLE, **_SINGLE})
_LITERAL = re.compile(r"[^\w]|\d|(?:true|false|none|null|nan|inf|infinity|undefined)$")


def typed(text: str) -> str:
    """The text with one way of typing each character: composed accents, ASCII for its full-width forms, plain quotes
    and hyphens. Case, spaces and everything else stay."""
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", text.translate(_SHAPES)).translate(_QUOTES)


def normal_text(text: str) -> str:
    """The form in which texts are compared; see above. Never empty where the text is not."""
    folded = _EDGES.sub("", " ".join(_lower(typed(text)).split()))
    return _bare(_unquoted(_bare(folded)))


def _lower(text: str) -> str:
    """One letter for one letter; a sigma at the end of a word is a sigma."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFC", text.lower()).replace("ς", "σ")


def _bare(text: str) -> str:
    """Without one final full stop at a word; dots of omission stay, and so does a stop that is all there is."""
    ends = len(text) > 1 and text[-1] in FULL_STOPS and text[-2] != " " and text[-2] not in FULL_STOPS
    return text[:-1] if ends else text


def _unquoted(text: str) -> str:
    """Without a pair of quote marks around the whole. They stay around what would be another value without them: in a
    program, '1' is not 1 and 'None' is not None."""
    inner = text[1:-1]
    if len(text) < 3 or text[0] != text[-1] or text[0] not in "\"'" or text[0] in inner:
        return text
    return text if inner != inner.strip() or _LITERAL.match(inner) else inner
