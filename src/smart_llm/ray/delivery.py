"""The driver's part of a delivery: what is finished is taken from its folder, the rest is handed out by Ray Data."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from smart_llm.certificates.certificate import Certificate
from smart_llm.engine.delivering import asked_elsewhere, called, routed
from smart_llm.engine.job import spent
from smart_llm.engine.layout import Layout
from smart_llm.engine.live import Live
from smart_llm.engine.questions import NONE
from smart_llm.engine.session import Session
from smart_llm.errors import Interrupted, SmartError
from smart_llm.events import Delivering
from smart_llm.ledger import RunRecord, tagged
from smart_llm.ledger.entries import TAUGHT
from smart_llm.providers.base import Provider
from smart_llm.ray import RayOptions
from smart_llm.ray.governor import Failure
from smart_llm.ray.parts import Delivered, Finished, Orders, Part, take
from smart_llm.ray.sources import parts_of, sent, texts_of
from smart_llm.routing import Routing
from smart_llm.tables import Table
from smart_llm.tables.output_folder import Folder, part_name
from smart_llm.types import Ints, Json, Verdict

ACCOUNTS = 4
"""Of the form of partitions' accounts: those of another form are made again."""
TICK = 1.0
"""Seconds between looks at how far the workers are."""
ROUNDS = 5
"""Times partitions are settled again, at most: each time answers take the place of failures, so once is enough."""
SHARE = 0.9
"""Of the cluster's CPUs, at most, that workers are counted as: they mostly wait."""


