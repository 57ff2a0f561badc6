"""Checks what `make dist` built, as a user would meet it: installed in a clean environment, away from the checkout.

The wheel and the sdist are each installed in an environment of their own. `smart --version` must answer, `import
smart_llm` must be quick, and so must the first use of `smart_llm.run`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

IMPORT, RUN = 0.3, 0.8
"""Seconds that `import smart_llm`, and `import smart_llm; smart_llm.run`, may take: of the best of a few starts, and of
CPU, which is all they take, whatever else the machine does."""
STARTS = 5
TIMED = """
import time
start = time.process_time()
import smart_llm
{more}
print(time.process_time() - start)
"""


def check(file: Path, folder: Path) -> None:
    """Install one file in a fresh environment and try it. `SystemExit` says what is wrong."""
    uv, python = shutil.which("uv", path=str(Path(sys.executable).parent)) or "uv", folder / "bin" / "python"
    said(uv, "venv", "--quiet", "--python", sys.executable, str(folder))
    said(uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python), str(file.resolve()))
    version = said(str(folder / "bin" / "smart"), "--version").strip()
    if version.removeprefix("smart ") not in file.name:
        raise SystemExit(f"{file.name}: `smart --version` says {version}")
    bare, whole = (timed(python, more) for more in ("", "smart_llm.run"))
    print(f"{file.name}: {version}, import {bare:.2f} s, with smart_llm.run {whole:.2f} s")
    if bare > IMPORT or whole > RUN:
        raise SystemExit(f"{file.name}: importing takes too long (at most {IMPORT} s, and {RUN} s with run)")


def timed(python: Path, more: str) -> float:
    """Seconds of the quickest of a few fresh processes."""
    return min(float(said(str(python), "-c", TIMED.format(more=more))) for _ in range(STARTS))


def said(*command: str) -> str:
    """What a command prints, run in a folder where no checkout is."""
    environ = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tempfile.gettempdir(), env=environ, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    for built in sorted(Path(sys.argv[1]).iterdir()):
        if built.suffix in (".whl", ".gz"):
            with tempfile.TemporaryDirectory() as place:
                check(built, Path(place) / "venv")
