"""A table that begins with the table of a finished run of the same command: its rows keep their answers.

What that run delivered stays as it is and costs nothing. The rows that were added are answered by its tiers, with its
taught model, down to where a look at them alone allows it (`procedures.ladder.grown`). The plan names the run, the hash
of its certificate and the sizes of its look, so that the certificate of the grown table is one about all of its rows.

Only a run whose evidence was a look and which had an answer to every row is continued like this; any other begins anew.
A run whose look left nothing to deliver is continued, too: were it begun anew, a run that broke its promise would be
continued and any other have a second chance to break it, and the two together may break it twice as often.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from msgspec.structs import replace as changed

from smart_llm.certificates.certificate import Certificate, stored
from smart_llm.certificates.checks.ladder import CascadeEvidence, read
from smart_llm.certificates.grown import CONTINUED
from smart_llm.engine.job import Job, fixed, of_words
from smart_llm.engine.live import Live
from smart_llm.errors import LedgerError
from smart_llm.ledger import Ledger, Reader, RunRecord, canonical, tagged
from smart_llm.ledger.entries import DONE, GIVEN_UP, TAUGHT
from smart_llm.procedures import DEFAULT
from smart_llm.procedures.ladder.grown import affordable
from smart_llm.types import Gate, Grown, Problem, Score, Tier
from smart_llm.types.plan import Command, FrozenPlan, GrownFrom
from smart_llm.types.values import Number

AT_MOST = Fraction(1, 2)
"""Of the rows there were: rows that may be added; for more it pays to look, and to learn, anew."""


def grown(job: Job, reader: Reader | None, reserve: int) -> GrownFrom | None:
    """The latest run that this job's table continues; None where there is none, or where it would not pay."""
    if reader is None or job.procedure != DEFAULT.name or not of_words(job):
        return None
    wanted = _anyhow(fixed(job))
    for run in reversed(reader.runs()):
        if not run.readable or run.state != DONE or run.certificate is None:
            continue
        command, rows = run.plan.command, run.plan.rows
        added = job.table.rows - rows
        if not 0 < added <= AT_MOST * rows or _anyhow(command) != wanted:
            continue
        if reader.latest(run.run_id, GIVEN_UP) is None and job.table.head(rows).table_hash == command.table:
            found = _continued(run, stored(run.certificate))
            if found is not None and affordable(_problem(job, found, added, reserve), found.shape):
                return found.named
    return None


class _Found:
    """A run that can be continued: as a plan names it, and as a procedure sees it."""

    def __init__(self, run: RunRecord, c: Certificate, told: CascadeEvidence) -> None:
        looks = (*(c.plan.grown.looks if c.plan.grown else ()), (told.rows_left, told.credit, told.looked))
        self.named = GrownFrom(
            run=run.run_id, certificate=tagged(canonical(run.certificate)), rows=c.claim.rows, looks=looks
        )
        self.shape = shape(c, looks)


def _continued(run: RunRecord, c: Certificate) -> _Found | None:
    """None where its evidence was no look, or a row has no answer."""
    told = read(c.evidence) if c.status in CONTINUED and not c.claim.errors else None
    if not isinstance(told, CascadeEvidence) or told.errors or told.pilot_errors:
        return None
    return _Found(run, c, told)


def shape(c: Certificate, looks: tuple[tuple[int, int, int], ...]) -> Grown:
    """A certificate's tiers and gate, as they were before its look."""
    names, told = c.plan.names, read(c.evidence)
    assert isinstance(told, CascadeEvidence)
    tiers = tuple(
        Tier(
            names.index(tier.model),
            _score(tier.score),
            None if tier.stop is None else (float(tier.stop[0]), tier.stop[1]),
            tuple(map(names.index, tier.peers)),
        )
        for tier in told.tiers
    )
    gate = None if told.gate is None else Gate(_score(told.gate.score), float(told.gate.floor))
    return Grown(looks, tiers, gate)


def _score(terms: tuple[tuple[str, Number], ...]) -> Score:
    return Score(tuple((name, float(weight)) for name, weight in terms))


def _anyhow(command: Command) -> Command:
    """Without what may differ: the table, the seed, and whether it is asked by batch."""
    return changed(command, table="", rows=0, asked_seed=None, batch=False)


def _problem(job: Job, found: _Found, added: int, reserve: int) -> Problem:
    target, trust = Fraction(job.agreement), Fraction(job.confidence)
    names = tuple(model.name for model in job.candidates)
    rates = (0.0,) * len(job.models)
    return Problem(added, target, trust, job.reference.name, names, rates, 0, reserve, set_aside=found.named.rows)


def continued(plan: FrozenPlan, reader: Reader) -> tuple[RunRecord, Grown]:
    """The run that a plan continues; `LedgerError` where the ledger does not hold it any more."""
    assert plan.grown is not None
    run = next((run for run in reader.runs() if run.run_id == plan.grown.run), None)
    if run is None or run.certificate is None or tagged(canonical(run.certificate)) != plan.grown.certificate:
        raise LedgerError(f"The ledger does not hold run {plan.grown.run} as this one continues it.")
    return run, shape(stored(run.certificate), plan.grown.looks)


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
