"""What a stranger broke: runs that look honest and are not, over the public API alone."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import smart_llm as smart

LETTERS = "abcdefgh"
TASK = smart.Task("Classify this item: number {id}", labels=list(LETTERS))


def number(request: smart.Request) -> int:
    """Of the row."""
    return int(request.prompt.split()[-1])


@dataclass
class Phase:
    """Knows, as a listener, when delivery begins."""

    delivering: bool = False
    calls: list[int] = field(default_factory=list)

    def __call__(self, event: smart.Event) -> None:
        """Listen."""
        self.delivering |= isinstance(event, smart.Decided)


def truths(rows: int) -> list[str]:
    """A letter per row."""
    rng = random.Random(5)
    return [rng.choice(LETTERS) for _ in range(rows)]


def other(letter: str, by: int) -> str:
    """Another letter."""
    return LETTERS[(LETTERS.index(letter) + 1 + by) % len(LETTERS)]


def run(folder: Path, rows: int, models: dict[str, Callable[[smart.Request], Any]], **options: Any) -> smart.Run:
    """A run whose models answer by these functions, reference first."""
    reference, *candidates = models
    given = {spec.replace("in=", "").partition("?")[0]: smart.FakeProvider(answer) for spec, answer in models.items()}
    usual = {"agreement": "0.9", "seed": 1, "task": TASK} | options
    return smart.run(
        [{"id": i} for i in range(rows)],
        usual.pop("task"),
        reference=reference,
        candidates=candidates,
        **{"providers": given, "ledger": folder / "l.db", **usual},
    )


def test_rows_whose_further_draws_fail_while_delivering_go_to_the_reference(tmp_path: Path) -> None:
    """A row that the look placed in the first tier is not handed to the second because its score is missing now: the
    second is wrong on just these rows."""
    truth, phase, rng = truths(4000), Phase(), random.Random(5)
    easy = [rng.random() < 0.5 for _ in truth]

    def cheap(request: smart.Request) -> str | Exception:
        i = number(request)
        if request.draw and phase.delivering:
            return smart.Refused("blocked", row_only=True)
        return truth[i] if easy[i] else other(truth[i], request.draw)

    def middle(request: smart.Request) -> str:
        i = number(request)
        return other(truth[i], request.draw) if easy[i] else truth[i]

    models = {
        "fake:big?in=100&out=100": lambda request: truth[number(request)],
        "fake:cheap?in=0.1&out=0.1&draws=3": cheap,
        "fake:middle?in=2&out=2&draws=2": middle,
    }
    done = run(tmp_path, 4000, models, on_event=phase)
    assert len(done.certificate.rule.tiers or ()) == 2
    missed = sum(row["answer"] != letter for row, letter in zip(done.table, truth, strict=True))
    assert missed <= done.certificate.claim["allowance"]
    assert smart.verify(done.certificate, done.ledger) == []


@pytest.mark.parametrize("seed", range(2))
def test_a_label_whose_rows_the_reference_failed_on_is_not_taken_for_rare(tmp_path: Path, seed: int) -> None:
    """The reference's calls fail while profiling, just on the rows of one label, and are answered later: what is
    promised for that label holds, or nothing is promised."""
    phase, rng = Phase(), random.Random(5)
    truth = ["c" if rng.random() < 0.08 else rng.choice("ab") for _ in range(3000)]

    def big(request: smart.Request) -> str | Exception:
        letter = truth[number(request)]
        return letter if letter != "c" or phase.delivering else smart.Refused("overloaded", row_only=True)

    models = {
        "fake:big?in=100&out=100": big,
        "fake:small?in=0.5&out=0.5": lambda request: truth[number(request)].replace("c", "a"),
    }
    task = smart.Task("Classify {id}", labels=list("abc"))
    options = {"agreement": "0.8", "per_label": "0.8", "seed": seed, "task": task, "on_event": phase}
    run(tmp_path, 3000, models, **options)
    done = run(tmp_path, 3000, models, **options)
    kept = sum(row["answer"] == "c" for row, letter in zip(done.table, truth, strict=True) if letter == "c")
    assert not done.certificate.granted or kept >= 0.8 * truth.count("c")
    assert smart.verify(done.certificate, done.ledger) == []


@pytest.mark.parametrize(("before_the_end", "seed"), [(1, 0), (3, 1)])
def test_a_snapshot_that_changes_as_profiling_ends(tmp_path: Path, before_the_end: int, seed: int) -> None:
    """However few answers of the new one are among the evidence: it delivers nothing."""
    truth, phase = truths(1500), Phase()

    def small(request: smart.Request) -> smart.Answer:
        if not phase.delivering:
            phase.calls.append(number(request))
        letter = truth[number(request)]
        late = phase.delivering if change is None else len(phase.calls) > change
        new = late and change is not None
        return smart.Answer(other(letter, 0) if new and number(request) % 2 else letter, snapshot="v2" if new else "v1")

    models = {"fake:big?in=100&out=100": lambda request: truth[number(request)], "fake:small?in=1&out=1": small}
    change = None
    (tmp_path / "quiet").mkdir()
    run(tmp_path / "quiet", 1500, models, seed=seed, concurrency=1, on_event=phase)
    change, phase.delivering = len(phase.calls) - before_the_end, False
    phase.calls.clear()
    with pytest.raises(smart.SmartError, match="v2"):
        run(tmp_path, 1500, models, seed=seed, concurrency=1, on_event=phase)


FORGED: dict[str, Callable[[dict[str, Any]], object]] = {
    "another reference": lambda c: c["claim"].update(reference="openai:gpt-5.2"),
    "self-agreement left out": lambda c: c.update(self_agreement=None),
    "an assumption left out": lambda c: c.update(assumptions=c["assumptions"][:-1]),
    "delivered by the reference": lambda c: c["delivered"].update(by={"fake:big": 800, "fake:small": 0}),
    "saving": lambda c: c["cost"].update(saving=1e6),
    "rates": lambda c: c["models"][1].update(input=9.0),
    "notes": lambda c: c.update(notes=["All is well."]),
    "late errors": lambda c: c["errors"].update(first=[1, 2]),
    "standings": lambda c: c["delivered"].update(standings=[]),
}


def test_nothing_in_a_certificate_can_be_changed(tmp_path: Path) -> None:
    """With the ledger every field counts, also those that no evidence tells; every certificate that was issued on the
    way verifies."""
    truth = truths(800)
    failing = {"now": True}

    def big(request: smart.Request) -> str | Exception:
        lost = failing["now"] and number(request) % 20 == 7
        return smart.Refused("not now", row_only=True) if lost else truth[number(request)]

    models = {"fake:big?in=100&out=100": big, "fake:small?in=1&out=1": lambda request: truth[number(request)]}
    first = run(tmp_path, 800, models, self_check=30)
    failing["now"] = False
    second = run(tmp_path, 800, models, self_check=30)
    assert first.certificate != second.certificate
    for issued in (first, second):
        assert smart.verify(issued.certificate, issued.ledger) == []
    for what, forge in FORGED.items():
        forged = json.loads(second.certificate.to_json())
        forge(forged)
        assert smart.verify(forged, second.ledger) != [], what


def test_a_stopped_run_has_no_finished_certificate(tmp_path: Path) -> None:
    """A finished certificate does not verify with the ledger of the same run stopped by its budget."""
    truth = truths(600)
    models = {
        "fake:big?in=100&out=100": lambda request: truth[number(request)],
        "fake:small?in=1&out=1": lambda request: truth[number(request)],
    }
    for folder in ("whole", "stopped"):
        (tmp_path / folder).mkdir()
    whole = run(tmp_path / "whole", 600, models)
    with pytest.raises(smart.BudgetExhausted):
        run(tmp_path / "stopped", 600, models, budget=whole.cost * 0.95)
    assert smart.verify(whole.certificate, whole.ledger) == []
    assert smart.verify(whole.certificate, tmp_path / "stopped" / "l.db") != []


@pytest.mark.parametrize("agreement", ["19/20", "9.5e-1", "+.95"])
def test_shares_are_kept_as_decimals(tmp_path: Path, agreement: str) -> None:
    """However a share is written, its certificate verifies."""
    models = {"fake:big?in=9&out=9": lambda _: "a", "fake:small?in=1&out=1": lambda _: "a"}
    done = run(tmp_path, 300, models, agreement=agreement)
    assert done.certificate.claim["agreement"] == "0.95"
    assert smart.verify(done.certificate, done.ledger) == []
    with pytest.raises(smart.InputError, match="decimal"):
        run(tmp_path, 300, models, agreement="2/3")


def test_a_reference_that_answers_half_claims_nothing(tmp_path: Path) -> None:
    """More rows without an answer than may differ: the words claim nothing, though only the reference was asked."""
    truth = truths(300)
    models = {
        "fake:big?in=100&out=100": lambda request: truth[number(request)] if number(request) % 2 else "no idea",
        "fake:small?in=1&out=1": lambda _: "a",
    }
    done = run(tmp_path, 300, models)
    assert done.certificate.claim["words"].startswith("Nothing is claimed")
    assert smart.verify(done.certificate, done.ledger) == []


def test_a_provider_of_no_model_is_refused(tmp_path: Path) -> None:
    """A misnamed stand-in must not leave the real model to be asked."""
    given = {"fake:bgi": smart.FakeProvider(lambda _: "a"), "fake:small": smart.FakeProvider(lambda _: "a")}
    with pytest.raises(smart.InputError, match=r"fake:bgi is no model of this run.*fake:big"):
        smart.run(
            [{"id": 1}, {"id": 2}],
            TASK,
            reference="fake:big?in=9&out=9",
            candidates=["fake:small?in=1&out=1"],
            providers=given,
            ledger=tmp_path / "l.db",
        )


@pytest.mark.parametrize("answer", [None, 7, ["a"]])
def test_a_stand_in_that_returns_nothing_of_use_is_told(tmp_path: Path, answer: Any) -> None:
    """A sentence, not an error from the inside; what is not a function is refused at once."""
    models = {"fake:big?in=9&out=9": lambda _: answer, "fake:small?in=1&out=1": lambda _: "a"}
    with pytest.raises(smart.InputError, match="FakeProvider: the function returned"):
        run(tmp_path, 30, models)
    with pytest.raises(smart.InputError, match="give a function"):
        smart.FakeProvider("a")  # type: ignore[arg-type]


def test_failed_calls_that_are_paid_count_in_what_a_candidate_costs(tmp_path: Path) -> None:
    """A candidate fails on a third of the rows, and these calls cost eight times what the reference costs: it is given
    up, and the run costs hardly more than the reference alone, failed calls included. Run again, nothing changes."""
    truth = [random.Random(f"paid {i}").choice("ab") for i in range(1000)]
    number = [random.Random(f"fails {i}").random() for i in range(1000)]
    rows = [{"id": i} for i in range(1000)]
    calls = 0

    def small(request: smart.Request) -> smart.Answer:
        nonlocal calls
        calls += 1
        i = int(request.prompt.split()[-1])
        if number[i] < 1 / 3:
            return smart.Answer(None, error="cut off", usage=smart.Usage(100, 88_000))
        return smart.Answer(truth[i], usage=smart.Usage(100, 10))

    def big(request: smart.Request) -> smart.Answer:
        return smart.Answer(truth[int(request.prompt.split()[-1])], usage=smart.Usage(100, 10))

    def run() -> smart.Run:
        return smart.run(
            rows,
            smart.Task("Classify number {id}", labels=["a", "b"]),
            reference="fake:big?in=100&out=100",
            candidates=["fake:small?in=1&out=1"],
            agreement=0.9,
            seed=3,
            providers={"fake:big": smart.FakeProvider(big), "fake:small": smart.FakeProvider(small)},
            ledger=tmp_path / "ledger.db",
        )

    first = run()
    cost, alone = first.certificate.cost, 1000 * 11_000 * 1e-6
    assert cost["lost_at_most"] > 0
    assert cost["total"] + cost["lost_at_most"] <= 1.06 * alone
    before = calls
    again = run()
    assert (again.certificate, calls) == (first.certificate, before)


def test_many_candidates_that_are_paid_by_time_keep_to_the_ceiling(tmp_path: Path) -> None:
    """Six providers of the user's own, whose prices nobody can guess, are wrong on every row, and every call of theirs
    costs a hundredth of what the reference costs on all rows: they are not all tried."""
    reference = smart.Usage(10, 1)  # at 100 USD a million: 0.33 USD for all rows

    def big(request: smart.Request) -> smart.Answer:
        return smart.Answer("a", usage=reference)

    def small(request: smart.Request) -> smart.Answer:
        return smart.Answer("b", usage=smart.Usage(10, 1, cpu_seconds=0.0033 * 3600))

    models = {"fake:big?in=100&out=100": big} | {f"fake:small{k}?cpu_hour=1": small for k in range(6)}
    done = run(tmp_path, 300, models)
    assert done.certificate.cost.total <= 1.05 * done.certificate.cost.reference_only


@pytest.mark.parametrize("stopped", [False, True])
def test_what_a_run_rests_on_is_not_asked_again_by_another(tmp_path: Path, stopped: bool) -> None:
    """A candidate breaks the contract on a third of the rows, which is harmless: they go to the reference. Asked again
    it says something wrong there, and a run at another agreement does ask again, with --retry broken. The first run,
    finished or stopped while it delivered, has no evidence about what is said then: it delivers what it would have."""
    truth, asked = truths(600), set[int]()

    def small(request: smart.Request) -> str:
        i = number(request)
        if i % 3:
            return truth[i]
        again = i in asked
        asked.add(i)
        return other(truth[i], 0) if again else "who knows"

    models = {"fake:big?in=100&out=100": lambda request: truth[number(request)], "fake:small?in=1&out=1": small}
    lasting = {name.partition("?")[0]: smart.FakeProvider(answer, keep=True) for name, answer in models.items()}
    cost = run(tmp_path, 600, models, providers=lasting, ledger=tmp_path / "whole.db").cost
    asked.clear()
    with contextlib.suppress(smart.BudgetExhausted):
        run(tmp_path, 600, models, providers=lasting, budget=0.6 * cost if stopped else None)
    said: list[str] = []
    options: dict[str, Any] = {
        "agreement": "0.95",
        "seed": 2,
        "retry": "broken",
        "on_event": lambda e: said.append(str(e)),
    }
    run(tmp_path, 600, models, providers=lasting, **options)
    done = run(tmp_path, 600, models, providers=lasting)
    missed = sum(row["answer"] != letter for row, letter in zip(done.table, truth, strict=True))
    assert done.certificate.granted
    assert missed <= done.certificate.claim.allowance
    assert smart.verify(done.certificate, done.ledger) == []
    assert any("rest on them" in each for each in said)
