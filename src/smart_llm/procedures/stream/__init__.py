"""The promise on a stream: requests come one by one, and nothing is assumed of those to come.

For every window of N requests: with probability at least `confidence`, at least `agreement` × N of the delivered
answers are equivalent to what the reference gave, or would have given. See lemma 14 in docs/claims.md.

promise    what is promised, and the terms of one window (audit probability, credit), exact by the binomial law
events     what is recorded, one frozen value each; everything else follows from these
window     the counts of one window, a fold over its events, and what may be said of it
machine    `Stream`: request → decision → coin → outcome. It tosses nothing itself: a coin is an argument
acceptance which way is asked and whether its answer is accepted: a matter of cost alone, never of the promise
beliefs    how risky an answer is, from what earlier requests have shown
pacing     how bold to be, given what is left of the window
"""

from smart_llm.procedures.stream.acceptance import Acceptance, Another
from smart_llm.procedures.stream.events import (
    Accepted,
    Deferred,
    Event,
    Opened,
    Restarted,
    Settled,
    Taught,
    Tossed,
    Tried,
    read_event,
    read_events,
    write_event,
)
from smart_llm.procedures.stream.machine import Stream
from smart_llm.procedures.stream.promise import COINS, StreamPromise, WindowTerms
from smart_llm.procedures.stream.thrift import Thrift
from smart_llm.procedures.stream.window import Counts, Replay, State, Window, replay

__all__ = [
    "COINS",
    "Acceptance",
    "Accepted",
    "Another",
    "Counts",
    "Deferred",
    "Event",
    "Opened",
    "Replay",
    "Restarted",
    "Settled",
    "State",
    "Stream",
    "StreamPromise",
    "Taught",
    "Thrift",
    "Tossed",
    "Tried",
    "Window",
    "WindowTerms",
    "read_event",
    "read_events",
    "replay",
    "write_event",
]
