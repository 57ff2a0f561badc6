"""What the client knows about one model: its prices, its pace, its health."""

from __future__ import annotations

import asyncio
import math
import os
from dataclasses import dataclass, replace

from smart_llm.client.budget import Announced
from smart_llm.client.health import Health
from smart_llm.client.limits import Limits
from smart_llm.client.pace import LONGEST_PAUSE, Gate, Turn
from smart_llm.client.trust import Trust
from smart_llm.defaults import PATIENCE
from smart_llm.errors import Refused
from smart_llm.providers import enforced
from smart_llm.providers.base import Provider
from smart_llm.types import Answer, Model, Request

HOPELESS = 10
"""Rows that finally fail before a model has ever answered anything, until the run is stopped."""
LATEST = 16
"""Answers whose mean time counts as how long they take now."""
FASTER, SLOWER = 0.1, 0.002
"""How far the time that answers take without a queue moves towards that of one which came faster, or slower."""
OUTSIZED = 2.0
"""Times the tokens of the largest request that was answered, from which on a request may be larger than a limit."""
FRAME_TOKENS = 64
"""Tokens a provider may add around system and prompt (roles, separators): counted into the upper bound."""
LONGEST_TOKEN = 16
"""Bytes of text to a token, at most, over a whole answer: where there are more, the limit of tokens was not kept."""


class Lane:
    """Everything the client knows about one model. witness: held while a row asks whether it answers others; expected:
    the snapshots of it that may answer (None: any); asking: requests on their way, however they wait; limited: what the
    latest rate limit said, until an answer comes; named: the seconds that it said to wait; usual, recent: seconds that
    answers take without a queue, and now; largest: tokens of the largest request that was answered."""

    def __init__(self, model: Model, provider: Provider, pace: Gate, *, patience: float = PATIENCE) -> None:
        self.model = model
        self.provider = provider
        self.pace = pace
        self.health = Health(model.name, patience)
        self.patience = patience
        self.announced = Announced()
        self.witness = asyncio.Lock()
        self.expected: frozenset[str] | None = None
        self.last_success = 0.0
        self.idle_at = 0.0
        self.failed_rows = 0
        self.asking = 0
        self.limited = ""
        self.answered, self.seconds = 0, 0.0
        self.usual = self.recent = self.largest = 0.0
        self.limits = Limits()
        self.named: float | None = None
        self.trust = Trust(model.name)

    def asked(self) -> None:
        """A request sets out."""
        if not self.asking:
            self.idle_at = _now()  # silence is counted from here, not from when this machine was switched on
        self.asking += 1

    def succeeded(self, turn: Turn, timeout: float) -> None:
        """A call brought an answer."""
        self.last_success, self.limited = _now(), ""
        self.trust.answered()
        self.largest = max(self.largest, turn.own)
        took = self.last_success - turn.at
        self.answered, self.seconds = self.answered + 1, self.seconds + took
        self.usual += ((FASTER if took < self.usual else SLOWER) if self.recent else 1.0) * (took - self.usual)
        self.recent += (took - self.recent) / min(self.answered, LATEST)
        self.pace.succeeded(turn, slow=took > max(2 * self.usual, timeout / 4))

    def queues(self, turn: Turn, timeout: float) -> bool:
        """Whether a call whose time is over waited in the server's queue: others were answered meanwhile, and they had
        to wait for long too."""
        return self.last_success > turn.at and self.recent > timeout / 4

    def outsized(self, request: Request) -> bool:
        """Whether this is far larger than any request that was answered, so that it may be larger than a whole limit of
        rates: no waiting helps it then."""
        return guessed_tokens(request) > OUTSIZED * self.largest > 0

    def silent_for(self, now: float) -> float:
        """Seconds without an answer while there were calls to answer."""
        if not self.asking:
            self.idle_at = now
        return now - max(self.last_success, self.idle_at)

    def bound(self, request: Request, timeout: float) -> float:
        """USD one attempt can cost at most: a token per byte sent, all output tokens, every core until the timeout."""
        rate = self.model.rate
        tokens = rate.bound(sent_bytes(request, self.model), request.max_tokens + self.model.thinking)
        seconds = timeout * (os.cpu_count() or 1) if rate.cpu_hour else 0.0
        return tokens + seconds * rate.cpu_hour / 3600

    def priced(self, request: Request, answer: Answer) -> Answer:
        """The answer with its cost. Where a server states no usage, a token per byte is assumed."""
        usage = answer.usage
        if not usage.cpu_seconds and not (usage.input_tokens and usage.output_tokens):
            usage = replace(
                usage,
                input_tokens=usage.input_tokens or sent_bytes(request, self.model),
                output_tokens=usage.output_tokens or self._unstated(request, answer),
            )
        return replace(answer, usage=usage, cost=self.model.rate.cost(usage))

    def _unstated(self, request: Request, answer: Answer) -> int:
        """Output tokens where the server does not say: a token per byte, and all the room to think. No more than were
        asked for, unless the answer is too long for a server that keeps to that."""
        text, limit = answer.text or "", request.max_tokens + self.model.thinking
        size = len(text.encode(errors="replace"))
        if answer.usage.input_tokens and not size and answer.finish != "length":
            return 0
        tokens = limit if answer.finish == "length" else size + 1 + self.model.thinking
        kept = size <= LONGEST_TOKEN * limit and len(text.split()) <= limit
        return min(tokens, limit) if kept else max(size + 1, tokens)

    def dismiss(self, reason: Exception) -> None:
        """`reason` is raised for every request that waits for its turn; calls that are out go on."""
        self.pace.dismiss(reason)
        self.health.dismiss(reason)

    def unexpected(self, answer: Answer) -> bool:
        """Whether this was answered by another snapshot than those that may. One that does not say is not known to be
        another."""
        return bool(self.expected and answer.snapshot and answer.snapshot not in self.expected)

    def changed(self, answer: Answer) -> str:
        """What to say then."""
        known = " and ".join(sorted(self.expected or ()))
        return (
            f"{self.model.name}: {answer.snapshot} answers now, but the evidence is of {known} and does not cover what "
            "another snapshot delivers. What was bought is kept. Name a model that stays the same (a dated one), or "
            "begin anew with --ledger NEWFILE."
        )

    def limited_for(self, seconds: float, error: Exception) -> Refused:
        """What stops a run whose model does nothing but refuse."""
        return Refused(
            f"{self.model.name} has answered nothing but rate limits for {seconds:g} s: {error} "
            "Everything bought is kept; run again later to go on."
        )

    def gave_up(self, error: Exception) -> None:
        """A row has failed for good. `Refused` where the model has failed on many and never answered any."""
        self.failed_rows += 1
        if not self.health.alive and self.failed_rows >= HOPELESS:
            raise Refused(f"{self.model.name}: the first {self.failed_rows} rows all failed. The last: {error}")

    def silence(self, now: float, seconds: float, timeout: float) -> str | None:
        """What to say if it has answered nothing for that many seconds although there is something to answer; for a
        sixth of them where its calls fail."""
        silent = self.silent_for(now)
        if silent < (seconds / 6 if self.health.failing else seconds):
            return None
        return f"{self.model.name} has answered nothing for {silent:.0f} s: {self.held_up(now, timeout)}"

    def locked_out(self, error: Refused) -> Refused:
        """The refusal of a key, with the variable to set."""
        if name := self.model.key_env:
            return Refused(f"{error} The key is the one in {name}: set it to one that is valid, then run again.")
        return Refused(f"{error} None was sent: name the variable that holds it, {self.model.name}?key_env=MY_API_KEY.")

    def held_up(self, now: float, timeout: float) -> str:
        """Why nothing comes, as far as is known here."""
        if self.health.failing:
            return f"{self.health.last} It is tried again now and then, for {self.health.patience:g} s in all."
        if self.limited:
            left = self.pace.resume_at - now
            then = f"Calls leave again in {math.ceil(left)} s." if left > 0 else "Calls are tried again as it allows."
            if self.named is not None and self.named > LONGEST_PAUSE:
                then = (
                    f"It asked to wait {self.named:.3g} s; it is asked again every {LONGEST_PAUSE:.0f} s all the same."
                )
            return f"it answers with its rate limit. {self.limited} {then}"
        if not self.pace.in_flight and self.pace.waiting:
            return "by what its replies say, its limit of rates is used up; a call a minute asks whether it still is."
        out = self.pace.in_flight
        many = "1 call is out and" if out == 1 else f"{out:,} calls are out, each"
        return f"{many} is given up after {timeout:g} s and tried again."


