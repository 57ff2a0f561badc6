"""Asking by batch: what goes out together, what is done about every failure, what it costs, and how it stops."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from killing import Command, finished
from making import make_provider

import smart_llm as smart
from smart_llm.client.batch.client import BatchClient, batching, by_batch, tell_of_batches
from smart_llm.client.batch.desk import Desk, Item
from smart_llm.client.batch.options import BatchOptions
from smart_llm.client.client import Client
from smart_llm.client.lane import Lane
from smart_llm.client.pace import Pace
from smart_llm.engine.job import batch_rate
from smart_llm.errors import BudgetExhausted, Interrupted, Refused
from smart_llm.events import Event, Said, Stop, nobody
from smart_llm.ledger import Ledger, Reader, request_key
from smart_llm.ledger.batches import BatchBook
from smart_llm.mock import MockServer
from smart_llm.mock.batches import BatchFaults, BatchSettings
from smart_llm.mock.http import Call, Reply, reply
from smart_llm.procedures.order import Ahead
from smart_llm.providers.batch import Limits, batch_api
from smart_llm.providers.making import make_providers
from smart_llm.providers.specs import resolve
from smart_llm.stats.sampling import permutation
from smart_llm.types import Answer, Ask, Model, Rate, Request

QUICK = BatchOptions(poll=0.02, longest=0.1, quiet=0.02, patient=0.1, search=0.4, silence=5.0)
DIALECTS = ["openai", "anthropic"]


class Given:
    """What a run works with."""

    def __init__(self, ledger: Ledger, models: list[Model], options: BatchOptions, *, stop: Stop) -> None:
        self.ledger, self.batch, self.stop = ledger, options, stop
        self.providers = make_providers(models)
        self.timeout, self.said = 2.0, list[str]()

    def tell(self, event: Event) -> None:
        """Keep what was said."""
        if isinstance(event, Said):
            self.said.append(event.text)


@asynccontextmanager
async def asking(
    ledger: Ledger,
    models: list[Model],
    *,
    options: BatchOptions = QUICK,
    budget: float | None = None,
    stop: Stop | None = None,
    run: str = "r",
) -> AsyncIterator[tuple[BatchClient, Given]]:
    """A client that asks these models by batch."""
    means = Given(ledger, models, options, stop=stop or Stop())
    models = [replace(model, rate=batch_rate(model.rate)) for model in models]
    ordinary = Client(ledger, models, means.providers, budget=budget, run=run)
    names = await by_batch(models, means.providers, seconds=2.0, tell=means.tell)
    try:
        async with batching(ordinary, models, names, run, means) as client:
            yield client, means
    finally:
        await ordinary.close()


def model(dialect: str, url: str, name: str = "m", price: float = 1.0) -> Model:
    """A model at the mock."""
    return resolve(f"{dialect}:{name}@{url}?in={price}&out={price}")


def requests(model: Model, count: int, start: int = 0) -> list[Request]:
    """Different requests."""
    return [Request(model.name, f"row {i}", 9) for i in range(start, start + count)]


async def asked(client: BatchClient, wanted: list[Request]) -> list[Answer]:
    """All at once."""
    return list(await asyncio.gather(*(client.ask(request) for request in wanted)))


def server(**settings: Any) -> MockServer:
    """A mock with batches of these settings; keywords of faults are taken as faults."""
    faults = {name: settings.pop(name) for name in list(settings) if name in BatchFaults.__dataclass_fields__}
    return MockServer(rule="label:yes,no", batches=BatchSettings(**settings, faults=BatchFaults(**faults)), seed=3)


ENDLESS = 1e9
"""Seconds that a batch works which does not end until `work_ends`: no machine is too slow, or too fast, for that."""


def work_ends(mock: MockServer) -> None:
    """From now on batches end, those under way, too."""
    assert mock._mount is not None
    for store in (mock._mount.openai_store, mock._mount.anthropic_store):
        store.settings = replace(store.settings, working=0.0)


async def left_waiting(ledger: Ledger, it: Model, rows: int) -> None:
    """A session that submits a batch and is stopped before its results are there."""
    stop = Stop()
    async with asking(ledger, [it], stop=stop) as (client, _), asyncio.timeout(60):
        waiting = asyncio.gather(*(client.ask(r) for r in requests(it, rows)), return_exceptions=True)
        while not any(record.remote for record in BatchBook(ledger).unsettled()):  # noqa: ASYNC110  a ledger has no event to wait for
            await asyncio.sleep(0.01)
        stop.request()
        await waiting


async def until_submitted(mock: MockServer, dialect: str) -> None:
    """Wait for the first batch."""
    async with asyncio.timeout(60):
        while not stats(mock, dialect)["submitted"]:  # noqa: ASYNC110  the server has no event to wait for
            await asyncio.sleep(0.01)


def stats(mock: MockServer, dialect: str) -> dict[str, Any]:
    """What it did in batches."""
    found: dict[str, Any] = mock.stats()["batches"][dialect]
    return found


# --------------------------------------------------------------------------- what goes out together


def desk(limits: Limits, sizes: list[int]) -> Desk:
    """A desk where requests of these sizes wait."""

    class Api:
        """Lines as long as their prompts."""

        def __init__(self) -> None:
            self.limits = limits

        def line(self, custom_id: str, request: Request) -> bytes:
            return request.prompt.encode()

    it = Model("m", "openai", "m", Rate(1, 1))
    lane = Lane(it, make_provider(resolve("fake:m?in=1&out=1")), Pace(1, __import__("random").Random(0)))
    made = Desk(lane, Api(), most=limits.requests)  # type: ignore[arg-type]
    loop = asyncio.get_running_loop()
    made.queue = [Item(str(i), Request("m", "x" * size, 1), loop.create_future()) for i, size in enumerate(sizes)]
    return made


async def test_batches_are_split_by_rows_and_by_bytes() -> None:
    """No batch passes either limit, none is empty, every request is in one, in order; ids differ."""
    for limits, sizes, expected in [
        (Limits(3, 10**6), [10] * 8, [3, 3, 2]),
        (Limits(100, 4096 + 2 + 33), [10] * 7, [3, 3, 1]),
        (Limits(100, 4096 + 2 + 33), [10, 500, 10, 10], [1, 1, 2]),
        (Limits(1, 10**6), [1, 1], [1, 1]),
    ]:
        parcels = list(desk(limits, sizes).take())
        assert [len(parcel.items) for parcel in parcels] == expected
        assert [item.key for parcel in parcels for item in parcel.items] == [str(i) for i in range(len(sizes))]
        assert len({parcel.batch_id for parcel in parcels}) == len(parcels)


async def test_a_desk_that_was_turned_away_is_cautious() -> None:
    """One batch at a time, smaller where it was alone, and nothing while it is blocked."""
    there = desk(Limits(4, 10**6), [1] * 8)
    there.turned_away(4, alone=True)
    assert list(there.take()) == []
    there.blocked = False
    for parcel in there.take():
        there.validating += 1
        assert len(parcel.items) == 2
    assert len(there.queue) == 6


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_rows_that_wait_go_out_together(ledger: Ledger, dialect: str) -> None:
    """One batch a model, identical requests once; answers are durable, at the batch price, and asked only once."""
    mock = server()
    async with mock as url:
        one, other = model(dialect, url), model(dialect, url, "n", 2.0)
        async with asking(ledger, [one, other]) as (client, _):
            wanted = requests(one, 40) + requests(other, 30)
            answers = await asked(client, wanted + wanted[:10])
            again = await asked(client, wanted)
        done = stats(mock, dialect)
    assert again == answers[:70]
    assert answers[:10] == answers[70:]
    assert {answer.text for answer in answers} == {"yes", "no"}
    assert (done["submitted"], done["billed"], done["billed_twice"]) == (2, 70, 0)
    full = one.rate.cost(answers[0].usage)
    assert answers[0].cost == pytest.approx(full / 2)
    assert ledger.get(request_key(wanted[0])) == answers[0]
    assert ledger.spent("r") == pytest.approx(sum(answer.cost for answer in answers[:70]))
    assert ledger.lost("r") == 0
    assert mock.stats()["requests"] == 0


def test_the_batch_rate() -> None:
    """The provider's where it is known, else half; the certificate's source says so."""
    assert batch_rate(Rate(2, 8, 1, batch_input=0.9, batch_output=3.9)).input == 0.9
    halved = batch_rate(Rate(2, 8, 1, written=3))
    assert (halved.input, halved.output, halved.cached, halved.written) == (1, 4, 0.5, 1.5)
    assert "batch" in halved.source


async def test_models_without_batches_take_the_ordinary_path(ledger: Ledger) -> None:
    """An endpoint that knows no batches, and models without an address, are called as ever, at their own price."""
    batched, plain = server(), MockServer(rule="label:yes,no", batches=None)
    async with batched as url, plain as other:
        models = [model("openai", url), model("openai", other, "n"), resolve("fake:f?in=1&out=1")]
        async with asking(ledger, models) as (client, means):
            answers = await asked(client, [request for each in models for request in requests(each, 5)])
        assert stats(batched, "openai")["billed"] == 5
        assert plain.stats()["answered"] == 5
    assert all(answer.text for answer in answers)
    assert sum("not asked by batch" in text for text in means.said) == 2


# --------------------------------------------------------------------------- what is done about failures

FAILURES: list[dict[str, Any]] = [
    {"error": 0.1},  # not so often that three submissions in a row fail, which ends a run
    {"lost": 0.3},
    {"late": 0.5, "late_by": 0.1},
    {"truncated": 0.5},
    {"fail": 0.3},
    {"expire": 0.5},
    {"cancel": 0.5},
    {"line": 0.3},
    {"lost": 0.3, "lag": 0.2},
]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("fault", FAILURES, ids=lambda fault: ",".join(fault))
async def test_every_failure_is_got_over(ledger: Ledger, dialect: str, fault: dict[str, Any]) -> None:
    """Whatever fails on the way, every request is answered in the end, and billed once."""
    mock = server(**fault)
    async with mock as url:
        it = model(dialect, url)
        async with asking(ledger, [it], options=replace(QUICK, tries=30)) as (client, _):
            for start in (0, 20, 40):
                answers = await asked(client, requests(it, 20, start))
                assert all(answer.text in ("yes", "no") for answer in answers)
        done = stats(mock, dialect)
    assert (done["billed"], done["billed_twice"]) == (60, 0)
    assert ledger.lost("r") == 0
    assert BatchBook(ledger).unsettled() == []


async def test_a_full_queue_is_waited_for(ledger: Ledger) -> None:
    """Where the provider's queue of tokens is full, batches grow smaller and go one after another."""
    mock = server(queue_tokens=400)
    async with mock as url:
        it = model("openai", url)
        async with asking(ledger, [it]) as (client, means):
            answers = await asked(client, requests(it, 150))
        done = stats(mock, "openai")
    assert all(answer.text for answer in answers)
    assert (done["billed"], done["billed_twice"]) == (150, 0)
    assert done["ends"]["completed"] >= 4
    assert any("turned away" in text for text in means.said)


