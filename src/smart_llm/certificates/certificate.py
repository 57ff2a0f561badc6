"""The certificate: claim, assumptions, evidence, rule and cost in one frozen value that anyone can re-check.

Status: `certified` (a rule that uses candidates was certified, for this table or for the one it has grown from, and
every row is settled), `reference-only` (no such rule: the reference answered every row, so agreement holds by
definition), `not-certified` (more rows ended without an answer than were set aside for it), `pending` (rows are left).
`granted` is true for `certified` alone.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from math import fsum, isfinite
from pathlib import Path

import msgspec

from smart_llm.certificates import checks
from smart_llm.certificates.before import continued, known_before
from smart_llm.certificates.parts import (
    Claim,
    Cost,
    Delivered,
    Errors,
    LabelShares,
    NamedProcedure,
    SelfAgreement,
    Software,
    StatedRule,
)
from smart_llm.certificates.why import mixed, why_alone
from smart_llm.errors import InputError, LedgerError
from smart_llm.ledger import canonical
from smart_llm.text.names import in_short
from smart_llm.text.numbers import count, usd
from smart_llm.text.rich_html import card
from smart_llm.text.safe import on_a_line
from smart_llm.text.wrapping import USUAL, wrapped
from smart_llm.types import Json
from smart_llm.types.plan import FrozenModel, FrozenPlan, frozen_plan
from smart_llm.wording import worded

FORMAT = "smart-certificate/4"
LARGEST = 64 * 2**20
"""Bytes of a certificate: its evidence is counts, not rows."""
ASSUMPTION = (
    "A model's answer to a row does not depend on the order of the rows, on the phase of the run, on the endpoint or "
    "on neighbouring rows; the same request and model snapshot are used throughout."
)
COMPANY = (
    "Rows that are asked about in packs share calls by a hash of table, task and way: a row's answer may depend on the "
    "rows of its call, which are the same whatever is drawn."
)
"""Added where a candidate is asked in packs."""
RANDOMNESS = (
    "The probability is over the seeded random order in which rows are profiled, over all runs; nothing is assumed "
    "about the rows or about how the models' errors depend on one another."
)

CHOSEN = (
    "The seed was given, not drawn by the program: it is taken for granted that whoever chose it, the prices of the "
    "models, and everything else that the order and the decisions rest on, did not know what the models answer to "
    "this table."
)
"""Added where that is so: a seed that fits what is known beforehand can be searched for."""

ADDED = "How many rows were added to the table was not decided by what the sample of the earlier run has shown."
"""Added where an earlier run is continued: looks keep their level together for sizes that none of them has decided."""


@dataclass(frozen=True, slots=True, repr=False)
class Certificate:
    """What a run proved; `granted` and `status` as in the module's note. evidence: JSON of the procedure's own, read
    by its check. earlier_runs: on this table, in the run's ledger; of these, with this task; on whatever table."""

    status: str
    granted: bool
    claim: Claim
    assumptions: tuple[str, ...]
    procedure: NamedProcedure
    plan_hash: str
    plan: FrozenPlan
    table_hash: str
    seed: int
    models: tuple[FrozenModel, ...]
    evidence: Mapping[str, Json]
    rule: StatedRule
    delivered: Delivered
    cost: Cost
    errors: Errors
    labels: tuple[LabelShares, ...]
    notes: tuple[str, ...]
    earlier_runs: int
    earlier_runs_same_task: int
    earlier_runs_in_ledger: int
    self_agreement: SelfAgreement | None
    software: Software
    format: str = FORMAT

    @property
    def of_earlier(self) -> bool:
        """Whether answers of candidates are delivered that the run which is continued has delivered."""
        others = (rows for model, rows in self.delivered.by.items() if model != self.claim.reference)
        return self.plan.grown is not None and any(others)

    @property
    def answered(self) -> int:
        """Rows that have an answer by now."""
        return self.claim.rows - self.claim.unsettled - self.claim.errors

    def to_json(self) -> str:
        """The certificate as indented JSON; the plan and its models in the order of their names."""
        told = {name: getattr(self, name) for name in NAMES}
        ordered = {name: msgspec.to_builtins(told[name], order="sorted") for name in ("plan", "models")}
        return msgspec.json.format(msgspec.json.encode(told | ordered), indent=2).decode()

    def fields(self) -> dict[str, Json]:
        """The same as JSON values."""
        told: dict[str, Json] = msgspec.json.decode(self.to_json())
        return told

    def text(self, width: int = USUAL) -> str:
        """The certificate for people: about a dozen lines of at most `width` columns. Models go by their short names;
        the JSON has their addresses."""
        names = self.plan.names
        return "\n".join(wrapped([on_a_line(in_short(line, names)) for line in _lines(self)], width))

    def __repr__(self) -> str:
        return f"<Certificate: {head(self)}>"

    def _repr_html_(self) -> str:
        return card(head(self), in_short(self.claim.words, self.plan.names), [], self.text())


