"""The house rules: who may import whom, and what is public."""

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import smart_llm

ROOT = Path(smart_llm.__file__).parent
LAYERS = (
    ["defaults", "errors", "files", "garbage", "stats", "text", "wording"],
    ["types"],
    ["events", "mock", "tables", "tasks"],
    ["learned", "ledger", "scores"],
    ["routing"],
    ["procedures", "providers"],
    ["certificates", "client"],
    ["engine", "reports"],
    ["simulation"],
    ["gateway", "planning", "ray"],
    ["execution"],
    ["api"],
    ["cli"],
    ["__init__", "__main__"],
)
"""From the bottom: a module imports from its own room and from rooms in lower layers."""
ALLOWED = {
    ("errors", "wording"): "an error speaks of options in the words of whoever reads it",
}
"""Imports within a layer or upwards, each with its reason."""


def layer(room: str) -> int:
    """The layer of a room, which is a folder or a module directly below the package."""
    fits = [number for number, rooms in enumerate(LAYERS) if room in rooms]
    assert fits, f"{room} is in no layer"
    return fits[0]


MODULES = sorted(ROOT.rglob("*.py"))


def name_of(path: Path) -> str:
    """A module's name below the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


NAMES = {name_of(path): path for path in MODULES}


def imports(path: Path, tree: ast.AST | None = None) -> set[str]:
    """The modules below the package that a module imports, wherever it does, also for type checkers alone."""
    found = set()
    for node in ast.walk(tree or ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            base = node.module.removeprefix("smart_llm").removeprefix(".")
            if node.module.split(".")[0] == "smart_llm":
                names = [f"{base}.{alias.name}".removeprefix(".") for alias in node.names]
                found |= {name if name in NAMES else base for name in names} & NAMES.keys()
        elif isinstance(node, ast.Import):
            found |= {alias.name.removeprefix("smart_llm.") for alias in node.names} & NAMES.keys()
    return found


def misplaced(name: str, used: set[str]) -> list[str]:
    """Imports of a module that go upwards or stay within a layer, but not within a room."""
    own = name.split(".")[0]
    rooms = {other.split(".")[0] for other in used} - {own}
    return [
        f"{name} (layer {layer(own)}) imports {room} (layer {layer(room)})"
        for room in sorted(rooms)
        if layer(room) >= layer(own) and (own, room) not in ALLOWED
    ]


def circles(used: dict[str, set[str]]) -> list[list[str]]:
    """Modules that import one another, directly or by way of others."""
    sorter = TopologicalSorter(used)
    try:
        sorter.prepare()
    except CycleError as error:
        return [error.args[1]]
    return []


@cache
def graph() -> dict[str, set[str]]:
    """What each module imports."""
    return {name: imports(path) - {name} for name, path in NAMES.items()}


def test_imports_go_down() -> None:
    """No module imports from its own layer or from one above it, except from its own room."""
    assert [line for name, used in graph().items() for line in misplaced(name, used)] == []


def test_no_two_files_import_each_other() -> None:
    """There is no circle between files, not even for type checkers."""
    assert not circles(graph())


def test_every_exception_is_needed() -> None:
    """An exception that no import needs any more is taken off the list."""
    rooms = {(name.split(".")[0], other.split(".")[0]) for name, used in graph().items() for other in used}
    assert rooms >= ALLOWED.keys()


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("reports.facts", "from smart_llm.engine import run"),
        ("client.pace", "from smart_llm.certificates import verify"),
        ("types.rules", "import smart_llm.cli.run"),
    ],
)
def test_one_wrong_import_is_found(name: str, line: str) -> None:
    """An import added upwards, or across a layer, fails the test above."""
    tree = ast.parse(NAMES[name].read_text() + "\n" + line)
    assert misplaced(name, imports(NAMES[name], tree))


def test_a_circle_is_found() -> None:
    """Two files of one room that import each other fail the test above."""
    tree = ast.parse(NAMES["engine.pool"].read_text() + "\nfrom smart_llm.engine.live import Live")
    assert circles({**graph(), "engine.pool": imports(NAMES["engine.pool"], tree)})


def test_procedures_are_pure() -> None:
    """No procedure, and nothing it is made of, does I/O, reads a clock or draws global randomness; one module takes
    regular expressions in bounded time from polars."""
    banned = {"asyncio", "sqlite3", "socket", "time", "random", "os", "pathlib", "aiohttp", "polars"}
    for path in MODULES:
        if name_of(path).split(".")[0] in ("stats", "types", "tasks", "scores", "routing", "procedures"):
            tree = ast.parse(path.read_text())
            names = {alias.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names}
            names |= {n.module.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module}
            if path.relative_to(ROOT) == Path("tasks", "patterns.py"):
                names.discard("polars")
            assert not names & banned, f"{path.relative_to(ROOT)} imports {names & banned}"


TYPED = {"plan", "claim", "cost", "errors", "delivered", "certificate", "evidence"}


def test_no_typed_value_is_looked_up_by_a_string() -> None:
    """Plans, certificates and evidence are read by attributes, which type checkers see. A procedure writes its evidence
    as JSON, and a report takes the mix out of a ladder's."""
    found = []
    for name, path in NAMES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
                of = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", None)
                if isinstance(node.slice.value, str) and of in TYPED and name.split(".")[0] != "procedures":
                    found.append((name, f"{of}[{node.slice.value!r}]"))
    assert found == [("reports.rules", "evidence['mix']")]


def test_public_names_are_sorted_and_load() -> None:
    """`__all__` is sorted, complete, and every name in it can be had."""
    assert list(smart_llm.__all__) == sorted(smart_llm.__all__)
    assert set(smart_llm.__all__) == set(smart_llm._HOME)
    for name in smart_llm.__all__:
        assert getattr(smart_llm, name) is not None