class Failing(MockServer):
    """Requests of batches that hold one of these words fail, as long as `failing` says so."""

    def __init__(self, *words: str, **options: Any) -> None:
        self.words, self.failing = [word.encode() for word in words], True
        super().__init__(rule="label:yes,no", **options)

    def _quiet(self) -> MockServer:
        twin = super()._quiet()
        plain = twin.handle

        def handle(call: Call) -> Reply:
            if self.failing and any(word in call.body for word in self.words):
                return Reply(reply(500, b'{"error": {"message": "broken"}}'))
            return plain(call)

        twin.handle = handle  # type: ignore[method-assign]
        return twin


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_requests_that_always_fail_become_errors_of_their_rows(ledger: Ledger, dialect: str) -> None:
    """Requests that fail while others are answered are tried so many times, also once they are alone; then they are
    their rows' errors."""
    mock = Failing("row 1", "row 3")
    async with mock as url:
        it = model(dialect, url)
        async with asking(ledger, [it], options=replace(QUICK, tries=3)) as (client, _):
            answers = await asked(client, requests(it, 6))
        assert [each.error is not None and "3 times" in each.error for each in answers] == [
            i in (1, 3) for i in range(6)
        ]
        assert stats(mock, dialect)["submitted"] == 3


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_batches_that_bring_nothing_give_up_no_row(ledger: Ledger, dialect: str) -> None:
    """A provider whose batches bring nothing but failures is tried a few times, then the run stops; not one request is
    given up, and later all are answered."""
    mock = Failing("row")
    async with mock as url:
        it = model(dialect, url)
        for _ in range(2):
            async with asking(ledger, [it], options=replace(QUICK, tries=2)) as (client, _):
                with pytest.raises(Refused, match="run again later"):
                    await asked(client, requests(it, 6))
            assert BatchBook(ledger).unsettled() == []
        mock.failing = False
        async with asking(ledger, [it]) as (client, _):
            assert all(each.text for each in await asked(client, requests(it, 6)))
    assert not [spent for spent in ledger.account("r") if spent.outcome == "gave up"]


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_batches_that_bring_nothing_for_a_while_cost_no_tries(ledger: Ledger, dialect: str) -> None:
    """A provider that fails on everything and then recovers has given up no row."""
    mock = Failing("row")
    async with mock as url:
        it = model(dialect, url)
        async with asking(ledger, [it], options=replace(QUICK, tries=1)) as (client, _):
            waiting = asyncio.ensure_future(asked(client, requests(it, 6)))
            await until_submitted(mock, dialect)
            while stats(mock, dialect)["submitted"] < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            mock.failing = False
            assert all(each.text for each in await waiting)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_refusal_of_all_stops_the_run(ledger: Ledger, dialect: str) -> None:
    """A model nobody knows is refused once, clearly, and what was set aside does not count as spent."""
    mock = MockServer(lambda name, prompt: None)
    async with mock as url:
        it = model(dialect, url)
        async with asking(ledger, [it], budget=1.0) as (client, _):
            with pytest.raises(Refused):
                await asked(client, requests(it, 4))
    assert ledger.spent("r") == 0
    assert BatchBook(ledger).unsettled() == []


