"""A forger: any field of evidence changed in many ways, and all that follows from it worked out again, digests too.

What the forger cannot change is the ledger. `forged` makes each change twice: alone, and with everything else brought
into line with it (`careful`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from fractions import Fraction

import numpy as np
from scipy.stats import hypergeom

from smart_llm.certificates import checks as verifying
from smart_llm.certificates.checks import Promise
from smart_llm.certificates.checks import mix as checked_mix
from smart_llm.certificates.checks.mix_evidence import Finalist
from smart_llm.procedures import smart_2024
from smart_llm.procedures.pinning import digest
from smart_llm.stats.clopper_pearson import interval
from smart_llm.stats.first_bad import rows_needed
from smart_llm.stats.label_look import credit, enough, label_credit
from smart_llm.types import Json, Problem

Path = tuple[Json, ...]
NONSENSE = (Warning, KeyError, TypeError, ValueError, IndexError, ArithmeticError, AttributeError, StopIteration)
"""What working with fields that cannot be ends in."""
KNOWN: dict[tuple[Json, ...], float] = {}
"""Errors of tables that were worked out before."""
MANY = 6
"""Of the numbers in longer lists only some are changed."""


def changes(evidence: Json, names: Sequence[str]) -> list[tuple[Path, Json]]:
    """Every field of evidence, its own whole included, with every other value it is given."""
    return [
        (path, other)
        for path, value in [((), evidence), *places(evidence)]
        for other in variants(value, names)
        if with_value(evidence, path, other) != evidence
    ]


def forged(
    procedure: str, problem: Problem, evidence: Json, claim: Promise, change: tuple[Path, Json]
) -> Iterator[tuple[str, Json]]:
    """(what was changed, forged evidence): alone, and with care."""
    path, other = change
    alone, what = with_value(evidence, path, other), f"{'.'.join(map(str, path))} → {str(other)[:60]}"
    yield what, alone
    with suppress(*NONSENSE):
        if (whole := careful(procedure, problem, alone, claim, path)) != alone:
            yield f"{what}, with care", whole


def places(value: Json, path: Path = ()) -> Iterator[tuple[Path, Json]]:
    """Everything inside, with the way to it."""
    items = list(value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ())
    if len(items) > MANY and isinstance(value, list):
        items = [items[k] for k in (0, len(items) // 2, -1)]
    for key, inner in items:
        yield (*path, key), inner
        yield from places(inner, (*path, key))


def variants(value: Json, names: Sequence[str]) -> list[Json]:
    """Other values for a field."""
    if isinstance(value, bool):
        return [not value, None]
    if isinstance(value, int):
        return [value + by for by in (-7, -2, -1, 1, 2, 7)] + [0, 2 * value, -value, 10**9, value + 0.5, None]
    if isinstance(value, float):
        return [value * by for by in (0.0, 0.5, 0.999, 1.001, 2.0, -1.0)] + [value + 1, value - 1, 0.5, None]
    if isinstance(value, str):
        return [*names, "", f"{value}x", f"-{value}", "0.25", "profile-all", "satisfied", "no gain", None]
    if isinstance(value, list):
        turned = [value[1:2] + value[:1] + value[2:], value[::-1]]
        return [[], value[:-1], value[1:], value + value[-1:], [*value, None], *turned, None]
    if isinstance(value, dict):
        fewer = [{name: each for name, each in value.items() if name != left} for left in value]
        return [*fewer, {}, {**value, "more": 0}, None]
    return [True, False, 0, 1, "no gain", "below the floor", names[-1], [], [0, 0.0, 0], [0.0, 0], {}]


def with_value(value: Json, path: Path, new: Json) -> Json:
    """A copy with another value in that place."""
    if not path:
        return new
    copy = list(value) if isinstance(value, list) else dict(value)
    copy[path[0]] = with_value(value[path[0]], path[1:], new)
    return copy


# --------------------------------------------------------------------------- with care


class Draft:
    """Evidence in the making. What was forged on purpose is not written over."""

    def __init__(self, evidence: Json, forged: Path) -> None:
        self.evidence, self.forged = evidence, forged

    def put(self, *path: Json, value: Json) -> None:
        """Set a field, unless it is the forged one, inside it or around it."""
        short = min(len(path), len(self.forged))
        if path[:short] != self.forged[:short]:
            self.evidence = with_value(self.evidence, path, value)

    def __getitem__(self, name: str) -> Json:
        return self.evidence[name]


def careful(procedure: str, problem: Problem, evidence: Json, claim: Promise, path: Path) -> Json:
    """Everything that follows from the other fields, worked out again."""
    if procedure.startswith("ladder") and "mix" in evidence:
        draft = Draft(evidence["mix"], path[1:])
        _mix(draft, claim)
        return {**evidence, "mix": draft.evidence}
    draft = Draft(evidence, path)
    kind = procedure.partition("/")[0]
    kinds: dict[str, Callable[..., None]] = {"ladder": _cascade, "per-label": _labels}
    if kind in kinds:
        kinds[kind](draft, claim)
    elif kind == "smart":
        _published(draft, problem)
    return draft.evidence


def _mix(draft: Draft, claim: Promise) -> None:
    draft.put("allowance", value=verifying.allowance(claim))
    draft.put("population", value=claim.rows - draft["pilot"]["rows"])
    draft.put("left", value=draft["population"] - draft["profiled"]["rows"])
    draft.put("profiled", "answered", value=draft["profiled"]["rows"] - draft["profiled"]["errors"])
    for k in range(len(draft["finalists"])):
        _finalist(draft, k, claim.rows)
    if draft["candidate"] is not None:
        _chosen(draft, claim)
    told = ([each["guess"] for each in draft["finalists"]], draft["candidate"], draft["shown"], draft["withheld"])
    draft.put("pinned", value=digest(*told))


def _finalist(draft: Draft, k: int, claimed: int) -> None:
    rows, at = draft["population"], ("finalists", k)
    draft.put(*at, "allowance", value=draft["allowance"] - draft["pilot"]["errors"] - draft["spare"])
    draft.put(*at, "left", value=[rows - seen for seen in draft["finalists"][k]["looks"]])
    draft.put(*at, "sums", value=[sum(each) for each in draft["finalists"][k]["shares"]])
    draft.put(*at, "worst", "good", value=rows - draft["finalists"][k]["worst"]["bad"])
    design = draft["finalists"][k]
    bold = any(share > design["allowance"] for each in design["shares"] for share in each)
    if bold and draft.forged[0] in ("finalists", "spare", "pilot", "allowance", "population"):
        whole = checked_mix.read(draft.evidence)
        table = whole.finalists[k]
        if checked_mix._table(whole, table) == [] and 0 <= table.worst.bad <= rows <= claimed:
            draft.put(*at, "worst", "error", value=checked_mix._stated(_error(table, rows)))
    stop = draft["finalists"][k]["stop"]
    seen, share = design["looks"][stop["look"]], design["shares"][stop["look"]]
    due = share[stop["bad"]] if stop["bad"] < len(share) else min(design["allowance"], rows - seen)
    draft.put(*at, "stop", "seen", value=seen)
    draft.put(*at, "stop", "fine", value=seen - stop["bad"])
    draft.put(*at, "stop", "given_up", value=due < 0)
    draft.put(*at, "stop", "share", value=min(design["allowance"], rows - seen) if due < 0 else due)


def _error(table: Finalist, rows: int) -> float:
    """A table's error. It follows from looks, shares and allowance, and most forgeries leave these as they are."""
    told = (tuple(table.looks), tuple(map(tuple, table.shares)), table.allowance, rows, table.worst.bad)
    if told not in KNOWN:
        KNOWN[told] = checked_mix.error(table, rows, table.worst.bad)
    return KNOWN[told]


