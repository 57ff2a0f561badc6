"""Answers that broke the contract, and calls that failed, asked again because the user says so (`--retry`).

A run that has decided nothing yet, and has met such answers or failures, is given up: the command begins anew, in a
new order, and its certificate counts the run that was given up. A run that has decided keeps its evidence; only rows
without an answer are asked about again.

An answer that is asked for again stays in the ledger, set apart, with what it cost. What is evidence of a run is never
set apart. Nor is any answer of a candidate of another run: its evidence is about the answers as they were. A row whose
answer broke the contract was no bad one there, since it went to the reference; a new answer to it may well be wrong.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from smart_llm.certificates.certificate import stored
from smart_llm.engine.live import Live
from smart_llm.engine.options import Retry
from smart_llm.engine.statuses import BROKEN
from smart_llm.ledger import Ledger, Reader, RunRecord
from smart_llm.ledger.aside import SET_ASIDE
from smart_llm.ledger.entries import ASK, ASKS, DONE, GIVEN_UP
from smart_llm.ledger.parts import calls
from smart_llm.types import DEFER, ERROR, Json

DELIVERY = "delivery"
"""Kind of the event that records the beginning of a run's delivery."""
ASKED = ("prompt", "system", "labels", "schema", "max_tokens")
"""What a task says of a request."""
ROWS = 4096
"""Rows looked at together."""


def spoiled(record: RunRecord, reader: Reader, retry: Retry) -> bool:
    """Whether a run has decided nothing yet, and has met what is to be asked about again: it has decided once it asks
    for no more evidence, also where it was stopped before it delivered anything. What was decided on rows of which the
    reference has answered none counts as nothing."""
    readings = list(_readings(record.run_id, reader))
    idle = bool(readings) and all(marks[0] == ERROR for marks, _ in readings)
    if reader.latest(record.run_id, ASKS) is not None and not idle:
        return False
    return any(_met(reading, retry) for reading in readings)


def _readings(run_id: str, reader: Reader) -> Iterator[tuple[list[int], bool]]:
    """The marks of every row that the run has asked about, and whether a call of it failed."""
    events = reader.events(run_id)
    asks = [event.payload for event in events if event.kind == ASK]
    for ask in asks:
        failed = {place for place, _ in ask["failed"]}
        yield from ((marks, place in failed) for place, marks in enumerate(ask["marks"]))
    for told in reader.marks(run_id, len(asks)).values():
        yield told["marks"], told["failed"]
    for event in events:
        if event.kind == SET_ASIDE:
            yield from (([ERROR], bool(event.payload["failed"])) for _ in event.payload["lost"])


def _met(reading: tuple[list[int], bool], retry: Retry) -> bool:
    marks, failed = reading
    return failed or (retry == "broken" and not {DEFER, ERROR}.isdisjoint(marks))


def set_apart(live: Live, record: RunRecord, ledger: Ledger) -> list[str]:
    """Set apart every answer to this run's requests that breaks the contract and that no run rests on: of all models
    when the run begins, of the reference once it has decided. What to say of it. An answer about several rows is set
    apart where one of them breaks it, with that to its half where that was asked, unless it is evidence for any of
    them."""
    decided = ledger.latest(record.run_id, ASKS) is not None
    asked, resting = range(1 if decided else len(live.models)), _resting(record, ledger)
    models = [m for m in asked if live.models[m].name not in resting]
    evidence, broken = _evidence(ledger), list[str]()
    for start in range(0, live.questions.rows, ROWS):
        rows = np.arange(start, min(live.questions.rows, start + ROWS))
        keys = {
            key
            for prompt in live.questions.prompts(rows)
            for of in live.questions.keys_of(prompt, models)
            for key in of
        }
        answers = ledger.get_many(keys - evidence)
        bad = [calls([key]) for key, answer in answers.items() if live.task.read(answer) is None]
        broken += [call for read in bad if evidence.isdisjoint(read) for call in read]
    found = sorted(ledger.said(dict.fromkeys(broken)))
    ledger.set_apart(found)
    told = [f"{len(found):,} answers that broke the output contract are asked for again."] * bool(found)
    return told + [
        f"Answers of {live.models[m].name} are left as they are: run {resting[live.models[m].name]}, and what it "
        "delivers, rest on them. With another --ledger they are asked for again."
        for m in asked
        if m not in models
    ]


def _resting(record: RunRecord, reader: Reader) -> dict[str, str]:
    """By the name of a candidate: another run that asks it the same of a row, and was not given up."""
    others = [run for run in reader.runs() if run.run_id != record.run_id]
    kept = [run for run in others if reader.latest(run.run_id, GIVEN_UP) is None]
    return {
        name: run.run_id
        for run in kept
        for name in run.recorded.get("candidates", ())
        if _asked_alike(run.recorded, record.recorded, name)
    }


def _asked_alike(one: Json, other: Json, name: str) -> bool:
    """Whether two plans may ask a candidate the same: by the same task, or in a way of its own."""
    if any(name in plan.get("ways", {}) for plan in (one, other)):
        return True
    return all(one["task"].get(part) == other["task"].get(part) for part in ASKED)


async def outcome(retry: Retry, record: RunRecord, live: Live, start: int) -> str | None:
    """What `--retry` came to, in a sentence. record: as it was before; start: the number of the latest answer there was
    then. None where nobody knows how many rows had no answer, as of a run that was killed."""
    if record.certificate is None:
        return None
    before, broken = stored(record.certificate).errors.rows, 0
    without = np.array(sorted(row for row, error in live.rows.errors.items() if error.startswith(BROKEN)), np.int64)
    for prompt in live.questions.prompts(without):
        number = await live.client.held(live.questions.request(0, prompt))
        broken += number is not None and number <= start
    left = _left(retry, min(broken, before))
    if before <= broken:
        return f"--retry {retry}: nothing is to be asked again: {left or 'every row has an answer'}."
    asked = f"{before - broken:,} of the rows without an answer were asked about again"
    if record.state != DONE:
        return f"--retry {retry}: {asked}{f'; {left}' if left else ''}."
    found = f"{max(0, before - len(live.rows.errors)):,} of them have one now"
    return f"--retry {retry}: {asked}, and {found}{f'; {left}' if left else ''}."


def _left(retry: Retry, broken: int) -> str:
    """What is said of rows that are left as they are."""
    if not broken:
        return ""
    rows = f"{broken:,} rows whose answers" if broken > 1 else "1 row whose answer"
    rows += " broke the output contract"
    if retry == "broken":
        return f"{rows} counted as evidence, and are left as they are"
    return f"{rows} are left as they are (--retry broken asks about them)"


def _evidence(reader: Reader) -> set[str]:
    """The keys of all requests that are evidence, or were set aside, in a run that was not given up; of a row's part in
    one, its address and those of the calls it is read from."""
    found = set[str]()
    for run in reader.runs():
        events = reader.events(run.run_id)
        if any(event.kind == GIVEN_UP for event in events):
            continue
        asks = [event.payload for event in events if event.kind == ASK]
        found |= {key for event in events if event.kind == SET_ASIDE for (key,) in event.payload["keys"]}
        found |= {key for ask in asks for key in _keys(ask)}
        found |= {key for told in reader.marks(run.run_id, len(asks)).values() for key in told["keys"]}
    return found.union(calls(found))


def _keys(ask: Json) -> Iterator[str]:
    for row in ask["keys"]:
        yield from row
    for row in ask.get("draws", ()):
        for of in row:
            yield from of
