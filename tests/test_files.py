"""Where the user's files go."""

from pathlib import Path

import pytest

from smart_llm.files import user_dir


def test_smart_home_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`SMART_HOME` names the folder, and asking for it creates nothing."""
    monkeypatch.setenv("SMART_HOME", str(tmp_path / "home"))
    assert user_dir() == tmp_path / "home"
    assert not (tmp_path / "home").exists()


def test_default_is_absolute_and_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without (or with an empty) `SMART_HOME` the folder is absolute and carries our name."""
    monkeypatch.setenv("SMART_HOME", "")
    assert user_dir().is_absolute()
    assert "smart-llm" in user_dir().parts
