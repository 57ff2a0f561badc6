"""A table that begins with the table of a finished run of the same command: its rows keep their answers.

What that run delivered stays as it is and costs nothing. The rows that were added are answered by its tiers, with its
taught model, or by the candidate of its mix, down to where a look at them alone allows it (`procedures.ladder.grown`).
The plan names the run, the hash of what it had decided and the sizes of its look, or what the tables of its mix allow
for, so that the certificate of the grown table is one about all of its rows.

Whether a run is continued is decided by what it had decided itself before its evidence, never by what the evidence or
the rows left have shown: whether a candidate delivers anything, rows have no answer, or the money has run out. Else
runs that broke their promise would be continued, others begun anew, and the two together break it twice as often. A run
that was stopped is brought to its end first. Rows that it has no answer for are asked again; those that still have none
count among the rows that may stay without one, which the promise is kept apart from.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import lru_cache, partial

import numpy as np
from msgspec.json import decode
from msgspec.structs import replace as changed

from smart_llm.certificates.certificate import stored
from smart_llm.certificates.checks.ladder import FixedLook
from smart_llm.certificates.checks.mix_evidence import FixedTables
from smart_llm.certificates.grown import answering, design, evidence_of
from smart_llm.certificates.parts import StatedGate, StatedTier
from smart_llm.engine.job import Job, fixed, of_words, planned_batches
from smart_llm.engine.live import Live
from smart_llm.errors import LedgerError
from smart_llm.ledger import Ledger, Reader, RunRecord, canonical
from smart_llm.ledger.aside import piloted
from smart_llm.ledger.entries import DONE, GIVEN_UP, TAUGHT
from smart_llm.procedures import DEFAULT
from smart_llm.procedures.ladder.grown import affordable
from smart_llm.providers.specs import LEARNED
from smart_llm.stats.grown import excess
from smart_llm.stats.sequential import Table
from smart_llm.types import Gate, Grown, Problem, Score, Tier
from smart_llm.types.plan import Command, FrozenPlan, GrownFrom
from smart_llm.types.values import Number

AT_MOST = Fraction(1, 2)
"""Of the rows there were: rows that may be added; for more it pays to look, and to learn, anew."""
LOOKS = 20
"""Behind one table, at most: each of its runs is walked again."""


def grown(job: Job, reader: Reader | None, reserve: int) -> GrownFrom | None:
    """The latest run that this job's table continues; None where there is none, or where it would not pay."""
    if reader is None or job.procedure != DEFAULT.name or _by_vectors(job):
        return None
    wanted = _anyhow(fixed(job))
    for run in reversed(reader.runs()):
        if not run.readable:
            continue
        command, rows = run.plan.command, run.plan.rows
        added = job.table.rows - rows
        if not 0 < added <= AT_MOST * rows or _anyhow(command) != wanted:
            continue
        if reader.latest(run.run_id, GIVEN_UP) is None and job.table.head(rows).table_hash == command.table:
            found = _continued(run, reader)
            if found is not None and affordable(_problem(job, found, added, reserve), _sizes(found)):
                return found
    return None


def anew(job: Job, reader: Reader, reserve: int) -> str | None:
    """Of a run that continues none: why not the latest one of the same command on the first rows of its table, in a
    sentence; None where there is no such run."""
    wanted, table = _anyhow(fixed(job)), job.table
    for run in reversed(reader.runs()):
        if not (run.readable and run.plan.rows < table.rows and _anyhow(run.plan.command) == wanted):
            continue
        if table.head(run.plan.rows).table_hash == run.plan.table:
            why = _why_anew(job, run, reader, reserve)
            return f"The table is answered anew, although it begins with the rows of run {run.run_id}: {why}."
    return None


def _why_anew(job: Job, run: RunRecord, reader: Reader, reserve: int) -> str:
    added, decided = job.table.rows - run.plan.rows, design(reader, run.run_id)
    if added > AT_MOST * run.plan.rows:
        return "more than half as many were added"
    if job.procedure != DEFAULT.name or _by_vectors(job):
        return "only the default procedure continues a run" if job.procedure != DEFAULT.name else "learned has embed="
    if job.batch or (run.state != DONE and planned_batches(run.plan)):
        return "this one asks by batch" if job.batch else "it is asked by batch and has not ended"
    if piloted(reader, job.table.table_hash):
        return "rows of the larger table were piloted"
    if reader.latest(run.run_id, GIVEN_UP) is not None:
        return "it was given up"
    if decided is None:
        return "it took no sample" if run.state == DONE else "it had decided on no sample yet"
    told = decided[0]
    if told.pilot.errors if isinstance(told, FixedTables) else told.pilot_errors:
        return "a row of its pilot had no answer"
    found = _continued(run, reader)
    if found is not None and affordable(_problem(job, found, added, reserve), _sizes(found)):
        return "a run of this command was given up before"
    return "a sample of the rows added would cost more than it may save" if found else "it has grown too often"


def _by_vectors(job: Job) -> bool:
    """Whether a candidate is taught by vectors: what it knows of them is not taken along."""
    return any(model.name == LEARNED for model in job.candidates) and not of_words(job)


