"""The seam between this package and every model: one request in, one answer out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, cast, runtime_checkable

from smart_llm.errors import InputError
from smart_llm.providers.tidy import tidied
from smart_llm.types import Answer, Request

ALTERNATIVES = 5
"""How many tokens are asked for in the place of each one of a label: no provider that lists any lists fewer."""

PLACES, DECIMALS = 16, 5
"""Of how many tokens the alternatives are kept, and with how many decimals: they are written down with every answer."""


def surest(listed: Sequence[tuple[str, float]], token: str) -> tuple[tuple[str, float], ...]:
    """Of the tokens listed in the place of one, the most probable others, as an `Answer` has them."""
    others = sorted([pair for pair in listed if pair[0] != token], key=lambda pair: -pair[1])
    return tuple([(other, round(logp, DECIMALS)) for other, logp in others[:ALTERNATIVES]])


class Provider(Protocol):
    """Something that answers requests. It makes one attempt per call: retries, pacing and money are the client's."""

    async def complete(self, request: Request) -> Answer:
        """One attempt. The answer's `usage` is filled in, its `cost` is not.

        A model that declined to answer is an answer without text (`finish` says why): it was paid and it stands.
        Raises `Retryable` when trying again may help, `Refused` when it will not.
        """
        ...

    async def close(self) -> None:
        """Give up connections; closing twice does no harm."""
        ...


async def answered(provider: Provider, request: Request) -> Answer:
    """What a provider says, as it may be recorded; `InputError` for one of the user's own that does not keep to the
    seam."""
    whose, given = f"{type(provider).__name__}, for {request.model},", cast("Any", provider.complete(request))
    if not hasattr(given, "__await__"):
        raise InputError(f"providers: complete() of {whose} is not async: write `async def complete`.")
    answer = await given
    if not isinstance(answer, Answer):
        said = type(answer).__name__
        raise InputError(f"providers: complete() of {whose} gives a {said}: return a smart.Answer.")
    return tidied(answer, whose)


Told: TypeAlias = Callable[[str, Mapping[str, str]], None]
"""Is told a model's name and the headers of a reply, while `complete` is still awaited."""


@runtime_checkable
class Telling(Protocol):
    """A provider whose replies say how its limits stand: it calls `told`, if set, with every reply it gets."""

    told: Told | None


LONGEST_WAIT = 60.0
"""Seconds that anybody waits for a server because it said so."""


def capped(retry_after: float | None) -> float | None:
    """The seconds that a server said to wait, within reason; None where it said nothing that can be waited for."""
    return None if retry_after is None or retry_after != retry_after else min(max(0.0, retry_after), LONGEST_WAIT)


def within(patience: float, retry_after: float | None) -> float | None:
    """The same, but for no longer than the user wants to wait at all."""
    return None if (seconds := capped(retry_after)) is None else min(seconds, patience)
