"""One model: what is delivered comes from the snapshots that the evidence is about.

A provider may change the model behind a name while a run goes on, or between two sessions of it. Every answer says
which snapshot gave it, where the provider tells. The snapshots that answered while profiling are the model of this run.
If one of them took the place of another on the way, the evidence is about neither, and nothing is delivered by it. If
another one answers later, the run stops (`Client.expect`); one that began to answer when the others had ended counts as
another one. Snapshots that take turns from the beginning, as behind a load balancer or while a provider rolls a new one
out, count as one model. What another snapshot of the reference has said earlier, in another run or a pilot, is not what
the reference says: a run that would have to deliver it stops as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import sqrt

import numpy as np

from smart_llm.engine.live import Live
from smart_llm.errors import Refused
from smart_llm.ledger import Reader
from smart_llm.stats.special import gammaln
from smart_llm.types import Cascade, Ints, Rule

CHANCE, DEVIATIONS = 1e-4, 4.5
"""So improbable must the order of answers be, if snapshots took turns at random, for a change to be believed in: the
chance that one appears so late or ends so early; the deviations of its ranks from their mean."""


def models_of(rule: Rule) -> list[int]:
    """The models whose answers a rule delivers or looks at, reference first."""
    if isinstance(rule, Cascade):
        return [0, *dict.fromkeys(model for tier in rule.tiers for model in tier.models)]
    return [0, *(model for model, rows in rule.shares if rows)]


def covered(live: Live, rule: Rule, ledger: Reader) -> dict[int, frozenset[str]]:
    """The snapshots that the evidence of a rule is about, by model. `Refused` where one took another's place."""
    found = {m: told(ledger, live.answered.get(m, ())) for m in models_of(rule)}
    for m, names in found.items():
        if (change := changed(names) or overtaken(names)) is not None:
            old, new = change
            raise Refused(
                f"{live.models[m].name} changed while it was profiled: {old} answered first, then {new}. The evidence "
                "is about neither. What was bought is kept. Name a model that stays the same (a dated one), or begin "
                "anew with --ledger NEWFILE."
            )
    known = {m: proven(names) for m, names in found.items() if names}
    aside = live.questions.prompts(live.questions.aside.positions)
    for name in told(ledger, (key for prompt in aside for key in live.questions.keys_of(prompt, (0,))[0])):
        if name not in known.get(0, {name}):
            raise earlier(live, name, known[0])
    return known


def earlier(live: Live, name: str, known: frozenset[str]) -> Refused:
    """What stops a run whose ledger holds an answer of the reference by a snapshot that the evidence is not about."""
    model = live.models[0].name
    return Refused(
        f"{model}: rows that are to be delivered were answered by {name}, in a pilot or an earlier run, but the "
        f"evidence is of {' and '.join(sorted(known))}. What was bought is kept. Name a model that stays the same (a "
        "dated one), or begin anew with --ledger NEWFILE."
    )


def proven(names: Sequence[str]) -> frozenset[str]:
    """The snapshots that may answer what is delivered. One that first answered after all answers of the others may be
    about to take their place: it is none of them, however few its answers are."""
    last = names[-1]
    began = names.index(last)
    others = frozenset(names) - {last}
    return others if others and all(name == last for name in names[began:]) else frozenset(names)


def told(ledger: Reader, keys: Iterable[str]) -> list[str]:
    """The snapshots that answered these requests, in the order in which the answers were bought; without those that do
    not say."""
    return [name for _, name in sorted(ledger.snapshots(set(keys))) if name]


def changed(names: Sequence[str]) -> tuple[str, str] | None:
    """Which snapshot took the place of which, in answers that stand in the order in which they came."""
    kinds = list(dict.fromkeys(names))
    order = np.array([kinds.index(name) for name in names])
    for kind in range(len(kinds)):
        here = np.flatnonzero(order == kind)
        if 0 < len(here) < len(order) and not _mixed(here, len(order)):
            others = order[order != kind]
            late = here.mean() > np.flatnonzero(order != kind).mean()
            other = kinds[int(others[-1] if not late else others[0])]
            return (other, kinds[kind]) if late else (kinds[kind], other)
    return None


def overtaken(names: Sequence[str]) -> tuple[str, str] | None:
    """The same where the one that may not answer any more, since it first answered after all the others had (`proven`),
    has given most of the evidence: a few answers of the others were in the ledger, say."""
    if not names or names[-1] in proven(names) or 2 * names.count(names[-1]) <= len(names):
        return None
    return names[names.index(names[-1]) - 1], names[-1]


def _mixed(places: Ints, total: int) -> bool:
    """Whether these places, increasing, could well be a random choice among that many."""
    count = len(places)
    late, early = int(places[0]), total - 1 - int(places[-1])
    mean, deviation = (total - 1) / 2, sqrt((total - count) * (total + 1) / (12 * count))
    return (
        min(_chance(late, count, total), _chance(early, count, total)) > CHANCE
        and abs(float(places.mean()) - mean) < DEVIATIONS * deviation
    )


def _chance(free: int, count: int, total: int) -> float:
    """How likely `count` places, chosen at random among `total`, leave the first `free` ones free."""
    if free + count > total:
        return 0.0
    ways = gammaln(total - free + 1) - gammaln(total - free - count + 1)
    return float(np.exp(ways - gammaln(total + 1) + gammaln(total - count + 1)))
