"""Beginning a run: the one the ledger holds, or a new one, with what the ledger knows of its table in its plan."""

from __future__ import annotations

import secrets

from smart_llm.certificates.seeds import BITS, needs_chance, seen
from smart_llm.engine.grown import grown
from smart_llm.engine.job import Job, find, fixed, frozen, reserved
from smart_llm.engine.known import Before, before
from smart_llm.ledger import Ledger, RunRecord, canonical, tagged
from smart_llm.ledger.aside import piloted


def begin(job: Job, ledger: Ledger) -> tuple[RunRecord, bool]:
    """The run of this job in the ledger, and whether it was there before (then it is resumed)."""
    command = fixed(job)
    record = find(command, ledger)
    if record is not None:
        return record, True
    lookup, runs = tagged(canonical(command)), ledger.runs()
    given_up = sum(run.lookup == lookup for run in runs)
    drawn = secrets.randbits(BITS) if needs_chance(command, given_up) or seen(command, runs) else None
    aside = piloted(ledger, job.table.table_hash)
    earlier = None if aside or given_up or job.batch else grown(job, ledger, reserved(job))
    found = before(job, ledger) if earlier is None else Before()
    aside = sorted({*aside, *found.rows})
    known = found.told(job.given) if earlier is None else None
    plan = frozen(job, command, drawn, aside, given_up=given_up, grown=earlier, known=known)
    fresh = job.run_id if all(run.run_id != job.run_id for run in runs) else None
    return ledger.start_run(plan, lookup=lookup, seed=plan.seed, run_id=fresh), False
