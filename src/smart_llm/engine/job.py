"""What the user asked for, checked and frozen: the job before the run, the plan it fixes, the seed it draws.

A plan is everything that decides the answers: table, task, models and rates, targets, procedure, seed. Its hash stands
in the certificate. The lookup key is the plan without what is drawn or looked up (`Command`): the same command
finds its own earlier run by it and takes that run's plan over, so it walks the same path and pays only for what is
missing. A run whose record cannot be reproduced any more is given up, and the same command begins another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction

import msgspec

from smart_llm import procedures
from smart_llm.certificates.seeds import lasting, order_seed
from smart_llm.engine.given import Given
from smart_llm.engine.spelled import FEWEST, different_texts, has_words
from smart_llm.engine.ways import check_ways, one_of_each_size, template_of
from smart_llm.errors import InputError
from smart_llm.learned import closed
from smart_llm.ledger import Ledger, Reader, RunRecord, canonical, tagged
from smart_llm.ledger.aside import Aside
from smart_llm.ledger.entries import GIVEN_UP
from smart_llm.ledger.packing import PACKING
from smart_llm.providers.enforced import AUTO, NONE, TOLD
from smart_llm.providers.functions import Called
from smart_llm.providers.rules import FUNCTION, REGEX, answerable
from smart_llm.providers.specs import LEARNED
from smart_llm.scores.traits import answer_key
from smart_llm.tables import Table
from smart_llm.tasks import Task
from smart_llm.tasks.functions import bare, differing
from smart_llm.text.numbers import count
from smart_llm.types import Grown, LongPrices, Model, Problem, Rate, SidePromise
from smart_llm.types.plan import FORMAT, Command, FrozenModel, FrozenPlan, GrownFrom, KnownLabels
from smart_llm.types.share import decimal, floor_share, share

ENOUGH = 20
"""A promise per label is about labels that the reference gives to at least one in this many rows."""
DISCOUNT = 0.5
"""What providers charge by batch, as a share of the ordinary price, where no batch price is known."""
RESERVE = 100
"""One in this many of the rows that may differ is set aside for rows that finally have no answer."""


@dataclass(frozen=True, slots=True)
class Job:
    """A checked request: `agreement` and `confidence` as the decimals the user wrote."""

    table: Table
    task: Task
    models: tuple[Model, ...]  # reference first
    agreement: str
    confidence: str
    procedure: str
    seed: int | None = None
    per_label: str | None = None
    floor: str = "0.5"
    batch: frozenset[str] = frozenset()  # names of the models that are asked by batch
    run_id: str | None = None  # of a run that something was bought for before it began
    given: tuple[Given, ...] = ()  # labels that a taught candidate learns from beforehand
    notes: tuple[str, ...] = ()  # what of it is left out or came to nothing, and why

    @property
    def reference(self) -> Model:
        """The model whose answers define the promise."""
        return self.models[0]

    @property
    def candidates(self) -> tuple[Model, ...]:
        """The cheaper models considered."""
        return self.models[1:]


def check(job: Job) -> Job:
    """The job, or an `InputError` that says what to change; nothing has been spent."""
    if job.table.rows == 0:
        raise InputError(f"{job.table.name} has no rows: there is nothing to answer.")
    agreement, confidence = decimal("--agreement", job.agreement), decimal("--confidence", job.confidence)
    job = replace(job, agreement=agreement, confidence=confidence)
    _check_floor(job)
    job = _check_labels(_check_enforced(job))
    names = [model.name for model in job.models]
    if len(names) < 2 and procedures.described(job.procedure).candidates:
        raise InputError("--candidate: name at least one cheaper model (or use --procedure reference-only).")
    if job.reference.draws:
        raise InputError(f"--reference {job.reference.name}: its first answer stands; draws= is for candidates.")
    if not job.reference.way.plain:
        raise InputError(
            f"--reference {job.reference.name}: it answers as the task says, one row a call, since its answers define "
            "the promise; pack=, prompt=, head= and the like are for candidates."
        )
    check_ways(job.task, job.reference, job.candidates)
    _check_learned(job)
    _check_functions(job)
    for model in job.models:
        template_of(job.task, model, job.table.columns)
    candidates, notes = one_of_each_size(job.table, job.task, job.candidates)
    models = (job.reference, *candidates)
    return replace(job, models=models, notes=(*job.notes, *notes), procedure=procedures.resolve(job.procedure))


def of_words(job: Job) -> bool:
    """Whether a candidate is taught by words alone, so that texts without vectors can teach it."""
    return any(model.name == LEARNED and model.embed is None for model in job.candidates)


def _check_learned(job: Job) -> None:
    """What is taught in the run learns labels from texts, by the default procedure."""
    if job.reference.name == LEARNED:
        raise InputError("--reference learned: it is taught by the reference; name a model.")
    if all(model.name != LEARNED for model in job.candidates):
        if job.given:
            raise InputError("--learn-from: labels teach --candidate learned; name that candidate, too.")
        return
    if job.given and not of_words(job):
        raise InputError("--learn-from: texts from elsewhere have no vectors; leave embed= of learned out.")
    if job.task.contract.labels is None:
        closed.names(job.task.contract.schema)
    if procedures.described(job.procedure) != procedures.DEFAULT:
        raise InputError(f"--candidate learned goes with the default procedure, not with {job.procedure}.")
    if (different := different_texts(job.task, job.table)) < FEWEST:
        raise InputError(
            f"--candidate learned: {count(different, 'different row is', 'different rows are')} too few to learn from; "
            f"it needs {FEWEST}."
        )
    if len(job.candidates) == 1 and not has_words(job.task, job.table):
        shown = ", ".join(job.task.columns(job.table.columns))
        raise InputError(f"--candidate learned: the prompt shows no words of a row ({shown}); name another candidate.")


def _check_functions(job: Job) -> None:
    """Functions of the user's own are candidates, know columns of the prompt, and say what may be an answer."""
    if job.reference.function is not None:
        raise InputError(f"--reference {job.reference.name}: a function cannot define the promise; name a model.")
    for model in job.candidates:
        if isinstance(model.function, Called):
            model.function.wants(job.task.columns(job.table.columns))
            answerable(model, job.task)


