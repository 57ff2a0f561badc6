"""A table that grew: its rows keep their answers, a look at the rows added is enough, and the promise is about all."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import smart_llm as smart

sys.path.append(str(Path(__file__).parent))
from test_learned_live import run, shown

OLD, NEW, LATER = 1500, 1650, 1800


def test_a_table_that_grew_costs_its_share_whatever_kills_the_run(tmp_path: Path) -> None:
    """The rows there were are delivered as they were, for nothing; the rows added cost a small look, and the
    certificate is one about all rows, which the ledger bears out. A run that is killed in its look comes to the same; a
    table that grows once more is continued again; an earlier run that was changed is found out."""
    ledger, copy = tmp_path / "l.db", tmp_path / "k.db"
    first = run(ledger, OLD)
    copy.write_bytes(ledger.read_bytes())
    second = run(ledger, NEW)
    assert first.certificate.granted
    assert second.certificate.granted
    assert shown(second)[:OLD] == shown(first)
    assert second.certificate.claim.rows == NEW
    assert second.certificate.plan.grown is not None
    assert second.certificate.cost.paid < 0.5 * first.cost
    assert sum(row["answer"] != row["truth"] for row in second.table) <= second.certificate.claim.allowance
    assert first.run_id in second.certificate.text()
    assert smart.verify(second.certificate, ledger=ledger) == []
    _killed(copy, 5)
    resumed = run(copy, NEW)
    assert shown(resumed) == shown(second)
    assert resumed.certificate.evidence == second.certificate.evidence
    third = run(ledger, LATER)
    assert third.certificate.plan.grown is not None
    assert len(third.certificate.plan.grown.looks) == 2
    assert shown(third)[:NEW] == shown(second)
    assert smart.verify(third.certificate, ledger=ledger) == []
    _changed(ledger, first.run_id)
    assert any("is not the one that was named" in each for each in smart.verify(second.certificate, ledger=ledger))


def _killed(ledger: Path, stop: int) -> None:
    """The run of the grown table, whose process dies after so many calls."""
    code = f"import test_learned_live as t; from pathlib import Path; t.run(Path({str(ledger)!r}), {NEW}, stop={stop})"
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    died = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=False)
    assert died.returncode == 9, died.stderr.decode()


def _changed(ledger: Path, run_id: str) -> None:
    """The certificate of a run is written anew, with fewer rows looked at."""
    with sqlite3.connect(ledger) as base:
        (told,) = base.execute("select certificate from runs where id = ?", (run_id,)).fetchone()
        looked = told.replace('"looked":', '"looked":1', 1)
        base.execute("update runs set certificate = ? where id = ?", (looked, run_id))
