"""A run by batch in a process of its own, which may kill itself at a given point. Not a test: tests start it.

Arguments: TABLE OUTPUT LEDGER DIALECT URL [POINT [NUMBER]]. It dies, as by a power cut, when POINT is reached for the
NUMBERth time, and prints the result as JSON when it comes to its end.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

import smart_llm as smart
from smart_llm.client.batch.options import BatchOptions
from smart_llm.events import Event, Said
from smart_llm.ledger import Ledger
from smart_llm.ledger.batches import BatchBook
from smart_llm.providers.batch.anthropic import AnthropicBatches
from smart_llm.providers.batch.openai import OpenAIBatches

POINTS: dict[str, tuple[str, bool]] = {
    "written": ("begin", True),  # written down, nothing sent
    "uploaded": ("uploaded", False),  # the file is there, its id is not noted
    "submitting": ("submitting", True),  # about to be submitted
    "accepted": ("submitted", False),  # runs at the provider, its id is not noted
    "settling": ("settled", False),  # all results are noted, its end is not
}
"""A method of the book, and whether the power fails after it (else before)."""


def die() -> None:
    """No cleaning up."""
    os.kill(os.getpid(), signal.SIGKILL)


def arm(owner: Any, name: str, number: int, *, after: bool) -> None:
    """Die at the `number`th call of a method."""
    method, calls = getattr(owner, name), 0

    async def deadly(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        now = calls == number
        if now and not after:
            die()
        result = await method(*args, **options)
        if now:
            die()
        return result

    setattr(owner, name, deadly)


def tell(event: Event) -> None:
    """What a user would see."""
    if isinstance(event, Said):
        print(event.text, file=sys.stderr)


def main() -> None:
    """Run."""
    table, output, ledger, dialect, url, *rest = sys.argv[1:]
    if rest:
        point, number = rest[0], int(rest[1]) if rest[1:] else 1
        if point in POINTS:
            name, after = POINTS[point]
            arm(BatchBook, name, number, after=after)
        elif point == "polling":
            arm(OpenAIBatches, "look", number, after=True)
            arm(AnthropicBatches, "look", number, after=True)
        elif point == "fetching":
            arm(Ledger, "put", number, after=True)
    run = smart.run(
        table,
        smart.Task("Yes or no? {text}", labels=["yes", "no"]),
        reference=f"{dialect}:big@{url}?in=10&out=10",
        candidates=[f"{dialect}:small@{url}?in=1&out=1", f"{dialect}:tiny@{url}?in=0.1&out=0.1"],
        agreement="0.9",
        seed=5,
        output=output,
        ledger=ledger,
        timeout=5,
        batch=BatchOptions(poll=0.03, longest=0.2, quiet=0.03, search=1.0, tries=8),
        on_event=tell,
    )
    print(json.dumps({"cost": run.cost, "run": run.run_id}))


if __name__ == "__main__":
    main()
