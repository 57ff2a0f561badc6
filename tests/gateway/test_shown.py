"""What a gateway shows and tells of itself, and what it takes a day's budget for."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from gateways import REVIEWS, mocking, serving

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
    assert 'smart_window{count="decided",route="reviews"} 20.0' in text
    assert 'smart_window{count="number",route="reviews"} 3.0' in text
    assert "smart_agreement{" in text
    assert "Window 3" in page


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