@dataclass(frozen=True, slots=True)
class Speed:
    """Of one model's calls, as seen: seconds per call, and the requests and tokens a minute its replies say are allowed
    (0: they do not say)."""

    seconds: float
    requests: float = 0.0
    tokens: float = 0.0

    @classmethod
    def of(cls, lane: Lane) -> Speed:
        """What a lane saw."""
        told = (lane.limits.requests, lane.limits.tokens)
        return cls(lane.seconds / lane.answered, *(each.limit if each is not None else 0.0 for each in told))


def ceiling(model: Model, concurrency: int) -> int:
    """Calls to a model that may be in flight: of one that runs on this machine, the cores."""
    return (os.cpu_count() or 1) if model.provider == "local" else concurrency


def guessed_tokens(request: Request) -> float:
    """What a provider may count against its limit of tokens; how far off that is, the pace learns."""
    return sum(len(text) for _, text in request.turns) / 4 + request.max_tokens


def sent_bytes(request: Request, model: Model) -> int:
    """Bytes of everything that is billed as input; no tokenizer makes more than a token of a byte."""
    parts = (*(text for _, text in request.turns), enforced.wanted(request, model))
    return FRAME_TOKENS * (1 + len(request.before)) + sum(len(part.encode()) for part in parts if part)


def _now() -> float:
    return asyncio.get_running_loop().time()
