"""Runs with a candidate that is taught by the reference's answers and by vectors of texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import smart_llm as smart
from smart_llm.learned.model import kept_model
from smart_llm.ledger import Reader
from smart_llm.ledger.entries import TAUGHT
from smart_llm.types import Request


async def embedded(
    ledger: Path,
    url: str,
    texts: Sequence[str],
    truth: Callable[[Request], str],
    *,
    task: smart.Task,
    price: float = 0.02,
    agreement: float,
) -> smart.Run[Any]:
    """A run with embeddings of this server, at that price in USD per million tokens."""
    return await smart.arun(
        [{"text": text} for text in texts],
        task,
        reference="fake:ref?in=100&out=100",
        candidates=[f"learned?embed=openai:e@{url}&in={price}"],
        providers={"fake:ref": smart.FakeProvider(truth, keep=True)},
        agreement=agreement,
        seed=4,
        ledger=ledger,
        progress=False,
    )


def model_of(ledger: Path, run_id: str) -> Any:
    """The model that was taught."""
    with Reader.open(ledger) as reader:
        return kept_model(next(event.payload for event in reader.events(run_id) if event.kind == TAUGHT))
