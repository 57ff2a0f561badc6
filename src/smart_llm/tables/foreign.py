"""Files that are not read as tables, known by their suffix or by their first bytes: what they are, and what to do."""

from __future__ import annotations

import re
from pathlib import Path

from smart_llm.errors import InputError

UNPACKED_BY = {".bz2": "bunzip2 -k", ".xz": "unxz -k", ".zip": "unzip", ".7z": "7z x", ".rar": "unrar x"}
"""Suffixes of packings that are not read, and the command that unpacks them."""
PANDAS = {
    ".arrow": "feather",
    ".dta": "stata",
    ".feather": "feather",
    ".orc": "orc",
    ".pickle": "pickle",
    ".pkl": "pickle",
    ".sas7bdat": "sas",
    ".sav": "spss",
    ".xml": "xml",
    ".xpt": "sas",
}
"""Suffixes of tables that pandas reads."""
DATABASES = (".db", ".sqlite", ".sqlite3")
STARTS = (
    (b"\x1f\x8b", "a file compressed by gzip", ".gz"),
    (b"\x28\xb5\x2f\xfd", "a file compressed by zstd", ".zst"),
    (b"BZh", "a file compressed by bzip2", ".bz2"),
    (b"\xfd7zXZ\x00", "a file compressed by xz", ".xz"),
    (b"PAR1", "a Parquet file", ".parquet"),
    (b"PK\x03\x04", "a workbook or a zip archive", ".xlsx or .zip"),
    (b"\xd0\xcf\x11\xe0", "an old workbook", ".xls"),
    (b"SQLite format 3\x00", "a SQLite database", ".sqlite"),
    (b"%PDF-", "a PDF document", ""),
)
"""First bytes → what a file is, and the suffix it should have."""
PAGE = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype html|html)\b", re.IGNORECASE)
LOOKED_AT = 1024
"""Bytes by which a file is known."""


def check_name(path: Path | str) -> None:
    """InputError: by its suffix a file of a kind that is not read, with the command that makes one that is."""
    path = Path(path)
    suffix, stem = path.suffix.lower(), path.with_suffix("")
    if suffix in UNPACKED_BY:
        raise InputError(f"{path}: {suffix} is not read: unpack it first: {UNPACKED_BY[suffix]} {path}")
    if suffix in PANDAS:
        code = f"import pandas; pandas.read_{PANDAS[suffix]}('{path}').to_parquet('{stem}.parquet')"
        raise InputError(f'{path}: {suffix} is not read: convert it first: python -c "{code}"')
    if suffix in DATABASES:
        command = f"sqlite3 -header -csv {path} 'SELECT * FROM …' > {stem}.csv"
        raise InputError(f"{path}: a database is not read: write the rows to a file first: {command}")


def check_start(path: Path, start: bytes) -> None:
    """InputError: a file that its name calls a text begins like something else. start: its first bytes."""
    for mark, what, suffix in STARTS:
        if start.startswith(mark):
            then = f": give it a name that ends in {suffix}" if suffix else ""
            raise InputError(f"{path} is no {path.suffix.lower()}, but begins like {what}{then}")
    if PAGE.match(start):
        raise InputError(f"{path} is a web page, not a table: was it downloaded without signing in?")
