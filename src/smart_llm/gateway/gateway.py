"""All routes of a gateway, with what they share: the ledger, the connections, the pace that each model bears."""

from __future__ import annotations

import asyncio
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import msgspec

from smart_llm.client.client import Client
from smart_llm.client.pace import Pace
from smart_llm.errors import InputError, LedgerError
from smart_llm.gateway.asker import Asker
from smart_llm.gateway.book import SERIES, Book, asked_of, bought
from smart_llm.gateway.breaker import Breaker
from smart_llm.gateway.config import Config, RouteConfig
from smart_llm.gateway.purse import DAY, Purse
from smart_llm.gateway.route import CANDIDATES, Route
from smart_llm.ledger.keys import canonical
from smart_llm.providers.base import Provider
from smart_llm.providers.http import HttpProvider
from smart_llm.providers.making import make_providers
from smart_llm.types import Model, Request

CONCURRENCY = 256
"""Calls in flight per model, at most."""
TRIES, CANDIDATE_TRIES = 4, 2
DRAINING = 20.0
"""Seconds that audits behind answers are waited for when the gateway stops."""


class Gateway:
    """Opened on a ledger that nobody else writes. Use `open` and `close`."""

    def __init__(self, config: Config, providers: dict[str, Provider], book: Book) -> None:
        self.config, self.book, self._providers = config, book, providers
        self.began, self._draining = time.time(), DRAINING
        self._paces: dict[str, Pace] = {}
        self._random = Random(0)
        self._clients: list[Client] = []
        self.refused: Counter[int] = Counter()
        self.stop: Callable[[], None] = lambda: None
        lost = book.begin(self.began)
        self.routes = {name: self._route(each, lost) for name, each in config.routes.items()}
        book.on_failure(self._failed)

    @classmethod
    async def open(cls, config: Config) -> Gateway:
        """`InputError`: the ledger is in use, or a model's key is not there; `LedgerError`: it is damaged."""
        models = {model.name: model for route in config.routes.values() for model in route.models}
        check_alike([model for route in config.routes.values() for model in route.models])
        providers = make_providers(models.values())
        for provider in providers.values():
            if isinstance(provider, HttpProvider):
                provider.lost = _lost
        book = Book(config.ledger, store_text=config.store_text)
        try:
            gateway = cls(config, providers, book)
            for route in gateway.routes.values():
                await route.resume(gateway._waiting(route))
        except (msgspec.MsgspecError, LookupError, TypeError) as damage:
            book.close()
            raise LedgerError(
                f"{config.ledger} is damaged: what a gateway has recorded there cannot be read."
            ) from damage
        except BaseException:
            book.close()
            raise
        return gateway

    def hurry(self) -> None:
        """Do not wait for audits, also where `close` waits for them already."""
        self._draining = 0.0
        for route in self.routes.values():
            route.hurry()

    async def close(self) -> None:
        """Wait for audits, take back what was announced, close everything."""
        await asyncio.gather(*(route.drain(self._draining) for route in self.routes.values()))
        if self.broken is None:
            for client in self._clients:
                await client.settle()
            self.book.end()
        for provider in {id(each): each for each in self._providers.values()}.values():
            await provider.close()
        self.book.close()

    @property
    def broken(self) -> Exception | None:
        """Why nothing can be answered any more."""
        return next((route.broken for route in self.routes.values() if route.broken is not None), None)

    def _failed(self, error: LedgerError) -> None:
        """The ledger cannot be written any more."""
        for route in self.routes.values():
            route.break_(error)

    def _route(self, config: RouteConfig, lost: int) -> Route:
        midnight = self.began - self.began % DAY
        purse = Purse(config.budget, self.book.spent_since(account_of(config), midnight))
        reference, *candidates = config.models
        first = self._client([reference], config, purse, TRIES, self.config.timeout / 3)
        others = self._client(candidates, config, purse, CANDIDATE_TRIES, self.config.timeout * CANDIDATES)
        askers = [Asker(reference, first), *(Asker(model, others, Breaker()) for model in candidates)]
        route = Route(config, self.book, askers, purse, lost=lost, seconds=self.config.timeout)
        route.on_broken = lambda: self.stop()
        self._describe(route)
        return route

    def _client(self, models: list[Model], config: RouteConfig, purse: Purse, tries: int, seconds: float) -> Client:
        client = Client(
            self.book,
            models,
            self._providers,
            tries=tries,
            timeout=seconds,
            patience=seconds,
            run=account_of(config),
            gate=self._pace,
            purse=purse,
        )
        self._clients.append(client)
        return client

    def _pace(self, model: Model) -> Pace:
        """Routes that ask the same model share its limits."""
        return self._paces.setdefault(model.name, Pace(CONCURRENCY, self._random))

    def _describe(self, route: Route) -> None:
        """What a series promises stands in the ledger before anything of it does."""
        described = route.config.described
        known = self.book.latest(route.series, SERIES)
        if known is None or canonical(known) != canonical(described):
            self.book.event(route.series, SERIES, described)

    def _waiting(self, route: Route) -> dict[int, tuple[Request, dict[int, Any]]]:
        """Of audits that were not back: what the reference is asked, and what the candidates had said."""
        numbers, found = {each.request for each in route.stream.outstanding}, list[Any]()
        told = asked_of(self.book, route.series)
        while len(found) < len(numbers) and (each := next(told, None)) is not None:
            if each["request"] in numbers:
                found.append(each)
        return {each["request"]: waiting for each in found for waiting in self._again(route, each)}

    def _again(self, route: Route, asked: Any) -> Iterator[tuple[Request, dict[int, Any]]]:
        keys = {int(way): key for way, key in asked["keys"].items()}
        values = {way: route.config.task.read(self.book.get(key)) for way, key in keys.items()}
        _, request = bought(self.book, next(iter(keys.values())))
        if request is not None:
            yield route.questions.as_reference(request), values


def account_of(config: RouteConfig) -> str:
    """Under which name a route's money stands in the ledger."""
    return f"gateway:{config.name}"


def _lost(text: str) -> None:
    """A server cannot be made to keep to the labels: said without the server's own words, which may quote a prompt."""
    warnings.warn(f"{text.partition(' the labels')[0]} the labels.", stacklevel=2)


def check_alike(models: list[Model]) -> None:
    """`InputError` where one name stands for two settings or prices."""
    known: dict[str, Model] = {}
    for model in models:
        if known.setdefault(model.name, model) != model:
            raise InputError(f"The model {model.name} is written in two ways; give it one price and key everywhere.")