async def test_a_parameter_that_is_refused_is_left_out_in_the_next_batch(ledger: Ledger) -> None:
    """A model without log-probabilities is asked again without them."""
    mock = MockServer(rule="label:yes,no", refuse_logprobs=True)
    async with mock as url:
        it = model("openai", url)
        async with asking(ledger, [it]) as (client, _):
            answers = await asked(client, [replace(request, logprobs=True) for request in requests(it, 6)])
        assert (stats(mock, "openai")["submitted"], stats(mock, "openai")["billed"]) == (2, 6)
    assert all(answer.text for answer in answers)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_replies_that_cannot_be_read_count_as_paid(ledger: Ledger, dialect: str) -> None:
    """What was billed without bringing an answer counts at its upper bound, and the request is asked again."""
    mock = server(odd=0.4)
    async with mock as url:
        it = model(dialect, url)
        async with asking(ledger, [it], options=replace(QUICK, tries=30)) as (client, _):
            answers = await asked(client, requests(it, 20))
        twice = stats(mock, dialect)["billed_twice"]
    assert all(answer.text for answer in answers)
    assert twice > 0
    assert ledger.lost("r") >= twice * min(answer.cost for answer in answers)


# --------------------------------------------------------------------------- money


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_the_budget_holds_and_batches_grow_into_it(ledger: Ledger, dialect: str) -> None:
    """What fits at its upper bound goes out; when it has settled below it, more does; the budget is never passed."""
    mock = server()
    async with mock as url:
        it = model(dialect, url, price=100.0)
        lane = Lane(replace(it, rate=batch_rate(it.rate)), make_provider(it), Pace(1, __import__("random").Random(0)))
        bound = lane.bound(requests(it, 1)[0], 0.0)
        budget = 12.5 * bound
        async with asking(ledger, [it], budget=budget) as (client, _):
            results = await asyncio.gather(*(client.ask(r) for r in requests(it, 120)), return_exceptions=True)
        done = stats(mock, dialect)
    answered = [result for result in results if isinstance(result, Answer)]
    assert len(answered) > 12  # more than fit at first
    assert done["billed"] == len(answered)
    assert ledger.spent("r") == pytest.approx(sum(answer.cost for answer in answered))
    assert ledger.spent("r") <= budget
    if len(answered) < 120:
        assert any(isinstance(result, BudgetExhausted) for result in results)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_batch_left_behind_counts_at_its_bound_until_it_is_taken_up(ledger: Ledger, dialect: str) -> None:
    """Stopped while a batch runs: its bound counts as spent; the next session takes it up, and then its cost does."""
    mock, stop = server(working=ENDLESS), Stop()
    async with mock as url:
        it = model(dialect, url)
        async with asking(ledger, [it], budget=1.0, stop=stop) as (client, _):
            waiting = asyncio.gather(*(client.ask(r) for r in requests(it, 10)), return_exceptions=True)
            while not any(record.remote for record in BatchBook(ledger).unsettled()):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            stop.request()
            results = await waiting
        assert all(isinstance(result, Interrupted) for result in results)
        assert "same command" in str(results[0])
        (left,) = BatchBook(ledger).unsettled()
        assert ledger.spent("r") == pytest.approx(left.bound)
        told: list[Event] = []
        tell_of_batches(ledger, [it], told.append)
        assert "10 requests" in str(told)
        work_ends(mock)
        async with asking(ledger, [it], budget=1.0) as (client, means):
            answers = await asked(client, requests(it, 14))
            assert client.budget.spent == pytest.approx(sum(answer.cost for answer in answers))
        done = stats(mock, dialect)
    assert any("Taking up" in text for text in means.said)
    assert (done["submitted"], done["billed"], done["billed_twice"]) == (2, 14, 0)
    assert ledger.spent("r") == pytest.approx(sum(answer.cost for answer in answers))


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_sessions_cut_off_before_they_submitted_say_nothing_of_the_provider(ledger: Ledger, dialect: str) -> None:
    """Batches written down and never sent, as many as it takes to give a provider up: asked anew, nothing is lost."""
    async with (mock := server()) as url:
        it, book = model(dialect, url), BatchBook(ledger)
        for number in range(3):
            keys = tuple(request_key(request) for request in requests(it, 3, start=3 * number))
            endpoint = batch_api(it, make_provider(it), timeout=2.0)
            assert endpoint is not None
            record = await book.begin(f"left{number}", it.name, endpoint.url, keys, bound=0.01, run="r")
            await endpoint.close()
            await book.submitting(record)
        async with asking(ledger, [it]) as (client, _):
            answers = await asked(client, requests(it, 12))
        done = stats(mock, dialect)
    assert all(answer.text for answer in answers)
    assert (done["billed"], done["billed_twice"]) == (12, 0)
    assert ledger.spent("r") == pytest.approx(sum(answer.cost for answer in answers))


