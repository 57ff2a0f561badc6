"""The house rules: who may import whom, and what is public."""

import ast
from pathlib import Path

import pytest

import smart_llm

ROOT = Path(smart_llm.__file__).parent
LAYERS = {
    0: ["stats"],
    1: ["types", "defaults", "errors", "events", "folders", "wording"],
    2: ["tasks"],
    3: ["cascades", "planning*", "procedures", "verifying"],
    4: ["ledger", "providers", "tables", "models", "mock"],
    5: ["engine", "reports"],
    6: ["__init__", "__main__", "api", "cli", "demo", "execution"],
}
SIDEWAYS = {("providers", "models"), ("models", "providers"), ("providers", "ledger")}


def layer(name: str) -> int:
    """The layer of a module's first name below the package."""
    fits = [n for n, names in LAYERS.items() for known in names if name == known or known == f"{name[:8]}*"]
    assert fits, f"{name} is in no layer"
    return fits[0]


def imports(path: Path) -> set[str]:
    """First names below the package that a module imports, wherever it does."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("smart_llm.")}
    return found


MODULES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path: Path) -> None:
    """No module imports from a layer above its own."""
    own = path.relative_to(ROOT).parts[0].removesuffix(".py")
    for other in imports(path):
        if (ROOT / other).exists() or (ROOT / f"{other}.py").exists():
            assert layer(other) <= layer(own), f"{own} (layer {layer(own)}) imports {other} (layer {layer(other)})"


def test_procedures_are_pure() -> None:
    """Nothing below layer 4 does I/O, reads a clock or draws global randomness; regular expressions in bounded time are
    all that one module takes from polars."""
    banned = {"asyncio", "sqlite3", "socket", "time", "random", "os", "pathlib", "aiohttp", "polars"}
    for path in MODULES:
        own = path.relative_to(ROOT).parts[0].removesuffix(".py")
        if layer(own) in (0, 2, 3):
            tree = ast.parse(path.read_text())
            names = {alias.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names}
            names |= {n.module.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module}
            if path.relative_to(ROOT) == Path("tasks", "patterns.py"):
                names.discard("polars")
            assert not names & banned, f"{path.relative_to(ROOT)} imports {names & banned}"


def test_public_names_are_sorted_and_load() -> None:
    """`__all__` is sorted, complete, and every name in it can be had."""
    assert list(smart_llm.__all__) == sorted(smart_llm.__all__)
    assert set(smart_llm.__all__) == set(smart_llm._HOME)
    for name in smart_llm.__all__:
        assert getattr(smart_llm, name) is not None