def _check_floor(job: Job) -> None:
    if floor_share(job.floor) > Fraction(1, 2) and not procedures.described(job.procedure).floor:
        raise InputError(f"--floor goes with the default procedure; {job.procedure} is kept as it was published.")


def _check_enforced(job: Job) -> Job:
    """What is said of labels goes with labels. Where there is nothing to be told, not telling it is no setting."""
    contract = job.task.contract
    if not contract.labels and (named := [model.name for model in job.models if model.enforce in TOLD]):
        raise InputError(f"{named[0]}: enforce= keeps a model to labels, and this task has none; leave it out.")
    idle = {NONE} if contract.labels else set() if contract.schema else {NONE, AUTO}
    return replace(job, models=tuple(replace(m, enforce="") if m.enforce in idle else m for m in job.models))


def _check_labels(job: Job) -> Job:
    """A promise per label has a procedure of its own."""
    if job.per_label is None:
        if procedures.described(job.procedure).labels:
            raise InputError(f"--procedure {job.procedure}: also give --per-label SHARE.")
        return job
    share("--per-label", job.per_label)
    if job.task.contract.labels is None:
        raise InputError("--per-label goes with --labels: other answers have no closed set to promise for.")
    if procedures.described(job.procedure) not in (procedures.DEFAULT, procedures.PER_LABEL):
        raise InputError(f"--per-label goes with the default procedure, not with --procedure {job.procedure}.")
    return replace(job, procedure=procedures.PER_LABEL.name)


def find(command: Command, reader: Reader) -> RunRecord | None:
    """The run that a command would resume."""
    record = reader.find_run(tagged(canonical(command)))
    return None if record is None or reader.latest(record.run_id, GIVEN_UP) is not None else record


