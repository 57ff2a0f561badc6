"""The same answers as your best model, at the price of the cheaper ones, with a promise you can check.

    import smart_llm as smart

    task = smart.Task("Is this review positive or negative?\\n\\n{text}", labels=["positive", "negative"])
    run = smart.run("reviews.csv", task, reference="openai:gpt-5.2", candidates=["openai:gpt-5.2-mini"])
    run.table, run.certificate, run.cost, run.saving

Names are loaded when they are first used, so that importing the package is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smart_llm.api import aplan, arun, plan, run
    from smart_llm.certificates.certificate import Certificate
    from smart_llm.certificates.verify import verify
    from smart_llm.client.batch.options import BatchOptions
    from smart_llm.engine.options import Keywords, Options
    from smart_llm.errors import (
        BudgetExhausted,
        InputError,
        Interrupted,
        LedgerError,
        ProviderError,
        Refused,
        Retryable,
        SmartError,
    )
    from smart_llm.events import Decided, Delivering, Ended, Event, Profiling, Said
    from smart_llm.execution import Run
    from smart_llm.planning.plan import Plan
    from smart_llm.providers.base import Provider
    from smart_llm.providers.fake import FakeProvider
    from smart_llm.reports.report import report
    from smart_llm.simulation.replay import Figures, replay
    from smart_llm.tasks import Task
    from smart_llm.types import Answer, Request, Usage

    __version__: str

_HOMES = {
    "smart_llm.api": ["aplan", "arun", "plan", "run"],
    "smart_llm.engine.options": ["BatchOptions", "Keywords", "Options"],
    "smart_llm.planning.draw_up": ["Plan"],
    "smart_llm.simulation.replay": ["Figures", "replay"],
    "smart_llm.certificates.verify": ["verify"],
    "smart_llm.errors": [
        "BudgetExhausted",
        "InputError",
        "Interrupted",
        "LedgerError",
        "ProviderError",
        "Refused",
        "Retryable",
        "SmartError",
    ],
    "smart_llm.events": ["Decided", "Delivering", "Ended", "Event", "Profiling", "Said"],
    "smart_llm.execution": ["Run"],
    "smart_llm.providers.base": ["Provider"],
    "smart_llm.providers.fake": ["FakeProvider"],
    "smart_llm.certificates.certificate": ["Certificate"],
    "smart_llm.reports.report": ["report"],
    "smart_llm.tasks": ["Task"],
    "smart_llm.types": ["Answer", "Request", "Usage"],
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Answer",
    "BatchOptions",
    "BudgetExhausted",
    "Certificate",
    "Decided",
    "Delivering",
    "Ended",
    "Event",
    "FakeProvider",
    "Figures",
    "InputError",
    "Interrupted",
    "Keywords",
    "LedgerError",
    "Options",
    "Plan",
    "Profiling",
    "Provider",
    "ProviderError",
    "Refused",
    "Request",
    "Retryable",
    "Run",
    "Said",
    "SmartError",
    "Task",
    "Usage",
    "aplan",
    "arun",
    "plan",
    "replay",
    "report",
    "run",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("smart-llm")
    if name not in _HOME:
        from smart_llm.errors import meant

        raise AttributeError(f"module {__name__!r} has no attribute {name!r}.{meant(name, __all__)}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
