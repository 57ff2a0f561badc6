"""What a call is expected to cost before any was made."""

from __future__ import annotations

from functools import partial
from math import inf

import numpy as np

from smart_llm.client.lane import sent_bytes
from smart_llm.engine.live import Live
from smart_llm.providers.base import Provider
from smart_llm.tasks import packs
from smart_llm.types import Model, Part, Request, Usage

THOUGHTS = 16
"""A model that thinks is expected to use one in this many of the tokens it may think: a guess, until a pilot tells."""
SECONDS = 1.0
"""A call is expected to take, of a model that is paid by time and says nothing itself. No guess at all would be a price
of nothing, and many such models would be tried at once."""


def expected_cost(model: Model, provider: Provider, live: Live) -> float:
    """USD of one row before any was asked: further draws included."""
    return float(np.mean([row_cost(model, usage) for usage in expected_usage(model, provider, live)]))


def most_cost(model: Model, live: Live) -> float:
    """USD of asking about a row at most, further draws included, and of all rows that share its call: a token for every
    byte sent, all the tokens there is room for; ∞ where time is what costs. The mean of the same sample of rows as in
    `expected_cost`, as rows are drawn at random: what surprises is what a model writes, and one long row among a
    hundred costs the reference more, too."""
    if model.rate.cpu_hour:
        return inf
    bounds = [
        model.rate.bound(sent_bytes(request, model), request.max_tokens + model.thinking)
        for request in _sample(model, live)
    ]
    return float(np.mean(bounds)) * (1 + model.draws)


def row_cost(model: Model, usage: Usage) -> float:
    """USD of a row whose calls use so much each."""
    return model.rate.cost(usage) * (1 + model.draws)


def expected_usage(model: Model, provider: Provider | None, live: Live) -> list[Usage]:
    """What some rows use of their calls, before any was made: by the provider's own estimate, else four bytes a token,
    a short answer, and a sixteenth of the room there is for thoughts."""
    expect = getattr(provider, "expect", partial(_expect, thoughts=model.thinking // THOUGHTS))
    return [packs.used(expect(request), request) for request in _sample(model, live)]


def _sample(model: Model, live: Live) -> list[Request]:
    """What the model is asked about some rows, spread over the table."""
    number = live.models.index(model)
    return [live.questions.request(number, prompt) for prompt in live.questions.sample]


def _expect(request: Request, thoughts: int) -> Usage:
    prompt = len(request.prompt.encode()) + len((request.system or "").encode())
    rows = request.count if isinstance(request, Part) else 1
    tokens = thoughts + rows * (min(request.max_tokens // rows, 64) // 4 + 1)
    return Usage(prompt // 4 + 8, tokens, cpu_seconds=SECONDS)
