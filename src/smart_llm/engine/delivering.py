"""Delivering: every row that profiling left gets its answer, by the certified rule.

Rows that ask the same are settled together, so no order of delivery and no call that fails for one of them and not for
another can make them differ. The reference's answer is delivered wherever it was in the ledger when delivery began,
whoever had bought it: it costs nothing and agrees by definition. The reference is also asked where a candidate cannot
be used: where its call failed (what it would have said is not known), broke the contract, or was answered by a snapshot
the evidence is not about. Once it has been asked for such a reason, the candidate is not asked again, so that a run
that is run again delivers what it delivered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from smart_llm.engine.live import Live
from smart_llm.engine.pool import each
from smart_llm.events import Delivering, Listener
from smart_llm.ledger import Reader
from smart_llm.routing import Routing, accepts, passes
from smart_llm.scores.traits import reads_words, values
from smart_llm.types import DEFER, Answer, Answers, Cascade

SLICE = 4096
"""Rows rendered at a time: bounds memory, feeds thousands of calls in flight."""

Delivery: TypeAlias = tuple[int, Any, Answer]
"""The model a row is answered by, its value (None: the row has no answer), its reply."""
Settle: TypeAlias = Callable[[int, str], Awaitable[Delivery | None]]
"""(position, prompt) → what a candidate delivers; None: nothing, so the reference is asked."""


async def deliver(live: Live, routing: Routing, workers: int, tell: Listener) -> None:
    """Settle every row that is left."""
    live.rows.reopen()
    done = live.rows.done
    alone = live.account.reference_only(np.flatnonzero(live.rows.settled)) / live.questions.rows
    settle = _by_share(live, routing) if routing.cascade is None else _by_tiers(live, routing.cascade, routing)

    async def one(row: tuple[int, str]) -> None:
        nonlocal done
        position, prompt = row
        given = await settle(position, prompt) if routing.chosen[position] else None
        if given is None:
            given = (0, *await live.answer(position, 0, prompt))
        rows = live.questions.alike.members(position)
        rows = rows[~live.rows.settled[rows]] if len(rows) > 1 else rows
        live.rows.settle_by(rows, *given)
        done += len(rows)
        tell(
            Delivering(
                done, live.questions.rows, len(live.rows.errors), live.account.paid(), alone * done, live.account.so_far
            )
        )

    await each(_left(live), one, workers=workers, stop=live.stop)


def asked_elsewhere(live: Live, ledger: Reader) -> bool:
    """Whether the ledger holds answers of the reference to requests that nobody has made in this session."""
    return ledger.count(live.models[0].name) > int((~np.isnan(live.account.costs[0])).sum())


def _left(live: Live) -> Iterator[tuple[int, str]]:
    """Of the rows that are not settled, the first one of each request, and its prompt."""
    left = live.questions.different(live.rows.left)
    for start in range(0, len(left), SLICE):
        part = left[start : start + SLICE]
        yield from zip(part.tolist(), live.questions.prompts(part), strict=True)


def _covers(live: Live, model: int, reply: Answer) -> bool:
    """Whether a candidate's answer is by a snapshot that the evidence is about."""
    known = live.covered.get(model)
    return not (known and reply.snapshot and reply.snapshot not in known)


async def _stands(live: Live, prompt: str, models: Sequence[int]) -> bool:
    """Whether the reference's answer is there and is delivered: it was there when delivery began, or took the place of
    an answer that one of these models did not give."""
    if not live.elsewhere:
        return False
    number = await live.client.held(live.questions.request(0, prompt))
    if number is None or number <= live.before:
        return number is not None
    return any([await live.client.held(live.questions.request(model, prompt)) is None for model in models])


def _by_share(live: Live, routing: Routing) -> Settle:
    """Each row to the model its share says."""

    async def settle(position: int, prompt: str) -> Delivery | None:
        model = int(routing.chosen[position])
        if await _stands(live, prompt, (model,)):
            return None
        value, reply = await live.answer(position, model, prompt)
        return (model, value, reply) if value is not None and _covers(live, model, reply) else None

    return settle


def _by_tiers(live: Live, rule: Cascade, routing: Routing) -> Settle:
    """Each row from tier to tier until one accepts it."""

    async def settle(position: int, prompt: str) -> Delivery | None:
        here = slice(position, position + 1)
        sheet = Answers.blank((1, len(live.models)), words=reads_words(rule))
        await live.fill(sheet, 0, position, prompt, ())
        for tier in rule.tiers if passes(rule.gate, sheet)[0] else ():
            if await _stands(live, prompt, tier.models):
                return None
            sheet = Answers.blank((1, len(live.models)))
            told = await live.fill(sheet, 0, position, prompt, tier.models)
            if any(reply.error or not _covers(live, m, reply) for m, (_, reply, _) in told.items()):
                return None  # its place in the order is not known
            if sheet.marks[0, tier.candidate] != DEFER and np.isnan(values(tier.score, sheet, tier.candidate)[0]):
                return None  # nor is it where the score has come to be missing: a draw failed, say
            if accepts(tier, sheet, routing.high[here])[0]:
                return (tier.candidate, *told[tier.candidate][:2])
            if accepts(tier, sheet, routing.low[here])[0]:
                return None  # it takes some of the rows that ask this, and not others
        return None

    return settle
