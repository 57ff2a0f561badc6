"""Asking one model for somebody who waits: an answer within the time there is, or why there is none."""

from __future__ import annotations

from smart_llm.client.client import TURNED_DOWN, Client
from smart_llm.client.limit import Limit
from smart_llm.errors import BudgetExhausted, ProviderError
from smart_llm.gateway.breaker import Breaker
from smart_llm.types import Answer, Model, Request

LIMITED = "rate-limited for"
"""How the client's words for a request begin that met nothing but rate limits."""


class Failed(Exception):
    """No answer. why: "budget", "limited" (rate limits), "late", "resting" (it has failed lately), "refused" (what was
    asked: it answers others) or "failed". retry_after: seconds, where asking again may help."""

    def __init__(self, why: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.why, self.retry_after = why, retry_after


class Asker:
    """Of one model. Counts what it is asked, and what fails."""

    def __init__(self, model: Model, client: Client, breaker: Breaker | None = None) -> None:
        self.model, self._client = model, client
        self.breaker = breaker or Breaker()
        self.asked = self.failed = 0

    def bound(self, request: Request) -> float:
        """USD that a call can cost at most."""
        return self._client.bound(request)

    async def ask(self, key: str, request: Request, seconds: float) -> Answer:
        """The answer to a request. key: of it in the ledger. Raises `Failed`; `LedgerError` where it cannot be
        recorded."""
        if self.breaker.rests:
            self.failed += 1
            raise Failed("resting", f"{self.model.name} does not answer at the moment.", self.breaker.left)
        if self.breaker.asked():
            self._client.renew(self.model.name)
        self.asked += 1
        try:
            answer = await self._within(key, request, seconds)
        except Failed as failed:
            self.failed += 1
            if failed.why == "budget":
                self.breaker.dropped()
            elif failed.why == "refused":
                self.breaker.answered()
            else:
                self.breaker.failed()
            raise
        except BaseException:
            self.breaker.dropped()
            raise
        self.breaker.answered()
        return answer

    async def _within(self, key: str, request: Request, seconds: float) -> Answer:
        try:
            with Limit(max(0.001, seconds)):
                answer = await self._client.ask_by(key, request)
        except TimeoutError:
            raise Failed("late", f"{self.model.name} did not answer within {seconds:.3g} s.", 1.0) from None
        except BudgetExhausted as error:
            raise Failed("budget", str(error), 60.0) from None
        except ProviderError as error:
            limited = "rate limit" in str(error)
            raise Failed("limited" if limited else "failed", str(error), 10.0) from None
        if answer.error is not None:
            if answer.finish == TURNED_DOWN:
                raise Failed("refused", answer.error)
            limited = answer.error.startswith(LIMITED)
            raise Failed("limited" if limited else "failed", answer.error, 5.0 if limited else 1.0)
        return answer
