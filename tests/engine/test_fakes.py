"""What a `FakeProvider` said is of its process alone, unless it is to be kept."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from forks import ran

from smart_llm.ledger import Reader

CHILD = """
import json, sys
import smart_llm as smart

folder, answer, keep, stop = sys.argv[1:]
calls, said = [], []

def react(request):
    calls.append(request.prompt)
    return smart.Refused("enough") if len(calls) > int(stop) else answer

def told(event):
    if text := getattr(event, "text", None):
        said.append(text)

given = {name: smart.FakeProvider(react, keep=keep == "keep") for name in ("fake:big", "fake:small")}
try:
    run = smart.run(
        [{"text": f"row {i}"} for i in range(60)],
        smart.Task(prompt="{text}", labels=["yes", "no"]),
        reference="fake:big?in=10&out=10", candidates=["fake:small?in=1&out=1"], agreement="0.8", seed=7,
        providers=given, ledger=f"{folder}/l.db", on_event=told, concurrency=1,
    )
    found = {"id": run.run_id, "answers": sorted({row["answer"] for row in run.table}),
             "seed": run.certificate.plan["seed"]}
    open(f"{folder}/c.json", "w").write(run.certificate.to_json())
except smart.Refused:
    found = {}
print(json.dumps({**found, "calls": len(calls), "said": said}))
"""


def started(command: list[str]) -> Any:
    """An interpreter of its own."""
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def child(folder: Path, answer: str, keep: str = "", stop: int = 10**9, *, by: Any = ran) -> dict[str, Any]:
    """A process of its own that runs the same command with this answer. by: `ran`, or `started`, which forks none: what
    is of one process alone must not come from the one that the first was forked from."""
    command = [sys.executable, "-c", CHILD, str(folder), answer, keep, str(stop)]
    done = by(command)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("stop", [10**9, 30])
def test_a_later_process_is_not_given_what_a_fake_once_said(tmp_path: Path, stop: int) -> None:
    """Finished or broken off, its run is not taken up: the function of today is asked, in the same order, and that is
    said."""
    before, after = child(tmp_path, "yes", stop=stop), child(tmp_path, "no", by=started)
    assert after["answers"] == ["no"]
    assert after["calls"] > 0
    assert any("keep=True" in said for said in after["said"])
    assert before.get("seed", after["seed"]) == after["seed"]


@pytest.mark.parametrize("stop", [10**9, 30])
def test_what_is_kept_is_taken_up_by_a_later_process(tmp_path: Path, stop: int) -> None:
    """The run goes on, and nothing is asked twice."""
    before, after = child(tmp_path, "yes", "keep", stop), child(tmp_path, "yes", "keep", by=started)
    assert after["answers"] == ["yes"]
    asked = min(stop, before["calls"]) + after["calls"]
    with Reader.open(tmp_path / "l.db") as ledger:
        assert asked == ledger.count()
    assert not any("keep=True" in said for said in after["said"])


def test_a_run_with_fakes_verifies_and_reports_in_another_process(tmp_path: Path) -> None:
    """Its certificate and its ledger say all that is needed."""
    done = child(tmp_path, "yes")
    smart = [sys.executable, "-m", "smart_llm"]
    for command in (
        ["report", done["id"], "--ledger", str(tmp_path / "l.db"), "--html", str(tmp_path / "r.html")],
        ["verify", str(tmp_path / "c.json"), "--ledger", str(tmp_path / "l.db")],
    ):
        shown = ran([*smart, *command])
        assert shown.returncode == 0, shown.stderr
