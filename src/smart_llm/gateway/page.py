"""The live page: what a gateway is doing, as one HTML page that asks nobody but the gateway itself."""

from __future__ import annotations

import time
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from smart_llm.gateway.gateway import Gateway
from smart_llm.gateway.route import Route
from smart_llm.gateway.tally import Standing
from smart_llm.text.safe import visible

SHOWN = 12
"""Windows of a route that are shown, the newest first."""
WORDS = {
    "open": "open",
    "kept": "kept",
    "short": "short: more requests without an answer than the reserve",
    "stopped": "stopped early: the reference answers the rest",
    "broken": "broken: more misses than the promise allows",
}


def html(gateway: Gateway, nonce: str) -> str:
    """The page as it is now."""
    return _templates().get_template("live.html").render(view=_view(gateway), nonce=nonce)


def part(gateway: Gateway) -> str:
    """What changes of it."""
    return _templates().get_template("main.html").render(view=_view(gateway))


def _view(gateway: Gateway) -> dict[str, Any]:
    return {
        "routes": [_route(route) for route in gateway.routes.values()],
        "broken": gateway.broken is not None,
        "up": _duration(time.time() - gateway.began),
        "at": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
    }


def _route(route: Route) -> dict[str, Any]:
    config, tally, windows = route.config, route.tally, route.stream.windows
    standings = [Standing.of(each, float(config.confidence)) for each in list(windows.values())[-SHOWN:]]
    answered, spent, alone = sum(tally.answered.values()), route.purse.spent, tally.alone
    return {
        "name": config.name,
        "promise": f"{float(config.agreement):g} agreement, {float(config.confidence):g} confidence, windows of "
        f"{config.window:,} requests, audits {config.audit}",
        "answered": f"{answered:,}",
        "refused": f"{sum(tally.refused.values()):,}",
        "by": [_share(each.model.name, tally.answered[each.model.name], answered) for each in route.askers],
        "spent": _usd(spent),
        "alone": _usd(alone),
        "saving": f"{alone / spent:.2f}×" if spent and alone else "–",
        "share": f"{min(1.0, spent / alone):.3f}" if alone else "0",
        "budget": _usd(config.budget) if config.budget is not None else None,
        "today": _usd(route.purse.today),
        "windows": [_window(each) for each in reversed(standings)],
        "now": _window(standings[-1]) if standings else None,
        "warns": tally.warns(windows) is not None,
        "resting": [each.model.name for each in route.askers if each.breaker.rests],
    }


def _window(standing: Standing) -> dict[str, Any]:
    window, counts, terms = standing.window, standing.window.counts, standing.window.terms
    low, high = standing.agreement
    return {
        "number": window.number,
        "decided": f"{counts.decided:,}",
        "of": f"{terms.requests:,}",
        "done": f"{counts.decided / terms.requests:.3f}",
        "accepted": f"{counts.accepted / max(1, counts.decided):.0%}",
        "audited": f"{counts.audited:,}",
        "missed": f"{counts.missed + counts.failed:,}",
        "waiting": f"{counts.waiting:,}",
        "last": f"{terms.credit + 1:,}",
        "used": f"{min(1.0, counts.caught / (terms.credit + 1)) if terms.credit >= 0 else 1:.3f}",
        "bad": f"{standing.bad[0]:,.0f} to {standing.bad[1]:,.0f}",
        "allowed": f"{terms.allowance:,}",
        "agreement": f"{low:.3f} to {high:.3f}",
        "unanswered": f"{window.unanswered:,}",
        "reserve": f"{terms.reserve:,}",
        "state": standing.state,
        "words": WORDS[standing.state],
    }


def _share(name: str, count: int, whole: int) -> dict[str, str]:
    return {"name": name, "count": f"{count:,}", "share": f"{count / max(1, whole):.3f}"}


def _usd(amount: float) -> str:
    return f"${amount:,.2f}" if amount >= 1 else f"${amount:.4f}"


def _duration(seconds: float) -> str:
    minutes, hours = int(seconds // 60), int(seconds // 3600)
    return f"{hours // 24} d {hours % 24} h" if hours >= 24 else f"{hours} h {minutes % 60} min"


@cache
def _templates() -> Environment:
    loader = PackageLoader("smart_llm.gateway", "templates")
    found = Environment(
        loader=loader, autoescape=True, finalize=_shown, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    found.globals["style"] = Markup(loader.get_source(found, "live.css")[0])
    found.globals["script"] = Markup(loader.get_source(found, "live.js")[0])
    return found


def _shown(value: Any) -> Any:
    return value if isinstance(value, Markup) or not isinstance(value, str) else visible(value)
