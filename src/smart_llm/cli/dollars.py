"""The sums of money that users write."""

from __future__ import annotations

import re

from smart_llm.errors import InputError

_SIGN = re.compile(r"^(?:US\$|USD|\$)\s*|\s*(?:US\$|USD|\$|dollars?)$", re.IGNORECASE)
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d*)?")


def dollars(option: str, text: str) -> float:
    """What a user means by `5`, `$5`, `5 USD` or `$1,200.50`. `InputError` where it is no sum in US dollars."""
    bare = _SIGN.sub("", text.strip())
    try:
        return float(bare.replace(",", "") if _THOUSANDS.fullmatch(bare) else bare)
    except ValueError:
        pass
    if not bare or bare.startswith("--"):
        raise InputError(f"{option}: no sum was given. A shell takes $5 for a variable: write 5, or '$5' in quotes.")
    raise InputError(f"{option} {text!r:.80}: give US dollars, such as 5 or 0.50.")
