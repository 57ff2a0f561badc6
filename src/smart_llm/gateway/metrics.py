"""What a gateway tells of itself to Prometheus: counts, costs and limits, never a text."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from smart_llm.gateway.gateway import Gateway
from smart_llm.gateway.route import Route
from smart_llm.gateway.spoken import Denied
from smart_llm.gateway.tally import Standing

SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 120.0)
STATES = ("open", "kept", "short", "stopped", "broken")


class Metrics:
    """Of one gateway."""

    media_type = CONTENT_TYPE_LATEST

    def __init__(self, gateway: Gateway) -> None:
        self._gateway, self._out = gateway, 0
        self._registry = CollectorRegistry()
        self._seconds = {name: [0] * (len(SECONDS) + 1) for name in gateway.routes}
        self._sums = dict.fromkeys(gateway.routes, 0.0)
        self._registry.register(self)

    def enter(self, most: int) -> None:
        """A request is being answered. `Denied` where there are too many."""
        if self._out >= most:
            raise Denied(503, "Too many requests at once; come again.", kind="api_error", retry_after=1.0)
        self._out += 1

    def leave(self) -> None:
        """It is not any more."""
        self._out -= 1

    def answered(self, route: str, seconds: float) -> None:
        """A request was answered."""
        self._seconds[route][bisect_left(SECONDS, seconds)] += 1
        self._sums[route] += seconds

    def denied(self, route: str, status: int) -> None:
        """A request was not."""
        tally = self._gateway.routes[route].tally.refused if route else self._gateway.refused
        tally[status] += 1

    def text(self) -> bytes:
        """Everything, as Prometheus reads it."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Called by the registry."""
        routes = self._gateway.routes.values()
        yield from self._counts(list(routes))
        yield self._times()
        yield from _money(list(routes))
        yield from _windows(list(routes), self._gateway)

    def _times(self) -> Metric:
        times = HistogramMetricFamily("smart_request_seconds", "Time to an answer.", labels=["route"])
        for route, counts in self._seconds.items():
            limits = [*(str(limit) for limit in SECONDS), "+Inf"]
            times.add_metric([route], list(zip(limits, accumulate(counts), strict=True)), self._sums[route])
        return times

    def _counts(self, routes: list[Route]) -> Iterator[Metric]:
        answers = CounterMetricFamily("smart_answers", "Answers, by who gave them.", labels=["route", "answered_by"])
        refused = CounterMetricFamily("smart_refused", "Requests without an answer.", labels=["route", "status"])
        known = CounterMetricFamily("smart_known", "Answers that the ledger had.", labels=["route"])
        audits = CounterMetricFamily("smart_audits", "Accepted answers that were audited.", labels=["route"])
        asked = CounterMetricFamily("smart_calls", "Calls asked of a model.", labels=["route", "model"])
        failed = CounterMetricFamily("smart_calls_failed", "Calls without an answer.", labels=["route", "model"])
        for status, count in self._gateway.refused.items():
            refused.add_metric(["", str(status)], count)
        for route in routes:
            name, tally = route.config.name, route.tally
            for model, count in tally.answered.items():
                answers.add_metric([name, model], count)
            for status, count in tally.refused.items():
                refused.add_metric([name, str(status)], count)
            for asker in route.askers:
                asked.add_metric([name, asker.model.name], asker.asked)
                failed.add_metric([name, asker.model.name], asker.failed)
            known.add_metric([name], tally.known)
            audits.add_metric([name], tally.audits)
        out = GaugeMetricFamily("smart_requests_under_way", "Requests that wait for an answer.", value=self._out)
        yield from (answers, refused, known, audits, asked, failed, out)


def _money(routes: list[Route]) -> Iterator[Metric]:
    spent = CounterMetricFamily("smart_spent_usd", "Spent since the gateway began.", labels=["route"])
    alone = CounterMetricFamily("smart_reference_only_usd", "What the reference alone would cost.", labels=["route"])
    today = GaugeMetricFamily("smart_spent_today_usd", "Spent on this day (UTC).", labels=["route"])
    for route in routes:
        name = [route.config.name]
        spent.add_metric(name, route.purse.spent)
        alone.add_metric(name, route.tally.alone)
        today.add_metric(name, route.purse.today)
    yield from (spent, alone, today)


def _windows(routes: list[Route], gateway: Gateway) -> Iterator[Metric]:
    counts = GaugeMetricFamily("smart_window", "Counts of the newest window.", labels=["route", "count"])
    limits = GaugeMetricFamily(
        "smart_agreement", "Agreement in the newest window, limits valid at any time.", labels=["route", "limit"]
    )
    states = GaugeMetricFamily("smart_windows", "Windows, by how they stand.", labels=["route", "state"])
    warns = GaugeMetricFamily("smart_stopped_early_twice", "1: two windows in a row stopped early.", labels=["route"])
    for route in routes:
        name, windows = route.config.name, route.stream.windows
        standings = [Standing.of(each, float(route.config.confidence)) for each in windows.values()]
        for state in STATES:
            states.add_metric([name, state], sum(each.state == state for each in standings))
        warns.add_metric([name], float(route.tally.warns(windows) is not None))
        if not standings:
            continue
        last = standings[-1]
        for count in ("decided", "accepted", "audited", "waiting", "missed", "failed", "deferred", "unanswered"):
            counts.add_metric([name, count], getattr(last.window.counts, count))
        counts.add_metric([name, "number"], last.window.number)
        for limit, value in zip(("lower", "upper"), last.agreement, strict=True):
            limits.add_metric([name, limit], value)
    yield from (counts, limits, states, warns)
    broken = float(gateway.broken is not None)
    yield GaugeMetricFamily("smart_gateway_broken", "1: the ledger cannot be written.", value=broken)
