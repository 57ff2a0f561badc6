"""A run loads what it needs and no more: what takes a second to load costs more than a hundred rows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

RUN = """
import hashlib, sys
import smart_llm as smart

def draw(text):
    return hashlib.sha256(text.encode()).digest()[0] / 256

def large(request):
    return "yes" if draw(request.prompt) < 0.5 else "no"

def small(request):
    doubt = draw("d" + request.prompt) if SURE else 0.0
    right = draw("s" + request.prompt) > (0.7 * doubt**2 if SURE else 0.02)
    said = large(request) if right else ("no" if large(request) == "yes" else "yes")
    logprobs = (("x", -doubt),) if SURE else ()
    return smart.Answer(said, smart.Usage(20, 1), logprobs=logprobs)

done = smart.run(
    [{"text": f"row {i}"} for i in range(1500)],
    smart.Task("Yes or no? {text}", labels=["yes", "no"]),
    reference="fake:large?in=10&out=10",
    candidates=["fake:small?in=0.1&out=0.1"],
    agreement=0.9,
    seed=1,
    ledger=sys.argv[1],
    progress=False,
    providers={"fake:large": smart.FakeProvider(large), "fake:small": smart.FakeProvider(small)},
)
print(done.certificate.status, "mix" if "mix" in done.certificate.evidence else "cascade")
print([name for name in ("scipy.stats", "scipy.optimize", "sklearn", "aiohttp", "ray") if name in sys.modules])
"""


@pytest.mark.parametrize(("sure", "kind"), [(True, "cascade"), (False, "mix")])
def test_a_run_that_issues_a_certificate_loads_no_statistics_package(tmp_path: Path, sure: bool, kind: str) -> None:
    """From the first row to the certificate, by a cascade and by a mix."""
    script = f"SURE = {sure}\n{RUN}"
    told = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "l.db")], capture_output=True, text=True, check=True
    )
    assert told.stdout.splitlines()[-2:] == [f"certified {kind}", "[]"]