def _chosen(draft: Draft, claim: Promise) -> None:
    shown = draft["shown"]
    draft.put("shown", "rows", value=shown["agreed"] + shown["bad"] + shown["deferred"])
    likely = verifying.likely(shown["agreed"], shown["bad"], claim.floor)
    draft.put("withheld", value=None if likely else "below the floor")
    chosen = next(each for each in draft["finalists"] if each["candidate"] == draft["candidate"])
    due, errors = min(chosen["stop"]["share"], draft["left"]), draft["profiled"]["errors"]
    if errors > draft["spare"]:
        due = min(due, max(0, chosen["allowance"] + draft["spare"] - errors))
    draft.put("granted", value=0 if draft["withheld"] else due)


def _split(draft: Draft, claim: Promise) -> None:
    """Pilot, rows left, allowance and reserve."""
    errors = draft["pilot_errors"]
    draft.put("rows_left", value=claim.rows - draft["pilot"])
    draft.put("allowance", value=verifying.allowance(claim) - max(0, errors - claim.reserve))
    draft.put("reserve", value=max(0, claim.reserve - errors))


def _cascade(draft: Draft, claim: Promise) -> None:
    _split(draft, claim)
    rows, allowed, spare = draft["rows_left"], draft["allowance"], draft["credit"]
    if 0 <= allowed < allowed + 1 + spare <= rows <= claim.rows:
        draft.put("looked", value=rows_needed(rows, allowed, spare, float(1 - Fraction(claim.confidence))))
    level = hypergeom.cdf(spare, rows, min(rows, allowed + 1 + spare), draft["looked"])
    draft.put("level", value=float(level))
    errors = draft["errors"]
    left = spare - errors - max(0, errors - draft["reserve"]) - draft["unplaced"]
    draft.put("credit_left", value=left)
    draft.put("certified", value=left >= 0)
    for k, (shown, tier) in enumerate(zip(draft["shown"], draft["tiers"], strict=False)):
        draft.put("shown", k, value={**shown, "model": tier["model"]})
    enough = [verifying.likely(each["agreed"], each["bad"], claim.floor) for each in draft["shown"]]
    draft.put("kept", value=enough.index(False) if False in enough else len(enough))
    draft.put("granted", value=bool(draft["certified"] and draft["kept"]))
    draft.put("pinned", value=digest(*(draft[name] for name in ("tiers", "gate", "stop", "shown"))))


