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
    lost, total = ledger.lost(run_id), ledger.spent(run_id)
    more = f" (and at most {usd(lost)} for calls without an answer)" if lost > 0.01 * total else ""
    yield f"kept: {count(replies, 'reply', 'replies')} for {usd(total - lost)}{more}, in the ledger {ledger.path}"
    pending = f"{certificate} (pending)" if certificate else None
    written = [str(each) for each in (pending, page, parts and f"the parts of {parts} that are done") if each]
    later = f"; {output} comes once every row is settled" if output else ""
    if written:
        yield f"written: {', '.join(written)}{later}"
