"""What a waiting person sees: lines in logs, a live picture on a terminal, one output in a notebook."""

from __future__ import annotations

import asyncio
import io
import re
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from commands import on_a_terminal
from rich.console import Console
from screen import watched

from smart_llm.events import Decided, Delivering, Ended, Event, Profiling, Said
from smart_llm.mock.server import MockServer
from smart_llm.reports.progress import display as progress
from smart_llm.reports.progress import notebook
from smart_llm.reports.progress.display import Lines
from smart_llm.reports.progress.notebook import Notebook
from smart_llm.reports.progress.picture import Picture
from smart_llm.types import Outlook, Standing

OUTLOOK = Outlook((Standing("small", 40, 38, 0.86, 0.98, True), Standing("tiny", 40, 20, 0.37, 0.63, False)), 0.25)


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


def profiling(done: int = 40) -> Profiling:
    """Forty rows of an ask."""
    return Profiling("pilot", done, 40, 0, OUTLOOK, 0.5)


def delivering(done: int, errors: int = 0) -> Delivering:
    """So many of a thousand rows."""
    return Delivering(done, 1000, errors, 1.0, 4.0)


def lines(events: list[tuple[float, Event]], budget: float | None = None) -> list[str]:
    """What is written when events come at these times."""
    written: list[str] = []
    clock = Clock()
    listener = Lines(written.append, clock, budget)
    for clock.now, event in events:
        listener(event)
    return written


def test_a_log_gets_few_lines() -> None:
    """A line where a phase begins, one every ten seconds, one at its end: not one per event."""
    events: list[tuple[float, Event]] = [(k / 100, delivering(k)) for k in range(1, 1001)]
    written = lines(events)
    assert len(written) == 2
    assert "1 of 1,000 rows" in written[0]
    assert "1,000 of 1,000 rows" in written[-1]
    assert len(lines([(k / 10, delivering(k)) for k in range(1, 1001)])) == 11


def test_a_line_says_where_the_run_is() -> None:
    """Rows, money and share of the budget, speed and time left, errors, what is saved so far."""
    line = lines([(0.0, delivering(1)), (10.0, delivering(501, 3))], budget=2.0)[-1]
    for piece in ("501 of 1,000", "50 rows/s", "0:00:10 left", "3 without an answer", "$1.00 spent", "50 %", "4.00×"):
        assert piece in line
    first, second = lines([(0.0, profiling(1)), (3.0, profiling())])
    assert "row" in first
    assert "1 row asked" not in first
    assert "tiny 20/40 [0.37, 0.63]" in second
    assert "expecting 4.00×" in second


def test_what_is_said_is_written_at_once() -> None:
    """Sentences, the decision and the end are never swallowed."""
    decided = Decided("big", ("small",), 80, 3.0, 0.5)
    nothing = Decided("big", (), 80, None, 0.5)
    events: list[Event] = [Said("Taking up run 1."), decided, nothing, Ended("certified", 1000, 2, 3.0, 1.5)]
    written = lines([(0.0, event) for event in events])
    assert written[0] == "Taking up run 1."
    assert "small certified" in written[1]
    assert "no candidate is certified, big answers the rest" in written[2]
    assert "2 rows without an answer" in written[3]


def test_the_live_picture_shows_candidates() -> None:
    """On a terminal: a bar, and per candidate what it agreed on; sentences stand above and stay."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100, color_system=None)
    with progress.live(console) as listen:
        listen(profiling())
        listen(Said("a [red]sentence[/red] with brackets"))
    shown = out.getvalue()
    for piece in ("small", "tiny", "dropped", "0.860 … 0.980", "a [red]sentence[/red] with brackets"):
        assert piece in shown


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A notebook front end: what each display or update shows."""
    shown: list[str] = []
    handle = SimpleNamespace(update=shown.append)

    def display(page: str, *, display_id: bool) -> Any:
        assert display_id
        shown.append(page)
        return handle

    module, shell = ModuleType("IPython.display"), ModuleType("IPython")
    vars(module).update(HTML=str, display=display)
    vars(shell).update(get_ipython=lambda: SimpleNamespace(kernel=object()), display=module)
    monkeypatch.setitem(sys.modules, "IPython", shell)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return shown


def test_a_notebook_gets_one_output(pages: list[str]) -> None:
    """One output rewritten in place, at most every quarter of a second, without a widget; text is escaped."""
    clock = Clock()
    listener = Notebook(None, clock)
    for k in range(100):
        clock.now = k / 100
        listener(delivering(10 * k))
    assert len(pages) == 4
    assert 'value="750" max="1000"' in pages[-1]
    listener(Said("<script>alert(1)</script>"))
    assert "<script>" not in pages[-1]
    listener(Ended("certified", 1000, 0, 3.0, 1.5))
    assert "<progress" not in pages[-1]
    assert "certified: 1,000 rows" in pages[-1]


