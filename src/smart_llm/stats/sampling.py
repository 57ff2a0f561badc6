"""The seeded order of rows: keyed, domain-separated, stable across machines and versions.

The key is BLAKE2b of (domain, seed); the stream is the raw output of the Philox counter generator, which numpy
promises never to change. Whoever holds the seed can rebuild every order.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray


def uniforms(seed: int, domain: str, rows: int, *, start: int = 0) -> NDArray[np.uint64]:
    """Shape (rows,): one 64-bit number per position from `start` on; `domain` keeps order, shares and pilot
    independent."""
    digest = blake2b(f"smart-llm\0{domain}\0{seed}".encode(), digest_size=16).digest()
    key = np.frombuffer(digest, dtype="<u8")
    if not rows:
        return np.empty(0, np.uint64)
    whole, over = divmod(start, 4)  # Philox makes four numbers at a time
    return np.random.Philox(key=key).advance(whole).random_raw(over + rows)[over:]


def permutation(seed: int, domain: str, rows: int) -> NDArray[np.int64]:
    """Shape (rows,): a uniformly random order of the positions 0 … rows−1 (ties, 2⁻⁶⁴, fall to the lower position)."""
    keys = uniforms(seed, domain, rows)
    order = np.argsort(keys)
    placed = keys[order]
    if (placed[1:] == placed[:-1]).any():  # only then does the sort matter; the stable one takes twice as long
        order = np.argsort(keys, kind="stable")
    return order.astype(np.int64)
