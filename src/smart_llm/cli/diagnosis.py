"""Is everything there that a run needs? Versions, a ledger that works, keys (never shown), addresses, local models.

A check tells what it found and whether that is in order; what somebody may well do without (another provider's key) is
a remark. Addresses are asked without a key: whatever answers is there. Nothing is bought.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import aiohttp

from smart_llm.errors import InputError, SmartError
from smart_llm.files import user_dir
from smart_llm.ledger import Ledger, canonical, tagged
from smart_llm.providers import making
from smart_llm.providers import specs as models
from smart_llm.providers.endpoints import ENDPOINTS
from smart_llm.providers.reasons import reason
from smart_llm.types import Json, Model

SQLITE = (3, 35, 0)
"""The oldest SQLite that is tested against (March 2021)."""
GOOD, REMARK, BAD = "ok", "remark", "bad"
"""States of a finding. `bad`: a run would fail."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. about: versions, ledger, key, address, model or local."""

    about: str
    name: str
    state: str
    said: str


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All findings. exit_code: 0 in order; 3 only an address does not answer; 2 something on this machine."""

    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> int:
        """As the command line returns it."""
        bad = {each.about for each in self.findings if each.state == BAD}
        return 0 if not bad else 3 if bad == {"address"} else 2

    def to_json(self) -> dict[str, Json]:
        """As `smart doctor --json` prints it."""
        return {"ok": not self.exit_code, "findings": [asdict(each) for each in self.findings]}

    def text(self) -> str:
        """For people: a line each."""
        marks = {GOOD: "ok", REMARK: "–", BAD: "!!"}
        width = max(len(each.name) for each in self.findings)
        return "\n".join(f"{marks[each.state]:2}  {each.name:{width}}  {each.said}" for each in self.findings)


async def examine(
    specs: Sequence[str] = (), *, folder: Path | None = None, offline: bool = False, seconds: float = 5.0
) -> Diagnosis:
    """Look at everything. specs: models a run is to use. folder: where ledgers are to stand. seconds: what an
    address may take."""
    if not seconds > 0:
        raise InputError(f"--timeout {seconds}: give seconds, more than 0.")
    named, wrong = _resolved(specs)
    found = [*versions(), *ledgers(folder or Path()), *keys(named), *wrong, *local(named)]
    if not offline:
        found += await reach(addresses(named), seconds)
    return Diagnosis(tuple(found))


# --------------------------------------------------------------------------- this machine


def versions() -> Iterator[Finding]:
    """Of this program and what it stands on."""
    yield Finding("versions", "smart-llm", GOOD, version("smart-llm"))
    yield Finding(
        "versions", "Python", GOOD, f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    )
    new = sqlite3.sqlite_version_info >= SQLITE
    least = "" if new else f": older than {'.'.join(map(str, SQLITE))}, take a newer Python"
    yield Finding("versions", "SQLite", GOOD if new else BAD, sqlite3.sqlite_version + least)


def ledgers(folder: Path) -> Iterator[Finding]:
    """Whether a ledger can be made, written, read and verified where ledgers are to stand."""
    places = {"ledgers here": folder.absolute(), "user folder": user_dir()}
    for name, place in places.items():
        problem = _tried(place)
        yield Finding("ledger", name, BAD if problem else GOOD, f"{place}: {problem or 'a ledger can be kept there'}")


def _tried(place: Path) -> str | None:
    """Why a ledger cannot be kept there; the folder is left as it was."""
    there = next(each for each in (place, *place.parents) if each.exists())
    try:
        with (
            tempfile.TemporaryDirectory(prefix=".smart-doctor-", dir=there) as inside,
            Ledger.open(Path(inside) / "ledger.db") as ledger,
        ):
            run = ledger.start_run({"doctor": True}, lookup=tagged(canonical("doctor")), seed=0)
            ledger.event(run.run_id, "doctor", {})
            return "; ".join(ledger.verify()) or None
    except OSError as error:
        return f"cannot be written ({error.strerror})"
    except (SmartError, sqlite3.Error) as error:
        return f"a ledger does not work there ({error})".replace(str(there), "…")


def local(named: Sequence[Model]) -> Iterator[Finding]:
    """Models on this machine."""
    from smart_llm.providers.local import weights

    wanted = {model.model for model in named if model.provider == "local"}
    runtime = find_spec("xllamacpp") is not None
    missing = "not installed: pip install 'smart-llm[local]' for models on this machine"
    state = GOOD if runtime else BAD if wanted else REMARK
    yield Finding("local", "local runtime", state, "installed" if runtime else missing)
    files = weights.list_models()
    for file in files:
        if file.path is not None or file.name in wanted:
            here = file.path is not None
            yield Finding("local", f"local:{file.name}", GOOD if here else BAD, _file(file.bytes, here))
    for name in sorted(wanted - {file.name for file in files}):
        yield Finding("local", f"local:{name}", BAD, "no such model: see smart models list")
    if not wanted and all(file.path is None for file in files):
        yield Finding("local", "local models", REMARK, "none yet: smart models pull")


def _file(size: int, here: bool) -> str:
    return f"{size / 1e6:,.0f} MB on disk{'' if here else ', not here yet: smart models pull'}"


# --------------------------------------------------------------------------- providers


def _resolved(specs: Sequence[str]) -> tuple[list[Model], list[Finding]]:
    """The models that are named, and what is wrong with the others."""
    named, wrong = [], []
    for spec in specs:
        try:
            named.append(models.resolve(spec))
        except InputError as error:
            wrong.append(Finding("model", spec.partition("?")[0].rpartition("//")[2], BAD, str(error)))
            with contextlib.suppress(
                InputError
            ):  # where only its price is missing, its key and address can be looked at
                named.append(models.resolve(f"{spec}{'&' if '?' in spec else '?'}in=0&out=0"))
    return named, wrong


def keys(named: Sequence[Model]) -> Iterator[Finding]:
    """Which keys are in the environment; their values are nobody's business."""
    wanted: dict[str, str] = {}
    for model in named:
        if model.key_env:
            wanted[model.key_env] = _and(wanted.get(model.key_env), model.name)
    known = {endpoint.key_env: provider for provider, endpoint in ENDPOINTS.items()}
    for variable in wanted if named else known:  # of others nobody asked
        there = bool(os.environ.get(variable, "").strip())
        state = GOOD if there else BAD if variable in wanted else REMARK
        whom = f"for {wanted[variable]}" if variable in wanted else f"for {known[variable]}: models"
        yield Finding("key", variable, state, f"{'set' if there else 'not set'}, {whom}")


