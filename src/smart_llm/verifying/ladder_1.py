"""`ladder/1` recomputed: the wealth as a ratio of two ordinary probability mass functions, by scipy.

M_n(D0) = BetaBinomial(d; n, a, b) / Hypergeometric(d; N, D0, n): the chance of the counts under the working prior, over
their chance if D0 rows are bad. The procedure gets the same number from log-gamma sums of the prior–posterior ratio.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import pairwise
from math import isclose

import numpy as np
from scipy.stats import betabinom, hypergeom

from smart_llm.types import BAD, ERROR, Json
from smart_llm.verifying import Round, allowance


def check(evidence: Mapping[str, Json], claim: Mapping[str, Json]) -> list[str]:
    """Problems with the evidence."""
    problems = [*_counts(evidence, claim)]
    for candidate in evidence["candidates"]:
        problems += _limits(candidate, evidence, claim)
    return problems + _shares(evidence, claim)


def _counts(evidence: Mapping[str, Json], claim: Mapping[str, Json]) -> list[str]:
    problems = []
    if evidence["allowance"] != allowance(claim):
        problems.append(f"allowance {evidence['allowance']} is not the claim's {allowance(claim)}")
    if evidence["allowance_left"] != evidence["allowance"] - evidence["errors"] or evidence["errors"] < 0:
        problems.append("allowance, errors and what is left of it do not add up")
    if evidence["profiled"] != max((c["looks"][-1][0] for c in evidence["candidates"] if c["looks"]), default=0):
        problems.append("the rows profiled are not those of the last look")
    return problems


def _limits(candidate: Mapping[str, Json], evidence: Mapping[str, Json], claim: Mapping[str, Json]) -> list[str]:
    rows, looks = claim["rows"], candidate["looks"]
    problems = [
        f"{candidate['model']}: counts run backwards or ahead of the rows seen"
        for (n0, d0, *_), (n1, d1, *_) in pairwise([(0, 0), *looks])
        if not (n0 < n1 <= rows and d0 <= d1 <= d0 + n1 - n0)
    ]
    if candidate["limit"] != min([rows, *(look[2] for look in looks)]):
        problems.append(f"{candidate['model']}: the limit is not the least of its looks")
    return problems + [
        f"{candidate['model']}: the limit after {look[0]} rows does not follow from its counts"
        for look in looks
        if not _follows(look, len(evidence["candidates"]), claim)
    ]


def _follows(look: list[Json], candidates: int, claim: Mapping[str, Json]) -> bool:
    seen, bad, limit, wealth = look
    rows = claim["rows"]
    if limit == rows - seen + bad:
        return wealth is None
    alpha = 0.8 * float(1 - Decimal(claim["confidence"])) / candidates
    rate = 0.6 * float(1 - Decimal(claim["agreement"]))
    if wealth is None or not 0 <= bad <= seen <= rows or not 0 <= limit < rows:
        return False
    chance = betabinom.logpmf(bad, seen, 40 * rate, 40 * (1 - rate))
    above, at = (float(chance - hypergeom.logpmf(bad, rows, limit + more, seen)) for more in (1, 0))
    bar = -float(Decimal(str(alpha)).ln())
    return (
        wealth is not None and isclose(above, wealth, rel_tol=1e-7, abs_tol=1e-7) and at - 1e-6 <= bar <= above + 1e-9
    )


def _shares(evidence: Mapping[str, Json], claim: Mapping[str, Json]) -> list[str]:
    shares, left = evidence["shares"], claim["rows"] - evidence["profiled"]
    if sum(share["allowance"] for share in shares) != (evidence["allowance_left"] if shares else 0):
        return ["the shares' parts of the allowance do not add up to it"]
    tail = 0.2 * float(1 - Decimal(claim["confidence"])) / max(1, len(shares))
    problems, free = [], left
    for share in shares:
        candidate = next(c for c in evidence["candidates"] if c["model"] == share["model"])
        bad_left = min(left, candidate["limit"] - (candidate["looks"][-1][1] if candidate["looks"] else 0))
        if not _largest(share["rows"], share["allowance"], left, free, bad_left, tail):
            problems.append(f"{share['model']}: {share['rows']} rows are not what its limit allows")
        free -= share["rows"]
    return problems


def _largest(rows: int, allowed: int, left: int, free: int, bad_left: int, tail: float) -> bool:
    if not 0 < rows <= free:
        return False
    fits = bad_left <= allowed or hypergeom.sf(allowed, left, bad_left, rows) <= tail
    more = rows < free and (bad_left <= allowed or hypergeom.sf(allowed, left, bad_left, rows + 1) <= tail * (1 - 1e-8))
    return bool(fits and not more)


def recount(evidence: Mapping[str, Json], rounds: Sequence[Round]) -> list[str]:
    """Looks and errors counted again, round by round."""
    problems = []
    errors = sum(int((each.marks[:, 0] == ERROR).sum()) for each in rounds)
    if errors != evidence["errors"]:
        problems.append(f"ledger: {errors} profiled rows have no answer, the evidence says {evidence['errors']}")
    for j, candidate in enumerate(evidence["candidates"], 1):
        asked = [each.marks[:, j] for each in rounds if j in each.models]
        seen = np.cumsum([len(marks) for marks in asked]).tolist()
        bad = np.cumsum([(marks == BAD).sum() for marks in asked]).tolist()
        if [look[:2] for look in candidate["looks"]] != [list(pair) for pair in zip(seen, bad, strict=True)]:
            problems.append(f"ledger: {candidate['model']} was not seen, or not bad, as often as the evidence says")
    return problems


def rule(evidence: Mapping[str, Json]) -> Json:
    """Shares of the rows left, in the hashed order."""
    shares = [{"model": share["model"], "rows": share["rows"]} for share in evidence["shares"]]
    return {"shares": shares, "order": "hashed"}
