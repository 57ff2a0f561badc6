"""Which engine delivers: this process, or Ray."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from smart_llm.certificates.certificate import Certificate
from smart_llm.engine.live import Live
from smart_llm.engine.session import Session, deliver_here
from smart_llm.errors import InputError
from smart_llm.ledger import RunRecord
from smart_llm.providers.base import Provider
from smart_llm.ray import RayOptions
from smart_llm.tables import Table
from smart_llm.tables.output_folder import Folder
from smart_llm.types import Model, Verdict


class Delivering(Protocol):
    """A `Delivery` that is told when its output stands."""

    async def __call__(self, live: Live, verdict: Verdict, record: RunRecord, session: Session) -> None:
        """See `Delivery`."""
        ...

    def written(self, certificate: Certificate) -> None:
        """The run is over and what it delivered is written."""
        ...


class Here:
    """This process delivers, and keeps nothing to clear away."""

    async def __call__(self, live: Live, verdict: Verdict, record: RunRecord, session: Session) -> None:
        """See `here`."""
        await deliver_here(live, verdict, record, session)

    def written(self, certificate: Certificate) -> None:
        """Nothing is left to do."""


def check_ways(models: Sequence[Model]) -> None:
    """`InputError` for what workers do not have: vectors bought for the evidence, and functions of the user's own."""
    if any(model.embed is not None for model in models):
        raise InputError("learned: embed= goes without --engine ray for now; leave one of them out.")
    if own := [model.name for model in models if model.function is not None]:
        raise InputError(f"{own[0]}: it answers in the process of the run; leave --engine ray out, or the function.")


@contextmanager
def delivering(
    options: RayOptions | None, table: Table, providers: Mapping[str, Provider], output: Path | Folder | None
) -> Iterator[Delivering]:
    """Whoever delivers, as long as the block lasts. options: None for this process; providers: the caller's own."""
    if options is None:
        yield Here()
        return
    from smart_llm.ray.cluster import cluster
    from smart_llm.ray.delivery import RayDelivery

    with cluster(options):
        yield RayDelivery(options, table, providers, output if isinstance(output, Folder) else None)
