"""Which keys the ledger may hold: a filter that says "certainly not" without asking the file.

While a run buys, every commit of the writer makes the reader's page cache stale, and a look-up of a key that is not
there costs more than all the rest of a row. One process writes a ledger (`lock.py`), so what it has not seen is not
there. 16 MB, two places a key; where both are taken the file is asked: 1 look-up in 80 at a million answers, every
second one at ten million.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

import numpy as np

from smart_llm.ledger.keys import TAG

BITS = 24
_MASK = (1 << BITS) - 1
_CHUNK = 50_000


class Seen:
    """Keys that were added: never forgets one, may take one for another."""

    def __init__(self, keys: Iterable[str]) -> None:
        flags, source = np.zeros(1 << BITS, np.uint8), iter(keys)  # pages that no key touches take no time or memory
        self._flags = flags.data  # one element costs less than numpy's
        while chunk := list(islice(source, _CHUNK)):
            digests = np.frombuffer(bytes.fromhex("".join(key[len(TAG) :] for key in chunk)), np.uint8)
            last = digests.reshape(len(chunk), -1)[:, -6:].astype(np.int64)
            flags[(last[:, 3] << 16) | (last[:, 4] << 8) | last[:, 5]] = 1
            flags[(last[:, 0] << 16) | (last[:, 1] << 8) | last[:, 2]] = 1

    def add(self, key: str) -> None:
        """From now on this key may be there."""
        place = int(key[-12:], 16)
        self._flags[place & _MASK] = self._flags[place >> BITS] = 1

    def __contains__(self, key: str) -> bool:
        place = int(key[-12:], 16)
        return bool(self._flags[place & _MASK] and self._flags[place >> BITS])
