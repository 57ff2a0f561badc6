"""Killing a run: nothing acknowledged is lost, only what was in flight is paid twice, the result is the same."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

from forgiving import Forgiving
from killing import finished, killed

from smart_llm.certificates.verify import verify
from smart_llm.ledger import Reader
from smart_llm.mock.faults import Faults
from smart_llm.mock.server import MockServer

ROWS, IN_FLIGHT, KILLS = 800, 32, 3


def table(path: Path) -> Path:
    """A table whose cells are unpleasant."""
    lines = ["id,text", *(f'{i},"review {i}: a ""quoted"" word, and\na second line"' for i in range(ROWS))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def command(source: Path, out: Path, url: str) -> list[str]:
    """The same command every time."""
    return [
        *(sys.executable, "-m", "smart_llm.cli", "run", str(source), "--prompt", "Yes or no? {text}"),
        *("--labels", "yes,no", "--agreement", "0.9", "--seed", "5", "--output", str(out), "--json"),
        *(
            "--reference",
            f"openai:big@{url}?in=10&out=10",
            "--candidate",
            f"openai:small@{url}?in=1&out=1&enforce=none",
        ),
        *("--candidate", f"openai:tiny@{url}?in=0.1&out=0.1&enforce=none", "--concurrency", str(IN_FLIGHT)),
    ]


def mock(port: int) -> MockServer:
    """Faults of every kind on one call in thirty each; but a row whose calls all failed would be deferred or an error,
    and no longer what it was in the undisturbed run."""
    return Forgiving(
        rule="label:yes,no",
        errors={"small": 0.04, "tiny": 0.4},
        faults=Faults.all(0.03),
        hang=0.05,
        pause=0.01,
        seed=1,
        port=port,
    )


async def test_killed_three_times_the_result_is_that_of_an_undisturbed_run(tmp_path: Path, port: int) -> None:
    """SIGKILL at any moment: same table, same certificate, all paid answers in the ledger, few paid twice."""
    source, quiet, rough = table(tmp_path / "t.csv"), tmp_path / "quiet.csv", tmp_path / "rough.csv"
    calm = mock(port)
    async with calm as url:
        calm_result = await finished([*command(source, quiet, url), "--ledger", str(tmp_path / "quiet.db")])
        calm_text = (tmp_path / "quiet.csv.certificate.json").read_text().replace(url, "URL")
    server = mock(port)
    async with server as url:
        arguments = [*command(source, rough, url), "--ledger", str(tmp_path / "rough.db")]
        for answered in (30, 150, 300):
            await killed(arguments, server, answered)
        result = await finished(arguments)
        stats = server.stats()
        rough_text = (tmp_path / "rough.csv.certificate.json").read_text().replace(url, "URL")
    assert answers(rough) == answers(quiet)
    assert core(rough_text) == core(calm_text)
    distinct = sum(model["distinct"] for model in stats["models"].values())
    faulted = sum(stats["faults"].values())
    assert stats["answered"] <= distinct + 3 * IN_FLIGHT * KILLS + faulted
    with Reader.open(tmp_path / "rough.db") as reader:
        assert reader.count() == distinct
        assert reader.verify() == []
    assert verify(Path(str(result["certificate_file"])), tmp_path / "rough.db") == []
    assert result["cost"] == calm_result["cost"]


def answers(out: Path) -> list[tuple[str, ...]]:
    """The delivered rows; the models' addresses differ by port."""
    with out.open(newline="", encoding="utf-8") as file:
        return [(*row[:3], row[3].split("@")[0], row[4]) for row in csv.reader(file)][1:]


def core(certificate: str) -> object:
    """What a certificate says, without what names this one run (hashes of addresses with a port in them)."""
    value = json.loads(certificate)
    value["evidence"].pop("pinned", None)  # made from the candidate's name, too: its address has a port in it
    del value["cost"]["lost_at_most"]  # what failed calls may have cost: differs with every fault
    return {key: value[key] for key in ("status", "claim", "evidence", "rule", "delivered", "errors", "seed", "cost")}
