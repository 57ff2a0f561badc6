"""`smart verify`: does a certificate follow from its own evidence and, with the ledger, from what was bought?

Without the ledger: the plan's hash, the claim against the plan, the verdict recomputed by independent code
(`certificates.checks`), the rule and counts against it, and what is printed beside it (`printed`). With the ledger: the
seeded order is rebuilt, the rows asked must be its prefix, every answer is read again from the record and parsed and
compared by the task of the plan, and the counts must be the same.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Protocol

from msgspec.structs import replace

from smart_llm.certificates import certificate as certificates
from smart_llm.certificates import checks as verifying
from smart_llm.certificates import grown
from smart_llm.certificates.certificate import Certificate
from smart_llm.certificates.claimed import words
from smart_llm.certificates.printed import printed
from smart_llm.certificates.recount import recount
from smart_llm.certificates.seeds import needs_chance, order_seed, seen
from smart_llm.errors import InputError, LedgerError, named
from smart_llm.ledger import Reader, RunRecord, canonical, tagged
from smart_llm.ledger.aside import Aside, piloted
from smart_llm.ledger.earlier import earlier
from smart_llm.tasks import Task
from smart_llm.types import Json
from smart_llm.types.plan import FrozenPlan


class Ran(Protocol):
    """What `smart.run` returns, as far as it is needed here."""

    @property
    def certificate(self) -> Certificate:
        """Its certificate."""

    @property
    def ledger(self) -> Path:
        """What was bought."""

    @property
    def task(self) -> Task:
        """What was asked."""


@named
def verify(
    certificate: Ran | Certificate | Path | str | Mapping[str, Json],
    ledger: Path | str | None = None,
    *,
    task: Task | None = None,
) -> list[str]:
    """What does not hold, one line each; empty when the certificate verifies. `InputError` for unreadable files.

    certificate: what `smart.run` returned, which is checked against its ledger; or a certificate, the path of one, or
    its JSON fields. task: needed, with a ledger, only where the task has functions of the user's own.
    """
    if not isinstance(certificate, Certificate | str | os.PathLike | Mapping):
        if not all(hasattr(certificate, name) for name in ("certificate", "ledger", "task")):
            kind = type(certificate).__name__
            raise InputError(f"verify: give what smart.run returned, a certificate or the path of one, not {kind}.")
        ledger, task = ledger or certificate.ledger, task or certificate.task
        certificate = certificate.certificate
    if ledger is not None and not isinstance(ledger, str | os.PathLike):
        raise InputError(f"verify: the ledger is a path, not {type(ledger).__name__}.")
    try:
        c = certificates.stored(value := _fields(certificate))
    except LedgerError as error:
        return [str(error)]
    try:
        problems = [*_sealed(c, value), *_claimed(c), *_proved(c), *grown.stated(c), *printed(c)]
        if ledger is not None:
            with Reader.open(ledger) as reader:
                problems += _bought(c, value, reader, task)
    except verifying.MALFORMED as error:
        return [f"the certificate is malformed: {type(error).__name__} {error}"]
    return problems


def _fields(certificate: Certificate | Path | str | Mapping[str, Json]) -> Mapping[str, Json]:
    if isinstance(certificate, Certificate):
        return certificate.fields()
    return certificate if isinstance(certificate, Mapping) else certificates.read(certificate)


def _sealed(c: Certificate, value: Mapping[str, Json]) -> list[str]:
    """The plan is the one that was hashed, and the certificate repeats it truly. value: its JSON."""
    problems = [] if tagged(canonical(value["plan"])) == c.plan_hash else ["plan: not the one its hash was made from"]
    plan, claim = c.plan, c.claim
    sizes = [0, *(rows for _, rows in plan.tables)]
    if plan.grown is not None and not (sizes[-2] == plan.grown.rows and all(a < b for a, b in pairwise(sizes))):
        return [*problems, "plan: the run that is continued was not of fewer rows"]
    pairs: dict[str, tuple[object, object]] = {
        "table_hash": (c.table_hash, plan.table),
        "seed": (c.seed, plan.seed),
        "procedure": (c.procedure.name, plan.procedure),
        "rows": (claim.rows, plan.rows),
        "agreement": (claim.agreement, plan.agreement),
        "confidence": (claim.confidence, plan.confidence),
        "reserve": (claim.reserve, plan.reserve),
        "floor": (claim.floor, plan.floor),
        "per_label": (claim.per_label, plan.per_label),
        "label_rows": (claim.label_rows, plan.label_rows),
        "set_aside": (claim.set_aside, len(Aside.of(plan).positions)),
        "rows set aside": (c.delivered.set_aside, len(Aside.of(plan).positions)),
        "models": ([model.name for model in c.models], plan.names),
        "rates": (c.models, plan.models),
        "rows by model": (sorted(c.delivered.by), sorted(plan.names)),
        "cost by model": (sorted(c.cost.by_model), sorted(plan.names)),
        "reference": (claim.reference, plan.reference),
        "assumptions": (c.assumptions, certificates.assumed(plan)),
    }
    problems += [f"{name}: certificate says {a}, plan says {b}" for name, (a, b) in pairs.items() if a != b]
    return problems + _seeded(plan)


def _seeded(plan: FrozenPlan) -> list[str]:
    """The seed of the order is made from what the user decided, and from chance wherever that must be."""
    if plan.seed != order_seed(plan.command, plan.drawn):
        return ["seed: it does not follow from the plan"]
    return ["seed: nothing was drawn"] * (plan.drawn is None and needs_chance(plan.command, plan.given_up))


def _claimed(c: Certificate) -> list[str]:
    """The claim's counts and words follow from its targets; the status from the claim."""
    claim, errors, problems = c.claim, c.errors, []
    if claim.allowance != verifying.whole_allowance(claim.agreement, claim.rows):
        problems.append("claim: the allowance does not follow from rows and agreement")
    if claim.words != words(claim, c.plan.task, c.status):
        problems.append("claim: the words do not say what the numbers say")
    if c.granted != (c.status == "certified"):
        problems.append("granted does not fit the status")
    if c.status != "pending" and claim.unsettled:
        problems.append(f"{c.status}, yet rows are not settled")
    if claim.errors != errors.rows:
        problems.append("errors: claim and count differ")
    if sum(c.delivered.by.values()) + claim.unsettled != claim.rows:
        problems.append("delivered: the rows by model do not add up")
    if not 0 <= errors.set_aside <= claim.set_aside_errors <= claim.set_aside:
        problems.append("errors: those among the rows set aside do not fit")
    if not (0 <= errors.while_profiling <= c.delivered.profiled and errors.late >= 0):
        problems.append("errors: those while profiling do not fit")
    if c.status == "certified" and (errors.late > claim.reserve or claim.errors > claim.allowance):
        problems.append("certified, yet more rows have no answer than were set aside")
    return problems + _by_reference(c)


