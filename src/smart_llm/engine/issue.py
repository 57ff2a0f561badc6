"""The certificate that a run ends with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from smart_llm.certificates.certificate import Certificate, assumed, words
from smart_llm.certificates.labels import per_label
from smart_llm.certificates.late import covered
from smart_llm.engine.counted import standing
from smart_llm.engine.job import Job, problem
from smart_llm.engine.live import Live
from smart_llm.ledger import Ledger, RunRecord
from smart_llm.ledger.earlier import earlier
from smart_llm.stats.sampling import uniforms
from smart_llm.types import AGREE, NOT_ASKED, Cascade, Json, Mix, Problem, Score, Standing, Tier, Verdict


def certificate(job: Job, record: RunRecord, live: Live, verdict: Verdict | None, ledger: Ledger) -> Certificate:
    """What a run ends with; without a verdict, what a stopped one has so far (pending)."""
    plan = record.plan
    shape = problem(plan, [0.0] * len(live.models))
    profiled = live.questions.aside.population[verdict.profiled] if verdict else np.flatnonzero(live.rows.settled)
    errors = _errors(live, profiled)
    status, before = _status(live, verdict, errors, shape), earlier(record, ledger.runs())
    claim = _claim(job, plan, live, shape)
    return Certificate(
        status=status,
        granted=status == "certified",
        claim={**claim, "words": words(claim, status)},
        assumptions=assumed(plan),
        procedure={"name": job.procedure, "version": job.procedure.rpartition("/")[2]},
        plan_hash=record.plan_hash,
        plan=plan,
        table_hash=job.table.table_hash,
        seed=record.seed,
        models=tuple(plan["models"]),
        evidence=verdict.evidence if verdict else {},
        rule=rule(live, verdict),
        delivered=_delivered(live, profiled),
        cost={**_cost(live, profiled), **_paid(live, record.run_id, ledger)},
        errors=errors,
        labels=_labels(job, live, verdict, record.seed),
        notes=verdict.notes if verdict else (),
        earlier_runs=before["earlier_runs"],
        earlier_runs_same_task=before["earlier_runs_same_task"],
        earlier_runs_in_ledger=before["earlier_runs_in_ledger"],
        self_agreement=live.account.check,
        software=_software(),
    )


def _claim(job: Job, plan: Mapping[str, Json], live: Live, shape: Problem) -> dict[str, Json]:
    """What is promised, in numbers, and the rows that count against it."""
    return {
        "rows": plan["rows"],
        "agreement": job.agreement,
        "confidence": job.confidence,
        "reference": job.reference.name,
        "allowance": shape.promised,
        "reserve": shape.reserve,
        "floor": plan["floor"],
        "per_label": plan["per_label"],
        "label_rows": plan["label_rows"],
        "errors": len(live.rows.errors),
        "unsettled": int((~live.rows.settled).sum()),
        "set_aside": shape.set_aside,
        "set_aside_errors": max(
            live.account.lost, len(set(live.rows.errors) & set(live.questions.aside.positions.tolist()))
        ),
    }


def _status(live: Live, verdict: Verdict | None, errors: Mapping[str, Json], shape: Problem) -> str:
    if verdict is None or not live.rows.settled.all():
        return "pending"
    if not verdict.granted:
        return "reference-only"
    late = errors["rows"] - errors["while_profiling"] - errors["set_aside"]
    kept = late <= covered(verdict.evidence, shape.reserve) and errors["rows"] <= shape.promised
    return "certified" if kept else "not-certified"


def rule(live: Live, verdict: Verdict | None) -> dict[str, Json]:
    """Which answer a row not profiled is delivered, by model names."""
    names = [model.name for model in live.models]
    given = verdict.rule if verdict else Mix()
    if isinstance(given, Cascade):
        gate = {"gate": {"score": terms(given.gate.score), "floor": given.gate.floor}} if given.gate else {}
        return {"tiers": [_tier(tier, names) for tier in given.tiers], **gate, "else": names[0]}
    shares = [{"model": names[model], "rows": rows} for model, rows in given.shares]
    return {"shares": shares, "order": given.order, "else": names[0]}


def _tier(tier: Tier, names: list[str]) -> dict[str, Json]:
    return {
        "model": names[tier.candidate],
        "score": terms(tier.score),
        "stop": list(tier.stop) if tier.stop else None,
        "peers": [names[peer] for peer in tier.peers],
    }


def terms(score: Score) -> list[Json]:
    """A score as JSON."""
    return [list(term) for term in score.terms]


def _delivered(live: Live, profiled: Any) -> dict[str, Json]:
    counts = np.bincount(live.rows.by[live.rows.settled], minlength=len(live.models))
    by = {model.name: int(count) for model, count in zip(live.models, counts, strict=True)}
    return {
        "profiled": len(profiled),
        "set_aside": len(live.questions.aside.positions),
        "by": by,
        "standings": [asdict(standing) for standing in standings(live)],
    }


def _labels(job: Job, live: Live, verdict: Verdict | None, seed: int) -> tuple[Json, ...]:
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


def _cost(live: Live, profiled: Any) -> dict[str, Json]:
    stages = live.account.stages
    asked, total, alone = float(live.account.spent().sum()), live.account.total(), live.account.reference_only(profiled)
    return {
        "total": total,
        **stages,
        "delivery": asked - sum(stages.values()),
        "self_check": total - asked,
        "by_model": {model.name: float(spent) for model, spent in zip(live.models, live.account.spent(), strict=True)},
        "reference_only": alone,
        "saving": alone / total if total else 1.0,
        "unit": "USD",
    }


def _paid(live: Live, run_id: str, ledger: Ledger) -> dict[str, Json]:
    """Whose money it was: what this run has paid for its answers, what those cost that it took from earlier runs for
    nothing, what it paid to learn how servers are told, and what it may have paid besides. The last alone depends on
    how often a run was killed."""
    spent, lost, total = ledger.spent(run_id), ledger.lost(run_id), live.account.total()
    learning = ledger.learning(run_id)
    reused = total - (spent - lost - learning)
    reused = reused if reused > 1e-9 * total else 0.0
    return {"paid": total - reused, "reused": reused, "learning": learning, "lost_at_most": lost}


def _errors(live: Live, profiled: Any) -> dict[str, Json]:
    rows, aside = sorted(live.rows.errors), set(live.questions.aside.positions.tolist())
    return {
        "rows": len(rows),
        "while_profiling": len(set(rows) & set(profiled.tolist()) - aside),
        "set_aside": len(set(rows) & aside),
        "first": rows[:20],
    }


def _software() -> dict[str, Json]:
    from importlib.metadata import version

    return {"name": "smart-llm", "version": version("smart-llm")}
