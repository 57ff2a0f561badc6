"""What a run writes into its ledger besides answers: kinds of events, and how an ask is recorded.

Written by the engine; read by it, by the checks of certificates and by reports.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan
from typing import TypeAlias

from smart_llm.types import Answers, Json

FIXED, ASK, ASKS = "fixed", "ask", "asks"
"""Kinds of events."""


NO_KEY = ""
"""In place of the key of a request: what is said in a lesson is none."""


READINGS = ("marks", "scores", "said")
"""What is read from answers: marks, scores, and a number standing for each answer; by model."""


Entry: TypeAlias = Mapping[str, Json]
"""An ask as it is recorded."""


def reading(sheet: Answers, k: int, models: Sequence[int]) -> dict[str, Json]:
    """What one row of a sheet was read as, model by model."""
    assert sheet.traits is not None
    return {
        "marks": [int(sheet.marks[k, m]) for m in models],
        "scores": [None if isnan(sheet.score[k, m]) else float(sheet.score[k, m]) for m in models],
        "said": [int(sheet.traits.key[k, m]) for m in models],
    }


def lost(entry: Entry) -> set[str]:
    """The keys of the requests of an ask that failed."""
    places = {m: at for at, m in enumerate(entry["models"])}
    return {entry["keys"][k][places[m]] for k, m in entry["failed"]} | set(entry.get("undrawn", ()))


DONE = "done"
"""State of a run whose rows are all settled."""


FAILURES = "failures"
"""Kind of the event that records, once all rows are settled, what has failed."""


CHECKED = "self-check"
"""Kind of the event that records it."""


GIVEN_UP = "given up"
"""Kind of the event that ends a run that another one takes the place of."""


TAUGHT = "taught"
"""Kind of the event that keeps the model of a candidate that is taught in the run."""


KNOWN = "known before"
"""Kind of the event that keeps the keys of the answers that a candidate is taught with beforehand."""


ABOUT, GIVEN, IDS = "about", "answers given", "ids"
"""Kinds of events."""
