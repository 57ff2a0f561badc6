"""What a gateway shows and tells of itself, and what it takes a day's budget for."""

from __future__ import annotations

import asyncio
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gateways import REVIEWS, mocking, serving

from smart_llm.gateway.purse import Purse
from smart_llm.gateway.tally import Tally, early_share
from smart_llm.procedures.stream import Counts, Window, WindowTerms

sys.path.append(str(Path(__file__).parents[1] / "reports"))
import browser

Command = Callable[..., tuple[int, str, str]]
TABLE = "window = 40\nagreement = 0.8\n"


def test_the_budget_of_a_day(tmp_path: Path) -> None:
    """What does not fit into the budget of the day is refused with 429 and the time until midnight; a gateway that
    begins again goes on with what is left; what is known from the ledger is answered all the same."""
    config = REVIEWS + TABLE + "budget_per_day = 0.003\n"
    with mocking() as mock:
        for again in (False, True):
            with serving(tmp_path, config.format(url=mock.url)) as served:
                replies = [served.chat(f"film {i} {again}") for i in range(40 if again else 120)]
                refused = [reply for reply in replies if reply.status == 429]
                assert refused
                assert 0 < int(refused[0].headers["retry-after"]) <= 86_400
                assert "budget" in refused[0].json["error"]["message"]
                assert served.chat("film 0 False").status == 200
                spent = next(
                    float(line.split()[-1])
                    for line in served.get("/metrics").body.decode().splitlines()
                    if line.startswith("smart_spent_today_usd{")
                )
                assert 0.0015 < spent <= 0.003
                assert served.stop() == 0


def test_a_clock_set_back_gives_no_second_budget() -> None:
    """A clock that is set back over midnight and goes on begins no day anew; the next day does."""
    now = [2 * 86_400.0 + 60]
    purse = Purse(1.0, clock=lambda: now[0])
    asyncio.run(purse.reserve(0.9))
    purse.settle(0.9, 0.9)
    for moment in (2 * 86_400.0 - 60, 2 * 86_400.0 + 120):
        now[0] = moment
        assert not purse.fits(0.9)
    assert purse.today == 0.9
    now[0] = 3 * 86_400.0 + 1
    assert purse.today == 0.0  # also where nothing was asked since midnight
    assert purse.fits(0.9)


def test_metrics_and_page_tell_of_windows(tmp_path: Path, command: Command) -> None:
    """After some traffic the metrics have the counts that `smart verify` finds in the ledger, and the page shows the
    windows."""
    with mocking(errors={"small": 0.5}) as mock, serving(tmp_path, (REVIEWS + TABLE).format(url=mock.url)) as served:
        for i in range(100):
            assert served.chat(f"film {i}").status == 200
        text, page = served.get("/metrics").body.decode(), served.get("/").body.decode()
        code, out, _ = command("verify", tmp_path / "gateway.db")
        assert code == 0
        assert [line.split(":")[0] for line in out.splitlines()] == [f"reviews window {n}" for n in (1, 2, 3)]
        assert "20 of 40 requests" in out.splitlines()[-1]
        [route] = json.loads(command("verify", tmp_path / "gateway.db", "--json")[1])["routes"]
    assert 'smart_window{count="decided",route="reviews"} 20.0' in text
    assert 'smart_window{count="number",route="reviews"} 3.0' in text
    assert "smart_agreement{" in text
    assert "Window 3" in page
    assert f"acceptance ends at {route['windows'][-1]['credit'] + 1}<" in page  # a credit of 0 bears none, not even one


def test_a_warning_where_the_stop_came_early_twice(tmp_path: Path) -> None:
    """A pilot is no early stop. When the candidate has become bad, and two windows in a row could hardly use it, the
    page, the metrics and the log warn."""

    def answer(model: str, prompt: str) -> str:
        return "negative" if "spoilt" in prompt and "small" in model else "positive"

    config = REVIEWS + "window = 60\nagreement = 0.9\n"
    with mocking(answer=answer) as mock, serving(tmp_path, config.format(url=mock.url)) as served:

        def after(count: int, word: str) -> tuple[bool, bool, str]:
            for number in range(count):
                assert served.chat(f"{word} film {count}/{number}").status == 200
            text, page = served.get("/metrics").body.decode(), served.get("/").body.decode()
            told = 'smart_stopped_early_twice{route="reviews"} 1.0' in text
            return told, 'role="alert"' in page, page

        assert "stopped early" not in after(5, "good")[2]
        assert after(115, "good")[:2] == (False, False)
        assert after(60, "spoilt")[:2] == (False, False)
        assert after(61, "spoilt")[:2] == (True, True)
        assert served.stop() == 0
    warned = [line for line in served.log if "stopped early" in line]
    assert len(warned) == 1
    assert "smart/reviews" in warned[0]


def test_stops_that_are_early() -> None:
    """A stop is early where one window in twenty would stop so soon by chance; a warning is about the newest windows,
    and goes when one of them has not stopped early."""
    assert early_share(0) == pytest.approx(-math.log(0.95))
    for credit in (1, 2, 10, 60):
        stops = np.random.default_rng(credit).gamma(credit + 1, 1 / (credit + 1), 40_000)
        assert (stops < early_share(credit)).mean() == pytest.approx(0.05, abs=0.006)
    terms = WindowTerms(100, 10, 0, 1, 2, "behind")
    windows = {n: Window(n, terms, Counts(decided=100, accepted=50)) for n in (1, 2, 3)}
    tally = Tally(stops={1: 5, 2: 20, 3: 70})
    assert tally.warns({1: windows[1]}) is None
    assert tally.warns({n: windows[n] for n in (1, 2)}) == (1, 2)
    assert tally.warns(windows) == (1, 2)
    windows[4] = Window(4, terms, Counts(decided=10, accepted=10))
    assert tally.warns(windows) is None
    windows[3] = Window(3, terms, Counts(decided=100, accepted=5))
    assert tally.warns(windows) == (2, 3)


RENEWED = """new Promise((done) => {
    const first = document.getElementById("live");
    setInterval(() => document.getElementById("live") !== first && done(document.querySelectorAll("tr").length), 50);
})"""


@pytest.mark.skipif(browser.find() is None, reason="no browser on this machine")
def test_the_page_in_a_browser(tmp_path: Path) -> None:
    """At the width of a telephone and of a desk, in light and dark, the page has no error, asks nobody else, does not
    scroll sideways, and renews itself."""

    async def look(url: str) -> None:
        async with browser.browser() as opened:
            for width, dark in ((390, False), (1280, True)):
                page = await opened.look(url, width, dark=dark, ask=RENEWED, whole=True)
                (tmp_path / f"page-{width}.png").write_bytes(page.picture)
                assert not page.said, page.said[0][:900]
                assert len(page.asked) >= 2
                assert all(each.startswith((url, "data:")) for each in page.asked)
                assert page.content <= width
                assert page.found == 4

    with mocking(errors={"small": 0.5}) as mock, serving(tmp_path, (REVIEWS + TABLE).format(url=mock.url)) as served:
        for i in range(100):
            served.chat(f"film {i}")
        asyncio.run(look(served.url + "/"))
