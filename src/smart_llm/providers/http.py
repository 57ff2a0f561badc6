"""One address, one key, one pool of kept-alive connections, in any dialect: what every provider over HTTP is made of.

The key is in one header of requests to this address and nowhere else: redirects are not followed, the environment's
proxies and netrc are not read, cookies are not kept, and no message ever quotes a header.

Models differ in the parameters they take. What is known of a model by its name is known beforehand; what an endpoint
refuses with words that say so is learnt, and the request sent again without it. Where its words are not clear, and the
model has answered nothing yet, the request is tried once without what it may mean; an answer shows that it meant that.
A limit of tokens that was taken once is known: whatever is said of it later is said of one row. What the user asked for
(`effort`) is never left out; where the labels cannot be enforced although the user wants it (`enforced`), that is said.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from urllib.parse import urlsplit

from smart_llm.errors import ProviderError, Refused, Retryable
from smart_llm.providers import bodies, enforced, lenient, parameters, problems
from smart_llm.providers.base import Told
from smart_llm.providers.connections import Connections, Dropped, HttpReply, Unreached, Unusable
from smart_llm.providers.harmless import hidden, shown
from smart_llm.types import Answer, Model, Request

LONGEST_NAME = 200
"""Characters of the name that a model gives itself."""
LEARNT_FROM = (200, 400, 403, 404, 422, 501)
"""Statuses that come with the name of a parameter that is not taken (200: with an error in the body)."""
LIMITS = frozenset(parameters.LIMITS)


class Spoilt(Refused):
    """What the model wrote for this row did not keep to the schema."""


class HttpEndpoint:
    """Posts JSON to one URL. headers: sent with every request, the key among them. secret: the key, never quoted."""

    def __init__(self, url: str, headers: Mapping[str, str], *, secret: str | None = None) -> None:
        self._connections = Connections(url, {"Content-Type": "application/json", **bodies.ACCEPTED, **headers})
        self._secret = secret
        place = urlsplit(url)
        self.host = place.netloc
        alone = place.path in ("/chat/completions", "//chat/completions")  # most servers have it under /v1
        self._bare = f"{place.scheme}://{self.host}/v1" if alone else ""

    async def post(self, body: bytes, headers: Mapping[str, str] | None = None) -> HttpReply:
        """One request, one reply, whatever its status. `Retryable` where none came."""
        try:
            reply = await self._connections.post(body, headers, bodies.MOST)
            data = bodies.unpacked(reply.data, reply.headers, bodies.MOST)
            if data is not reply.data:
                reply = HttpReply(reply.status, data, reply.headers)
        except Unusable as error:
            raise Retryable(f"{self.host} {error}.", paid=True) from None
        except Unreached as error:
            raise Retryable(f"{self.host} cannot be reached: {error}.") from None
        except Dropped as error:
            raise Retryable(f"{self.host} dropped the connection: {error}.", paid=True) from None
        return reply

    async def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        await self._connections.close()

    def error(self, reply: HttpReply, problem: problems.Problem) -> ProviderError:
        """What a reply other than 200 means for us."""
        problem = replace(problem, message=shown(problem.message, self._secret))
        found = problems.meaning(self.host, reply.status, problem, reply.headers, self._secret)
        if reply.status == 404 and self._bare:
            found.args = (f"{found} Its address has no path: is {self._bare} meant?",)
        return found

    def safe(self, answer: Answer) -> Answer:
        """An answer as it may be kept: the key is not in it, and nothing that is shown can do harm."""
        snapshot, finish = shown(answer.snapshot, self._secret), shown(answer.finish, self._secret)
        text = hidden(answer.text, self._secret) if answer.text else answer.text
        error = shown(answer.error, self._secret) if answer.error else answer.error
        same = (text, snapshot, finish, error) == (answer.text, answer.snapshot, answer.finish, answer.error)
        if same:
            return answer
        kept = text == answer.text
        return replace(
            answer,
            text=text,
            snapshot=snapshot[:LONGEST_NAME],
            finish=finish,
            error=error,
            logprobs=answer.logprobs if kept else (),
            listed=answer.listed if kept else (),
        )

    def inside(self, reply: HttpReply) -> tuple[problems.Problem, ProviderError]:
        """What a 200 without an answer means for us."""
        found = problems.inside(self.host, reply.data, self._secret)
        if found is not None:
            found[1].args = (shown(str(found[1]), self._secret),)
            return found
        page, streams = problems.PAGE.match(reply.data), reply.data.startswith((b"data:", b"event:"))
        odd = " but a web page: is this the address of its API?" if page else "."
        odd = " in one piece: it streams although it was not asked to." if streams else odd
        return problems.Problem(), Retryable(f"{self.host} sent a reply that is not a completion{odd}", paid=not page)


class HttpProvider(ABC):
    """Answers requests for the models of one endpoint. A dialect says how a request is written and a reply is read.

    prefix: what every prompt of the run begins with. told: see `base.Told`. lost: is told in a sentence that a server
    cannot be made to keep to the labels although it should be.
    """

    tidy = True
    """Dialects read leniently, and `safe` is what leaves here: nothing else has to be done before it is recorded."""

    def __init__(
        self, endpoint: HttpEndpoint, models: Iterable[Model], *, prefix: str = "", told: Told | None = None
    ) -> None:
        self._http = endpoint
        self._models = {model.name: model for model in models}
        self._quirks = {name: self.known(model) for name, model in self._models.items()}
        self._enforcing = {name for name, model in self._models.items() if model.enforce in enforced.TOLD}
        self._answered = set[str]()
        self._prefix = prefix
        self.told = told
        self.lost: Callable[[str], None] = _warn

    optional: tuple[str, ...]
    """Parameters that we can do without, where a model does not take them."""

    @abstractmethod
    def body(self, request: Request, also: frozenset[str] = frozenset()) -> bytes:
        """The body of one call (or of one line of a batch), by what is known of the model so far. also: what else is
        left out."""

    @abstractmethod
    def decode(self, data: bytes) -> Answer:
        """The answer in a whole reply; one of `lenient.UNREADABLE` where it is none."""

    @abstractmethod
    def known(self, model: Model) -> frozenset[str]:
        """The parameters a model is known not to take, by its name."""

    @abstractmethod
    def refused(self, problem: problems.Problem, quirks: frozenset[str]) -> frozenset[str]:
        """The parameters an endpoint says it does not take, of those we can do without. quirks: what was left out."""

    def headers(self, model: str, also: frozenset[str] = frozenset()) -> Mapping[str, str] | None:
        """Headers that go with this model's calls."""
        return None

    async def complete(self, request: Request) -> Answer:
        """One attempt, or a few where the endpoint first has to say which parameters it does not take. A row that the
        model fails to write by the schema is asked without it; the task checks the answer in any case."""
        name, also, refusal, answer = request.model, frozenset[str](), None, None
        known = self._quirks[name]
        while answer is None:
            body, quirks = self.body(request, also), self._quirks[name] | also
            reply = await self._http.post(body, self.headers(name, also))
            if self.told is not None:
                self.told(name, reply.headers)
            try:
                answer = self._read(name, quirks, reply)
            except Spoilt:
                if request.schema is None:
                    raise
                request = replace(request, schema=None)
            except Refused as error:
                self._quirks[name] -= LIMITS - known  # refused without the limit, too
                also = frozenset() if refusal else self._unclear(request, reply, error)
                if self.body(request, also) == body or not also:
                    raise refusal or error from None
                refusal = error
        if refusal is not None:
            self._leave_out(name, also, refusal)
        return answer

    def _unclear(self, request: Request, reply: HttpReply, error: Refused) -> frozenset[str]:
        """What a model that has answered nothing yet may have refused, in words that do not say so clearly."""
        foreseen = error.row_only or not (error.maybe_row or error.doubtful)
        if foreseen or request.model in self._answered or reply.status not in LEARNT_FROM:
            return frozenset()
        schema = {enforced.SCHEMA} if request.schema is not None else ()
        return parameters.named(problems.read(reply.data), self.optional).union(schema)

    def read(self, model: str, reply: HttpReply) -> Answer:
        """What a reply to such a body says, wherever it was found (in the results of a batch).

        Raises `Retryable` for a parameter that is left out from now on, else what a call would raise.
        """
        answer = self._read(model, frozenset(), reply)  # many lines of a batch find it out at once
        if answer is None:
            raise Retryable(f"{self._http.host} does not take a parameter; it is left out from now on.")
        return answer

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    def _read(self, model: str, quirks: frozenset[str], reply: HttpReply) -> Answer | None:
        """The answer, or None where a parameter was refused that was not among the quirks when it was sent."""
        if 200 <= reply.status < 300:
            try:
                answer = self._http.safe(self.decode(reply.data))
                if model not in self._answered:
                    self._answered.add(model)
                return answer
            except lenient.UNREADABLE:
                problem, error = self._http.inside(reply)
        else:
            problem = problems.read(reply.data)
            error = self._http.error(reply, problem)
        learning = reply.status in LEARNT_FROM and isinstance(error, Refused)
        if learning and parameters.spoilt(problem):
            raise Spoilt(str(error), maybe_row=True)
        learnt = self.refused(problem, quirks) - quirks if learning else frozenset[str]()
        if model in self._answered:
            settled = LIMITS | enforced.ALL if model in self._enforcing else LIMITS
            learnt = frozenset() if learnt & settled else learnt
        if not learnt:
            raise error
        self._leave_out(model, learnt, error)
        return None

    def _leave_out(self, model: str, learnt: frozenset[str], error: ProviderError) -> None:
        """Send these parameters to this model no more. Where its labels cannot be enforced then, say so, once."""
        before, way = self._quirks[model], self._models[model].enforce
        self._quirks[model] = after = before | learnt
        if enforced.gone(way, after) and not enforced.gone(way, before):
            self.lost(f"{model}: its server does not take enforce={way}, so nothing keeps it to the labels: {error}")


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=2)
