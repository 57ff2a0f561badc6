"""What is left of a run that stopped, and where: the last lines of its message. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from pathlib import Path

from smart_llm.certificates.certificate import Certificate
from smart_llm.text.numbers import usd


def kept(
    c: Certificate,
    ledger: Path,
    page: str | PathLike[str] | None,
    *,
    output: str | None = None,
    certificate: str | None = None,
    parts: str | None = None,
) -> Iterator[str]:
    """Two lines at most. output: the file where the answered table is to go; parts: the folder, which is written part
    by part."""
    rows, left = c.claim.rows, c.claim.unsettled
    yield f"kept: {rows - left:,} of {rows:,} rows answered, for {usd(c.cost.total)}, in the ledger {ledger}"
    pending = f"{certificate} (pending)" if certificate else None
    written = [str(each) for each in (pending, page, parts and f"the parts of {parts} that are done") if each]
    later = f"; {output} comes once every row is settled" if output else ""
    if written:
        yield f"written: {', '.join(written)}{later}"
