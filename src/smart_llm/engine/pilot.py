"""A pilot before the run: the reference and every candidate asked about a few rows, so that a plan knows something.

Which rows were piloted is recorded before anything about them is bought (`aside`): they will never be evidence. What
was answered needs no record of its own: it is found in the ledger by its requests, by a plan made later as well, and by
the run, which delivers the reference's answers if its task is the same. Rows are drawn in an order of their own, keyed
apart from the order in which runs profile.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np

from smart_llm.certificates.parts import SelfAgreement
from smart_llm.certificates.seeds import BITS, needs_chance, order_seed
from smart_llm.certificates.self_agreement import self_agreement
from smart_llm.client.client import Client
from smart_llm.client.lane import Speed
from smart_llm.engine.job import Job, fixed
from smart_llm.engine.live import Live
from smart_llm.engine.session import Session
from smart_llm.engine.watch import watched
from smart_llm.errors import InputError
from smart_llm.events import Stop, nobody
from smart_llm.ledger import Ledger, Reader, request_key
from smart_llm.ledger.aside import PILOT, piloted
from smart_llm.ledger.parts import calls
from smart_llm.stats.sampling import permutation
from smart_llm.types import Answer, Answers, Ask, Floats, Ints, Json, Model, Request, Usage

SPEED = "speed"
"""Kind of the event, beside the pilot's, that keeps how fast models were."""


# --------------------------------------------------------------------------- buying


async def buy(job: Job, session: Session, count: int) -> None:
    """Ask the reference and all candidates about `count` rows; the reference twice about `session.self_check` of them.
    Rows piloted before come first, so nothing is paid twice."""
    positions = _choose(job, session.ledger, count)
    table = job.table.table_hash
    client = Client(
        session.ledger,
        job.models,
        session.providers,
        concurrency=session.concurrency,
        timeout=session.timeout,
        patience=session.patience,
        budget=session.budget,
        run=account_of(job),
        check=session.stop.check,
    )
    live = Live(job.table, job.task, job.models, client, stop=session.stop)
    async with watched(client, session.stop, session.tell):
        await live.profile(Ask(positions, tuple(range(len(job.models))), PILOT), session.concurrency, session.tell)
        if session.self_check:
            await live.ask_again(live.questions.different(positions)[: session.self_check], session.concurrency)
    if speeds := client.speeds():
        session.ledger.event(table, SPEED, {name: asdict(speed) for name, speed in speeds.items()})


def account_of(job: Job) -> str:
    """Who pays for pilots of this table, in place of a run."""
    return f"{PILOT} {job.table.table_hash}"


def _choose(job: Job, ledger: Ledger, count: int) -> Ints:
    """So many rows in the order they were drawn; what is new is recorded now, before anything is asked."""
    rows, table = job.table.rows, job.table.table_hash
    if not 1 <= count <= rows // 2:
        raise InputError(f"--pilot {count}: give at least 1 row and at most half of the table's {rows:,}.")
    drawn = [row for each in ledger.events(table) if each.kind == PILOT for row in each.payload["positions"]]
    if len(drawn) < count:
        asked = fixed(job)
        seed = order_seed(asked, secrets.randbits(BITS) if needs_chance(asked, 0) else None)
        order = permutation(seed, PILOT, rows)
        fresh = order[~np.isin(order, drawn)][: count - len(drawn)].tolist()
        ledger.event(table, PILOT, {"positions": fresh, "seed": seed, "rows": rows})
        drawn += fresh
    return np.array(drawn[:count], np.int64)


# --------------------------------------------------------------------------- knowing


@dataclass(frozen=True, slots=True)
class Known:
    """What a ledger knows of a job's piloted rows. positions: those that every model has answered; sheet: the answers,
    at the job's prices; tokens: shape (models, 2), mean input and output tokens of a call. check: self-agreement, where
    the reference was asked twice. cost: USD, everything bought for this task on piloted rows. speeds: by model."""

    positions: Ints
    sheet: Answers
    tokens: Floats
    check: Json | None
    cost: float
    speeds: Mapping[str, Speed]


class Held:
    """Answers from what the ledger holds, at the prices of now; nothing is bought."""

    def __init__(self, reader: Reader, models: tuple[Model, ...]) -> None:
        self._reader, self._rates = reader, {model.name: model.rate for model in models}
        self.used: dict[str, list[Usage]] = {model.name: [] for model in models}

    async def ask(self, request: Request) -> Answer:
        """The recorded answer; `KeyError` where there is none."""
        answer = self._reader.get(request_key(request))
        if answer is None:
            raise KeyError(request_key(request))
        self.used[request.model].append(answer.usage)
        return replace(answer, cost=self._rates[request.model].cost(answer.usage))

    async def held(self, request: Request) -> int | None:
        """The number of the recorded answer, if there is one."""
        return self._reader.number(request_key(request))

    def alive(self, model: str) -> bool:
        """What it said is recorded."""
        return True


async def known(job: Job, reader: Reader) -> Known | None:
    """What there is of earlier pilots of this table under this task and these models; None where there is nothing."""
    rows = np.array(piloted(reader, job.table.table_hash), np.int64)
    held = Held(reader, job.models)
    live = Live(job.table, job.task, job.models, held, stop=Stop())
    models = range(len(job.models))
    keys = {
        int(row): [request_key(request) for m in models for request in live.questions.requests(m, prompt)]
        for row, prompt in zip(rows, live.questions.prompts(rows), strict=True)
    }
    there = reader.get_many(key for row in keys.values() for key in row)
    whole = np.array([row for row, wanted in keys.items() if all(key in there for key in wanted)], np.int64)
    if not len(whole):
        return None
    sheet, _ = await live.profile(Ask(whole, tuple(models), PILOT), len(whole), nobody)
    tokens = np.array([_tokens(held.used[model.name]) for model in job.models])
    check = await _checked(live, reader, rows)
    cost = sum(answer.cost for answer in reader.get_many(calls(there)).values()) + sum(live.account.again.values())
    return Known(whole, sheet, tokens, check, cost, _speeds(reader, job.table.table_hash))


async def _checked(live: Live, reader: Reader, rows: Ints) -> SelfAgreement | None:
    """Self-agreement on the rows that have a second answer."""
    second = [
        row
        for row, prompt in zip(rows.tolist(), live.questions.prompts(rows), strict=True)
        if reader.get(request_key(replace(live.questions.request(0, prompt), draw=1))) is not None
    ]
    if not second:
        return None
    same, _ = await live.ask_again(live.questions.different(np.array(second, np.int64)), len(second))
    return self_agreement(same)


def _tokens(used: list[Usage]) -> tuple[float, float]:
    return float(np.mean([u.input_tokens for u in used])), float(np.mean([u.output_tokens for u in used]))


def _speeds(reader: Reader, table: str) -> dict[str, Speed]:
    """The latest that was seen of each model."""
    found: dict[str, Speed] = {}
    for event in reader.events(table):
        if event.kind == SPEED:
            found |= {name: Speed(**speed) for name, speed in event.payload.items()}
    return found
