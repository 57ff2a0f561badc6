"""The same run on Ray: planning and certification stay with the driver, delivery goes to actors.

    driver      profiles and certifies as on one machine; gives the ledger to an actor; hands out partitions (Ray Data)
    workers     an actor pool: each settles whole partitions with our own engine, many calls in flight (`worker`)
    ledger      a named actor, the only writer: look-ups and claims, one group commit for all (`ray.shared`)
    governor    a named actor: turns and money are leased from it (`ray.governor`)

A partition is a run of consecutive rows with their positions. Ray Data places partitions, runs one again whose worker
died, and streams what comes back; rows themselves are read where they are settled (a folder of files), or travel once
(anything else). What a partition brought is one small file and one line of a manifest in a folder beside the ledger
(`parts`): a partition that stands there is never computed again.

Rows that a candidate is asked about in one call may lie in different partitions. Which they are follows from the whole
table, so workers are told it (`engine.layout`) and read what prompts show of all rows from shared memory. A call is
bought by whoever needs it first, like any request that stands in two workers' rows, and its cost comes back by its key,
since workers that share one all report it.

Nothing here is imported before it is asked for, and only `actors` and `cluster` import ray.
"""

from __future__ import annotations

from dataclasses import dataclass

from smart_llm.errors import InputError


@dataclass(frozen=True, slots=True)
class RayOptions:
    """address: of a running cluster (None: RAY_ADDRESS, else one is started on this machine). workers: actors that ask
    (None: one per CPU of the cluster). partition: rows of a partition, where the table is not a folder of files (None:
    as `sources.parts_of` sees fit)."""

    address: str | None = None
    workers: int | None = None
    partition: int | None = None

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise InputError(f"--workers {self.workers}: at least 1 actor.")
        if self.partition is not None and self.partition < 1:
            raise InputError(f"--partition {self.partition}: at least 1 row.")
        if self.address is not None and self.address.startswith("ray://"):
            raise InputError(
                f"--engine ray:{self.address}: a Ray Client address; run smart on a node of the cluster, which writes "
                "the ledger, and give ray:auto."
            )


def options_of(engine: str, workers: int | None = None, partition: int | None = None) -> RayOptions | None:
    """What `--engine` says: `local` (None), `ray` or `ray:ADDRESS`."""
    name, _, address = engine.partition(":")
    if name == "ray":
        return RayOptions(address or None, workers, partition)
    if engine != "local":
        raise InputError(f"--engine {engine}: there are local, ray and ray:ADDRESS.")
    if workers is not None or partition is not None:
        raise InputError("--workers and --partition go with --engine ray.")
    return None
