"""Fixtures every test may use: a folder of its own, no keys from outside, and a ledger."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from ports import kept, usual

from smart_llm import cli
from smart_llm.ledger import Ledger
from smart_llm.providers.specs import ENDPOINTS

settings.register_profile(  # the same examples each time, however busy the machine is
    "house", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("house")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # by a shell, in the background; children inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slow tests come first: at the end no core waits for the last of them."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


HOMES = count()


@pytest.fixture(autouse=True)
def _own_folder_no_keys(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test touches the user's folder, and none can reach a provider with a real key. The folder is not made here:
    most tests need none."""
    monkeypatch.setenv("SMART_HOME", str(tmp_path_factory.getbasetemp() / f"home-{next(HOMES)}"))
    for endpoint in ENDPOINTS.values():
        monkeypatch.delenv(endpoint.key_env, raising=False)


@pytest.fixture
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    """A free port, the same every time a test runs, if nobody else on this machine has it. It is kept for the test,
    also while no server of the test listens."""
    with kept(*usual(request.node.nodeid)) as found:
        yield found


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A new ledger, closed at the end."""
    with Ledger.open(tmp_path / "ledger.db") as opened:
        yield opened


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a `smart` command in this process: exit code, stdout, stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["smart", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call