@dataclass(eq=False)
class RayDelivery:
    """A `Delivery` by Ray. table: what is to be settled; output: see `Orders`.

    Afterwards, `entries` are the partitions as the manifest says them, `used` what each process took (CPU-seconds, peak
    kilobytes).
    """

    options: RayOptions
    table: Table
    providers: Mapping[str, Provider]
    output: Folder | None = None
    entries: list[dict[str, Json]] = field(default_factory=list)
    used: dict[str, tuple[float, int]] = field(default_factory=dict)
    _finished: Finished | None = None

    async def __call__(self, live: Live, verdict: Verdict, record: RunRecord, session: Session) -> None:
        """Settle what is left; raises what stopped it, with all that came back booked.

        Partitions know nothing of one another. Where a call failed in one and was answered in another, rows that ask
        the same were not delivered alike: their partitions are settled again, from what the ledger holds by then. So
        are those with rows of an earlier run that ask what the reference was asked about a row added since.
        """
        live.rows.reopen()
        parts = parts_of(self.table, self.options.partition)
        orders = self._orders(live, verdict, record, session, parts)
        finished = self._finished = Finished(_folder(session.ledger.path, record), _geometry(orders))
        done = {entry["part"] for entry in finished.entries() if self._delivered(entry["part"])}
        for number in done:
            take(live, parts[number].first, finished.account(number))
        pending = [part.number for part in parts if part.number not in done]
        for _ in range(ROUNDS):
            if pending:
                await self._hand_out(orders, pending, finished, live, session)
            raised = live.rows.by_reference() if live.questions.aside.there else []
            orders = replace(orders, settled={**orders.settled, **_given(live, raised)})
            pending = sorted({*unlike(live, parts, live.questions.aside.there), *_holding(parts, raised)})
            if not pending:
                break
            again = np.concatenate([_rows(parts[number]) for number in pending])
            live.rows.unsettle(np.setdiff1d(again, np.fromiter(orders.settled, np.int64)))
            orders = replace(orders, elsewhere=True)
        else:
            raise Interrupted("Rows that ask the same are not delivered alike yet: run the same command to go on.")
        self.entries = finished.entries()
        alone = live.account.reference_only(np.flatnonzero(live.rows.settled))
        session.tell(
            Delivering(
                live.questions.rows,
                live.questions.rows,
                len(live.rows.errors),
                session.ledger.spent(record.run_id),
                alone,
                live.account.total(),
                live.account.earlier,
            )
        )

    def _delivered(self, number: int) -> bool:
        """Whether the rows of a finished partition are still where they were written."""
        return self.output is None or self.output.has(part_name(number))

    def written(self, certificate: Certificate) -> None:
        """The output is written: what was kept to go on from is not needed any more."""
        if self.output is not None:
            about = {"rows": self.table.rows, "table_hash": certificate.table_hash, "plan_hash": certificate.plan_hash}
            self.output.finish(self.entries, {**about, "status": certificate.status})
        if self._finished is not None:
            self._finished.remove()

    def _orders(
        self, live: Live, verdict: Verdict, record: RunRecord, session: Session, parts: tuple[Part, ...]
    ) -> Orders:
        routing = routed(live, verdict, record.seed)
        repeated = live.questions.alike.repeated if routing.cascade else NONE
        return Orders(
            task=live.task,
            models=live.models,
            columns=live.questions.columns,
            cascade=routing.cascade,
            chosen=routing.chosen,
            repeated=repeated,
            low=routing.low[repeated],
            high=routing.high[repeated],
            seed=record.seed,
            aside=live.questions.aside,
            settled=_given(live, np.flatnonzero(live.rows.settled).tolist()),
            back=live.questions.alike.repeated if live.questions.aside.there else NONE,
            covered=live.covered,
            known=live.known,
            before=live.before,
            elsewhere=asked_elsewhere(live, session.ledger),
            failed=dict(live.client.failed),
            parts=parts,
            run_id=record.run_id,
            limited=session.budget is not None,
            concurrency=session.concurrency,
            timeout=session.timeout,
            patience=session.patience,
            store_text=session.ledger.store_text,
            providers=self.providers,
            output=self.output,
            added=self.table.added,
            layouts=_layouts(live, routing),
            texts=None,
            learned=session.ledger.latest(record.run_id, TAUGHT),
        )

    async def _hand_out(
        self, orders: Orders, pending: list[int], finished: Finished, live: Live, session: Session
    ) -> None:
        texts = texts_of(self.table, live.questions.columns) if orders.layouts else None
        orders = replace(orders, parts=sent(orders.parts, pending), texts=texts)
        paid = spent(orders.run_id, session.ledger) if orders.limited else 0.0
        workers = self.options.workers or _cpus()
        with session.ledger.lent() as path:
            async with _shared(path, orders, session, workers=workers, spent=paid) as (names, ledger, governor):
                stop_asked = Failure("Interrupted", str(_reason(session)))
                session.stop.then(lambda: governor.halt.remote(stop_asked))
                if session.stop.requested:
                    await governor.halt.remote(stop_asked)
                telling = asyncio.ensure_future(_tell(live, session, ledger, governor))
                try:
                    stopped = await self._collect(names, orders, pending, finished, live, workers)
                finally:
                    telling.cancel()
                    await asyncio.wait([telling])
                with contextlib.suppress(Exception):
                    self.used["ledger"], self.used["governor"] = (
                        await ledger.used.remote(),
                        await governor.used.remote(),
                    )
        if stopped is not None:
            raise stopped.error()

    async def _collect(
        self,
        names: tuple[str, str, str],
        orders: Orders,
        pending: list[int],
        finished: Finished,
        live: Live,
        workers: int,
    ) -> Failure | None:
        """Keep and book what comes back, as it comes; why some did not, if so."""
        import polars as pl

        stopped: Failure | None = None
        async for row in _aside(_results(names, pending, min(workers, len(pending)))):
            self.used[f"worker {row['process']}"] = (row["cpu"], row["memory"])
            if row["kind"] is not None:
                stopped = stopped or Failure(row["kind"], row["text"])
                continue
            part = orders.parts[row["part"]]
            finished.add(part, Delivered(part.number, row["account"], row["hash"]))
            take(live, part.first, pl.read_parquet(row["account"]))
        return stopped


def _results(names: tuple[str, str, str], pending: list[int], workers: int) -> Iterator[dict[str, Any]]:
    """Ray Data: one block a partition in, one line a partition out, in the order they are finished."""
    import ray
    from ray.data import ActorPoolStrategy, DataContext

    from smart_llm.ray.actors import Settle

    context = DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    settled = ray.data.from_items(
        [{"part": number} for number in pending], override_num_blocks=len(pending)
    ).map_batches(
        Settle,
        batch_size=None,
        batch_format="pyarrow",
        fn_constructor_args=names,
        compute=ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=2, max_concurrent_calls_per_actor=2),
        num_cpus=min(1.0, int(100 * SHARE * _cpus() / workers) / 100),
    )
    for batch in settled.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        yield from batch.to_pylist()


