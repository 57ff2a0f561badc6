"""A run, or a pilot, that stops: the last line says which command goes on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from smart_llm.errors import BudgetExhausted, Interrupted, ProviderError
from smart_llm.text.commands import go_on, typed


@contextmanager
def to_go_on(budget: float | None) -> Iterator[None]:
    """A run that stops says which command goes on."""
    from smart_llm.engine.signals import at_once

    try:
        yield
    except KeyboardInterrupt:
        stopped = at_once()
        stopped.add_note(go_on(typed()))
        raise stopped from None
    except (BudgetExhausted, Interrupted, ProviderError) as stopped:
        asked_anew = re.search(r"--retry (errors|broken)", str(stopped))
        stopped.add_note(
            go_on(
                typed(),
                budget=budget if isinstance(stopped, BudgetExhausted) else None,
                retry=asked_anew[1] if asked_anew else None,
            )
        )
        raise
