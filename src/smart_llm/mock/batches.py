"""Batches at the mock: one life cycle behind both batch APIs, which `batches_openai` and `batches_anthropic` speak.

A batch validates, works, finalizes and ends, each for the seconds it is told; the state follows from the clock, so it
goes on whether or not anybody looks. What ends it is drawn when it is made: most are completed, some expire or are
cancelled with half of their requests done, some fail. A request is billed when, and only when, it was answered;
`billed_twice` counts what was answered more than once, which is what a client must never let happen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from smart_llm.errors import InputError


@dataclass(frozen=True, slots=True)
class BatchFaults:
    """What goes wrong, as shares in [0, 1].

    Of calls to the batch addresses: error: 500, nothing is done · lost: it is done, but the connection is dropped
    before the reply · late: a submission is done `late_by` seconds after its connection was dropped · truncated: a
    download breaks off in the middle.
    Of batches: fail: validation fails · expire, cancel: it ends with half of its requests done.
    Of requests: line: status 500, not billed · odd: the reply says nothing that can be read, billed.
    """

    error: float = 0.0
    lost: float = 0.0
    late: float = 0.0
    truncated: float = 0.0
    fail: float = 0.0
    expire: float = 0.0
    cancel: float = 0.0
    line: float = 0.0
    odd: float = 0.0


@dataclass(frozen=True, slots=True)
class BatchSettings:
    """validating, working, finalizing: seconds. queue_tokens: input tokens a model may have queued at once.

    lag: seconds until a new batch is in the list. late_by: see `BatchFaults`.
    """

    validating: float = 0.02
    working: float = 0.1
    finalizing: float = 0.02
    queue_tokens: int | None = None
    lag: float = 0.0
    late_by: float = 1.0
    faults: BatchFaults = field(default_factory=BatchFaults)

    def __post_init__(self) -> None:
        shares = [getattr(self.faults, name) for name in BatchFaults.__dataclass_fields__]
        if any(not 0 <= share <= 1 for share in shares):
            raise InputError("The shares of a batch's faults must each lie in [0, 1].")


PROMPT = BatchSettings()
"""A batch is done in the fraction of a second, and nothing goes wrong."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of a batch. body: the call's body, as it would be sent alone."""

    custom_id: str
    model: str
    prompt: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Said:
    """What became of it. status 0: it was not reached. data: the body of the reply."""

    asked: Asked
    status: int
    data: bytes = b""


@dataclass(slots=True)
class Batch:
    """One batch. fate: what ends it. said: its results, in no order, once it has ended."""

    number: int
    created: float  # seconds since 1970
    asked: Sequence[Asked]
    fate: str
    start: float  # by the server's clock
    tokens: int = 0
    problem: tuple[str, str, int | None] | None = None  # of one that fails: code, message, line
    cancelled_at: float | None = None
    said: list[Said] | None = None


Answering = Callable[[Asked], tuple[int, bytes]]
"""A request, answered without any faults: status and body."""


class BatchStore:
    """All batches of a server. now: its clock; wall: seconds since 1970."""

    def __init__(
        self, settings: BatchSettings, answer: Answering, now: Callable[[], float], wall: Callable[[], float], seed: int
    ) -> None:
        self.settings, self._answer, self.now, self._wall = settings, answer, now, wall
        self.random = Random(seed)
        self.batches: list[Batch] = []
        self.billed: Counter[tuple[str, str]] = Counter()
        self.calls: Counter[str] = Counter()

    def add(self, asked: Sequence[Asked], problem: tuple[str, str, int | None] | None = None) -> Batch:
        """Take a batch in. problem: why it will fail, where that is known."""
        tokens = sum(8 + len(each.prompt.encode()) // 4 for each in asked)
        problem = problem or self._full(asked, tokens)
        fate = "failed" if problem else self._fate()
        if fate == "failed" and problem is None:
            problem = ("server_error", "The batch could not be validated.", None)
        batch = Batch(len(self.batches), self._wall(), asked, fate, self.now(), tokens, problem)
        self.batches.append(batch)
        return batch

    def phase(self, batch: Batch) -> str:
        """validating, in_progress, finalizing, cancelling, or how it ended; settles the results of one that has."""
        times, age = self.settings, self.now() - batch.start
        if age < times.validating and batch.cancelled_at is None:
            return "validating"
        if batch.fate == "failed":
            return "failed"
        if batch.cancelled_at is not None and batch.said is None:
            if self.now() - batch.cancelled_at < times.finalizing:
                return "cancelling"
            batch.fate = "cancelled"
        elif age < times.validating + times.working:
            return "in_progress"
        elif age < times.validating + times.working + times.finalizing:
            return "finalizing"
        if batch.said is None:
            batch.said = self._run(batch)
        return batch.fate

    def cancel(self, batch: Batch) -> None:
        """Asked for by the client."""
        if batch.said is None and batch.cancelled_at is None and self.phase(batch) in ("validating", "in_progress"):
            batch.cancelled_at = self.now()

    def listed(self) -> list[Batch]:
        """Newest first; one just made is not there yet."""
        return [batch for batch in reversed(self.batches) if self.now() - batch.start >= self.settings.lag]

    def stats(self) -> dict[str, object]:
        """What it did. billed: answered requests; billed_twice: answers to a request that had been answered."""
        ends = Counter(self.phase(batch) for batch in self.batches)
        billed = sum(self.billed.values())
        return {
            "submitted": len(self.batches),
            "ends": dict(ends),
            "billed": billed,
            "billed_twice": billed - len(self.billed),
            "calls": dict(self.calls),
        }

    def goes_wrong(self, kind: str) -> bool:
        """Whether this fault strikes now."""
        share = getattr(self.settings.faults, kind)
        return bool(share) and self.random.random() < share

    def _full(self, asked: Sequence[Asked], tokens: int) -> tuple[str, str, int | None] | None:
        limit = self.settings.queue_tokens
        if limit is None or not asked:
            return None
        model = asked[0].model
        busy = ("validating", "in_progress", "finalizing")
        queued = sum(each.tokens for each in self.batches if each.asked[0].model == model and self.phase(each) in busy)
        if queued + tokens <= limit:
            return None
        message = (
            f"Enqueued token limit reached for {model} in organization org-mock. Limit: {limit:,} enqueued tokens. "
            "Please try again once some in_progress batches have been completed."
        )
        return "token_limit_exceeded", message, None

    def _fate(self) -> str:
        for kind, end in (("fail", "failed"), ("expire", "expired"), ("cancel", "cancelled")):
            if self.goes_wrong(kind):
                return end
        return "completed"

    def _run(self, batch: Batch) -> list[Said]:
        """Answer what it came to, and bill that."""
        order = list(batch.asked)
        self.random.shuffle(order)
        reached = len(order) if batch.fate == "completed" else len(order) // 2
        said = [self._one(asked) for asked in order[:reached]]
        return said + [Said(asked, 0) for asked in order[reached:]]

    def _one(self, asked: Asked) -> Said:
        if self.goes_wrong("line"):
            return Said(asked, 500, b'{"error":{"message":"The server had an error.","type":"server_error"}}')
        status, data = self._answer(asked)
        if status == 200:
            self.billed[asked.model, asked.prompt] += 1
            if self.goes_wrong("odd"):
                data = b'{"choices":[],"content":{}}'
        return Said(asked, status, data)
