"""The house rules of size."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

PATH = Path(__file__).parents[1] / "scripts" / "house.py"
SPEC = importlib.util.spec_from_file_location("house", PATH)
assert SPEC is not None
assert SPEC.loader is not None
house = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(house)


def test_no_file_class_or_body_is_too_long() -> None:
    """No file of the package is over 400 lines, no class over 250, no function body over 40."""
    assert list(house.too_long(house.ROOT)) == []


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("x = 1\n" * 401, 400),
        ("class Long:\n" + "    x = 1\n" * 250, 250),
        ("def long():\n" + "    x = 1\n" * 41, 40),
        ("class Short:\n    async def long(self):\n" + '        """What it does."""\n' + "        x = 1\n" * 41, 40),
    ],
)
def test_what_is_too_long_is_found(tmp_path: Path, text: str, most: int) -> None:
    """One line more than the rule allows is found, and one line less is not."""
    (tmp_path / "a.py").write_text(text)
    [found] = house.too_long(tmp_path)
    assert found.endswith(f"more than {most}")
    (tmp_path / "a.py").write_text(text.removesuffix("x = 1\n").rstrip(" "))
    assert list(house.too_long(tmp_path)) == []
