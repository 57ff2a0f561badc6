"""The certificate that a run ends with."""

from __future__ import annotations

from typing import Any

import numpy as np
from msgspec.structs import replace

from smart_llm.certificates import checks
from smart_llm.certificates.certificate import Certificate, assumed
from smart_llm.certificates.claimed import words
from smart_llm.certificates.labels import per_label
from smart_llm.certificates.parts import (
    Claim,
    Cost,
    Delivered,
    Errors,
    LabelShares,
    NamedProcedure,
    SharedRows,
    Software,
    StatedGate,
    StatedRule,
    StatedTier,
)
from smart_llm.engine.counted import standing
from smart_llm.engine.job import Job, problem
from smart_llm.engine.live import Live
from smart_llm.ledger import Ledger, RunRecord
from smart_llm.ledger.earlier import earlier
from smart_llm.stats.sampling import uniforms
from smart_llm.types import AGREE, NOT_ASKED, Cascade, Mix, Problem, Standing, Tier, Verdict
from smart_llm.types.plan import FrozenPlan


def certificate(job: Job, record: RunRecord, live: Live, verdict: Verdict | None, ledger: Ledger) -> Certificate:
    """What a run ends with; without a verdict, what a stopped one has so far (pending)."""
    plan = record.plan
    shape = problem(plan, [0.0] * len(live.models))
    profiled = live.questions.aside.population[verdict.profiled] if verdict else np.flatnonzero(live.rows.settled)
    errors = _errors(live, profiled, plan)
    status, before = _status(live, verdict, errors, plan), earlier(record, ledger.runs())
    claim = _claim(job, plan, live, shape)
    return Certificate(
        status=status,
        granted=status == "certified",
        claim=replace(claim, words=words(claim, plan.task, status)),
        assumptions=assumed(plan),
        procedure=NamedProcedure(job.procedure, job.procedure.rpartition("/")[2]),
        plan_hash=record.plan_hash,
        plan=plan,
        table_hash=job.table.table_hash,
        seed=record.seed,
        models=plan.models,
        evidence=verdict.evidence if verdict else {},
        rule=rule(live, verdict),
        delivered=_delivered(live, profiled),
        cost=_cost(live, profiled, record.run_id, ledger),
        errors=errors,
        labels=_labels(job, live, verdict, record.seed),
        notes=verdict.notes if verdict else (),
        earlier_runs=before["earlier_runs"],
        earlier_runs_same_task=before["earlier_runs_same_task"],
        earlier_runs_in_ledger=before["earlier_runs_in_ledger"],
        self_agreement=live.account.check,
        software=_software(),
    )


def _claim(job: Job, plan: FrozenPlan, live: Live, shape: Problem) -> Claim:
    """What is promised, in numbers, and the rows that count against it."""
    lost_aside = len(set(live.rows.errors) & set(plan.set_aside))
    return Claim(
        rows=plan.rows,
        agreement=job.agreement,
        confidence=job.confidence,
        reference=job.reference.name,
        allowance=shape.promised,
        reserve=shape.reserve,
        floor=plan.floor,
        per_label=plan.per_label,
        label_rows=plan.label_rows,
        errors=len(live.rows.errors),
        unsettled=int((~live.rows.settled).sum()),
        set_aside=shape.set_aside,
        set_aside_errors=max(live.account.lost, lost_aside),
    )


def _status(live: Live, verdict: Verdict | None, errors: Errors, plan: FrozenPlan) -> str:
    if verdict is None or not live.rows.settled.all():
        return "pending"
    if not verdict.granted and not live.rows.by.any():
        return "reference-only"
    if plan.grown is not None:  # candidates may have answered rows that were there before, whatever this look has shown
        return "certified" if errors.rows <= plan.reserve else "not-certified"
    late = checks.covered(verdict.procedure, verdict.evidence, plan.reserve)
    kept = errors.late <= late and errors.rows <= problem(plan, [0.0] * len(live.models)).promised
    return "certified" if kept else "not-certified"


