"""What a run works with, and who delivers its rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from smart_llm.client.batch.options import BatchOptions
from smart_llm.engine.delivering import asked_elsewhere, deliver, routed
from smart_llm.engine.live import Live
from smart_llm.engine.options import Retry
from smart_llm.events import Listener, Stop
from smart_llm.ledger import Ledger, RunRecord
from smart_llm.providers.base import Provider
from smart_llm.types import Verdict


class Delivery(Protocol):
    """Who settles the rows that profiling left."""

    async def __call__(self, live: Live, verdict: Verdict, record: RunRecord, session: Session) -> None:
        """Settle them in `live` by the certified rule; raises what stopped it."""
        ...


async def deliver_here(live: Live, verdict: Verdict, record: RunRecord, session: Session) -> None:
    """This process does."""
    routing = routed(live, verdict, record.seed)
    live.elsewhere = asked_elsewhere(live, session.ledger)
    await deliver(live, routing, session.concurrency, session.tell)


@dataclass(frozen=True, slots=True)
class Session:
    """What a run works with: everything that is not part of the plan."""

    ledger: Ledger
    providers: Mapping[str, Provider]
    budget: float | None
    concurrency: int
    timeout: float
    patience: float
    tell: Listener
    stop: Stop
    batch: BatchOptions = field(default_factory=BatchOptions)
    self_check: int = 0
    retry: Retry | None = None
    output: Path | None = None
    id_column: str | None = None
    deliver: Delivery = deliver_here
