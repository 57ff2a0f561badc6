"""The rules of size: no file over 400 lines, no class over 250, no function body over 40. Prints what breaks them.

python scripts/house.py [FOLDER]
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

FILE, CLASS, BODY = 400, 250, 40
"""Lines, at most. A body begins after the docstring and ends with its last statement; blank lines count."""
ROOT = Path(__file__).parents[1] / "src" / "smart_llm"


def too_long(root: Path) -> Iterator[str]:
    """A line for every file, class and body below `root` that is longer than it may be."""
    for path in sorted(root.rglob("*.py")):
        text, name = path.read_text(encoding="utf-8"), str(path.relative_to(root))
        if (lines := len(text.splitlines())) > FILE:
            yield f"{name}: {lines} lines, more than {FILE}"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                lines, most = size(node), CLASS if isinstance(node, ast.ClassDef) else BODY
                if lines > most:
                    yield f"{name}:{node.lineno} {node.name}: {lines} lines, more than {most}"


def size(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a class as a whole, or of a function's body without its docstring."""
    if isinstance(node, ast.ClassDef):
        return (node.end_lineno or node.lineno) - node.lineno + 1
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


if __name__ == "__main__":
    found = list(too_long(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT))
    print("\n".join(found) or "every file, class and body is short enough")
    sys.exit(1 if found else 0)
