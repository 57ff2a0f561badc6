"""Replies of the usual shape are read in one step: that says what reading them part by part does."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from smart_llm.providers import lenient, replies

COUNTS = st.one_of(st.none(), st.integers(-1, 40), st.floats(0, 9), st.sampled_from(["7", True, 10**13]))
DETAILS = st.one_of(
    st.none(), st.dictionaries(st.sampled_from(["cached_tokens", "reasoning_tokens", "cache_write_tokens"]), COUNTS)
)
USED = st.fixed_dictionaries(
    {"prompt_tokens": COUNTS, "completion_tokens": COUNTS},
    optional={
        "total_tokens": COUNTS,
        "prompt_tokens_details": DETAILS,
        "completion_tokens_details": DETAILS,
        "num_cached_tokens": COUNTS,
    },
)
CHOICES = st.lists(
    st.fixed_dictionaries(
        {"message": st.fixed_dictionaries({"content": st.sampled_from(["yes", "", None, ["x"]])})},
        optional={
            "finish_reason": st.sampled_from(["stop", "length", "STOP", "content_filter", None]),
            "logprobs": st.sampled_from([None, {"content": None}, {"content": [{"token": "yes", "logprob": -0.1}]}, 5]),
            "error": st.sampled_from([None, {"message": "no"}]),
        },
    ),
    max_size=2,
)


@given(used=USED, choices=CHOICES, total=st.booleans())
def test_a_reply_that_is_read_at_once_says_the_same(used: dict[str, Any], choices: list[Any], total: bool) -> None:
    """What is read in one step, because it has the usual shape, is what reading it part by part gives."""
    if total and all(type(used[name]) is int for name in ("prompt_tokens", "completion_tokens")):
        used["total_tokens"] = used["prompt_tokens"] + used["completion_tokens"]
    data = msgspec.json.encode({"choices": choices, "model": "m", "usage": used})
    found: list[object] = []
    for read in (replies.answer, replies.read):
        try:
            found.append(read(data))
        except lenient.UNREADABLE as error:
            found.append(type(error))
    assert found[0] == found[1]
