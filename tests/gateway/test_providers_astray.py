"""Providers that refuse, limit and recover: one client's requests cost no other client an answer."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from gateways import REVIEWS, SMALL_WINDOWS, mocking, serving
from shapes import Said, Shaped, error

REFUSALS: dict[str, Said] = {
    "too long": (400, error("maximum context length is 100 tokens", code="context_length_exceeded")),
    "against the rules": (400, error("rejected by our safety system", code="content_policy_violation")),
    "in unknown words": (400, error("something about it is wrong")),
    "too large": (413, error("request too large")),
}


@pytest.mark.parametrize("said", REFUSALS.values(), ids=REFUSALS)
def test_what_one_request_is_refused_for_is_no_fault_of_the_model(tmp_path: Path, said: Said) -> None:
    """A request that the reference turns down is told 400, so that no SDK tries it again; however many come, all others
    are answered meanwhile."""
    shaped = Shaped({"poison": said}, "positive")
    with mocking(shaped) as mock, serving(tmp_path, (REVIEWS + SMALL_WINDOWS).format(url=mock.url)) as served:
        assert served.chat("a film").status == 200
        for number in range(8):
            reply = served.chat(f"poison {number}")
            assert (reply.status, "retry-after" in reply.headers) == (400, False)
            told = reply.json["error"]
            assert (told["type"], told["code"]) == ("invalid_request_error", "refused")
            assert "poison" not in told["message"]
        assert [served.chat(f"film {number}").status for number in range(3)] == [200] * 3
        asked = {"model": "smart/reviews", "max_tokens": 5, "messages": [{"role": "user", "content": "poison"}]}
        other = served.post("/v1/messages", asked)
        assert (other.status, other.json["error"]["type"]) == (400, "invalid_request_error")
        assert served.stop() == 0


@pytest.mark.parametrize("wait", ["0", "-1", "Thu, 01 Jan 1970 00:00:00 GMT"])
def test_a_limit_without_a_time_is_not_stormed(tmp_path: Path, wait: str) -> None:
    """A server at its limit that says to come again at once, or names a time that is past, is not asked hundreds of
    times a second."""
    limited = Shaped({"": (429, error("slow down"), {"Retry-After": wait})})
    with mocking(limited) as mock, serving(tmp_path, "timeout = 3\n" + REVIEWS.format(url=mock.url)) as served:
        began = time.monotonic()
        assert served.chat("film").status in (429, 503)
        assert len(limited.bodies) < 10 + 5 * (time.monotonic() - began)


def test_replies_of_the_reference_that_are_no_answer_are_told_in_the_log(tmp_path: Path) -> None:
    """The client gets them as they came; whoever runs the gateway reads how many there are, at each doubling, and
    nothing of what they say."""
    astray = Shaped({}, "I would rather not say")
    with mocking(astray) as mock, serving(tmp_path, (REVIEWS + SMALL_WINDOWS).format(url=mock.url)) as served:
        assert [served.chat(f"film {number}").status for number in range(5)] == [200] * 5
        assert served.stop() == 0
    told = [line for line in served.log if "no answer that the task allows" in line]
    assert [line.partition("allows in ")[2].split()[0] for line in told] == ["1", "2", "4"]
    assert not any("rather" in line for line in served.log)
