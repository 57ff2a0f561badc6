"""What a busy machine can spoil, though not again and again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from smart_llm.ledger import Ledger


async def in_one_of_four(attempt: Callable[[Ledger], Awaitable[bool]], folder: Path) -> bool:
    """Whether one of four attempts came out well, each with a ledger of its own. How busy this machine is changes from
    one second to the next; what waits too long by itself, or asks too often, does so each time."""
    for number in range(4):
        with Ledger.open(folder / f"{number}.db") as ledger:
            if await attempt(ledger):
                return True
    return False