NAMES = tuple(field.name for field in fields(Certificate))
"""The fields of a certificate, in their order."""


def read(path: Path | str) -> dict[str, Json]:
    """A certificate file as JSON; `InputError` when it is none, `LedgerError` where it says something twice."""
    try:
        value = msgspec.json.decode(data := _bytes(Path(path)))
        json.loads(data, object_pairs_hook=_once, parse_int=str, parse_float=str)
    except RecursionError as error:
        raise InputError(f"{path}: not a certificate (nested too deeply).") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error
    except msgspec.DecodeError as error:
        wanted = "name the OUTPUT.certificate.json that a run wrote, or the ledger of a gateway"
        raise InputError(f"{path}: not JSON ({error}); {wanted}.") from error
    said = value.get("format") if isinstance(value, dict) else None
    if said != FORMAT:
        other = f": its format is {said}, this program reads {FORMAT}" if said else f" of this program ({FORMAT})"
        raise InputError(f"{path}: not a certificate{other}.")
    fields: dict[str, Json] = value
    return fields


def _once(pairs: Sequence[tuple[str, Json]]) -> None:
    """No name stands twice in an object: readers of JSON differ in which of the two they take, and people see both."""
    twice = [name for name, times in Counter(name for name, _ in pairs).items() if times > 1]
    if twice:
        raise LedgerError(f"the certificate is malformed: it says {twice[0]} twice.")


def _bytes(path: Path) -> bytes:
    """The whole file, unless it is far larger than any certificate, or has no end."""
    with path.open("rb") as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise InputError(f"{path}: not a certificate (larger than {LARGEST // 2**20} MB).")
    return data


def stored(value: Json) -> Certificate:
    """A certificate from its JSON, read strictly; `LedgerError`, in one line, for what is none."""
    try:
        if value["format"] != FORMAT:
            raise LedgerError(f"the certificate is of the format {value['format']}; this program reads {FORMAT}.")
        frozen_plan(value["plan"], "the plan in the certificate")
        if others := sorted(map(str, value.keys() - set(NAMES))):
            raise LedgerError(f"the certificate is malformed: unknown field {', '.join(others)}.")
        if not _sayable(value):
            raise LedgerError("the certificate is malformed: it holds numbers that JSON has no word for (NaN, ∞).")
        canonical(value)
        return msgspec.convert(value, Certificate)
    except msgspec.ValidationError as error:
        raise LedgerError(f"the certificate is malformed: {error}.") from error
    except (UnicodeEncodeError, OverflowError, RecursionError) as error:
        raise LedgerError(f"the certificate is malformed: {type(error).__name__}.") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise LedgerError(f"the certificate is malformed: {type(error).__name__} {error}.") from error


def _sayable(value: Json) -> bool:
    """Whether JSON has a word for every number: what it has none for is hashed as null, so it could stand for it."""
    if isinstance(value, Mapping):
        return all(map(_sayable, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_sayable, value))
    return not isinstance(value, float) or isfinite(value)


ISSUED = "issued"
"""Kind of the event that records the hash of a certificate as it is handed out."""


