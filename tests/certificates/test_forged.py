"""Evidence that was forged with care: every digest and everything that follows worked out again. The ledger refuses it.

A forger may change anything in a certificate but not what the ledger holds: the answers, and what was recorded before
they were asked for. Evidence is a function of that, down to the last field, so nothing may be changed at all, with two
exceptions that are named here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from forging import changes, forged
from ledgers import Told, told
from odd import labelled, odd
from runs import RUNS

from smart_llm.certificates import checks as verifying
from smart_llm.procedures.pinning import digest
from smart_llm.types import Json


def accepted(run: Told, few: int | None = None) -> list[str]:
    """The forgeries of a run that verification does not notice. few: so many changes, drawn by chance (None: all)."""
    evidence = run.evidence
    assert run.problems(evidence) == [], run.problem
    every = changes(evidence, run.names)
    chosen = np.random.default_rng(len(every)).permutation(len(every))[:few]
    return [
        what
        for k in chosen
        for what, other in forged(run.procedure, run.problem, evidence, run.claim, every[k])
        if other != evidence and not run.problems(other) and not harmless(run, evidence, other)
    ]


def harmless(run: Told, evidence: Json, other: Json) -> bool:
    """The two exceptions. Where a mix needed no evidence nothing was recorded before it; what it may then hand over is
    no more than may be missed without any. And models that `smart/2024` never asked stand in no order."""
    if run.fixed is None and "mix" in evidence:
        return other["mix"]["granted"] <= max(0, run.problem.allowance - evidence["mix"]["pilot"]["errors"])
    if "models" in evidence:
        return without_order(evidence) == without_order(other)
    return False


def without_order(evidence: Json) -> Json:
    """With the models that were never asked at the end, by index."""
    asked = [each for each in evidence["models"] if each["calls"]]
    others = sorted((each for each in evidence["models"] if not each["calls"]), key=lambda each: each["index"])
    return {**evidence, "models": [*asked, *others]}


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_no_field_can_be_forged(name: str) -> None:
    """Every field, every entry of every list, in many ways, alone and with care: refused."""
    run = RUNS[name]()
    assert run.verdict.granted == (name not in ("per label, withheld", "profile-all", "reference-only"))
    assert ("tiers" in run.evidence) == (name in ("cascade", "tiers and gate"))
    assert accepted(run) == []


def test_what_a_forger_would_like_best() -> None:
    """No stopping row, so that everything is delivered, and a look that showed nothing bad: this passes without the
    ledger, and is refused with it."""
    run = RUNS["cascade"]()
    evidence = run.evidence
    shown = [{**each, "agreed": evidence["looked"], "bad": 0} for each in evidence["shown"]]
    bold = {**evidence, "stop": None, "shown": shown}
    bold["pinned"] = digest(*(bold[name] for name in ("tiers", "gate", "stop", "shown")))
    assert verifying.check(run.procedure, bold, run.claim) == []
    tiers = verifying.rule(run.procedure, bold).tiers
    assert tiers
    assert tiers[-1].stop is None
    assert run.problems(bold) != []


# --------------------------------------------------------------------------- a few fields of many runs

ODD = [
    *(25, 55, 53, 240, 179, 281, 75, 193, 355, 80, 109, 114, 118),  # cascades: granted, without gain, without credit
    *(5, 37, 10, 13, 20, 50, 104, 260, 194, 72, 120, 176, 234, 307, 87, 101),  # mixes with evidence
    *(1, 42, 30, 190, 199, 272, 364, 323, 340),  # mixes without
]
FEW = 16
"""Changes in each run."""


def kinds(run: Told) -> Iterator[str]:
    """What a run shows of all that runs can come to."""
    evidence, granted = run.evidence, "granted" if run.verdict.granted else "not granted"
    if not evidence:
        yield "nothing"
    elif "mix" in evidence:
        mix = evidence["mix"]
        yield f"mix, {granted}"
        yield f"{len(mix['finalists'])} followed"
        yield "errors" if mix["profiled"]["errors"] else "no errors"
        yield from ("given up" for each in mix["finalists"] if each["stop"]["given_up"])
    else:
        yield f"look, {granted}"
        yield "stopping row" if evidence.get("stop") else "no stopping row"
        yield "look with errors" if evidence["errors"] else "look without errors"


@pytest.mark.slow
def test_nothing_can_be_forged_in_odd_runs_of_the_default() -> None:
    """Cascades and mixes, granted or not, with errors, with finalists given up: honest evidence passes, none forged."""
    seen = Counter[str]()
    for seed in ODD:
        run = told("ladder", *odd(seed, 160))
        assert accepted(run, FEW) == [], seed
        seen.update(kinds(run))
    wanted = ["mix, granted", "mix, not granted", "look, granted", "look, not granted", "1 followed", "2 followed"]
    wanted += ["errors", "given up", "stopping row", "no stopping row", "look with errors"]
    assert min(seen[kind] for kind in wanted) >= 2, seen


@pytest.mark.slow
def test_nothing_can_be_forged_in_odd_runs_per_label() -> None:
    """The same with promises per label."""
    seen = Counter[str]()
    for seed in range(1, 61):
        run = told("per-label", *labelled(seed, 250))
        assert accepted(run, FEW) == [], seed
        seen.update(kinds(run))
    wanted = ["look, granted", "look, not granted", "stopping row", "no stopping row", "look with errors", "nothing"]
    assert min(seen[kind] for kind in wanted) >= 2, seen


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["profile-all", "profile-smart", "model-mix"])
def test_nothing_can_be_forged_in_odd_runs_of_the_published_system(variant: str) -> None:
    """The same for `smart/2024`."""
    for seed in range(10):
        run = told(f"smart/2024:{variant}", *odd(seed, 300))
        assert accepted(run, FEW) == [], seed
