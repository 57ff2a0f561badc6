"""The encoding of a text file: as asked for, as its byte order mark says, UTF-8 where it is that, else a guess.

The guess is chardet's, among the encodings that are in use today, and is always said, with a word as it was read, so
that whoever knows the file sees at once whether it is right.
"""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from smart_llm.errors import InputError

MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks; that of UTF-32 begins as that of UTF-16 does."""
LOOKED_AT = 200_000
"""Bytes a guess is made from."""
RARE = 0.02
"""Of all bytes: English, where a pound sign or a name is all that is not ASCII. There is nothing to tell by what it is
but that this is how nearly all such files were written."""
_FOREIGN_WORD = re.compile(r"\w*[^\W\x00-\x7f]\w*|[^\x00-\x7f]+")


def encoding_of(path: Path, start: bytes, is_utf8: bool, asked: str | None) -> tuple[str, str | None]:
    """The encoding of a file, by Python's name, and a sentence where it was guessed.

    start: its first bytes, with the first that is no ASCII among them. InputError: no such encoding, or none found.
    """
    if asked is not None:
        return _checked(asked), None
    for mark, name in MARKS:
        if start.startswith(mark):
            return name, None
    if is_utf8 and _wide(start) is None:
        return "utf-8", None
    guess = _wide(start) or _guess(start)
    if guess is None:
        raise InputError(f"{path} is not UTF-8, and its encoding cannot be told: give --encoding NAME")
    sample = _sample(start, guess)
    return guess, f"{path.name} is not UTF-8: it is read as {guess}, a guess{sample}; if it is wrong, --encoding NAME."


def _checked(name: str) -> str:
    try:
        found = codecs.lookup(name)
        if not found._is_text_encoding:
            raise LookupError
    except LookupError:
        raise InputError(f"--encoding {name}: no such encoding; usual ones are utf-8, cp1252 and utf-16") from None
    return "utf-8-sig" if found.name == "utf-8" else found.name  # a byte order mark is never part of a name


def _wide(start: bytes) -> str | None:
    """UTF-16 without a mark, by its zeros."""
    if b"\x00" not in start:
        return None
    even, odd = start[0::2].count(0), start[1::2].count(0)
    if max(even, odd) * 4 < len(start):
        return None
    return "utf-16-le" if odd > even else "utf-16-be"


def _guess(start: bytes) -> str | None:
    import chardet

    if sum(byte > 127 for byte in start) < RARE * len(start) and (western := _decoded(start, "cp1252")):
        return western
    found = chardet.detect(start, encoding_era=chardet.EncodingEra.MODERN_WEB, prefer_superset=True)["encoding"]
    return _decoded(start, found or "")


def _decoded(start: bytes, encoding: str) -> str | None:
    """Python's name of an encoding, if these bytes may be in it."""
    try:
        name = codecs.lookup(encoding).name
        start.decode(name, "strict")
    except LookupError:
        return None
    except UnicodeDecodeError as error:  # cut off within its last character, or not this encoding
        return name if error.start > len(start) - 8 else None
    return name


def _sample(start: bytes, name: str) -> str:
    word = _FOREIGN_WORD.search(start.decode(name, "ignore"))
    return f" ({word[0][:30]!r} is there)" if word else ""
