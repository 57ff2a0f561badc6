"""From the plan to the verdict: rows set aside are settled, then the procedure is driven to its end.

What was asked in an earlier session is told again, from the ledger; what is new is asked, and recorded (`diary`). What
failed in an earlier session stands as long as evidence is made, and is asked again only when rows are delivered.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import inf, isfinite

import numpy as np

from smart_llm import procedures
from smart_llm.engine.diary import Changed, Diary
from smart_llm.engine.expected import expected_cost, most_cost
from smart_llm.engine.grown import grown_shape
from smart_llm.engine.issue import rule
from smart_llm.engine.job import Job, problem
from smart_llm.engine.live import Live, School
from smart_llm.engine.session import Session
from smart_llm.engine.stands import Stands
from smart_llm.events import Decided, Said
from smart_llm.ledger import Ledger, RunRecord, canonical, request_key
from smart_llm.ledger.aside import SET_ASIDE
from smart_llm.ledger.entries import DONE
from smart_llm.ledger.packing import PACKED
from smart_llm.procedures.order import Ahead
from smart_llm.providers.rules import FUNCTION, REGEX
from smart_llm.scores.own import own
from smart_llm.scores.words import judged_by
from smart_llm.text.names import in_short
from smart_llm.types import AGREE, BAD, LESSON, Answers, Ask, Cascade, Verdict
from smart_llm.types.plan import FrozenPlan

OF_TAUGHT = "how probable it finds its label"
"""What the score of a candidate that is taught in the run is made of."""
EXPECTED = "expected"
"""Kind of the event that keeps what calls were expected to cost."""


async def profiled(job: Job, record: RunRecord, live: Live, stands: Stands, session: Session, ahead: Ahead) -> Verdict:
    """Rows set aside, then profiling. What failed in an earlier session stands as long as evidence is made."""
    diary = Diary(session.ledger, record.run_id)
    live.rows.proven = diary.answered or record.state == DONE
    live.client.hold(stands.before_delivery, stands.paid)
    if live.teaching is not None:
        live.teaching.priced(_rates(record, live, session)[0])
    live.account.lost = await _set_aside(record, live, session)
    live.account.close("set_aside")
    verdict = await _profile(job, record, live, session, ahead, diary)
    live.account.close("profiling")
    _same_verdict(record, verdict, live)
    broken = live.proper.notes(live.batches, live.failed)
    notes = (*given_up(record.plan), *verdict.notes, *broken, *score_notes(live, verdict))
    verdict, names = replace(verdict, notes=notes), [model.name for model in live.models]
    for note in notes:
        if not (note in broken and live.proper.told(note)):
            session.tell(Said(in_short(note, names)))
    session.tell(decided(verdict, live))
    return verdict


async def _set_aside(record: RunRecord, live: Live, session: Session) -> int:
    """The rows of earlier pilots: the reference's answer to this run's prompt, what candidates were asked about them
    under this task counted in, and a record of it. How many had no answer when it was made."""
    positions = live.questions.aside.positions
    if not len(positions) or record.plan.grown is not None:  # then they are delivered as they were
        return 0
    keys = await live.settle_aside(session.concurrency)
    _count_piloted(live, session.ledger)
    told = {
        "positions": positions.tolist(),
        "keys": keys,
        "lost": [row for row in positions.tolist() if row in live.rows.errors],
        "failed": sorted(key for (key,) in keys if key in live.client.failed),
    }
    if (known := session.ledger.latest(record.run_id, SET_ASIDE)) is None:
        session.ledger.event(record.run_id, SET_ASIDE, told)
    elif known != told:
        raise Changed("the answers to the rows set aside are read otherwise now")
    return len(told["lost"])


def _count_piloted(live: Live, ledger: Ledger) -> None:
    """What candidates' answers to the rows set aside have cost belongs to this run."""
    for position, prompt in zip(
        live.questions.aside.positions.tolist(), live.questions.prompts(live.questions.aside.positions), strict=True
    ):
        for model in range(1, len(live.models)):
            if (way := live.questions.packed(model)) is not None:
                live.client.shared.update(way.recall(prompt, ledger.get))
                live.account.count_shared(model, prompt, live.client.shared)
                continue
            first, *further = [ledger.get(request_key(request)) for request in live.questions.requests(model, prompt)]
            if first is not None:
                live.account.count(position, model, first.cost)
            live.account.count_draws(position, model, [draw.cost for draw in further if draw is not None])


async def _profile(job: Job, record: RunRecord, live: Live, session: Session, ahead: Ahead, diary: Diary) -> Verdict:
    """Drive the procedure. What was asked before is told again, from the ledger; what is new is recorded."""
    rates, bounds, packs = _rates(record, live, session)
    lost, requests = live.account.lost, live.questions.to_come
    grown = grown_shape(record.plan, session.ledger) if record.plan.grown is not None else None
    shape = problem(record.plan, rates, bounds=bounds, packs=packs, lost=lost, requests=requests, grown=grown)
    conversation = procedures.get(job.procedure)(shape)
    try:
        ask = next(conversation)
        while True:
            ask = conversation.send(await _answers(ask, live, session, ahead, diary))
    except StopIteration as stop:
        await diary.check(live)
        diary.end()
        verdict: Verdict = stop.value
        return verdict


