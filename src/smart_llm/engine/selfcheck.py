"""Self-agreement: how often the reference says the same again. A ceiling: no candidate agrees more than that for long.

The second answer is another draw (`Request.draw` = 1), with a place of its own in the ledger; on the wire it is the
same request. It is asked where the first answer is bought anyway, so it costs one call a row. It is never evidence and
never delivered: the first answer of a row stays its reference answer. The limits are Clopper and Pearson's; they assume
rows drawn at random, which piloted and profiled rows are, and speak of all rows like these, with the reference as it
was when it was asked. Reported, never promised.
"""

from __future__ import annotations

import numpy as np

from smart_llm.certificates.parts import SelfAgreement
from smart_llm.certificates.self_agreement import self_agreement
from smart_llm.engine.live import Live
from smart_llm.engine.session import Session
from smart_llm.ledger import RunRecord
from smart_llm.ledger.aside import record_once
from smart_llm.ledger.entries import CHECKED, DONE
from smart_llm.stats.sampling import permutation
from smart_llm.types import Ints, Verdict


def second_look(live: Live, verdict: Verdict, count: int, seed: int) -> Ints:
    """The rows to ask about twice, at most `count` requests: rows set aside, then profiled ones, in the order they were
    drawn; where the reference answers every row anyway, the first of the seeded order. Rows that an earlier run has
    delivered are none of them: the reference need not have been asked about them."""
    drawn, aside = verdict.profiled, live.questions.aside
    if not verdict.granted:
        drawn = np.concatenate([drawn, permutation(seed, "order", len(aside.population))])
    piloted = aside.positions[aside.positions >= aside.there]
    return live.questions.different(np.concatenate([piloted, aside.population[drawn]]))[:count]


async def check_itself(live: Live, positions: Ints, record: RunRecord, session: Session) -> SelfAgreement:
    """Ask, record, and say how often it agreed. What it showed in a finished run stands."""
    same, keys = await live.ask_again(positions, session.concurrency)
    failed = sorted(key for pair in keys for key in pair if key in live.client.failed)  # some may be answered later
    told = {"positions": positions.tolist(), "keys": keys, "same": same, "failed": failed}
    known = session.ledger.latest(record.run_id, CHECKED) if record.state == DONE else None
    if known is not None and known["keys"] == keys:
        told = known
    record_once(session.ledger, record.run_id, CHECKED, told)
    return self_agreement(told["same"])
