"""Providers one at a time."""

from __future__ import annotations

from collections.abc import Mapping

from smart_llm.providers.base import Provider
from smart_llm.providers.making import make_providers
from smart_llm.types import Model


def make_provider(model: Model, *, environ: Mapping[str, str] | None = None, prefix: str = "") -> Provider:
    """The provider that serves one model."""
    return make_providers([model], environ=environ, prefix=prefix)[model.name]