async def _answers(ask: Ask, live: Live, session: Session, ahead: Ahead, diary: Diary) -> Answers:
    """What an ask brought, or brings."""
    if live.teaching is not None and ask.stage == LESSON:
        return await _lesson(ask, live, live.teaching, diary)
    if live.teaching is not None and live.teaching.number in ask.models:
        await live.teaching.ready(ask)
    entry, also = await diary.opened(ask, live), ahead.along_with(ask)
    if entry is not None:
        with live.client.recorded(session.ledger.get):
            sheet, _ = await live.profile(ask, session.concurrency, session.tell)
        diary.passed(entry, live, sheet)
        await live.buy(live.questions.aside.population[also], ask.models, session.concurrency)
        return sheet
    note = partial(diary.note, ask, live)
    sheet, keys = await live.profile(ask, session.concurrency, session.tell, also, note)
    diary.write(ask, live, keys, sheet)
    return sheet


async def _lesson(ask: Ask, live: Live, teaching: School, diary: Diary) -> Answers:
    """A lesson, or what one of an earlier session said."""
    entry = await diary.opened(ask, live)
    if entry is not None:
        sheet = await teaching.told(ask, entry)
        diary.passed(entry, live, sheet)
        return sheet
    sheet, more = await teaching.lesson(ask)
    diary.write(ask, live, diary.keys(ask, live), sheet, more)
    return sheet


def _rates(record: RunRecord, live: Live, session: Session) -> tuple[list[float], list[float], list[float]]:
    """What a row was expected to cost, and to cost at most, when the run began, USD, and how many rows share a call:
    the procedure's choices depend on it. ∞, where nothing is known, is kept as null."""
    known = session.ledger.latest(record.run_id, EXPECTED)
    if known is None:
        rates = [expected_cost(model, session.providers[model.name], live) for model in live.models]
        bounds = [most_cost(model, live) for model in live.models]
        known = {"rates": rates, "bounds": [bound if isfinite(bound) else None for bound in bounds]}
        known |= {"packs": live.questions.rows_a_call()} if live.questions.ways else {}
        _note_packing(record, live, session.ledger)
        session.ledger.event(record.run_id, EXPECTED, known)
    bounds = [inf if bound is None else bound for bound in known["bounds"]]
    return known["rates"], bounds, known.get("packs", [])


def _note_packing(record: RunRecord, live: Live, ledger: Ledger) -> None:
    """Which rows share a call, once, before anything is asked."""
    noted = {event.payload["model"] for event in ledger.events(record.run_id) if event.kind == PACKED}
    for model, way in live.questions.ways.items():
        if way.packed and live.models[model].name not in noted:
            ledger.event(record.run_id, PACKED, way.entry())


def _same_verdict(record: RunRecord, verdict: Verdict, live: Live) -> None:
    """A finished run comes to the verdict it came to."""
    before = record.certificate if record.state == DONE else None
    if before is not None:
        now = {"evidence": verdict.evidence, "rule": rule(live, verdict)}
        if canonical(now) != canonical({name: before[name] for name in now}):
            raise Changed("the same answers lead to another verdict now")


def given_up(plan: FrozenPlan) -> list[str]:
    """What to say of earlier runs of the same command that could not be reproduced."""
    count = plan.given_up
    if not count:
        return []
    runs = "1 earlier run" if count == 1 else f"{count:,} earlier runs"
    return [
        f"{runs} of this command {'was' if count == 1 else 'were'} given up before: what was recorded could not be "
        "reproduced, or --retry asked for it."
    ]


def decided(verdict: Verdict, live: Live) -> Decided:
    """What profiling has led to."""
    rule = verdict.rule
    used = [t.candidate for t in rule.tiers] if isinstance(rule, Cascade) else [m for m, rows in rule.shares if rows]
    ratio = verdict.outlook.expected_cost_ratio if verdict.outlook else 0.0
    names = [model.name for model in live.models]
    models = tuple(names[model] for model in used if model)
    return Decided(names[0], models, len(verdict.profiled), 1 / ratio if ratio > 0 else None, live.account.paid())


def _says_nothing(name: str) -> str:
    """Of a candidate that does not say how sure it is."""
    return "does not say how sure it is" if name.startswith((FUNCTION, REGEX)) else "gives no log-probabilities"


def score_notes(live: Live, verdict: Verdict) -> list[str]:
    """Which scores there were, and what the rule routes rows by."""
    names = [model.name for model in live.models]
    marks = np.concatenate([np.empty((0, len(names)), np.int8), *(sheet.marks for _, sheet in live.batches)])
    scores = np.concatenate([np.empty((0, len(names))), *(sheet.score for _, sheet in live.batches)])
    answered = np.isin(marks, (AGREE, BAD))
    silent = [
        names[j] for j in range(1, len(names)) if answered[:, j].any() and np.isnan(scores[answered[:, j], j]).all()
    ]
    notes = [f"{name} {_says_nothing(name)}: scores are made of answers and lengths." for name in silent]
    for tier in verdict.rule.tiers if isinstance(verdict.rule, Cascade) else ():
        model = live.models[tier.candidate]
        sure = own(model.draws, bool(live.task.contract.labels)) if model.provider != "learned" else OF_TAUGHT
        how = judged_by(tier.score.terms, names, sure) or "nothing but chance"
        notes.append(f"Rows are routed to {names[tier.candidate]} by {how}.")
    if isinstance(verdict.rule, Cascade) and verdict.rule.gate:
        notes.append(f"Some rows go straight to {names[0]}, by the length and the words of their text.")
    return notes
