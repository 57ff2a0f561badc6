"""Where the user's files go, and how a file is written whole."""

import os
from pathlib import Path

import pytest

from smart_llm.files import private, user_dir, whole


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


def test_a_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    """A write that fails half-way leaves the file as it was, and nothing beside it."""
    target = tmp_path / "table.csv"
    target.write_text("before")
    with pytest.raises(TypeError), whole(target) as file:
        file.writelines([b"half", "not bytes"])  # type: ignore[list-item]
    assert [target.read_text(), *os.listdir(tmp_path)] == ["before", "table.csv"]
    with whole(target) as file:
        file.write(b"after")
        assert target.read_text() == "before"
    assert [target.read_text(), *os.listdir(tmp_path)] == ["after", "table.csv"]


@pytest.mark.parametrize("name", ["表" * 84, "a" * 251, "é" * 125, "x"])
def test_a_name_as_long_as_can_be_is_written(tmp_path: Path, name: str) -> None:
    """The name a file has until it is whole is never too long, whatever letters it is made of."""
    with whole(tmp_path / f"{name}.md") as file:
        file.write(b"text")
    assert os.listdir(tmp_path) == [f"{name}.md"]


@pytest.mark.skipif(os.name != "posix", reason="modes are a matter of POSIX")
def test_a_private_file_is_private_from_the_start(tmp_path: Path) -> None:
    """Nobody but its owner can read it, also while it is written."""
    with whole(tmp_path / "secret", opener=private) as file:
        file.write(b"text")
        assert os.fstat(file.fileno()).st_mode & 0o077 == 0
    assert (tmp_path / "secret").stat().st_mode & 0o077 == 0


def test_what_a_killed_process_left_beside_a_file_goes_once_it_is_old(tmp_path: Path) -> None:
    """It may hold a copy of the table. One that somebody still writes stays, and so does that of another file."""
    old, fresh, other = (tmp_path / name for name in (".t[1].csv.17.part", ".t[1].csv.18.part", ".t1.csv.17.part"))
    for part in (old, fresh, other):
        part.write_text("half of it")
    for part in (old, other):
        os.utime(part, (0, 0))
    with whole(tmp_path / "t[1].csv") as file:
        file.write(b"all of it")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([fresh.name, other.name, "t[1].csv"])