async def test_answers_of_a_batch_nobody_asks_for_are_kept(ledger: Ledger) -> None:
    """A batch taken up for the sake of some of its requests brings the answers of all; none is bought again."""
    mock = server(working=ENDLESS)
    async with mock as url:
        it = model("openai", url)
        await left_waiting(ledger, it, 10)
        work_ends(mock)
        async with asking(ledger, [it], run="another") as (client, _):
            await asked(client, requests(it, 3))
            answers = await asked(client, requests(it, 10))
        done = stats(mock, "openai")
    assert all(answer.text for answer in answers)
    assert (done["submitted"], done["billed_twice"]) == (1, 0)
    assert ledger.verify() == []
    assert ledger.spent("another") == 0


async def test_a_batch_that_is_gone_counts_as_lost_and_is_asked_again(ledger: Ledger) -> None:
    """Results that the provider no longer has may have been paid: they count at their bound."""
    mock = server(working=ENDLESS)
    async with mock as url:
        it = model("openai", url)
        await left_waiting(ledger, it, 5)
        work_ends(mock)
        (left,) = BatchBook(ledger).unsettled()
        mock._mount._openai._made.clear()  # type: ignore[union-attr]  as after thirty days
        mock._mount._openai._ids.clear()  # type: ignore[union-attr]
        async with asking(ledger, [it]) as (client, _):
            answers = await asked(client, requests(it, 5))
    assert all(answer.text for answer in answers)
    assert ledger.lost("r") == pytest.approx(left.bound)