def assumed(plan: FrozenPlan) -> tuple[str, ...]:
    """What a run with this plan takes for granted."""
    packed = any("pack" in way for way in plan.ways.values())
    more = [COMPANY] if packed else []
    more += [RANDOMNESS, *([CHOSEN] if plan.drawn is None else []), *([ADDED] if plan.grown else [])]
    return (ASSUMPTION, *more)


HEADS = {
    "certified": "CERTIFIED",
    "reference-only": "REFERENCE ONLY (no candidate certified)",
    "pending": "PENDING",
    "not-certified": "NOT CERTIFIED",
}
"""Status → how its text begins."""


def head(c: Certificate) -> str:
    """What was promised, and whether it holds, in a line."""
    target = f"agreement ≥ {c.claim.agreement} at confidence {c.claim.confidence}"
    return f"{HEADS[c.status]}: {target}, {count(c.claim.rows, 'row')}"


def _lines(c: Certificate) -> list[str]:
    cost, by = c.cost, c.delivered.by
    return [
        head(c),
        f"  claim      {c.claim.words}",
        *([f"  why        {worded(why)}"] if (why := alone(c)) else []),
        f"  evidence   {count(c.delivered.profiled, 'row')} profiled, {_order(c)}; procedure {c.procedure.name}",
        *(f"             {line}" for line in _standings(c)),
        *_set_aside(c),
        *_given(c),
        f"  answers    {', '.join(f'{model} {rows:,}' for model, rows in by.items())}"
        + (f"; {c.errors.rows:,} without an answer" if c.errors.rows else ""),
        *(mixed(c.rule, c.claim, c.delivered) if c.status == "certified" else []),
        f"  cost       {usd(cost.total)} ({_stages(cost)}); "
        f"reference on every row ≈ {usd(cost.reference_only)}" + _saving(cost),
        *_paid(cost),
        *_learning(cost),
        *_trials(c),
        *([f"             failed calls may have cost up to {usd(lost)} more"] if (lost := cost.lost_at_most) else []),
        *(f"  {'labels' if not i else '':10} {line}" for i, line in enumerate(_labels(c))),
        *([f"  reference  {self_agreement(c.self_agreement)}"] if c.self_agreement else []),
        *(f"  note       {worded(note)}" for note in c.notes),
        f"  assumes    {' '.join(each for each in c.assumptions if each != RANDOMNESS)}",
        f"  plan       fixed before the evidence was bought; its hash is {c.plan_hash}",
        f"  before     {before(c.earlier_runs, c.earlier_runs_same_task, c.earlier_runs_in_ledger)}",
    ]


def _order(c: Certificate) -> str:
    """Which rows were profiled; the seed the user gave, from which the order's is made."""
    if c.rule.order == "file":
        return "in the order of the file"
    given = "" if c.plan.asked_seed is None else f", made from seed {c.plan.asked_seed}"
    return f"drawn at random (number {c.seed}{given})"


def before(table: int, task: int, ledger: int) -> str:
    """How many runs there were before, in words."""
    of_them = f" ({task:,} of them with this task)" if table else ""
    others = f", on other tables: {ledger - table:,}" if ledger > table else ""
    return f"earlier runs on this table: {table:,}{of_them}{others}"


def _set_aside(c: Certificate) -> list[str]:
    if c.plan.grown is not None:
        nothing = [f"and show that {c.claim.reference} must answer all rows added"] * (not c.rule.models)
        return [f"             {line}" for line in [*continued(c.plan.grown), *nothing]]
    if not (rows := c.claim.set_aside) or c.plan.known is not None:
        return [f"             {line}" for line in known_before(c.plan)]
    piloted = count(rows, "row piloted before is", "rows piloted before are")
    return [f"             {piloted} no evidence: the reference's answers are delivered"]


def alone(c: Certificate) -> str:
    """Why the reference answered every row; empty where it did not."""
    if c.status != "reference-only":
        return ""
    withheld = c.evidence.get("mix", c.evidence).get("withheld")
    return why_alone(c.plan, c.claim, c.delivered, withheld)


def given(c: Certificate) -> list[tuple[str, int, int]]:
    """(candidate, rows it agreed on, rows asked) of the rows profiled that are like those a candidate was given; none
    where nothing was granted."""
    found = checks.given(c.procedure.name, c.evidence) if c.granted and c.rule.models else []
    return [(model, agreed, agreed + bad) for model, agreed, bad in found]


