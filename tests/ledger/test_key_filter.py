"""The filter in front of the ledger forgets nothing, and is seldom wrong about what is not there."""

from __future__ import annotations

from pathlib import Path

from smart_llm.ledger import Ledger, request_key, tagged
from smart_llm.ledger import key_filter as module
from smart_llm.ledger.key_filter import Seen
from smart_llm.types import Answer, Request


def keys(start: int, stop: int) -> list[str]:
    """Keys of the ledger's kind."""
    return [tagged(str(i).encode()) for i in range(start, stop)]


def test_what_was_added_is_there_however_it_came() -> None:
    """Loaded in pieces or added one by one: the same places are taken."""
    loaded, added = Seen(keys(0, 3 * module._CHUNK // 2)), Seen([])
    for key in keys(0, 3 * module._CHUNK // 2):
        added.add(key)
    assert loaded._flags == added._flags
    assert all(key in loaded for key in keys(0, 1000))


def test_what_was_not_added_is_seldom_taken_for_it() -> None:
    """At fifty thousand keys fewer than one strange key in ten thousand needs a look into the file."""
    seen = Seen(keys(0, 50_000))
    assert sum(key in seen for key in keys(50_000, 150_000)) < 10


async def test_answers_of_earlier_sessions_are_found(tmp_path: Path) -> None:
    """A ledger opened again knows what it holds."""
    request = Request("m", "p", 1)
    with Ledger.open(tmp_path / "l.db") as ledger:
        assert ledger.get(request_key(request)) is None
        await ledger.put(request_key(request), request, Answer("yes"))
        assert ledger.get(request_key(request)) == Answer("yes")
    with Ledger.open(tmp_path / "l.db") as ledger:
        assert ledger.get(request_key(request)) == Answer("yes")
