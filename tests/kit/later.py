"""Large libraries that few tests use: loaded by the first test that does, not in every process that collects tests."""

from __future__ import annotations

import importlib
from typing import Any


class _Later:
    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)  # only whoever collects tests looks for these
        return getattr(importlib.import_module(self._name), name)


anthropic, openai = _Later("anthropic"), _Later("openai")
