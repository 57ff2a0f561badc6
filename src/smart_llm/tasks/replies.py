"""What surrounds an answer in a model's reply, and how to take it off: thoughts, code fences, quotes, emphasis.

Safe direction: where it is not clear which part is the answer, nothing is (None), and the row is deferred.
"""

from __future__ import annotations

import re

_THOUGHT = re.compile(r"<(think|thinking|reasoning)>.*?</\1>", re.DOTALL | re.IGNORECASE)
_THOUGHT_END = re.compile(r"</(?:think|thinking|reasoning)>", re.IGNORECASE)
_THOUGHT_START = re.compile(r"<(?:think|thinking|reasoning)>", re.IGNORECASE)
_FENCE = re.compile(r"```[^\S\n]*[\w+-]*[^\S\n]*\n(.*?)\n?[^\S\n]*```", re.DOTALL)
_STATED = re.compile(
    r"\b(?:answer|label|category|class|classification|sentiment|verdict|result|prediction|output|option|choice)\b"
    r"[\s*_`\"']*(?:[:=]|\bis\b\s*:?|\bwould be\b|\u2192|->)[^\S\n]*(?P<rest>[^\n]*(?:\n\s*[^\n]+)?)",
    re.IGNORECASE,
)


def spoken(text: str) -> str | None:
    """The reply without the model's thoughts; None where only thoughts are left, or text that is not Unicode.

    Some chat templates swallow the opening tag, so a closing tag alone ends the thoughts as well. Thoughts that never
    end mean that the reply was cut off before the answer.
    """
    text = _THOUGHT_END.split(_THOUGHT.sub("", text))[-1]
    if _THOUGHT_START.search(text) or not _encodable(text):
        return None
    return text.strip() or None


def fenced(text: str) -> list[str]:
    """The contents of the code fences in a reply, in order."""
    return [block.strip() for block in _FENCE.findall(text)]


def unfenced(text: str) -> str:
    """The reply with its code fences opened: contents stay, fences go."""
    return _FENCE.sub(r"\1", text).strip()


def statements(text: str) -> list[str]:
    """What follows each "answer:", "label:", "the answer is" …: the rest of that line, or the next line where that
    is empty."""
    found = []
    start = 0
    while match := _STATED.search(text, start):
        lines = [line.strip() for line in match["rest"].strip().split("\n")]
        found.append(lines[0])
        start = match.start("rest") + len(lines[0])
    return found


def edge_lines(text: str) -> list[str]:
    """The first and the last line that are not blank."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return [lines[0], lines[-1]] if lines else []


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