def test_a_kernel_is_told_from_a_prompt(pages: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook's kernel counts, an IPython prompt and a plain script do not."""
    assert notebook.in_notebook()
    assert progress.worth_showing()
    vars(sys.modules["IPython"])["get_ipython"] = lambda: SimpleNamespace()
    assert not notebook.in_notebook()
    monkeypatch.delitem(sys.modules, "IPython")
    assert not notebook.in_notebook()
    assert not pages


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_every_width_shows_every_figure(width: int) -> None:
    """No line is longer than the screen, and what is cut is a model's name, never a figure."""
    name = "openai:a-model-with-quite-a-long-name-of-its-own-and-then-some"
    standings = (Standing(name, 1140, 1038, 0.861, 0.979, True), Standing("local:tiny", 940, 20, 0.37, 0.63, False))
    picture = Picture(lambda: 0.0, 2.0)
    picture.see(Profiling("pilot", 1140, 1140, 0, Outlook(standings, 0.25), 0.5))
    drawn = picture.table(width)
    assert max(map(len, [*drawn, picture.head(), picture.foot()])) <= width
    for piece in ("1,038 of 1,140", "0.861 … 0.979", "20 of 940", "0.370 … 0.630", "dropped"):
        assert any(piece in line for line in drawn)
    assert any(line.startswith("openai:") for line in drawn)


def test_the_picture_goes_one_way() -> None:
    """Asking rows again, an ask without an outlook, a late word of profiling: nothing falls, vanishes or flips."""
    picture, seen = Picture(time := Clock()), list[tuple[int, int, str]]()
    for stage, done, settled, outlook in [
        ("pilot", 8, 0, OUTLOOK),
        ("pilot again", 1, 8, None),
        ("pilot", 1, 8, OUTLOOK),
        ("look", 1, 9, None),
    ]:
        time.now += 1
        picture.see(Profiling(stage, done, 8, settled, outlook, 0.5))
        seen.append((picture.rows, len(picture.table(80)), picture.head().partition(":")[0]))
    assert [rows for rows, _, _ in seen] == [8, 8, 9, 10]
    assert {each[1:] for each in seen} == {(3, "Profiling")}
    picture.see(delivering(100))
    picture.see(profiling())
    assert picture.head().startswith("Delivering: 100 of 1,000")


def test_nothing_is_saved_where_the_reference_answers_the_rest() -> None:
    """Once it is decided that no candidate is used, nothing is said to be cheaper, for in the end it is not."""
    told = lines([(0.0, Decided("big", (), 80, None, 0.5)), (1.0, delivering(500))])
    assert "cheaper" not in told[-1]


def test_slow_rows_are_counted_by_the_minute() -> None:
    """A model on this machine that takes seconds for a row is not said to do none a second."""
    line = lines([(0.0, delivering(0)), (60.0, delivering(9))])[-1]
    assert "9 rows/min" in line
    assert "0 rows/s" not in line


def test_a_terminal_gets_a_line_for_each_thing() -> None:
    """In a real terminal the bar stands on a line of its own, between what is done and what is spent."""
    code = (
        "import time\nfrom smart_llm.events import Delivering\nfrom smart_llm.reports.progress.display import live\n"
        "with live() as tell:\n"
        "    tell(Delivering(50, 100, 0, 1.0, 4.0)); time.sleep(0.5)\n"
    )
    shown = on_a_terminal([sys.executable, "-c", code], b"", columns=80)[1]
    rows = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).replace("\r", "").split("\n")
    at = next(k for k, row in enumerate(rows) if row.startswith("Delivering: 50 of 100 rows"))
    assert set(rows[at + 1]) == {"━", "─"}
    assert rows[at + 2].startswith("$1.00 spent, 4.00× cheaper so far")


@pytest.mark.parametrize("columns", [80, 160])
async def test_a_real_run_is_calm_at_every_width(tmp_path: Path, port: int, columns: int) -> None:
    """On a terminal, from the first answer to the last: no line is wider than the screen, the bar has a line of its
    own, rows never fall, delivering never goes back, and the candidates stay in sight as long as rows are profiled."""
    (tmp_path / "t.csv").write_text("text\n" + "".join(f"row {i}\n" for i in range(400)))
    async with MockServer(rule="label:yes,no", latency=0.02, errors={"small": 0.04}, port=port) as url:
        models = (f"openai:big@{url}?in=10&out=10", f"openai:a-model-with-a-longer-name-than-usual@{url}?in=1&out=1")
        command = [
            *(sys.executable, "-m", "smart_llm", "run", str(tmp_path / "t.csv"), "--prompt", "Good? {text}"),
            *("--labels", "yes,no", "--agreement", "0.9", "--concurrency", "4", "--seed", "1"),
            *("--reference", models[0], "--candidate", models[1], "--candidate", f"openai:small@{url}?in=2&out=2"),
        ]
        code, frames = await asyncio.to_thread(watched, command, columns=columns)
    assert code == 0
    assert not any(frame.wrapped for frame in frames if stage(frame.lines))
    seen = [state for frame in frames if (state := stage(frame.lines)) is not None]
    assert len(seen) > 10
    assert seen == sorted(seen)
    assert {name for name, _ in seen} == {"1 profiling", "2 delivering"}
    for frame in frames:
        heads = [k for k, line in enumerate(frame.lines) if line.startswith("Delivering: ")]
        assert all(set(frame.lines[k + 1]) <= {"━", "─"} for k in heads)
        assert not any(set(line) & {"━", "─"} and not set(line) <= {"━", "─"} for line in frame.lines)
    shown = [any("agreed on" in line for line in frame.lines) for frame in frames if "Profiling" in str(frame.lines)]
    lost = [not any(pair) for pair in pairwise(shown[shown.index(True) :])]  # one alone may be a picture half drawn
    assert not any(lost)


def stage(lines: Sequence[str]) -> tuple[str, int] | None:
    """Whether rows are profiled (first) or delivered, and how many of them are done."""
    for line in lines:
        if found := re.match(r"(Profiling|Delivering): ([\d,]+) ", line):
            name = {"Profiling": "1 profiling", "Delivering": "2 delivering"}[found[1]]
            return name, int(found[2].replace(",", ""))
    return None