# --------------------------------------------------------------------------- whole runs


def test_rows_bought_ahead_are_the_next_ones_and_few() -> None:
    """Along with an ask that buys, the next rows of the seeded order; nothing along with one that was bought ahead."""
    order = permutation(7, "order", 2000)
    ahead = Ahead.of_procedure("ladder/6", 7, 2000)
    asks = [Ask(order[start:end], (0, 1), "look") for start, end in ((0, 4), (4, 9), (9, 14), (14, 30), (4, 9))]
    found = [ahead.along_with(ask).tolist() for ask in asks]
    assert found == [order[4:14].tolist(), [], [], order[30:40].tolist(), []]
    for procedure in ("smart/2024:model-mix", "reference-only"):
        assert len(Ahead.of_procedure(procedure, 7, 2000).along_with(asks[0])) == 0
    assert len(Ahead.of_procedure("ladder/6", 7, 10**6).along_with(Ask(np.arange(3), (0,), "look"))) <= 400


def rows(count: int) -> list[dict[str, Any]]:
    """A table."""
    return [{"text": f"row {i}"} for i in range(count)]


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_run_by_batch_is_the_ordinary_run_at_half_the_price(tmp_path: Path, dialect: str, port: int) -> None:
    """Same evidence, half the cost, same answers but for the few rows whose reference answers were bought ahead and are
    delivered; plan and certificate say batch, and the certificate verifies."""
    task = smart.Task("? {text}", labels=["yes", "no"])

    async def run(url: str, name: str, **options: Any) -> smart.Run:
        return await smart.arun(
            rows(400),
            task,
            reference=f"{dialect}:big@{url}?in=10&out=10",
            candidates=[f"{dialect}:small@{url}?in=1&out=1"],
            agreement=0.9,
            seed=2,
            ledger=tmp_path / name,
            **options,
        )

    mock = MockServer(rule="label:yes,no", errors={"small": 0.03}, seed=1, port=port)
    async with mock as url:
        plain = await run(url, "plain.db")
        batched = await run(url, "batch.db", batch=QUICK)
    others = [row for row, old in zip(batched.table, plain.table, strict=True) if row != old]
    assert len(others) < 10
    assert all(row["answered_by"] == batched.certificate.plan["reference"] for row in others)
    assert batched.certificate.evidence == plain.certificate.evidence
    alone = batched.certificate.cost["reference_only"]
    assert alone == pytest.approx(plain.certificate.cost["reference_only"] / 2)
    assert plain.cost / 2 <= batched.cost <= plain.cost / 2 + 0.02 * alone  # a few rows were bought ahead
    assert batched.certificate.granted == plain.certificate.granted
    assert all(each["batch"] and "batch" in each["source"] for each in batched.certificate.models)
    assert "batch" not in plain.certificate.plan
    assert not any("batch" in each for each in plain.certificate.models)
    assert batched.certificate.cost["lost_at_most"] == 0


