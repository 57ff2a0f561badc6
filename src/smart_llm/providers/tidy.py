"""What a provider's answer may hold, whoever wrote the provider: only what can be written down and read again. Pure.

An answer is recorded before it is used, and is evidence for good: what does not come out of the ledger as it went in
would make a run that nobody can resume or verify. What stands beside an answer is read as leniently as what servers
say (`lenient`): a log-probability that is none (−∞, NaN) takes the score with it, a number of tokens that is none is
not known. A text that is no text is a mistake in the provider, and is said.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import isfinite
from typing import Any, TypeAlias, cast

from smart_llm.errors import InputError
from smart_llm.providers import lenient
from smart_llm.types import Answer, Usage

Pairs: TypeAlias = tuple[tuple[str, float], ...]
COUNTS = ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens", "written_tokens")


def tidied(answer: Answer, whose: str) -> Answer:
    """The answer, as it may be recorded. `InputError`: it holds what is none. whose: the provider, for that."""
    wrong = {
        "text": answer.text is None or isinstance(answer.text, str),
        "usage": isinstance(answer.usage, Usage),
        "error": answer.error is None or isinstance(answer.error, str),
    }
    if name := next((name for name, fits in wrong.items() if not fits), None):
        said = type(getattr(answer, name)).__name__
        wanted = "a smart.Usage" if name == "usage" else "a str or None"
        raise InputError(
            f"providers: complete() of {whose} gives an answer whose {name} is {said}: it must be {wanted}."
        )
    pairs = _pairs(answer.logprobs)
    return replace(
        answer,
        text=None if answer.text is None else _whole(answer.text),
        usage=_usage(answer.usage),
        logprobs=() if pairs is None else pairs,
        listed=tuple([_listed(place) for place in _each(answer.listed)]) if pairs else (),
        finish=_whole(answer.finish) if isinstance(answer.finish, str) else "stop",
        snapshot=_whole(answer.snapshot) if isinstance(answer.snapshot, str) else "",
    )


def _pairs(found: object) -> Pairs | None:
    """Tokens with their log-probabilities; None where one of them has none: without it there is no score."""
    pairs = [_pair(each) for each in _each(found)]
    return tuple([each for each in pairs if each is not None]) if None not in pairs else None


def _listed(found: object) -> Pairs:
    """Of the tokens in one place those that have a log-probability."""
    return tuple([pair for each in _each(found) if (pair := _pair(each)) is not None])


def _pair(found: object) -> tuple[str, float] | None:
    """A token and its log-probability; None where that is none. Numbers of numpy are numbers, too."""
    if not isinstance(found, tuple | list) or len(found) != 2 or not isinstance(found[0], str):
        return None
    if isinstance(found[1], str) or not hasattr(found[1], "__float__"):
        return None
    logprob = lenient.logprob(float(found[1]))
    return None if logprob is None else (_whole(found[0]), logprob)


def _each(found: object) -> Iterable[Any]:
    return found if isinstance(found, tuple | list) else ()


def _usage(usage: Usage) -> Usage:
    """Whole numbers of tokens, 0 where they are not known, and seconds that have an end."""
    told: dict[str, Any] = {name: _count(getattr(usage, name)) for name in COUNTS}
    seconds = cast("Any", usage.cpu_seconds)
    told["cpu_seconds"] = float(seconds) if hasattr(seconds, "__float__") and isfinite(seconds) and seconds > 0 else 0.0
    return Usage(**told)


def _count(found: object) -> int:
    number = found if isinstance(found, int | str) or not hasattr(found, "__float__") else float(found)
    return lenient.tokens(number) or 0


def _whole(text: str) -> str:
    """Text that is Unicode: what is half a character becomes a mark."""
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
