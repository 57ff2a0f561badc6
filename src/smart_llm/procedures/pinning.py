"""A digest of those fields of evidence that no other field determines."""

from __future__ import annotations

from hashlib import blake2b


def digest(*pinned: object) -> str:
    """Shows a digit that was changed by accident; whoever changes one on purpose is found by the ledger."""
    return blake2b(repr(pinned).encode(), digest_size=8).hexdigest()