async def test_a_run_by_batch_does_not_take_up_an_order_that_was_seen(tmp_path: Path, port: int) -> None:
    """With the same seed in the same ledger: whoever knows what the order shows could set the prices by it, and prices
    decide how many rows are looked at. Asked call by call the run is the one that there is, at whatever prices."""
    mock = MockServer(rule="label:yes,no", errors={"small": 0.03}, seed=1, port=port)

    async def run(url: str, price: str, **options: Any) -> smart.Run:
        return await smart.arun(
            rows(200),
            smart.Task("? {text}", labels=["yes", "no"]),
            reference=f"openai:big@{url}?in=10&out=10&{price}",
            candidates=[f"openai:small@{url}?in=1&out=1"],
            agreement=0.9,
            seed=2,
            ledger=tmp_path / "one.db",
            **options,
        )

    async with mock as url:
        plain = await run(url, "cached=1")
        batched = await run(url, "batch_in=3&batch_out=3", batch=QUICK)
        again = [await run(url, "batch_in=9&batch_out=9", batch=QUICK), await run(url, "cached=2")]
    assert batched.certificate.seed != plain.certificate.seed
    assert batched.certificate.earlier_runs_same_task == 1
    assert [each.run_id for each in again] == [batched.run_id, plain.run_id]
    for each in (plain, batched):
        assert smart.verify(each) == []


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_finished_run_by_batch_fills_only_rows_without_an_answer(
    tmp_path: Path, dialect: str, port: int
) -> None:
    """Lines that failed as evidence, or on rows that were answered otherwise, are not submitted again; rows without an
    answer are; evidence and rule stay, and each certificate verifies."""
    settings = BatchSettings(faults=BatchFaults(line=0.08))
    mock = MockServer(rule="label:yes,no", errors={"small": 0.03}, seed=1, port=port, batches=settings)
    found, billed = list[smart.Run](), list[int]()
    async with mock as url:
        for _ in range(6):
            if found and not found[-1].certificate.claim["errors"]:
                break
            done = await smart.arun(
                rows(400),
                smart.Task("? {text}", labels=["yes", "no"]),
                reference=f"{dialect}:big@{url}?in=10&out=10",
                candidates=[f"{dialect}:small@{url}?in=1&out=1"],
                agreement=0.85,
                seed=2,
                ledger=tmp_path / "batch.db",
                batch=replace(QUICK, tries=1),
            )
            found.append(done)
            billed.append(mock.stats()["answered"])
    errors = [each.certificate.claim["errors"] for each in found]
    assert errors[0] > 0
    assert errors[-1] == 0
    assert errors == sorted(errors, reverse=True)
    for before, after, more in zip(found, found[1:], np.diff(billed).tolist(), strict=False):
        assert (after.certificate.evidence, after.certificate.rule) == (
            before.certificate.evidence,
            before.certificate.rule,
        )
        assert more <= 2 * before.certificate.claim["errors"]
        assert [row for row, old in zip(after.table, before.table, strict=True) if old["status"] == "ok"] == [
            row for row in before.table if row["status"] == "ok"
        ]
    for each in found:
        assert smart.verify(json.loads(each.certificate.to_json()), each.ledger) == []