async def _aside(items: Iterator[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
    """An iterator that blocks, waited for in a thread. Its errors, whatever they are, are the run's."""
    end = object()
    while True:
        try:
            item = await asyncio.to_thread(next, items, end)
        except SmartError:
            raise
        except Exception as error:
            line = next((line for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
            raise Interrupted(
                f"Ray gave up ({line.strip()[:200]}). What was bought is kept: run the same command again to go on."
            ) from error
        if item is end:
            return
        yield item  # type: ignore[misc]


@asynccontextmanager
async def _shared(
    path: Path, orders: Orders, session: Session, *, workers: int, spent: float
) -> AsyncIterator[tuple[tuple[str, str, str], Any, Any]]:
    """The two named actors, as long as the block lasts; the ledger is given up at its end, however that comes."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from smart_llm.ray.actors import GovernorActor, LedgerActor

    context = ray.get_runtime_context()
    here = NodeAffinitySchedulingStrategy(context.get_node_id(), soft=False)
    ledger_name, governor_name = (f"smart-{each}-{secrets.token_hex(4)}" for each in ("ledger", "governor"))
    options = {"num_cpus": 0, "max_restarts": 0, "max_concurrency": 1000, "scheduling_strategy": here}
    ledger = (
        ray.remote(LedgerActor).options(name=ledger_name, **options).remote(str(path), orders.store_text, os.getpid())
    )
    governor = (
        ray.remote(GovernorActor)
        .options(name=governor_name, **options)
        .remote(orders.models, session.concurrency * workers, session.budget, spent)
    )
    try:
        await governor.brief.remote([ray.put(orders)])
        await ledger.bought.remote()  # it is there
        yield (ledger_name, governor_name, context.namespace), ledger, governor
    finally:
        with contextlib.suppress(Exception):  # it may be dead, and the ledger given up with it
            await asyncio.wait_for(ledger.close.remote(), 30)
        ray.kill(ledger)
        ray.kill(governor)


async def _tell(live: Live, session: Session, ledger: Any, governor: Any) -> None:
    """Pass on how far the workers are."""
    before, paid = live.rows.done, live.account.paid()
    worth, earlier = live.account.so_far, live.account.earlier
    alone = live.account.reference_only(np.flatnonzero(live.rows.settled)) / live.questions.rows
    while True:
        await asyncio.sleep(TICK)
        with contextlib.suppress(Exception):  # what happened to them is found out where it matters
            rows, errors, _ = await governor.state.remote()
            bought = await ledger.bought.remote()
            done = min(live.questions.rows, before + rows)
            money = paid + bought, alone * done, worth + bought, earlier
            session.tell(Delivering(done, live.questions.rows, errors, *money))


def unlike(live: Live, parts: Sequence[Part], kept: int = 0) -> list[int]:
    """The partitions with rows that were not delivered like others that ask the same. Where all of them have an error,
    in whatever words, they have the first one's. kept: how many of the first rows are delivered as an earlier run did,
    whatever rows say that were added since."""
    given = 2 * live.rows.by.astype(np.int32)
    given[list(live.rows.errors)] += 1
    first = {row: int(live.questions.alike.members(row)[0]) for row in sorted(live.rows.errors)}
    live.rows.same_error({row: live.rows.errors[of] for row, of in first.items() if of in live.rows.errors})
    low, high = given.copy(), given
    low[:kept], high[:kept] = np.iinfo(np.int32).max, -1
    rows = kept + np.flatnonzero((live.questions.alike.least(low) != live.questions.alike.most(high))[kept:])
    return _holding(parts, rows)


def _holding(parts: Sequence[Part], rows: Sequence[int] | Ints) -> list[int]:
    """The partitions with some of these rows, which are in order."""
    return [part.number for part in parts if np.diff(np.searchsorted(rows, [part.first, part.first + part.rows]))[0]]


def _given(live: Live, rows: Iterable[int]) -> dict[int, tuple[int, str | None, str | None]]:
    """What rows are delivered, as `Orders` have it."""
    return {row: (int(live.rows.by[row]), live.rows.answers[row], live.rows.errors.get(row)) for row in rows}


def _layouts(live: Live, routing: Routing) -> dict[int, Layout]:
    """Which rows share calls, by candidate that may be asked about several rows in one."""
    return {m: way.layout for m in called(routing) if (way := live.questions.packed(m)) is not None}


def _rows(part: Part) -> Ints:
    return np.arange(part.first, part.first + part.rows)


def _cpus() -> int:
    import ray

    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def _reason(session: Session) -> Interrupted:
    try:
        session.stop.check()
    except Interrupted as reason:
        return reason
    return Interrupted("Stopped. What was bought is kept: run the same command again to go on.")


def _folder(ledger: Path, record: RunRecord) -> Path:
    return ledger.with_name(f"{ledger.name}.parts") / record.run_id


def _geometry(orders: Orders) -> Json:
    """All that decides what the partitions are and what they are delivered."""
    return {
        "parts": [(part.first, part.rows) for part in orders.parts],
        "cascade": orders.cascade and asdict(orders.cascade),
        "chosen": tagged(orders.chosen.tobytes()),
        "snapshots": sorted((m, sorted(names)) for m, names in orders.covered.items()),
        "settled": sorted(orders.settled.items()),
        "accounts": ACCOUNTS,
        "at": str(orders.output),
    }
