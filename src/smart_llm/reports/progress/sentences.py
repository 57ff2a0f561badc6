"""A run's events in words: one line each, the same in a log and above the live picture."""

from __future__ import annotations

from smart_llm.events import Decided, Ended, Said
from smart_llm.reports.progress.picture import Picture
from smart_llm.text.names import short_names
from smart_llm.text.numbers import count, spending, usd
from smart_llm.types import Outlook


def said(event: Said | Decided | Ended) -> str:
    """What stays to be read."""
    if isinstance(event, Said):
        return event.text
    if isinstance(event, Ended):
        free = f", answers for {usd(event.reused)} re-used" if event.reused else ""
        lost = f", {count(event.errors, 'row')} without an answer" if event.errors else ""
        money = f"{spending(event.spent, event.failed, 'spent')}{free}{_cheaper(event.saving, '')}"
        return f"{event.status}: {count(event.rows, 'row')}{lost}, {money}"
    head = f"{count(event.profiled, 'row')} profiled, {usd(event.spent)} spent"
    names = short_names([event.reference, *event.models])
    if not event.models:
        return f"{head}: no candidate is certified, {names[event.reference]} answers the rest."
    certified = ", ".join(names[model] for model in event.models)
    return f"{head}: {certified} certified{_cheaper(event.saving, ', expecting')}."


def sentence(picture: Picture, outlook: Outlook | None = None) -> str:
    """Where the run is, in a line."""
    return ", ".join(filter(None, [picture.head(), picture.foot()])) + _standings(outlook)


def _cheaper(saving: float | None, how: str) -> str:
    return f"{how or ','} {saving:.2f}× cheaper than the reference" if saving is not None and saving > 1 else ""


def _standings(outlook: Outlook | None) -> str:
    shown = [each for each in (outlook.standings if outlook else ()) if each.profiled]
    names = short_names([each.model for each in shown])
    parts = [f"{names[s.model]} {s.agreeing}/{s.profiled} [{s.lower:.2f}, {s.upper:.2f}]" for s in shown]
    return "; " + ", ".join(parts) if parts else ""
