"""`smart replay --candidate learned`: a recorded table with texts is enough, the reference's lines alone."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from smart_llm.errors import InputError
from smart_llm.simulation.replay import replay

WORDS = {"yes": ["great", "lovely", "fine"], "no": ["awful", "broken", "poor"]}


def table(
    rows: int = 4000, *, telling: bool = True, vendor: bool = False, right: float = 0.9, price: float = 0.2
) -> list[dict[str, object]]:
    """A recorded table of reviews; vendor: with a candidate that is right on that share of rows, at that price."""
    rng, lines = np.random.default_rng(1), []
    for number in range(rows):
        label = ("no", "yes")[int(rng.integers(2))]
        hints = list(rng.choice(WORDS[label], 2)) if telling else []
        text = " ".join([*(f"w{k}" for k in rng.integers(0, 300, 8)), *hints, str(number)])
        said = {"item_id": str(number), "model": "ref", "answer": label, "cost_usd": 1.0, "input": text}
        lines.append(said)
        if vendor:
            other = label if rng.random() < right else ("no", "yes")[label == "no"]
            lines.append({**said, "model": "cheap", "answer": other, "cost_usd": price, "input": None})
    return lines


def test_the_reference_alone_is_enough() -> None:
    """Where texts tell the answer, most rows cost nothing, and the promise is kept."""
    figures = replay(table(), reference="ref", candidates=["learned"], agreement=0.9, trials=2)
    assert figures.saving > 8
    assert figures.violations == 0
    assert figures.candidates == ("learned",)


def test_texts_that_tell_a_lot_are_found_out_beside_a_cheap_candidate() -> None:
    """Its pilot is short, so there are hardly rows to be taught with; that is no reason to pay for what texts tell."""
    lines = table(3000, vendor=True, right=0.96, price=0.1)
    both = replay(lines, reference="ref", candidates=["cheap", "learned"], agreement=0.9, trials=4)
    without = replay(lines, reference="ref", candidates=["cheap"], agreement=0.9, trials=4)
    assert both.cost_ratio_mean < 0.6 * without.cost_ratio_mean


def test_where_texts_tell_nothing_it_costs_what_it_does_without() -> None:
    """With a candidate beside it: at most 1.5 % more than without `learned`; alone: nothing."""
    lines = table(2000, telling=False, vendor=True)
    both = replay(lines, reference="ref", candidates=["cheap", "learned"], agreement=0.85, trials=2)
    without = replay(lines, reference="ref", candidates=["cheap"], agreement=0.85, trials=2)
    assert both.cost_ratio_mean <= 1.015 * without.cost_ratio_mean
    alone = replay(table(2000, telling=False), reference="ref", candidates=["learned"], agreement=0.9)
    assert alone.cost_ratio_mean <= 1.015


def test_columns_named_by_text_are_learned_from() -> None:
    """`text=` names the columns; one that is not there is an error."""
    lines = [{"title" if name == "input" else name: value for name, value in line.items()} for line in table(1000)]
    assert replay(lines, reference="ref", candidates=["learned"], agreement=0.8, text=["title"]).saving > 2
    with pytest.raises(InputError, match="no such column"):
        replay(lines, reference="ref", candidates=["learned"], text=["body"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input": None}, "has no texts; name their columns by text"),
        ({"input": "always the same"}, "1 different texts are too few"),
        ({"answer": "each its own"}, "1,000 different answers; it learns labels"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(change: dict[str, str | None], message: str) -> None:
    """No texts, too few different ones, or answers that are no closed set: one line."""
    own = change.get("answer") is not None
    lines = [line | change | ({"answer": f"answer {k}"} if own else {}) for k, line in enumerate(table(1000))]
    with pytest.raises(InputError, match=message):
        replay(lines, reference="ref", candidates=["learned"])


def test_the_command_line_says_the_same(tmp_path: Path, command: Callable[..., tuple[int, str, str]]) -> None:
    """`--candidate learned` and `--text` on the command line; bad input ends with 2 and one line."""
    path = tmp_path / "recorded.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in table(1200)))
    told = ["replay", path, "--reference", "ref", "--candidate", "learned", "--agreement", "0.8"]
    code, out, err = command(*told, "--json")
    assert code == 0, err
    assert json.loads(out)["candidates"] == ["learned"]
    code, out, err = command(*told, "--text", "nothing")
    assert code == 2
    assert "--text nothing: no such column" in err
    assert err.count("\n") <= 2


@pytest.mark.parametrize("name", ["function:rules.py:classify", "regex:great=yes", "learned?embed=static"])
def test_what_answers_in_live_runs_only_is_refused_in_a_line(name: str) -> None:
    """A recorded table holds no answers of it."""
    with pytest.raises(InputError, match="it answers in live runs only") as told:
        replay(table(300), reference="ref", candidates=[name])
    assert "\n" not in str(told.value)
