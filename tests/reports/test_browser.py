"""Reports in a real browser: nothing is said on the console, nothing is fetched, nothing hangs over the edge."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import smart_llm as smart
from smart_llm.ledger import Ledger, request_key
from smart_llm.reports.report import report
from smart_llm.types import Answer, Request, Usage

Made = Callable[..., smart.Run[Any]]

LABELS = ("<b onload=alert(1)>", "V" * 300, *(f"label {i} {'with a long name ' * (i % 4)}" for i in range(60)))
MODELS = [f"openai:a-model-with-a-rather-long-name-{i}@http://127.0.0.1:8000/v1" for i in range(5)]
HOSTILE = ("W" * 2000, "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "\u202eabc", "</style>", "\0")
PROFILED = 1000
SIZES = (390, 1100, 1280)
NARROW = 1000
"""Pixels, below which a table may have to be scrolled."""

WIDE = """Array.from(document.querySelectorAll('body *')).filter(
  each => each.getBoundingClientRect().right > innerWidth + 1 && !each.closest('nav, .scroll, .skip')
).map(each => each.tagName + '.' + each.className + ': ' + each.textContent.slice(0, 40))"""
"""What hangs over the right edge, but for what may be scrolled by itself."""
CUT = """Array.from(document.querySelectorAll('.scroll')).filter(
  each => each.scrollWidth > each.clientWidth + 1
).map(each => each.textContent.slice(0, 80))"""
"""Tables that are not seen as a whole."""
CONTRAST = """(() => {
  const light = c => { const [r, g, b] = c.match(/[\\d.]+/g).map(Number).map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b }
  const ground = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor
    if (c != 'rgba(0, 0, 0, 0)') return c } return 'rgb(255, 255, 255)' }
  return Math.min(...Array.from(document.querySelectorAll('h1, h2, p, li, td, th, dt, dd, a, span, caption'))
    .filter(e => e.textContent.trim()).map(e => { const [a, b] = [light(getComputedStyle(e).color), light(ground(e))]
      return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) }))
})()"""
"""The least contrast of any text with what is behind it."""


async def _fill(ledger: Ledger, run_id: str, task: smart.Task) -> list[list[str]]:
    """A thousand profiled rows of five models; the keys of their requests."""
    keys, puts = [], []
    for row in range(PROFILED):
        prompt = f"What is it? {HOSTILE[row % len(HOSTILE)]} {'a long row of words ' * 20}{row}"
        requests = [Request(name, prompt, task.max_tokens, labels=task.contract.labels) for name in MODELS]
        keys.append([request_key(each) for each in requests])
        for m, request in enumerate(requests):
            said = LABELS[(row if row % 11 >= m else row + m) % len(LABELS)]
            answer = Answer(said, Usage(200, 3), 0.001 / (1 + m))
            puts.append(ledger.put(keys[-1][m], request, answer, run=run_id))
    await asyncio.gather(*puts)
    return keys


def large(folder: Path, like: smart.Run[Any]) -> Path:
    """The report of a run on 50,000 rows with five models, written into a ledger; its form is that of a real run."""
    task, c = smart.Task("What is it? {text}", labels=LABELS), like.certificate.fields()
    rates = [{**c["models"][0], "name": name, "input": 10 / (1 + m)} for m, name in enumerate(MODELS)]
    named = {"reference": MODELS[0], "candidates": MODELS[1:], "models": rates, "rows": 50_000, "task": task.to_json()}
    by = {MODELS[0]: 6_000, MODELS[1]: 40_000, MODELS[2]: 4_000, MODELS[3]: 0, MODELS[4]: 0}
    shares = {"agreement": 0.9, "agreement_lower": 0.8, "agreement_upper": 0.95}
    precise = {"precision": 0.9, "precision_lower": 0.8, "precision_upper": 0.95}
    cost = c["cost"] | {"total": 1234.5, "reference_only": 54321.0, "by_model": dict.fromkeys(MODELS, 200.0)}
    c |= {
        "plan": c["plan"] | named,
        "models": rates,
        "claim": c["claim"] | {"rows": 50_000, "reference": MODELS[0], "errors": 400},
        "delivered": c["delivered"] | {"by": by, "profiled": PROFILED, "standings": []},
        "rule": {"shares": [{"model": MODELS[1], "rows": 44_000}], "order": "hashed", "else": MODELS[0]},
        "labels": [{"label": label, "profiled": 200, **shares, **precise} for label in LABELS],
        "errors": c["errors"] | {"rows": 400, "first": list(range(100, 120))},
        "cost": cost,
    }
    with Ledger.open(folder / "large.ledger.db") as ledger:
        run = ledger.start_run(c["plan"], lookup="b2:00", seed=1)
        keys = asyncio.run(_fill(ledger, run.run_id, task))
        ask = {"number": 0, "stage": "pilot", "positions": list(range(PROFILED)), "models": [0, 1, 2, 3, 4]}
        marks = [
            [int(LABELS[(row + m * (row % 11 < m)) % len(LABELS)] != LABELS[row % len(LABELS)]) for m in range(5)]
            for row in range(PROFILED)
        ]
        ledger.event(run.run_id, "ask", {**ask, "keys": keys, "marks": marks})
        ledger.event(run.run_id, "asks", {"asks": 1})
        ledger.finish_run(run.run_id, c)
    report("last", folder / "large.html", ledger=folder / "large.ledger.db")
    return folder / "large.html"


def test_reports_are_fit_to_be_seen(browser: ModuleType, run: Made, tmp_path: Path) -> None:
    """A small run and a large one of hostile rows, wide and narrow, light and dark: no message, no request, no
    overflow, legible, under 1.5 MB."""
    done = run(1200, report=tmp_path / "small.html", self_check=10)
    pages = [tmp_path / "small.html", large(tmp_path, done)]

    async def look() -> None:
        async with browser.browser() as opened:
            for path in pages:
                for width in SIZES:
                    for dark in (False, True):
                        ask = f"[{WIDE}, {CONTRAST}, {CUT}]"
                        seen = await opened.look(path, width, dark=dark, ask=ask)
                        assert seen.said == []
                        assert seen.asked == [path.as_uri()]
                        assert seen.content <= width
                        assert seen.found[0] == []
                        assert seen.found[1] >= 4.5
                        assert path.stem == "large" or width < NARROW or seen.found[2] == []
                        assert len(seen.picture) > 15_000, "there is something to see"

    asyncio.run(look())
    assert all(path.stat().st_size < 1.5e6 for path in pages)