def rule(live: Live, verdict: Verdict | None) -> StatedRule:
    """Which answer a row not profiled is delivered, by model names."""
    names = [model.name for model in live.models]
    given = verdict.rule if verdict else Mix()
    if isinstance(given, Cascade):
        gate = StatedGate(given.gate.score.terms, given.gate.floor) if given.gate else None
        tiers = tuple(_tier(tier, names) for tier in given.tiers)
        return StatedRule(tiers=tiers, gate=gate, reference=names[0])
    shares = tuple(SharedRows(names[model], rows) for model, rows in given.shares)
    return StatedRule(shares=shares, order=given.order, reference=names[0])


def _tier(tier: Tier, names: list[str]) -> StatedTier:
    peers = tuple(names[peer] for peer in tier.peers)
    return StatedTier(model=names[tier.candidate], score=tier.score.terms, stop=tier.stop, peers=peers)


def _delivered(live: Live, profiled: Any) -> Delivered:
    counts = np.bincount(live.rows.by[live.rows.settled], minlength=len(live.models))
    return Delivered(
        profiled=len(profiled),
        set_aside=len(live.questions.aside.positions),
        by={model.name: int(count) for model, count in zip(live.models, counts, strict=True)},
        standings=tuple(standings(live)),
    )


def _labels(job: Job, live: Live, verdict: Verdict | None, seed: int) -> tuple[LabelShares, ...]:
    labels = job.task.contract.labels
    if not labels or not verdict:
        return ()
    rows = len(live.questions.aside.population)
    u = live.questions.aside.spread(uniforms(seed, "shares", rows))
    return tuple(per_label(labels, verdict.rule, live.batches, u, rows))


def standings(live: Live) -> list[Standing]:
    """How every candidate fared on the rows it was asked about together with the reference: 90 % limits (Jeffreys)."""
    seen = np.full((live.questions.rows, len(live.models)), NOT_ASKED, np.int8)
    for positions, sheet in live.batches:
        seen[positions] = np.where(sheet.marks == NOT_ASKED, seen[positions], sheet.marks)
    found = []
    for j, model in enumerate(live.models[1:], 1):
        asked, agreeing = int((seen[:, j] != NOT_ASKED).sum()), int((seen[:, j] == AGREE).sum())
        found.append(standing(model.name, asked, agreeing, bool(asked)))
    return found


def _cost(live: Live, profiled: Any, run_id: str, ledger: Ledger) -> Cost:
    """What it cost, by stage and by model; and whose money it was: what this run has paid for its answers, what those
    cost that it took from earlier runs for nothing, what it paid to learn how servers are told, and what it may have
    paid besides. The last alone depends on how often a run was killed."""
    stages, total = live.account.stages, live.account.total()
    asked, alone = float(live.account.spent().sum()), live.account.reference_only(profiled, live.rows.errors)
    lost, learning = ledger.lost(run_id), ledger.learning(run_id)
    reused = total - (ledger.spent(run_id) - lost - learning)
    reused = reused if reused > 1e-9 * total else 0.0
    return Cost(
        total=total,
        set_aside=stages["set_aside"],
        profiling=stages["profiling"],
        delivery=asked - sum(stages.values()),
        self_check=total - asked,
        by_model={model.name: float(cost) for model, cost in zip(live.models, live.account.spent(), strict=True)},
        reference_only=alone,
        saving=alone / total if total else 1.0,
        unit="USD",
        paid=total - reused,
        reused=reused,
        learning=learning,
        lost_at_most=lost,
    )


def _errors(live: Live, profiled: Any, plan: FrozenPlan) -> Errors:
    rows, aside = sorted(live.rows.errors), set(plan.set_aside)
    return Errors(
        rows=len(rows),
        while_profiling=len(set(rows) & set(profiled.tolist()) - aside),
        set_aside=len(set(rows) & aside),
        first=tuple(rows[:20]),
    )


def _software() -> Software:
    from importlib.metadata import version

    return Software("smart-llm", version("smart-llm"))
