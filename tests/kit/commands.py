"""Command lines, and a terminal to run them on."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import termios

BIG, SMALL = "fake:big?in=10&out=10", "fake:small?in=1&out=1"


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
    """Run on a terminal of its own and answer its question: exit code, all that is shown."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {**os.environ, "TERM": "xterm"}
    process = subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        preexec_fn=_controlling,
        env=env,
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # raised once the other side is closed
        while part := os.read(ours, 4096):
            if question in (shown := shown + part) and typed:
                os.write(ours, typed)
                typed = b""
    os.close(ours)
    return process.wait(30), shown.decode()


def _controlling() -> None:
    """Make the terminal the one that Ctrl-C comes from."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
