"""A cluster to work on: the one at an address, or one of our own on this machine for as long as it is needed."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from smart_llm.errors import InputError
from smart_llm.ray import RayOptions

NAMESPACE = "smart-llm"
STORE = 512 << 20
"""Bytes of shared memory a cluster of our own takes: orders, partitions on their way, accounts coming back."""
TRIES = 3
"""Times a cluster of our own is tried to start."""


@contextmanager
def cluster(options: RayOptions) -> Iterator[None]:
    """Connected as long as the block lasts; a connection that was there before is used and left alone."""
    try:
        import ray
        import ray.data
    except ImportError:
        raise InputError("--engine ray needs Ray: pip install 'smart-llm[ray]'.") from None
    if ray.is_initialized():
        yield
        return
    address = options.address or os.environ.get("RAY_ADDRESS")
    _connect(address, options)
    try:
        yield
    finally:
        ray.shutdown()


def _connect(address: str | None, options: RayOptions) -> None:
    import ray

    quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "namespace": NAMESPACE}
    if address is None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody asked for anything to be reported
        cpus = max(os.cpu_count() or 1, options.workers or 1)
        started(num_cpus=cpus, object_store_memory=STORE, include_dashboard=False, **quiet)
        return
    try:
        ray.init(address=address, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InputError(f"--engine ray:{address}: no cluster there ({_first(error)}).") from None


def started(**how: Any) -> None:
    """Ray gives its processes half a minute to come up, which a busy machine may not keep: try again."""
    import ray

    for attempt in range(TRIES):
        try:
            ray.init(**how)
            return
        except Exception as error:  # Ray raises bare ones
            ray.shutdown()
            if attempt == TRIES - 1:
                raise InputError(f"--engine ray: no cluster could be started here ({_first(error)}).") from None


def _first(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:120]
