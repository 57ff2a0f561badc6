"""What other systems have and Windows has not is used where it is there, and not needed where it is not."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import smart_llm
from smart_llm import tables
from smart_llm.tables import large

ROOT = Path(smart_llm.__file__).parent
MODULES = frozenset(["crypt", "fcntl", "grp", "posix", "pty", "pwd", "resource", "spwd", "syslog", "termios", "tty"])
CALLS = {
    "os": frozenset(
        [
            "O_CLOEXEC",
            "O_DIRECTORY",
            "O_NOFOLLOW",
            "O_NONBLOCK",
            "chown",
            "fchmod",
            "fchown",
            "fork",
            "forkpty",
            "geteuid",
            "getgid",
            "getloadavg",
            "getpgid",
            "getuid",
            "killpg",
            "lchown",
            "mkfifo",
            "mknod",
            "nice",
            "openpty",
            "posix_fallocate",
            "posix_spawn",
            "pread",
            "pwrite",
            "sched_getaffinity",
            "setpgid",
            "setsid",
            "setuid",
            "statvfs",
            "sync",
            "umask",
            "uname",
            "wait",
            "wait3",
            "wait4",
        ]
    ),
    "signal": frozenset(
        [
            "SIGALRM",
            "SIGCHLD",
            "SIGHUP",
            "SIGKILL",
            "SIGPIPE",
            "SIGQUIT",
            "SIGUSR1",
            "SIGUSR2",
            "SIGWINCH",
            "alarm",
            "pause",
            "pthread_kill",
            "pthread_sigmask",
            "setitimer",
            "sigwait",
        ]
    ),
    "socket": frozenset({"AF_UNIX", "SO_REUSEPORT", "socketpair"}),
}
PLACES = ("/dev/", "/proc/", "/etc/", "/tmp/", "/var/")
ALLOWED = {
    ("ray/actors.py", "resource"): "after a look at the platform",
    ("tables/large.py", "/dev/fd"): "where that folder is; else the file has a name",
    ("gateway/wire.py", "resource"): "where it is; else there is room for all",
    ("ledger/ahead.py", "fcntl"): "where it is; else a lock that is held cannot be removed",
    ("ledger/ahead.py", "/proc/sys/kernel/random/boot_id"): "where that file is; else no start has a name",
    ("providers/local/provider.py", "/proc/self/task"): "where that folder is; else calls run one at a time",
}
"""What only some systems have, where we use it, and what keeps it from being needed."""


def only_elsewhere(tree: ast.AST) -> set[str]:
    """What a module uses that Windows does not have."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & MODULES
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or ""} & MODULES
            found |= {alias.name for alias in node.names} & CALLS.get(node.module or "", frozenset())
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found |= {node.attr} & CALLS.get(node.value.id, frozenset())
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith(PLACES):
            found.add(node.value)
    return found


def test_what_windows_has_not_is_never_needed() -> None:
    """Each module, call and place that Windows does not have is on the list of those that are guarded."""
    used = {
        (str(path.relative_to(ROOT)), name)
        for path in ROOT.rglob("*.py")
        for name in only_elsewhere(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert ALLOWED.keys() == used


@pytest.mark.parametrize("line", ["import fcntl", "from signal import SIGKILL", "os.fork()", "x = '/dev/stdin'"])
def test_what_windows_has_not_is_found(line: str) -> None:
    """The look above finds an import, a call and a place."""
    assert only_elsewhere(ast.parse(line))


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".jsonl", ".jsonl.gz", ".parquet"])
def test_large_tables_without_nameless_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    """A large table reads the same where the system has no files without a name, and nothing of it is left behind."""
    monkeypatch.setattr(large, "LARGE", 0)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = written(tmp_path / "in" / f"a[1]{suffix}")
    usual = tables.read(path)
    assert isinstance(usual.frame, large.Stored)
    monkeypatch.setattr(large, "DESCRIPTORS", str(tmp_path / "nowhere"))
    named = tables.read(path)
    assert isinstance(named.frame, large.Stored)
    assert named.frame.lazy().collect().equals(usual.frame.lazy().collect())
    del named
    assert [each.name for each in tmp_path.iterdir()] == ["in"]


def written(path: Path) -> Path:
    """A small table in the format of the path's suffix."""
    import gzip

    import polars as pl

    frame = pl.DataFrame({"id": ["1", "2", "3"], "text": ["one", "two, three", "four"]})
    path.parent.mkdir()
    plain = path.with_suffix("") if path.suffix == ".gz" else path
    {".csv": frame.write_csv, ".jsonl": frame.write_ndjson, ".parquet": frame.write_parquet}[plain.suffix](plain)
    if plain != path:
        path.write_bytes(gzip.compress(plain.read_bytes()))
        plain.unlink()
    return path