def spent(run_id: str, ledger: Ledger) -> float:
    """USD that this run has paid or may have paid, and those of the same command that were given up before it."""
    runs = ledger.runs()
    lookup = next(run.lookup for run in runs if run.run_id == run_id)
    return sum(ledger.spent(run.run_id) for run in runs if run.lookup == lookup)


def renewed(record: RunRecord, reader: Reader) -> str | None:
    """Of a run that was just started: why it does not take up an earlier one, where that had the same command but for
    what the functions of its task were."""
    now = record.plan.command
    for run in reversed(reader.runs()):
        if not run.readable or run.run_id == record.run_id:
            continue
        before = run.plan.command
        if before.settings != now.settings and _lasting(before) == _lasting(now):
            return (
                f"Not taking up run {run.run_id}: a FakeProvider of another process answered there, and what it said "
                "is kept for a later one only if you say so: FakeProvider(..., keep=True). A new run begins."
            )
        if changed := _other_functions(before, now):
            return (
                f"Not taking up run {run.run_id}: {', '.join(changed)} has changed, or cannot be known again. A new "
                "run begins, in a new order; its certificate counts the earlier one."
            )
        if _bare(before) == _bare(now) and (names := differing(before.task, now.task)):
            return (
                f"Not taking up run {run.run_id}: its {', '.join(names)} has changed. A new run begins, in a new "
                "order; its certificate counts the earlier one."
            )
    return None


def _other_functions(before: Command, now: Command) -> list[str]:
    """The candidates of the user's own that are other functions by now, where nothing else has changed."""
    names = [name for name in now.candidates if name.startswith((FUNCTION, REGEX))]
    bare = [msgspec.structs.replace(c, settings={k: v for k, v in c.settings.items() if k not in names})
            for c in (before, now)]  # fmt: skip
    return [n for n in names if before.settings.get(n) != now.settings.get(n)] if bare[0] == bare[1] else []


def _lasting(command: Command) -> Command:
    """Without the processes that fake answers are of."""
    return msgspec.structs.replace(command, settings=lasting(command.settings))


def _bare(command: Command) -> Command:
    """Without what functions are."""
    return msgspec.structs.replace(command, task=bare(command.task))


def frozen(
    job: Job,
    command: Command,
    drawn: int | None,
    set_aside: Sequence[int],
    *,
    given_up: int = 0,
    grown: GrownFrom | None = None,
    known: KnownLabels | None = None,
) -> FrozenPlan:
    """The plan: what the user decided, and what was drawn or looked up. set_aside: rows of earlier pilots; grown: the
    run that is continued; known: what a taught candidate knows beforehand."""
    return FrozenPlan(
        **msgspec.structs.asdict(command),
        drawn=drawn,
        given_up=given_up,
        seed=order_seed(command, drawn),
        models=tuple(_model(model, job) for model in job.models),
        reserve=reserved(job),
        set_aside=tuple(set_aside),
        grown=grown,
        known=known,
    )