def _by_reference(c: Certificate) -> list[str]:
    """Rows set aside are rows of the table, and the reference answers them like those profiled; all rows, where it is
    said to be alone."""
    aside, problems = list(c.plan.set_aside), []
    if aside != sorted(set(aside)) or not all(0 <= row < c.claim.rows for row in aside):
        problems.append("plan: the rows set aside are not some of the table's, in order")
    by_reference = c.delivered.by.get(c.claim.reference, 0)
    if c.status != "pending" and by_reference < c.delivered.profiled + len(aside):
        problems.append("delivered: fewer rows by the reference than were profiled and set aside")
    if c.status == "reference-only" and by_reference != c.claim.rows:
        problems.append("delivered: not every row by the reference, though it is said to be")
    return problems


def _proved(c: Certificate) -> list[str]:
    """The verdict follows from the evidence, and the rule is the one it allows."""
    if c.status == "pending":
        return []
    problems = verifying.check(c.procedure.name, c.evidence, verifying.of_population(c.claim))
    if replace(verifying.rule(c.procedure.name, c.evidence), reference=c.plan.reference) != c.rule:
        problems.append("rule: not the one the evidence certifies")
    if c.status == "certified" and c.errors.late > verifying.covered(c.procedure.name, c.evidence, c.claim.reserve):
        problems.append("certified, yet more rows have no answer than the evidence covers")
    if c.plan.grown is not None and c.status == "certified" and c.errors.rows > c.claim.reserve:
        problems.append("certified, yet more rows have no answer than were set aside")
    if (c.status in ("certified", "not-certified")) != bool(c.rule.shares or c.rule.tiers or c.of_earlier):
        problems.append("status: does not fit the rule")
    return problems


def _before(c: Certificate, run: RunRecord, reader: Reader) -> list[str]:
    """As many runs began before this one, and were given up, as it says; and none of them had its order."""
    found, runs = earlier(run, reader.runs()), reader.runs()
    given_up = sum(each.lookup == run.lookup for each in runs[: found["earlier_runs_in_ledger"]])
    problems = [
        f"ledger: {name} is {value}, the certificate says {getattr(c, name)}"
        for name, value in found.items()
        if getattr(c, name) != value
    ]
    if c.plan.given_up != given_up:
        problems.append(f"ledger: {given_up} earlier runs of this command, the plan says {c.plan.given_up}")
    if c.plan.drawn is None and seen(c.plan.command, runs[: found["earlier_runs_in_ledger"]]):
        problems.append("ledger: an earlier run had the same order, and nothing was drawn")
    return problems + [f"ledger: run {each.run_id} is not recorded by its plan" for each in runs if not _by_plan(each)]


def _by_plan(run: RunRecord) -> bool:
    """A run is found, and its order known, by what its plan says; plans that this version cannot read say nothing."""
    try:
        plan = run.plan
    except LedgerError:
        return True
    return run.lookup == tagged(canonical(plan.command)) and run.seed == plan.seed


def _issued(value: Mapping[str, Json], runs: Sequence[RunRecord], reader: Reader) -> list[str]:
    """A run with this plan issued the certificate, to the last field. value: its JSON."""
    events = (event for run in runs for event in reader.events(run.run_id) if event.kind == certificates.ISSUED)
    same = tagged(canonical(value)) in {event.payload["certificate"] for event in events}
    return [] if same else ["ledger: no run issued this certificate; something in it was changed"]


def _bought(c: Certificate, value: Mapping[str, Json], reader: Reader, task: Task | None) -> list[str]:
    """The evidence is what the ledger holds."""
    problems = [f"ledger: {problem}" for problem in reader.verify()]
    runs = [run for run in reader.runs() if run.plan_hash == c.plan_hash]
    if not runs:
        return [*problems, "ledger: it has no run with this plan"]
    problems += [*_before(c, runs[0], reader), *_issued(value, runs, reader)]
    if c.status == "pending":
        return problems
    events = [event for run in runs for event in reader.events(run.run_id)]
    piloted_before = piloted(reader, c.table_hash, before=min((event.number for event in events), default=None))
    if not set(piloted_before) <= set(c.plan.set_aside):
        problems.append("ledger: rows of this table were piloted before the run, and not set aside")
    problems += grown.continued(c, reader, lambda earlier: verify(earlier, reader.path, task=task))
    return problems + recount(c, events, reader, task)