async def test_rows_bought_ahead_are_delivered_with_the_reference_s_answer(tmp_path: Path) -> None:
    """Every answer of the reference that was bought is delivered, also of rows that were bought ahead of the procedure,
    so that a second run has nothing to change."""
    async with MockServer(rule="label:yes,no", errors={"small": 0.03}, seed=1, batches=BatchSettings()) as url:
        for _ in range(2):
            done = await smart.arun(
                rows(600),
                smart.Task("? {text}", labels=["yes", "no"]),
                reference=f"openai:big@{url}?in=10&out=10",
                candidates=[f"openai:small@{url}?in=1&out=1&enforce=none"],
                agreement=0.85,
                seed=2,
                ledger=tmp_path / "batch.db",
                batch=QUICK,
            )
            assert done.certificate.granted
            by = done.certificate.delivered["by"]
            with Reader.open(done.ledger) as reader:
                bought = reader.count(f"openai:big@{url}")
            assert bought == by[f"openai:big@{url}"]
            assert bought > done.certificate.delivered["profiled"]


async def test_the_command_line_asks_by_batch_and_takes_up_what_a_signal_left(tmp_path: Path) -> None:
    """--batch; SIGINT while a batch runs ends with 130 and says how to go on; the same command goes on."""
    (tmp_path / "t.csv").write_text("text\n" + "".join(f"row {i}\n" for i in range(60)))
    mock = server(working=ENDLESS)
    async with mock as url:
        command = [
            *(sys.executable, "-m", "smart_llm.cli", "run", str(tmp_path / "t.csv"), "--prompt", "? {text}"),
            *("--labels", "yes,no", "--reference", f"openai:big@{url}?in=10&out=10", "--seed", "1", "--json"),
            *("--procedure", "reference-only", "--batch", "--batch-poll", "0.05", "--budget", "1"),
        ]
        process = Command(command)
        await until_submitted(mock, "openai")
        looked = stats(mock, "openai")["calls"]["GET /batches"]
        while stats(mock, "openai")["calls"]["GET /batches"] == looked:  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # until it has written down that the batch was taken, and asks after it
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
        assert process.returncode == 130, err
        assert b"1 batch with 60 requests go on" in err
        work_ends(mock)
        ended = await finished(command)
        done = stats(mock, "openai")
    assert ended["certificate"]["claim"]["unsettled"] == 0
    assert (done["submitted"], done["billed"], done["billed_twice"]) == (1, 60, 0)


async def test_keys_go_in_one_header_and_nowhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key the provider asks for is sent; a wrong one is told without being shown."""
    monkeypatch.setenv("MY_KEY", "sk-secret-123")
    for dialect in DIALECTS:
        async with MockServer(rule="label:yes,no", key="sk-secret-123") as url:
            it = resolve(f"{dialect}:m@{url}?in=1&out=1&key_env=MY_KEY")
            api = batch_api(it, make_provider(it), timeout=2)
            assert api is not None
            assert await api.available()
            await api.close()
        async with MockServer(rule="label:yes,no", key="another") as url:
            it = resolve(f"{dialect}:m@{url}?in=1&out=1&key_env=MY_KEY")
            with pytest.raises(Refused) as refused:
                await by_batch([it], {it.name: make_provider(it)}, seconds=2, tell=nobody)
            assert "sk-secret-123" not in str(refused.value)