def fixed(job: Job) -> Command:
    """The part of the plan the user decided. A seed the user gave is part of it."""
    return Command(
        format=FORMAT,
        table=job.table.table_hash,
        rows=job.table.rows,
        task=job.task.described,
        reference=job.reference.name,
        candidates=tuple(model.name for model in job.candidates),
        settings={model.name: model.settings for model in job.models if model.settings},
        agreement=job.agreement,
        confidence=job.confidence,
        procedure=job.procedure,
        asked_seed=job.seed,
        floor=job.floor,
        per_label=job.per_label,
        label_rows=-(-job.table.rows // ENOUGH) if job.per_label is not None else None,
        batch=bool(job.batch),
        ways=_ways(job),
        learn_from=tuple(each.told for each in job.given),
    )


def _ways(job: Job) -> dict[str, dict[str, int | str]]:
    """By a candidate's name: how it is asked, where that is not as the task says."""
    return {model.name: {**model.way.to_json(), "rules": PACKING} for model in job.models if not model.way.plain}


def _model(model: Model, job: Job) -> FrozenModel:
    """A model as the plan freezes it."""
    batch = model.name in job.batch
    rate = batch_rate(model.rate) if batch else model.rate
    return FrozenModel(name=model.name, **asdict(rate), batch=batch, draws=model.draws)


def batch_rate(rate: Rate) -> Rate:
    """The rate by batch: the provider's where it is known, else half of the ordinary one."""
    known = rate.by_batch()
    if known is not None:
        return known
    return replace(
        rate,
        input=rate.input * DISCOUNT,
        output=rate.output * DISCOUNT,
        cached=None if rate.cached is None else rate.cached * DISCOUNT,
        written=None if rate.written is None else rate.written * DISCOUNT,
        source=f"{rate.source}, by batch (half of it)",
        long=tuple(map(_discounted, rate.long)),
    )


def _discounted(prices: LongPrices) -> LongPrices:
    return LongPrices(
        prices.start,
        prices.input * DISCOUNT,
        prices.output * DISCOUNT,
        None if prices.cached is None else prices.cached * DISCOUNT,
        None if prices.written is None else prices.written * DISCOUNT,
    )


def reserved(job: Job) -> int:
    """Rows of the allowance that are kept for rows without an answer."""
    problem = Problem(job.table.rows, Fraction(job.agreement), Fraction(job.confidence), "", (), (), 0)
    return max(0, problem.allowance) // RESERVE


def planned_models(models: Sequence[Model], plan: FrozenPlan) -> tuple[Model, ...]:
    """The models at the rates frozen in the plan."""
    rates = {each.name: each.rate for each in plan.models}
    return tuple(replace(model, rate=rates[model.name]) for model in models)


def planned_batches(plan: FrozenPlan) -> frozenset[str]:
    """The names of the models that the plan asks by batch."""
    return frozenset(each.name for each in plan.models if each.batch)


def problem(
    plan: FrozenPlan,
    rates: Sequence[float],
    *,
    bounds: Sequence[float] = (),
    packs: Sequence[float] = (),
    lost: int = 0,
    requests: int = 0,
    grown: Grown | None = None,
) -> Problem:
    """The procedure's view of a plan. rates, bounds: what a row is expected to cost and costs at most, USD, reference
    first; packs: rows that share a call. lost: rows set aside that the reference has no answer for. requests: see
    `Problem`. grown: the run that is continued."""
    aside = len(Aside.of(plan).positions)
    return Problem(
        plan.rows - aside,
        Fraction(plan.agreement),
        Fraction(plan.confidence),
        plan.reference,
        plan.candidates,
        tuple(rates),
        plan.seed,
        plan.reserve,
        _side(plan),
        set_aside=aside,
        lost=lost,
        floor=Fraction(plan.floor),
        bounds=tuple(bounds),
        packs=tuple(packs),
        kin=_kin(plan),
        learned=1 + plan.candidates.index(LEARNED) if LEARNED in plan.candidates else 0,
        requests=requests,
        grown=grown,
        earlier=plan.known.labels if plan.known is not None else 0,
    )


def _kin(plan: FrozenPlan) -> tuple[int, ...]:
    """The number of the model behind every candidate, reference first, where some have ways of their own."""
    bare = [name.partition("?")[0] for name in plan.names]
    return tuple(bare[1:].index(name) + 1 if k else 0 for k, name in enumerate(bare)) if plan.ways else ()


def _side(plan: FrozenPlan) -> SidePromise | None:
    if plan.per_label is None or plan.label_rows is None or plan.task.labels is None:
        return None
    keys = tuple(answer_key(label) for label in plan.task.labels)
    return SidePromise(Fraction(plan.per_label), plan.label_rows, keys)


def beforehand(job: Job) -> list[str]:
    """What is to be known of a job before anything is asked: guesses made when its table was read, a prompt that
    may be meant otherwise, and a function that may be."""
    columns = job.task.columns(job.table.columns)
    functions = [each.function for each in job.candidates if isinstance(each.function, Called)]
    misread = [doubt for each in functions if (doubt := each.doubt(columns)) is not None]
    return [*job.table.notes, *job.notes, *job.task.doubts(job.table.columns), *misread]