def _given(c: Certificate) -> list[str]:
    return [
        f"             of these, {count(rows, 'is', 'are')} like the rows that {model} answers: "
        f"it agreed on {agreed:,} ({agreed / rows:.3f})"
        for model, agreed, rows in given(c)
        if rows
    ]


def self_agreement(check: SelfAgreement) -> str:
    """How often the reference agrees with itself, in words."""
    if not check.rows:
        return "asked twice, but no row has two answers"
    return (
        f"agreed with itself on {check.agreeing:,} of {check.rows:,} rows asked twice ({check.lower:.3f} … "
        f"{check.upper:.3f}, {check.confidence * 100:g} % limits; reported, not promised): the likely ceiling"
    )


def _standings(c: Certificate) -> list[str]:
    return [
        f"{s.model}: agreed on {s.agreeing:,} of {s.profiled:,} ({s.lower:.3f} … {s.upper:.3f}, 90 % limits)"
        for s in c.delivered.standings
        if s.profiled
    ]


def _labels(c: Certificate) -> list[str]:
    """Reported, not promised. Labels by how often the reference gives them, at most eight."""
    often = sorted((each for each in c.labels if each.profiled), key=lambda each: -each.profiled)[:8]
    lines = []
    for each in often if c.status == "certified" else []:
        agreement = _limits(each.agreement, each.agreement_lower, each.agreement_upper)
        precision = _limits(each.precision, each.precision_lower, each.precision_upper)
        lines.append(f"{each.label}: agreement {agreement}, precision {precision} ({each.profiled:,} profiled)")
    but = ", but for what the claim says of labels" if c.plan.per_label else ""
    of = ", for the rows added alone" if c.plan.grown is not None else ""
    return [*lines, f"(95 % limits{of}; reported, not promised{but})"] if lines else []


def _limits(value: float | None, low: float | None, high: float | None) -> str:
    if value is None or low is None or high is None:
        return "–"
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def _stages(cost: Cost) -> str:
    """What the total is made of: two parts always, and two more where there was anything."""
    before = [f"rows answered before {usd(cost.set_aside)}"] * bool(cost.set_aside)
    twice = [f"asking the reference twice {usd(cost.self_check)}"] * bool(cost.self_check)
    return ", ".join([*before, f"profiling {usd(cost.profiling)}", f"delivery {usd(cost.delivery)}", *twice])


def _paid(cost: Cost) -> list[str]:
    """Whose money it was, where it was not all this run's."""
    if not cost.reused:
        return []
    return [
        f"             this run paid {usd(cost.paid)}; answers for {usd(cost.reused)} were bought by earlier "
        "runs and re-used for nothing"
    ]


def _learning(cost: Cost) -> list[str]:
    """What is in no total: calls that no answer of a row came of."""
    if not cost.learning:
        return []
    return [f"             learning whether servers keep to the answers allowed cost {usd(cost.learning)} besides"]


def trials(c: Certificate) -> tuple[int, float]:
    """Of candidates in several ways: how many were asked, but answer no row, and what their calls have cost, USD."""
    if not c.plan.ways:
        return 0, 0.0
    used = {model for tier in c.rule.tiers or () for model in (tier.model, *tier.peers)}
    idle = [model for model, rows in c.delivered.by.items() if not rows and model not in {c.claim.reference, *used}]
    costs = [cost for model in idle if (cost := c.cost.by_model[model])]
    return len(costs), fsum(costs)


def _trials(c: Certificate) -> list[str]:
    """What it cost to try ways in vain."""
    count, cost = trials(c)
    if not count:
        return []
    share = f" ({cost / c.cost.reference_only:.1%} of that)" if c.cost.reference_only else ""
    return [f"             {count:,} {'ways' if count > 1 else 'way'} tried that answer no row cost {usd(cost)}{share}"]


def _saving(cost: Cost) -> str:
    return f", {cost.saving:.2f}× the cost of this run" if cost.total else ""
