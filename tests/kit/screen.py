"""A terminal to watch a command on: what stood on the screen, again and again, until the command had ended."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import termios
import time
from dataclasses import dataclass, field

from forks import Forked

TOGETHER = 0.01
"""Seconds between two parts of one picture, at most."""
SEQUENCE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|\x1b[()=>].?")


@dataclass
class Screen:
    """As much of a terminal as progress displays use. widest: columns that any line took; lines are never scrolled
    away. A line that is longer than the terminal goes on in the next one, as it does there."""

    columns: int
    lines: list[str] = field(default_factory=lambda: [""])
    row: int = 0
    column: int = 0
    wrapped: int = 0

    def write(self, text: str) -> None:
        """What a program sends."""
        place = 0
        while place < len(text):
            if found := SEQUENCE.match(text, place):
                self._control(found[1] or "", found[2] or "")
                place = found.end()
                continue
            self._put(text[place])
            place += 1

    def _control(self, numbers: str, letter: str) -> None:
        if letter == "A":
            self.row = max(0, self.row - int(numbers or 1))
        elif letter == "K":
            line = self.lines[self.row]
            self.lines[self.row] = "" if numbers == "2" else line[: self.column]

    def _put(self, character: str) -> None:
        if character == "\r":
            self.column = 0
        elif character == "\n":
            self._down()
            self.column = 0
        elif character >= " ":
            if self.column == self.columns:
                self.wrapped += 1
                self._down()
                self.column = 0
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + character + line[self.column + 1 :]
            self.column += 1

    def _down(self) -> None:
        self.row += 1
        if self.row == len(self.lines):
            self.lines.append("")


def _drawn(terminal: int) -> bytes:
    """What comes next, to the end of what is drawn together."""
    data = os.read(terminal, 65536)
    while select.select([terminal], [], [], TOGETHER)[0]:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # the other side is closed; the next call says so
            break
        data += part
    return data


@dataclass(frozen=True)
class Frame:
    """seconds: since the start. lines: those on the screen. wrapped: how many were longer than it."""

    seconds: float
    lines: tuple[str, ...]
    wrapped: int


def watched(command: list[str], *, columns: int, env: dict[str, str] | None = None) -> tuple[int, list[Frame]]:
    """Run a command on a terminal: its exit code, and the screen after everything that it sent."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    process = Forked(command, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm", **(env or {})})
    os.close(theirs)
    screen, frames, start, rest = Screen(columns), list[Frame](), time.monotonic(), b""
    with contextlib.suppress(OSError):  # raised once the other side is closed
        while part := _drawn(ours):
            whole = rest + part
            text = whole.decode("utf-8", "ignore")
            rest = whole[len(text.encode()) :]
            screen.write(text)
            frames.append(Frame(time.monotonic() - start, tuple(screen.lines), screen.wrapped))
    os.close(ours)
    return process.wait(60), frames
