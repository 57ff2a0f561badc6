"""A mock provider whose faults no request meets so often that it is given up: what comes of a run is then certain."""

from __future__ import annotations

from collections import Counter
from typing import Any

from smart_llm.mock.http import Call, Reply
from smart_llm.mock.server import MockServer

MOST = 5
"""Fewer than the tries a row has."""


class Forgiving(MockServer):
    """Goes wrong as it is told to, and for each request at most `MOST` times."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self._met = Counter[bytes]()

    def handle(self, call: Call) -> Reply:
        """One request."""
        faults, before = self._faults, self.faulted.total()
        if self._met[call.body] == MOST:
            self._faults = type(faults)()
        try:
            return super().handle(call)
        finally:
            self._faults = faults
            self._met[call.body] += self.faulted.total() - before
