"""The examples in README and docs run as they stand; what the pages name exists."""

from __future__ import annotations

import re
import shlex
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import smart_llm
from smart_llm import cli
from smart_llm import models as model_specs
from smart_llm.mock.server import MockServer

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(kind: str) -> list[Any]:
    """Every fenced block of that kind, named by page and number."""
    return [
        pytest.param(code, id=f"{page.stem}-{number}")
        for page in PAGES
        for number, code in enumerate(re.findall(rf"```{kind}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL))
    ]


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the table the examples speak of, and a stand-in for the provider they name."""
    import asyncio

    (tmp_path / "reviews.csv").write_text("id,text\n" + "".join(f"{i},film number {i}\n" for i in range(120)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "no-real-key")
    loop = asyncio.new_event_loop()
    server = MockServer(rule="label:positive,negative", errors={"gpt-4.1-mini": 0.02, "gpt-4.1-nano": 0.2})
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    url = asyncio.run_coroutine_threadsafe(server.start(), loop).result()
    own = model_specs.ENDPOINTS["openai"]
    monkeypatch.setitem(model_specs.ENDPOINTS, "openai", model_specs.Endpoint(url, own.key_env, own.prices))
    yield tmp_path
    asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.mark.parametrize("code", blocks("python"))
def test_python_examples_run(code: str, there: Path) -> None:
    """Every Python example runs."""
    exec(compile(code, "example", "exec"), {"__name__": "example"})


@pytest.mark.parametrize("code", blocks("console"))
def test_console_examples_run(code: str, there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every `smart …` command line in a console block runs; every `make` target named there exists."""
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["make"]:
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        elif words[:1] == ["smart"]:
            monkeypatch.setattr(sys, "argv", words)
            _call()


def _call() -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert not stop.value.code


def test_the_tree_names_what_is_there() -> None:
    """Every folder and file in the README's tree exists."""
    tree = (ROOT / "README.md").read_text().split("## The tree")[1].split("```")[1]
    for line in tree.splitlines():
        inside = ROOT / "src/smart_llm" if line.startswith("  ") else ROOT
        for name in re.findall(r"^\s*((?:[\w*/]+(?:\.py|/) ?)+)", line):
            for each in name.split():
                assert list(inside.glob(each.rstrip("/"))), f"{each} is not there"


def test_links_lead_somewhere() -> None:
    """Relative links in README and docs lead to files."""
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_public_names_are_documented() -> None:
    """Every public name has a docstring."""
    for name in smart_llm.__all__:
        assert getattr(smart_llm, name).__doc__ or not hasattr(getattr(smart_llm, name), "__module__"), name
