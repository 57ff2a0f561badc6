"""What is left of a run that stopped, and where: the last lines of its message. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike

from smart_llm.ledger import Reader
from smart_llm.text.numbers import count, usd


def kept(
    run_id: str,
    ledger: Reader,
    page: str | PathLike[str] | None,
    *,
    output: str | None = None,
    certificate: str | None = None,
    parts: str | None = None,
) -> Iterator[str]:
    """Two lines at most. output: the file where the answered table is to go; parts: the folder, which is written part
    by part."""
    replies = sum(each.calls for each in ledger.account(run_id) if each.outcome == "answered")
    yield f"kept: {count(replies, 'reply', 'replies')} for {usd(ledger.spent(run_id))}, in the ledger {ledger.path}"
    pending = f"{certificate} (pending)" if certificate else None
    written = [str(each) for each in (pending, page, parts and f"the parts of {parts} that are done") if each]
    later = f"; {output} comes once every row is settled" if output else ""
    if written:
        yield f"written: {', '.join(written)}{later}"
