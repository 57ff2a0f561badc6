"""Files fetched from the package registry, by hash, and never installed or imported.

pip does the work, since it knows the user's registry, proxy and certificates; this file knows no address. Where this
Python has no pip (an environment made by uv), uv lends one, else a pip on the PATH is taken: the files do not depend on
which. A wheel is only unpacked by us. A source archive is asked for its name by pip, which runs the `setup.py` inside:
one file, pinned by the same hash.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal

from filelock import FileLock

from smart_llm.errors import InputError

Form = Literal["wheel", "source"]
LINE = re.compile(r"([A-Za-z0-9._-]+)==([A-Za-z0-9._]+) --hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Pin:
    """One file of the registry: package, version, sha256 of the file."""

    package: str
    version: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.package}=={self.version} --hash=sha256:{self.sha256}"


def pins(name: str) -> tuple[Pin, ...]:
    """The lock shipped under this name, in its order."""
    text = (resources.files("smart_llm.providers.local") / "locks" / f"{name}.lock").read_text("ascii")
    return tuple(Pin(*match.groups()) for match in map(LINE.fullmatch, text.splitlines()) if match)


def download(wanted: Sequence[Pin], folder: Path, form: Form = "wheel") -> None:
    """Bring these files into `folder`; those already there with the right hash are kept. Errors: `InputError`."""
    missing = [pin for pin in wanted if find(pin, folder) is None]
    if not missing:
        return
    folder.mkdir(parents=True, exist_ok=True)
    lines = folder / "wanted.txt"
    lines.write_text("".join(f"{pin}\n" for pin in missing), "ascii")
    kind = ["--only-binary", ":all:"] if form == "wheel" else ["--no-binary", ":all:"]
    _run([*pip(), "download", "--quiet", "--no-deps", *kind, "--require-hashes", "--no-cache-dir",
          "--disable-pip-version-check", "-r", str(lines), "-d", str(folder)])  # fmt: skip


def find(pin: Pin, folder: Path) -> Path | None:
    """The file of `pin` in `folder`, its hash checked; None where it is absent or damaged."""
    stem = re.sub(r"[-_.]+", "[-_.]", pin.package) + f"-{re.escape(pin.version)}[-.].*"
    for path in sorted(folder.glob("*")):
        if re.fullmatch(stem, path.name, re.IGNORECASE) and sha256(path) == pin.sha256:
            return path
    return None


def sha256(path: Path) -> str:
    """Of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def alone(folder: Path, name: str) -> Iterator[None]:
    """Wait until no other process holds `name` in `folder`, and hold it: two pulls at once fetch once."""
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f".{name}.lock"):
        yield


def pip() -> list[str]:
    """A command that is pip. Errors: `InputError` where this machine has none."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    if uv := shutil.which("uv"):
        return [
            uv,
            "run",
            "--quiet",
            "--no-project",
            "--python",
            sys.executable,
            "--with",
            "pip",
            "python",
            "-m",
            "pip",
        ]
    if found := shutil.which("pip3") or shutil.which("pip"):
        return [found]
    raise InputError("neither pip nor uv can be found to download with: run `python -m ensurepip`, then try again")


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        told = next((line for line in said if line.startswith("ERROR")), said[-1] if said else "no message")
        raise InputError(
            f"the package registry did not deliver ({told.removeprefix('ERROR: ')[:200]}): try again when it can be "
            "reached, or use a model file you have: smart models add PATH.gguf"
        )