def addresses(named: Sequence[Model]) -> Mapping[str, tuple[str, str]]:
    """Where to knock: (name, address) by address, of the models named; of providers with a key, where none are."""
    found: dict[str, tuple[str, str]] = {}
    for model in named:
        with contextlib.suppress(InputError):  # the key's finding has said it
            if (url := making.address(model)) is not None:
                found[url] = (_and(found.get(url, (None,))[0], model.name), url)
    if named:
        return found
    for provider, endpoint in ENDPOINTS.items():
        if os.environ.get(endpoint.key_env, "").strip() and not endpoint.url_env:
            found[endpoint.url] = (provider, endpoint.url)
    return found


def _and(before: str | None, name: str) -> str:
    """One more model of a key or an address."""
    return name if before is None else f"{before}, {name}"


async def reach(places: Mapping[str, tuple[str, str]], seconds: float) -> list[Finding]:
    """Whether somebody answers there, all at once."""
    async with aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=seconds), cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        return list(await asyncio.gather(*(_knock(session, *place) for place in places.values())))


async def _knock(session: aiohttp.ClientSession, name: str, url: str) -> Finding:
    """Any reply will do, but one that sends us elsewhere: no key follows there."""
    start = time.perf_counter()
    try:
        async with session.get(url, allow_redirects=False) as response:
            status = response.status
    except TimeoutError:
        return Finding("address", url, BAD, f"{name}: no answer in time; is there a proxy, or a firewall?")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return Finding("address", url, BAD, f"{name}: cannot be reached ({reason(error)})")
    if 300 <= status < 400:
        return Finding("address", url, BAD, f"{name}: redirects to another address, which is not followed")
    return Finding("address", url, GOOD, f"{name}: answers in {time.perf_counter() - start:.2f} s")
