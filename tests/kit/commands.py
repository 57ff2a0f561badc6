"""Command lines, and a terminal to run them on."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import struct
import termios
from pathlib import Path

from forks import Forked

BIG, SMALL = "fake:big?in=10&out=10", "fake:small?in=1&out=1"


def numbered(folder: Path, rows: int) -> Path:
    """A table of this many different texts."""
    path = folder / "t.csv"
    path.write_text("text\n" + "".join(f"row {i}\n" for i in range(rows)))
    return path


def usual(table: object, **changed: object) -> list[object]:
    """A good command line for `smart run`, with some options changed (None takes one out)."""
    options: dict[str, object] = {
        "prompt": "Good? {text}",
        "labels": "yes,no",
        "reference": BIG,
        "candidate": SMALL,
        "agreement": "0.9",
        "confidence": "0.95",
    }
    options |= changed
    given = [[f"--{name.replace('_', '-')}", value] for name, value in options.items() if value is not None]
    return ["run", table, *(part for pair in given for part in pair)]


def on_a_terminal(
    command: list[str], typed: bytes, *, question: bytes = b"Go on", columns: int = 80
) -> tuple[int, str]:
    """Run on a terminal of its own and answer its question: exit code, all that is shown. Where nothing comes of Ctrl-C
    it is typed again, as people do: Python does not see one that comes in the moment before it begins to read."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {**os.environ, "TERM": "xterm"}
    process = Forked(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env, on_terminal=True)
    os.close(theirs)
    shown, asked = b"", False
    with contextlib.suppress(OSError):  # raised once the other side is closed
        while True:
            ready, _, _ = select.select([ours], [], [], 5.0 if asked and typed == b"\x03" else None)
            if ready and not (part := os.read(ours, 4096)):
                break
            shown += part if ready else b""
            if (question in shown and not asked) or not ready:
                os.write(ours, typed)
                asked = True
    os.close(ours)
    return process.wait(30), shown.decode()
