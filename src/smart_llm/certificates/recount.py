"""Counting the evidence again from the ledger: what was asked, in which order, and what the answers were.

The rows asked must be a prefix of the seeded order, rebuilt here from the seed; each recorded answer is read and
compared by the task of the plan, and must come out as the marks, scores and answers that were recorded when it was
evidence. A call that failed then is bad for good, whether or not it is answered by now. A task with functions of the
user's own cannot be rebuilt from the plan: pass it in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile

import msgspec
import numpy as np
from numpy.typing import NDArray

from smart_llm.certificates import checks as verifying
from smart_llm.certificates.certificate import Certificate
from smart_llm.certificates.checks import Round
from smart_llm.certificates.known import known
from smart_llm.certificates.packing import packing
from smart_llm.certificates.self_agreement import self_agreement
from smart_llm.certificates.taught import taught
from smart_llm.ledger import Reader
from smart_llm.ledger.aside import SET_ASIDE, Aside
from smart_llm.ledger.entries import ASK, ASKS, CHECKED, FAILURES, FIXED, NO_KEY, READINGS, lost, reading
from smart_llm.ledger.reader import Event
from smart_llm.scores.own import own_score
from smart_llm.scores.traits import answer_key, self_consistency, words_of
from smart_llm.stats.sampling import permutation, uniforms
from smart_llm.tasks import Task, format_value
from smart_llm.tasks.marks import mark
from smart_llm.types import BAD, CHOSEN, ERROR, LESSON, Answer, Answers, Json
from smart_llm.types.plan import DescribedFunction, DescribedTask

PILOTED = (CHOSEN, LESSON)
"""Stages that may ask about rows that were chosen."""


def recount(c: Certificate, events: Sequence[Event], reader: Reader, task: Task | None) -> list[str]:
    """What differs between the certificate and the record of its run, one line each."""
    asks, complete = recorded(events)
    if not complete:
        return ["ledger: the run's profiling is not complete"]
    task = task or rebuilt(c.plan.task)
    if task is None:
        return ["task: it has functions of your own; give the task to verify (in Python) to count its answers again"]
    read = [Reading(c, ask, reader, task) for ask in asks]
    fixed = {event.payload["number"]: event.payload["fixed"] for event in events if event.kind == FIXED}
    problems = [problem for each in read for problem in each.problems()]
    u = blank_scores(c)
    rounds = [each.round(u) for each in read]
    problems += [*_written(events), *_marked(asks, events, reader), *_order(c, asks), *_lost(c, rounds)]
    problems += packing(c, events)
    problems += [*taught(c, asks, events, reader), *known(c, events, reader, task)]
    problems += [*_aside(c, events, reader, task), *_twice(c, events, reader, task)]
    decided = [each for _, each in sorted(fixed.items()) if each is not None]
    if len(decided) > 1:
        problems.append("ledger: more than one design was fixed in the run")
    return problems + verifying.recount(
        c.procedure.name, c.evidence, rounds, decided[0] if decided else None, c.plan.names
    )


def blank_scores(c: Certificate) -> NDArray[np.uint64]:
    """Shape (rows,): the blank score of every row of the table."""
    aside = Aside.of(c.plan)
    return aside.spread(uniforms(c.seed, "shares", len(aside.population)))


def rebuilt(described: DescribedTask) -> Task | None:
    """The task behind its description in a plan; None where it holds functions."""
    equivalence, kind = described.equivalence, described.contract
    if described.parse is not None or isinstance(equivalence, DescribedFunction):
        return None
    return Task(
        described.prompt,
        labels=described.labels,
        answer=kind if kind in ("text", "number") or (kind == "json" and described.schema is None) else None,
        schema=None if described.schema is None else msgspec.json.decode(described.schema),
        equivalence=equivalence,
        tolerance=described.tolerance if equivalence in ("number", "json") else None,
        system=described.system,
        max_tokens=described.max_tokens,
    )


def recorded(events: Sequence[Event]) -> tuple[list[Mapping[str, Json]], bool]:
    """The asks in order; and whether these are all there were."""
    by_number = {event.payload["number"]: event.payload for event in events if event.kind == ASK}
    count = next((event.payload["asks"] for event in events if event.kind == ASKS), None)
    asks = [by_number[number] for number in takewhile(by_number.__contains__, range(len(by_number)))]
    return asks[:count], count is not None and count <= len(asks)


def _written(events: Sequence[Event]) -> list[str]:
    """Everything was written once, and what was fixed before an ask before it."""
    order = [(event.kind, event.payload.get("number")) for event in events if event.kind in (FIXED, ASK, ASKS)]
    problems = ["ledger: an ask was recorded twice"] * (len(set(order)) != len(order))
    late = [number for kind, number in order if kind == FIXED and (ASK, number) in order[: order.index((kind, number))]]
    return problems + [f"ledger: what was fixed before ask {number} was recorded after it" for number in late]


def _marked(asks: Sequence[Mapping[str, Json]], events: Sequence[Event], reader: Reader) -> list[str]:
    """Rows are marked in their ask as they were when they were marked first."""
    for ask in asks:
        for k, told in reader.marks(events[0].run_id, ask["number"]).items():
            if not told["failed"] and any(ask[name][k] != told[name] for name in READINGS):
                return [f"ledger: row {told['row'] + 1} was marked otherwise at first"]
    return []


def _lost(c: Certificate, rounds: Sequence[Round]) -> list[str]:
    """No more rows are called lost while profiling than had no answer then."""
    lost = {int(row) for each in rounds for row in each.positions[each.marks[:, 0] == ERROR]}
    if c.errors.while_profiling > len(lost):
        return [f"ledger: {len(lost)} profiled rows had no answer, fewer than the certificate says"]
    return []


def _order(c: Certificate, asks: Sequence[Mapping[str, Json]]) -> list[str]:
    """Positions, each at its first appearance, are a prefix of the order the procedure profiles in."""
    asked = list(dict.fromkeys(position for ask in asks for position in ask["positions"]))
    chosen = {position for ask in asks if ask["stage"] == CHOSEN for position in ask["positions"]}
    rows = Aside.of(c.plan).population
    in_file = c.rule.order == "file"
    order = rows if in_file else rows[permutation(c.seed, "order", len(rows))]
    problems = []
    drawn = [position for position in asked if position not in chosen]
    if drawn != [row for row in order[: len(asked)].tolist() if row not in chosen][: len(drawn)]:
        problems.append("ledger: the rows profiled are not a prefix of the seeded order")
    if len(asked) != c.delivered.profiled:
        problems.append(f"ledger: {len(asked)} rows were profiled, the certificate says {c.delivered.profiled}")
    if late := [ask for ask in asks if ask["stage"] not in PILOTED and chosen & set(ask["positions"])]:
        problems.append(f"ledger: rows that were chosen are asked about as evidence ({late[0]['stage']})")
    return problems


def _aside(c: Certificate, events: Sequence[Event], reader: Reader, task: Task) -> list[str]:
    """The reference was asked about every row set aside, and had no answer to as many as the claim says."""
    if not c.plan.set_aside:
        return []
    told = next((event.payload for event in events if event.kind == SET_ASIDE), None)
    if told is None or told["positions"] != list(c.plan.set_aside):
        return ["ledger: the rows set aside are not those the reference answered"]
    keys = [key for (key,) in told["keys"]]
    answers, failed = reader.get_many(keys), set(told["failed"])
    if not answers.keys() | failed >= set(keys):
        return ["ledger: answers to rows set aside are missing"]
    broken = [key in failed or task.read(answers[key]) is None for key in keys]
    lost = [row for row, gone in zip(told["positions"], broken, strict=True) if gone]
    if not (lost == told["lost"] and len(lost) == c.claim.set_aside_errors):
        return [f"ledger: {len(lost)} rows set aside had no answer, the claim says {c.claim.set_aside_errors}"]
    return []


def _twice(c: Certificate, events: Sequence[Event], reader: Reader, task: Task) -> list[str]:
    """The reference agreed with itself as often as the certificate says. A row counts if it had both answers then."""
    if c.self_agreement is None:
        return []
    told = next((event.payload for event in reversed(events) if event.kind == CHECKED), None)
    keys, same = (told["keys"], told["same"]) if told else ([], [])
    answers, failed = reader.get_many(key for pair in keys for key in pair), _failures(events)
    found = []
    for pair, before in zip(keys, same, strict=True):
        both = all(key in answers for key in pair) and not (before is None and failed & set(pair))
        first, second = (task.read(answers[key]) for key in pair) if both else (None, None)
        found.append(task.equivalent(first, second) if first is not None else None)
    if found != same or self_agreement(same) != c.self_agreement:
        return ["ledger: the reference did not agree with itself as often as the certificate says"]
    return []


def _failures(events: Sequence[Event]) -> set[str]:
    """The keys of requests that had no answer when they were asked."""
    failed = {key for event in events if event.kind == ASK for key in lost(event.payload)}
    failed |= {key for event in events if event.kind in (SET_ASIDE, CHECKED) for key in event.payload.get("failed", ())}
    later = [keys for event in events if event.kind == FAILURES for keys in event.payload["failed"].values()]
    return failed.union(*later)


class Reading:
    """An ask read again: the answers in the ledger, by the task of the plan."""

    def __init__(self, c: Certificate, ask: Mapping[str, Json], reader: Reader, task: Task) -> None:
        self._ask, self._task, self._gone = ask, task, {(k, m) for k, m in ask["failed"]}
        self._names = c.plan.names
        further = [key for row in ask.get("draws", ()) for of_model in row for key in of_model]
        keys = [key for row in ask["keys"] for key in row]
        self._answers, self._prompts = reader.get_many([*keys, *further]), reader.prompts(row[0] for row in ask["keys"])
        self.sheet = Answers.blank((len(keys) // max(1, len(ask["models"])), len(self._names)), words=True)
        for k in range(len(self.sheet.marks)):
            self._fill(k)

    def round(self, u: NDArray[np.uint64]) -> Round:
        """With the marks as they were recorded. u: the blank scores of the table's rows."""
        models, positions = tuple(self._ask["models"]), np.array(self._ask["positions"], np.int64)
        marks = self.sheet.marks.copy()
        for k, row in enumerate(self._ask["marks"]):
            marks[k, list(models)] = row
        return Round(self._ask["stage"], models, marks, positions, replace(self.sheet, marks=marks), u[positions])

    def problems(self) -> list[str]:
        """What is recorded otherwise than it comes out."""
        found, ask = [], self._ask
        if len({len(ask["positions"]), len(self.sheet.marks), *(len(ask[name]) for name in READINGS)}) > 1:
            return [f"ledger: ask {ask['number']} is not recorded row by row"]
        for k, row in enumerate(ask["positions"]):
            now = reading(self.sheet, k, ask["models"])
            if any(now[name] != ask[name][k] for name in READINGS):
                found.append(f"ledger: row {row + 1} does not come out as it was recorded")
        missing = [key for k, row in enumerate(ask["keys"]) for key in self._missing(k, row)]
        return found[:5] + [f"ledger: {len(missing)} answers of the evidence are missing"] * bool(missing)

    def _missing(self, k: int, row: Sequence[str]) -> list[str]:
        pairs = zip(self._ask["models"], row, strict=True)
        return [key for m, key in pairs if key and key not in self._answers and (k, m) not in self._gone]

    def _fill(self, k: int) -> None:
        sheet, models, keys = self.sheet, self._ask["models"], self._ask["keys"][k]
        replies = {
            m: None if (k, m) in self._gone else self._answers.get(key) for m, key in zip(models, keys, strict=True)
        }
        values = {m: self._task.read(reply) for m, reply in replies.items()}
        assert sheet.traits is not None
        assert sheet.traits.words is not None
        if self._ask["text"]:
            sheet.traits.text[k] = self._ask["text"][k]
        if (prompt := self._prompts.get(keys[0])) is not None:
            sheet.traits.text[k], sheet.traits.words[k] = len(prompt), words_of(prompt)
        for at, m in enumerate(models):
            if keys[at] == NO_KEY and self._ask["stage"] == LESSON:
                self._as_said(k, m, at)
                continue
            sheet.marks[k, m] = mark(self._task, m, values[m], values)
            if (k, m) in self._gone:
                sheet.marks[k, m] = BAD if m else ERROR
            elif (reply := replies[m]) is not None:
                further = [self._drawn(key) for key in self._ask["draws"][k][at]] if "draws" in self._ask else []
                sheet.cost[k, m] = reply.cost + sum(draw.cost for draw in further if draw is not None)
                if values[m] is not None:
                    said = format_value(values[m])
                    sheet.traits.key[k, m], sheet.traits.length[k, m] = answer_key(said), len(said)
                    sheet.score[k, m] = self._score(reply, values[m], further)

    def _as_said(self, k: int, model: int, at: int) -> None:
        """What a lesson said of a row is no evidence: it stands as it was recorded."""
        sheet, score = self.sheet, self._ask["scores"][k][at]
        assert sheet.traits is not None
        sheet.marks[k, model], sheet.traits.key[k, model] = self._ask["marks"][k][at], self._ask["said"][k][at]
        sheet.score[k, model] = float("nan") if score is None else score

    def _drawn(self, key: str) -> Answer | None:
        return None if key in self._ask.get("undrawn", ()) else self._answers.get(key)

    def _score(self, reply: Answer, value: Json, further: Sequence[Answer | None]) -> float:
        if not further:
            return own_score(reply, value, self._task.contract.labels)
        if any(draw is None for draw in further):
            return float("nan")
        others = [self._task.read(draw) for draw in further if draw is not None]
        key, *keys = [0 if each is None else answer_key(format_value(each)) for each in (value, *others)]
        return self_consistency(key, keys)
