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
                budget=_enough(budget, stopped),
                retry=asked_anew[1] if asked_anew else None,
            )
        )
        raise


def _enough(budget: float | None, stopped: Exception) -> float | None:
    """USD to go on with after a budget was reached: twice as much, and enough for the call that did not fit."""
    if budget is None or not isinstance(stopped, BudgetExhausted):
        return None
    return max(2 * budget, float(f"{1.1 * stopped.needed:.2g}"))
