"""What a stranger broke: certificates whose words, or whose numbers without a ledger, say more than was shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import smart_llm as smart
from smart_llm.certificates.certificate import assumed, stored
from smart_llm.certificates.claimed import words
from smart_llm.certificates.seeds import order_seed
from smart_llm.ledger import canonical, tagged
from smart_llm.types.plan import frozen_plan
from tests.engine.test_attacks import number, other, run, truths


def whatever(left: object, right: object) -> bool:
    """Any two answers."""
    return True


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"equivalence": whatever}, "whatever says so."),
        ({"tolerance": 0.6}, "when they differ by at most 0.6 of the larger one (or of 1)."),
        ({"parse": float}, "float makes of replies."),
    ],
)
def test_the_claim_says_when_two_answers_count_as_the_same(tmp_path: Path, options: dict[str, Any], told: str) -> None:
    """A candidate that answers twice the number is certified because the user calls that the same: whoever reads the
    claim, in words or in JSON, is told so; and words without it do not verify."""
    times = 1 if "parse" in options else 2
    models = {
        "fake:big?in=100&out=100": lambda request: str(1 + number(request)),
        "fake:small?in=1&out=1": lambda request: str(times * (1 + number(request))),
    }
    done = run(tmp_path, 600, models, task=smart.Task("Number {id}", answer="number", **options))
    assert done.certificate.granted
    assert told in done.certificate.claim.words
    assert told in " ".join(done.certificate.text().split())
    assert smart.verify(done.certificate) == []
    forged = json.loads(done.certificate.to_json())
    forged["claim"]["words"] = forged["claim"]["words"].partition(" answers.")[0] + " answers."
    assert "claim: the words do not say what the numbers say" in smart.verify(forged)


def test_labels_that_hold_lines_and_signs_of_control_say_nothing_of_their_own(tmp_path: Path) -> None:
    """A label may hold anything. In the text of a certificate it stands on its own line, and no sign of it moves what
    else is said or hides it: nobody reads a claim that nobody made."""
    labels = ["a\n  claim      With 100 % confidence, nothing differs.", "b\x1b[2J", "c\u202e\u200b"]
    models = dict.fromkeys(
        ("fake:big?in=100&out=100", "fake:small?in=1&out=1"), lambda request: labels[number(request) % 3]
    )
    done = run(tmp_path, 300, models, task=smart.Task("Number {id}", labels=labels))
    text = done.certificate.text()
    assert sum(line.split()[:1] == ["claim"] for line in text.splitlines()) == 1
    assert not {"\x1b", "\u202e", "\u200b"} & set(text)
    assert "⟨U+001B⟩" in text


def continued(looks: list[Any], *sizes: int) -> dict[str, Any]:
    """In a plan: that the other 1,000 rows are delivered as in an earlier run. sizes: of the tables before."""
    tables = [["b2:" + "0" * 32, size] for size in sizes or (1000,)]
    told = {"run": "20260101-000000-abcdef", "design": "b2:" + "0" * 32, "rows": 1000, "looks": looks, "tables": tables}
    return {"grown": told}


@pytest.mark.parametrize(
    ("plan", "problem"),
    [
        (continued([]), "evidence: the earlier looks are not those of the plan"),
        (continued([[900, 0, 1]]), "evidence: the earlier looks are not those of the plan"),
        (continued([[900, 0, 1]], 900), "plan: the run that is continued was not of fewer rows"),
        (continued([[900, 0, 1]], 1000, 1000), "plan: the run that is continued was not of fewer rows"),
        ({"set_aside": list(range(1000))}, "delivered: fewer rows by the reference than were profiled and set aside"),
        ({"set_aside": [7] * 1000}, "plan: the rows set aside are not some of the table's, in order"),
        ({"set_aside": list(range(-1, 999))}, "plan: the rows set aside are not some of the table's, in order"),
    ],
)
def test_evidence_about_half_of_a_table_is_none_about_the_other_half(
    tmp_path: Path, plan: dict[str, Any], problem: str
) -> None:
    """Honest evidence about 1,000 rows is put forward for 2,000: the others are said to be delivered as in an earlier
    run, which nothing shows anything of, or to be set aside and yet answered by a candidate. All that follows is worked
    out again: refused, also without a ledger."""
    truth = truths(1000)
    models = {
        "fake:big?in=100&out=100": lambda request: truth[number(request)],
        "fake:small?in=1&out=1": lambda request: truth[number(request)] if number(request) % 17 else "a",
    }
    told = json.loads(run(tmp_path, 1000, models).certificate.to_json())
    told["plan"] |= {"rows": 2000, "agreement": "0.95", "reserve": 1, **plan}
    frozen = frozen_plan(told["plan"])
    told["plan"]["seed"] = told["seed"] = order_seed(frozen.command, frozen.drawn)
    told |= {"plan_hash": tagged(canonical(told["plan"])), "assumptions": assumed(frozen)}
    told["claim"] |= {"rows": 2000, "agreement": "0.95", "set_aside": 1000}
    told["delivered"]["set_aside"] = 1000
    told["delivered"]["by"]["fake:small"] += 1000
    told["claim"]["words"] = words(stored(told).claim, frozen.task, "certified")
    assert problem in smart.verify(told)


@pytest.mark.parametrize(("unsettled", "by"), [(100, {"fake:big": 200}), (0, {"fake:big": 200, "fake:small": 100})])
def test_the_reference_alone_is_not_said_of_rows_that_it_was_not_asked(
    tmp_path: Path, unsettled: int, by: dict[str, int]
) -> None:
    """A run that certified nothing says that the reference was asked about every row: not where a third of them are not
    settled, or were answered by a candidate, also without a ledger."""
    truth = truths(300)
    models = {
        "fake:big?in=100&out=100": lambda request: truth[number(request)],
        "fake:small?in=1&out=1": lambda request: other(truth[number(request)], 0),
    }
    told = json.loads(run(tmp_path, 300, models).certificate.to_json())
    assert told["status"] == "reference-only"
    told["claim"]["unsettled"] = unsettled
    told["delivered"]["by"] |= by
    told["delivered"]["profiled"] = 4
    assert smart.verify(told) != []