def _labels(draft: Draft, claim: Promise) -> None:
    _split(draft, claim)
    rows, looked, alpha = draft["rows_left"], draft["looked"], float(1 - Fraction(claim.confidence))
    whole = all(type(each[name]) is int for each in draft["labels"] for name in ("key", "pilot", "seen", "unplaced"))
    if not (whole and 0 < looked <= rows <= claim.rows) or draft["allowance"] > rows:
        raise ValueError("no such look")
    draft.put("credit", value=credit(rows, draft["allowance"] + draft["reserve"], looked, alpha))
    lost = looked - sum(label["seen"] for label in draft["labels"])
    unknown = draft["pilot"] - sum(label["pilot"] for label in draft["labels"])
    for k, label in enumerate(draft["labels"]):
        carried = draft["least"] - claim.set_aside - label["pilot"] - unknown
        shows = enough(rows, carried, looked, alpha / 10)
        draft.put("labels", k, "enough", value=shows)
        spare = label_credit(label["seen"] + lost, Fraction(draft["share"]), 0.9 * alpha) - lost
        draft.put("labels", k, "credit", value=label["seen"] if label["seen"] + lost < shows else spare)
    draft.put("promised", value=[label["key"] for label in draft["labels"]])
    draft.put("errors", value=looked - sum(label["seen"] for label in draft["labels"]))
    draft.put("pilot_errors", value=draft["pilot"] - sum(label["pilot"] for label in draft["labels"]))
    draft.put("unplaced", value=sum(label["unplaced"] for label in draft["labels"]))
    draft.put("credit_left", value=draft["credit"] - draft["errors"] - draft["unplaced"])
    if "stop" in draft.evidence:
        likely = verifying.likely(draft["shown"]["agreed"], draft["shown"]["bad"], claim.floor)
        draft.put("pays", value=True)
        draft.put("granted", value=bool(draft["pays"] and likely))
        pinned = (draft[name] for name in ("candidate", "peers", "score", "stop", "shown"))
        draft.put("stop_digest", value=digest(*pinned))


def _published(draft: Draft, problem: Problem) -> None:
    """`smart/2024`: limits, standings, prices, and the shares by the shipped functions."""
    for k, model in enumerate(draft["models"]):
        low, high = interval(model["agreeing"], model["calls"], float(problem.confidence))
        draft.put("models", k, "lower", value=float(low))
        draft.put("models", k, "upper", value=float(high))
        fits = model["index"] == 0 or (model["calls"] and low >= problem.agreement)
        standing = "satisfied" if fits else "invalid" if high < problem.agreement else "dropped"
        draft.put("models", k, "standing", value=standing)
        draft.put("models", k, "price", value=model["spent"] / model["calls"] if model["calls"] else None)
    models = sorted(draft["models"], key=lambda model: model["index"])
    calls, agreeing, spent = (np.array([each[name] for each in models]) for name in ("calls", "agreeing", "spent"))
    state = smart_2024.State(
        problem, calls, agreeing, spent, tuple(each["standing"] for each in models), draft["profiled"]
    )
    mixed = draft["variant"] == "model-mix"
    shares = (smart_2024.cheapest_mix if mixed else smart_2024.cheapest_satisfied)(state)
    draft.put("shares", value=smart_2024._describe(state, shares)["shares"])
