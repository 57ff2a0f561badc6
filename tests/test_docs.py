"""The examples in README and docs run as they stand; what the pages name exists."""

from __future__ import annotations

import importlib.util
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
from smart_llm.mock.answers import Said, uniform
from smart_llm.mock.server import MockServer
from smart_llm.providers import specs as model_specs
from smart_llm.providers.fake import FakeProvider
from smart_llm.providers.local import provider as local
from smart_llm.types import Answer, Request, Usage

ROOT = Path(__file__).parents[1]
STRAY = {"gpt-4.1-mini": 0.02, "gpt-4.1-nano": 0.2, "qwen2.5-coder-0.5b": 0.05}
KINDS = {
    "acting, plot": ("acting", "plot", "other"),
    "yes or no": ("yes", "no"),
    "stars": ("1", "2", "3", "4", "5"),
    "JSON": ('{"title": "A", "year": 1999}', '{"title": "B", "year": null}'),
    "Name the film": ("The Third Man", "Metropolis"),
}
"""What a prompt says → what it may be answered."""
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def examples(page: Path) -> list[tuple[str, str]]:
    """The fenced examples of a page that can be run, in order: (python or console, code)."""
    return re.findall(r"```(python|console)\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def said(model: str, prompt: str) -> Said:
    """An answer that fits the question of whichever example asks; the cheaper models stray now and then."""
    place = uniform(prompt) if uniform(model, prompt) > STRAY.get(model, 0.0) else 1 - uniform(prompt)
    for mark, answers in KINDS.items():
        if mark in prompt:
            return Said(answers[int(place * len(answers))])
    return Said(("positive", "negative")[place < 0.5])


class LocalStandIn(FakeProvider):
    """A model of this machine: answers as the others do, and takes CPU time by its size."""

    def __init__(self, name: str) -> None:
        self._used = Usage(cpu_seconds=1.0 if "1.5b" in name else 0.2)
        super().__init__(lambda request: Answer(said(name, request.prompt).text, self._used))

    def expect(self, request: Request) -> Usage:
        """What a call takes."""
        return self._used


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the table the examples speak of, and a stand-in for the provider they name."""
    import asyncio

    (tmp_path / "reviews.csv").write_text("id,text\n" + "".join(f"{i},film number {i}\n" for i in range(120)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "no-real-key")
    loop = asyncio.new_event_loop()
    server = MockServer(said)
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    url = asyncio.run_coroutine_threadsafe(server.start(), loop).result()
    monkeypatch.setattr(local, "LocalProvider", LocalStandIn)
    own = model_specs.ENDPOINTS["openai"]
    monkeypatch.setitem(model_specs.ENDPOINTS, "openai", model_specs.Endpoint(url, own.key_env, own.prices))
    yield tmp_path
    asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.mark.parametrize("page", [page for page in PAGES if examples(page)], ids=lambda page: page.stem)
def test_examples_run(page: Path, there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The examples of a page run from top to bottom: Python, and every `smart …` line; `make` targets exist."""
    names: dict[str, Any] = {"__name__": "example"}
    for kind, code in examples(page):
        if kind == "python":
            exec(compile(code, f"{page.stem}: {code.splitlines()[0]}", "exec"), names)
            continue
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
    """Every folder and file in the tree of docs/contributing.md exists."""
    tree = (ROOT / "docs" / "contributing.md").read_text().split("## The rooms")[1].split("```")[1]
    for line in tree.splitlines():
        inside = ROOT / "src/smart_llm" if line.startswith("  ") else ROOT
        for name in re.findall(r"^\s*((?:[\w*/]+(?:\.py|/) ?)+)", line):
            for each in name.split():
                assert list(inside.glob(each.rstrip("/"))), f"{each} is not there"


def test_the_command_line_page_is_that_of_the_commands() -> None:
    """docs/cli.md is what `make docs` makes of the commands as they are."""
    spec = importlib.util.spec_from_file_location("cli_reference", ROOT / "scripts" / "cli_reference.py")
    assert spec is not None
    assert spec.loader is not None
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    assert reference.PAGE.read_text(encoding="utf-8") == reference.page(), "run `make docs`"


def test_every_page_is_in_the_site() -> None:
    """The navigation of the site names every page, and no page that is not there."""
    named = re.findall(r'"([\w/-]+\.md)"', (ROOT / "zensical.toml").read_text(encoding="utf-8"))
    assert sorted(named) == sorted(str(page.relative_to(ROOT / "docs")) for page in PAGES[1:])


def test_every_public_name_is_in_the_docs() -> None:
    """Every name of `__all__` appears in the Python reference as `smart.NAME`."""
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    assert not [name for name in smart_llm.__all__ if not re.search(rf"smart\.{name}\b", text)]


def test_links_lead_somewhere() -> None:
    """Relative links in README and docs lead to files."""
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_claim_names_its_code_and_what_shows_it() -> None:
    """Each claim of docs/claims.md has a mark and names tests, or benchmarks; these and its code are there."""
    page = (ROOT / "docs" / "claims.md").read_text(encoding="utf-8").partition("\n## Lemmas")[0]
    claims = re.split(r"\n\*\*(?=.*\*\* \()", page.partition("\n## The random order")[2])[1:]
    assert len(claims) > 40
    for claim in claims:
        assert re.search(r"\*\* \((proved|tested|measured|false)\b", claim), claim
        shown = re.findall(r"`((?:tests|benchmarks)/[\w/]+\.py)`", claim)
        assert shown, claim
        code = re.findall(r"`([\w.]+)`", "".join(re.findall(r"^\* Code: .*", claim, re.MULTILINE)))
        assert code or "(false)" in claim, claim
        assert [path for path in shown if not (ROOT / path).exists()] == []
        assert [name for name in code if not _is_there(name)] == []


def _is_there(name: str) -> bool:
    """Whether this is a room, a module, or something that a module defines, below the package."""
    path = (ROOT / "src" / "smart_llm").joinpath(*name.split("."))
    if path.is_dir() or path.with_suffix(".py").exists():
        return True
    module = path.parent.with_suffix(".py")
    return module.exists() and bool(re.search(rf"^(def|class) {path.name}\b", module.read_text(), re.MULTILINE))


def test_public_names_are_documented() -> None:
    """Every public name has a docstring."""
    for name in smart_llm.__all__:
        assert getattr(smart_llm, name).__doc__ or not hasattr(getattr(smart_llm, name), "__module__"), name


def test_nobody_is_sent_to_an_index_that_has_no_such_package() -> None:
    """The package is on no index: pages say how to install it from a checkout or a wheel; extras of a package that is
    installed come by its name."""
    for page in PAGES:
        assert not re.search(r"pip install [\"']?smart[-_]llm(?!\[)", page.read_text(encoding="utf-8")), page.name
    assert "pip install ." in (ROOT / "docs" / "index.md").read_text(encoding="utf-8")


def test_requirements_name_no_registry() -> None:
    """Hashed, every one of them, and from wherever this machine gets its packages."""
    for path in sorted((ROOT / "requirements").glob("*.txt")):
        text = path.read_text(encoding="utf-8")
        assert "--hash=sha256:" in text
        assert "://" not in text
        assert "index" not in text
        assert text.count("==") <= text.count("--hash")
