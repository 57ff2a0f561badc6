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
from smart_llm.engine.snapshots import earlier
from smart_llm.events import Delivering, Listener
from smart_llm.ledger import Reader
from smart_llm.routing import Routing, accepts, passes, reaches
from smart_llm.scores.traits import reads_own, reads_words, values
from smart_llm.types import DEFER, Answer, Answers, Cascade, Verdict

SLICE = 4096
"""Rows rendered at a time: bounds memory, feeds thousands of calls in flight."""

Delivery: TypeAlias = tuple[int, Any, Answer]
"""The model a row is answered by, its value (None: the row has no answer), its reply."""
Settle: TypeAlias = Callable[[int, str], Awaitable[Delivery | str]]
"""(position, prompt) → what a candidate delivers; else why the reference is asked instead, one of the words below."""
THERE, FAILED, BROKE, OTHER, UNSURE = (
    "the reference's answer was there already",
    "the candidate's call failed",
    "its answer broke the output contract",
    "it was answered by another snapshot",
    "the candidate was not sure enough",
)
UNUSED = "Candidates were certified, but none of their answers was delivered:"
"""How the note begins that says why."""


def routed(live: Live, verdict: Verdict, seed: int) -> Routing:
    """By a certified rule, for the whole table. Where it has grown, rows that ask what the rule's only candidate has
    answered are left to it like others: it says the same of them."""
    aside, tiers = live.questions.aside, verdict.rule.tiers if isinstance(verdict.rule, Cascade) else ()
    kept = None
    if aside.there and len(tiers) == 1:
        there = np.arange(live.questions.rows) < aside.there
        kept = there & live.rows.settled & ~live.rows.lost & (live.rows.by == tiers[0].candidate)
    return Routing.of(verdict, seed, aside, live.questions.alike, kept)


async def deliver(live: Live, routing: Routing, workers: int, tell: Listener) -> None:
    """Settle every row that is left."""
    live.rows.reopen()
    done = live.rows.done
    alone = live.account.reference_only(np.flatnonzero(live.rows.settled)) / live.questions.rows
    settle = _by_share(live, routing) if routing.cascade is None else _by_tiers(live, routing.cascade, routing)

    async def one(row: tuple[int, str]) -> None:
        nonlocal done
        position, prompt = row
        given, why = await settle(position, prompt) if routing.chosen[position] else "", ""
        if isinstance(given, str):
            why, given = given, await _by_reference(live, position, prompt)
        rows = live.questions.alike.members(position)
        rows = rows[~live.rows.settled[rows]] if len(rows) > 1 else rows
        live.instead.update({why: len(rows)} if why else {})
        done += len(rows)  # before it may raise: others, in flight, still say how far it is
        live.rows.settle_by(rows, *given)
        money = live.account.paid(), alone * done, live.account.so_far, live.account.earlier
        tell(Delivering(done, live.questions.rows, len(live.rows.errors), *money))

    await each(_left(live, called(routing)), one, workers=workers, stop=live.stop)


def unused(live: Live) -> list[str]:
    """Why candidates that were certified answered no row after all, where that is so; one sentence at most."""
    if (live.rows.by[live.rows.settled] > 0).any() or not live.questions.rows:
        return []
    reasons = "; ".join(f"for {rows:,}, {why}" for why, rows in live.instead.most_common())
    told = f" Of the rows that the rule gives to candidates: {reasons}." if reasons else ""
    return [f"{UNUSED} {live.models[0].name} answered every row, so all of them agree.{told}"]


def asked_elsewhere(live: Live, ledger: Reader) -> bool:
    """Whether the ledger holds answers of the reference to requests whose rows are not settled: of other runs, of other
    sessions of this one, or bought ahead of the procedure."""
    rows = live.rows
    by_reference = rows.settled & (rows.by == 0) & ~rows.lost
    return ledger.count(live.models[0].name) > len(np.unique(live.questions.groups[by_reference]))


def called(routing: Routing) -> list[int]:
    """The candidates that may be asked."""
    if routing.cascade is not None:
        return [model for tier in routing.cascade.tiers for model in tier.models]
    return [model for model in np.unique(routing.chosen).tolist() if model]


def _left(live: Live, models: Sequence[int]) -> Iterator[tuple[int, str]]:
    """Of the rows that are not settled, the first one of each request, and its prompt. models: that may be asked."""
    left = live.questions.in_order(live.questions.different(live.rows.left), models)
    for start in range(0, len(left), SLICE):
        part = left[start : start + SLICE]
        yield from zip(part.tolist(), live.questions.prompts(part), strict=True)


def _covers(live: Live, model: int, reply: Answer) -> bool:
    """Whether an answer is by a snapshot that the evidence is about."""
    known = live.covered.get(model)
    return not (known and reply.snapshot and reply.snapshot not in known)


async def _by_reference(live: Live, position: int, prompt: str) -> Delivery:
    """What the reference says. `Refused` where another snapshot of it has said that, before this run."""
    value, reply = await live.answer(position, 0, prompt)
    if not _covers(live, 0, reply):
        raise earlier(live, reply.snapshot, live.covered[0])
    return 0, value, reply


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

    async def settle(position: int, prompt: str) -> Delivery | str:
        model = int(routing.chosen[position])
        if await _stands(live, prompt, (model,)):
            return THERE
        value, reply = await live.answer(position, model, prompt)
        if value is None:
            return FAILED if reply.error else BROKE
        return (model, value, reply) if _covers(live, model, reply) else OTHER

    return settle


def _by_tiers(live: Live, rule: Cascade, routing: Routing) -> Settle:
    """Each row from tier to tier until one accepts it."""

    async def settle(position: int, prompt: str) -> Delivery | str:
        here, why = slice(position, position + 1), UNSURE
        sheet = Answers.blank((1, len(live.models)), words=reads_words(rule))
        await live.fill(sheet, 0, position, prompt, ())
        for tier in rule.tiers if passes(rule.gate, sheet)[0] else ():
            if not reaches(tier, routing.high[here])[0]:
                why = ""  # as for any row that a random share leaves to the reference
                continue
            if await _stands(live, prompt, tier.models):
                return THERE
            sheet = Answers.blank((1, len(live.models)))
            told = await live.fill(sheet, 0, position, prompt, tier.models, sure=reads_own(tier))
            if any(reply.error for _, reply, _ in told.values()):
                return FAILED  # its place in the order is not known
            if not all(_covers(live, m, reply) for m, (_, reply, _) in told.items()):
                return OTHER
            broke = sheet.marks[0, tier.candidate] == DEFER
            if not broke and np.isnan(values(tier.score, sheet, tier.candidate)[0]):
                return FAILED  # nor is it where the score has come to be missing: a draw failed, say
            if accepts(tier, sheet, routing.high[here])[0]:
                return (tier.candidate, *told[tier.candidate][:2])
            if accepts(tier, sheet, routing.low[here])[0]:
                return UNSURE  # it takes some of the rows that ask this, and not others
            why = BROKE if broke else UNSURE
        return why

    return settle