def _continued(run: RunRecord, reader: Reader) -> GrownFrom | None:
    """A run as a plan names it. None where it had decided on no evidence, where rows of its pilot have no answer, where
    it is still asked by batch, or where there were too many looks already: an older run may be continued then."""
    decided = design(reader, run.run_id)
    if decided is None or (run.state != DONE and planned_batches(run.plan)):
        return None
    told, named = decided
    make = partial(GrownFrom, run=run.run_id, design=named, rows=run.plan.rows, tables=run.plan.tables)
    if isinstance(told, FixedTables):
        return None if told.pilot.errors else make(looks=(), excess=_excess(canonical(told)))
    before, mix = ((), ()) if run.plan.grown is None else (run.plan.grown.looks, run.plan.grown.excess)
    looks = (*before, (told.rows_left, told.credit, told.looked))
    if told.pilot_errors or len(looks) >= LOOKS:
        return None
    return make(looks=looks, excess=mix)


@lru_cache(maxsize=8)  # a plan and the run after it ask for the same, which takes seconds for large tables
def _excess(told: bytes) -> tuple[tuple[int, float], ...]:
    """Pairs (count, chance): a mix hands over more bad rows than the count with that chance at most. told: what it had
    decided, as JSON."""
    finalists = decode(told, type=FixedTables).finalists
    tables = [
        Table(tuple(each.looks), tuple(np.array(row, np.int64) for row in each.shares), each.allowance)
        for each in finalists
    ]
    known = excess(finalists[0].left[0], finalists[0].allowance, tables)
    return tuple(zip(known.counts, known.chances, strict=True))


def _sizes(found: GrownFrom) -> Grown:
    """What decides how many rows are looked at."""
    return Grown(found.looks, (), None, found.excess)


def grown_shape(plan: FrozenPlan, reader: Reader) -> Grown:
    """The run that a plan continues, as a procedure sees it: its tiers and gate, as they were before its look; after a
    mix, which has ended by now, the candidate that it has used, or would have, as one tier."""
    run, told = _named(plan, reader)
    assert plan.grown is not None
    tiers, gate = (told.tiers, told.gate) if isinstance(told, FixedLook) else _after_mix(run)
    return replace(
        _sizes(plan.grown),
        tiers=tuple(_tier(tier, run.plan.names) for tier in tiers),
        gate=None if gate is None else Gate(_score(gate.score), float(gate.floor)),
    )


def _after_mix(run: RunRecord) -> tuple[tuple[StatedTier, ...], StatedGate | None]:
    evidence = evidence_of(stored(run.certificate))
    assert evidence is not None, "it was brought to its end"
    return answering(evidence)


def _tier(tier: StatedTier, names: list[str]) -> Tier:
    stop = None if tier.stop is None else (float(tier.stop[0]), tier.stop[1])
    return Tier(names.index(tier.model), _score(tier.score), stop, tuple(map(names.index, tier.peers)))


def _score(terms: tuple[tuple[str, Number], ...]) -> Score:
    return Score(tuple((name, float(weight)) for name, weight in terms))


def _anyhow(command: Command) -> Command:
    """Without what may differ: the table, what follows from its size, the seed, and whether it is asked by batch."""
    return changed(command, table="", rows=0, label_rows=None, asked_seed=None, batch=False)


def _problem(job: Job, found: GrownFrom, added: int, reserve: int) -> Problem:
    target, trust = Fraction(job.agreement), Fraction(job.confidence)
    names = tuple(model.name for model in job.candidates)
    rates = (0.0,) * len(job.models)
    return Problem(added, target, trust, job.reference.name, names, rates, 0, reserve, set_aside=found.rows)


def continued(plan: FrozenPlan, reader: Reader) -> RunRecord:
    """The run that a plan continues; `LedgerError` where the ledger does not hold it any more."""
    return _named(plan, reader)[0]


def _named(plan: FrozenPlan, reader: Reader) -> tuple[RunRecord, FixedLook | FixedTables]:
    assert plan.grown is not None
    run = next((run for run in reader.runs() if run.run_id == plan.grown.run), None)
    decided = None if run is None else design(reader, run.run_id)
    if run is None or decided is None or decided[1] != plan.grown.design:
        raise LedgerError(f"The ledger does not hold run {plan.grown.run} as this one continues it.")
    return run, decided[0]


def smaller(job: Job, run: RunRecord) -> Job:
    """The job of the run that is continued."""
    table = job.table.head(run.plan.rows)
    return replace(job, table=table, seed=run.plan.asked_seed, run_id=None, batch=frozenset())


def keep(live: Live, earlier: Live) -> None:
    """Deliver what the run that is continued has delivered."""
    rows = range(earlier.questions.rows)
    errors, answers = [earlier.rows.errors.get(row) for row in rows], [earlier.rows.answers[row] for row in rows]
    live.rows.take(0, earlier.rows.by.astype("int64"), errors, answers)
    live.account.take(0, earlier.account.by_row(), earlier.account.reference, earlier.account.calls)
    live.rows.proven = True


def keep_model(run: RunRecord, run_id: str, ledger: Ledger) -> None:
    """The model that was taught then answers now; it stands in the record of this run, too."""
    kept = ledger.latest(run.run_id, TAUGHT)
    if kept is not None and ledger.latest(run_id, TAUGHT) is None:
        ledger.event(run_id, TAUGHT, kept)
