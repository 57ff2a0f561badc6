"""The public API as users write it. Never executed: mypy and pyright read it (`tests/typing/test_typing.py`).

A line with an ignore proves that a wrong use is rejected: the checkers complain about ignores that are not needed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, assert_type

import polars as pl

import smart_llm as smart

# Tasks, also with functions of one's own.


def first_word(reply: str) -> str | None:
    return reply.split()[0] if reply else None


def close_enough(a: Any, b: Any) -> bool:
    return abs(float(a) - float(b)) < 0.5


task = smart.Task("Positive or negative? {text}", labels=["positive", "negative"])
number = smart.Task("How many? {text}", answer="number", equivalence=close_enough, max_tokens=8)
free = smart.Task("First word of {text}", parse=first_word, equivalence="exact")
extraction = smart.Task("Who? {text}", schema={"type": "object"}, system="Answer in JSON.")


# Candidates that are no models.

own = [smart.Candidate(first_word, price=0.001, version="2"), smart.Candidate({"refund": "complaint"}, name="rules")]


# Providers of one's own.


def answer(request: smart.Request) -> str | smart.Answer | Exception:
    if "paid" in request.prompt:
        return smart.Answer("positive", smart.Usage(input_tokens=3, output_tokens=1))
    return smart.Refused("no", row_only=True) if not request.prompt else "negative"


class Mine:
    async def complete(self, request: smart.Request) -> smart.Answer:
        return smart.Answer(request.prompt[:1])

    async def close(self) -> None: ...


providers: dict[str, smart.Provider] = {"fake:big": smart.FakeProvider(answer, latency=0.01), "fake:small": Mine()}


# Events.


def listen(event: smart.Event) -> None:
    if isinstance(event, smart.Said):
        assert_type(event.text, str)
    elif isinstance(event, smart.Profiling):
        print(event.stage, event.done / event.asked, event.outlook.expected_cost_ratio if event.outlook else None)
    elif isinstance(event, smart.Decided):
        assert_type(event.models, tuple[str, ...])
    elif isinstance(event, smart.Delivering):
        print(event.alone / event.spent)
    else:
        assert_type(event, smart.Ended)


# Runs: what comes out is of the type that went in.

options: smart.Keywords = {"budget": 20.0, "seed": 1, "providers": providers, "on_event": listen, "progress": True}
frame = pl.DataFrame({"text": ["x"]})
run = smart.run(frame, task, reference="fake:big", candidates=["fake:small"], agreement=0.95, **options)
assert_type(run, smart.Run[pl.DataFrame])
assert_type(run.table.select("answer"), pl.DataFrame)
assert_type(run.cost, float)
assert_type(run.saving, float)
assert_type(run.ledger, Path)
assert_type(run.certificate, smart.Certificate)
assert_type(run.certificate.granted, bool)
assert_type(run.certificate.claim.rows, int)
assert_type(run.certificate.plan.agreement, str)
assert_type(run.certificate.cost.total, float)
print(run.certificate.claim["rows"])
print(run.certificate.text(), run.certificate.to_json())
assert_type(run.report("report.html"), Path)
smart.report(run.run_id, Path("report.html"), ledger=run.ledger, task=run.task)
assert_type(smart.report(run), Path)
assert_type(smart.verify(run), list[str])

lazy = smart.run(frame.lazy(), free, reference="fake:big", candidates=("fake:small",), confidence="0.9")
assert_type(lazy.table, pl.LazyFrame)

dicts = smart.run([{"text": "x", "id": 1}], extraction, reference="fake:big", candidates=["fake:small"])
assert_type(dicts.table, list[dict[str, Any]])


def rows() -> Iterator[dict[str, str]]:
    yield {"text": "x"}


streamed = smart.run(rows(), task, reference="fake:big", candidates=["fake:small"], per_label=0.9, store_text=False)
assert_type(streamed.table, list[dict[str, Any]])

by_path = smart.run("a.csv", number, reference="fake:big", candidates=["fake:small"], output=Path("b.csv"), batch=True)
assert_type(by_path.table, Any)


async def several() -> None:
    one, other = await asyncio.gather(
        smart.arun(frame, task, reference="fake:big", candidates=["fake:small"], ledger="one.db"),
        smart.arun(Path("a.csv"), task, reference="fake:big", candidates=["fake:small"], ledger=Path("two.db")),
    )
    assert_type(one.table, pl.DataFrame)
    assert_type(other, smart.Run[Any])


def kept(run: smart.Run) -> float:
    return run.saving


# Everything else.

problems = smart.verify(json.loads(run.certificate.to_json()), run.ledger)
assert_type(smart.verify("out.csv.certificate.json"), list[str])

try:
    kept(run)
except (smart.BudgetExhausted, smart.Interrupted, smart.Refused, smart.LedgerError) as stopped:
    assert_type(stopped.exit_code, int)
except smart.Retryable as again:
    assert_type(again.retry_after, float | None)
except (smart.InputError, smart.ProviderError, smart.SmartError):
    pass

# What is wrong is rejected.

smart.run(frame, task, reference="fake:big")  # type: ignore[call-overload]
smart.run(frame, "a prompt", reference="fake:big", candidates=["fake:small"])  # type: ignore[call-overload]
smart.run(frame, task, reference="fake:big", candidates=["fake:small"], bugdet=3.0)  # type: ignore[call-overload]
smart.run(frame, task, reference="fake:big", candidates=["fake:small"], budjet=1.0)  # type: ignore[call-overload]
smart.arun(frame, task, reference="fake:big", candidates=["fake:small"], budjet=1.0)  # type: ignore[call-overload]
smart.plan(frame, task, reference="fake:big", candidates=["fake:small"], budjet=1.0)  # type: ignore[call-arg]
ahead = smart.aplan(frame, task, reference="fake:big", candidates=["fake:small"], budjet=1)  # type: ignore[call-arg]
smart.run(frame, task, reference="fake:big", candidates=["fake:small"], budget="3")  # type: ignore[call-overload]
smart.Task("{text}", labels="yes", max_tokens="8")  # type: ignore[arg-type]
smart.Task("{text}", parse=close_enough)  # type: ignore[arg-type]
smart.FakeProvider(lambda request: 3)  # type: ignore[arg-type, return-value]
run.cost = 0.0  # type: ignore[misc]
run.certificate.plan.seeed  # type: ignore[attr-defined]
run.certificate.plan.task.promt  # type: ignore[attr-defined]
run.certificate.claim.row  # type: ignore[attr-defined]
run.certificate.cost.totl  # type: ignore[attr-defined]
run.certificate.claim.rows = 3  # type: ignore[misc]
run.table.no_such_method()  # type: ignore[attr-defined]
smart.Said("x").texts  # type: ignore[attr-defined]
providers["fake:other"] = object()  # type: ignore[assignment]
smart.Keywords(budget=1.0, seeds=2)  # type: ignore[typeddict-unknown-key]
smart.Options(reference="fake:big", candidates=[], seeds=2)  # type: ignore[call-arg]
smart.plan(frame, task, reference="fake:big", candidates=["fake:small"], brief=True)  # type: ignore[call-arg]
