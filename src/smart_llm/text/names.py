"""Models as people call them: by their names without addresses, where these tell them apart."""

from __future__ import annotations

import re
from collections.abc import Sequence

ADDRESS = re.compile(r"@https?://[^?\s]+")


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Each model's name, in full → in short."""
    brief = {name: ADDRESS.sub("", name) for name in names}
    return {name: each if list(brief.values()).count(each) == 1 else name for name, each in brief.items()}


def in_short(text: str, names: Sequence[str]) -> str:
    """A text with these models in it called by their short names."""
    for name, brief in sorted(short_names(names).items(), key=lambda pair: -len(pair[0])):
        text = text.replace(name, brief)
    return text
