"""`smart demo`: the main job on a real model and real text, on a machine without keys.

It is the ordinary `run` on an ordinary table; this file only fetches what it needs, chooses the options, and says what
is going on. The table has movie snippets whose readers were of one mind (`snippets`), so that it can be told
afterwards how many answers are right. The run never sees a rating of a snippet it answers.

The reference is a 1.5B model. The one candidate costs nothing: words, counted in other snippets that people have rated.
Smaller language models were measured, and do not earn their place here (benchmarks/RESULTS.md).
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from smart_llm import api
from smart_llm.certificates.certificate import alone
from smart_llm.certificates.recount import recorded
from smart_llm.certificates.verify import verify
from smart_llm.cli.snippets import LABELS, ROW, Words, counted, reviews, right, shared_out, write_table
from smart_llm.engine.outputs import certificate_path
from smart_llm.events import Listener, nobody
from smart_llm.execution import Run
from smart_llm.ledger import Reader
from smart_llm.providers.base import Provider
from smart_llm.providers.local import weights
from smart_llm.tasks import Task
from smart_llm.text.wrapping import wrapped

PROMPT = f"""Does the reviewer like the movie? Answer with one word: yes or no.

{ROW} {{text}}
Likes it:"""
WORDS = "local:words"
AGREEMENT, CONFIDENCE, SEED = "0.90", "0.95", 0


@dataclass(frozen=True, slots=True)
class Show:
    """What is run. model: the file to download; rows: unless the user says otherwise; minutes: on two idle cores,
    downloads included."""

    reference: str
    candidates: tuple[str, ...]
    model: str
    rows: int
    minutes: int


SHOW = Show("local:qwen2.5-coder-1.5b", (f"{WORDS}?in=0&out=0",), "qwen2.5-coder-1.5b", 1000, 8)


def demo(
    *,
    rows: int | None = None,
    output: Path = Path("demo-output"),
    say: Callable[[str], None] = print,
    showing: Callable[[], AbstractContextManager[Listener]] = lambda: nullcontext(nobody),
) -> Run[Path]:
    """Fetch, run, certify, verify; `say` is told every step; showing: what shows the progress of
    the run, once everything is fetched. Running it again continues from the ledger in `output`.

    Errors: `InputError` where something cannot be fetched, and whatever `run` raises.
    """
    for line in _intention(SHOW, rows or SHOW.rows, output):
        say(line)
    weights.pull(SHOW.model, progress=say)
    shown, rest = shared_out(reviews(say), rows or SHOW.rows)
    table, free = write_table(shown, output), Words(counted(rest))
    say(f"counted the words of {len(rest):,} other snippets, whose ratings are used for nothing else")
    say("loading the model and asking it: the first answer takes a few seconds")
    with showing() as listener:
        done = api.run(
            table,
            Task(PROMPT, labels=LABELS),
            reference=SHOW.reference,
            candidates=SHOW.candidates,
            agreement=AGREEMENT,
            confidence=CONFIDENCE,
            seed=SEED,
            output=output / "answered.csv",
            report=output / "report.html",
            providers=_providers(free),
            concurrency=2
            * (os.cpu_count() or 1),  # a stop waits for what is in flight: no more than keeps the cores busy
            on_event=listener,
        )
    for line in _outcome(done, output / "answered.csv"):
        say(line)
    return done


def _providers(free: Words) -> dict[str, Provider]:
    """Of the candidate that is no model file."""
    return {WORDS: free}


# --------------------------------------------------------------------------- what is said


def _intention(show: Show, rows: int, output: Path) -> list[str]:
    named = [c.partition("?")[0] for c in show.candidates]
    return [
        f"smart demo: {rows:,} snippets of movie reviews that human readers found clearly for or against the movie.",
        "  Does the reviewer like the movie? Everything runs on this machine, and sees no rating of these snippets.",
        f"  reference {show.reference}, candidate{'s' * (len(named) > 1)} {', '.join(named)}",
        f"  {WORDS} is no language model: words, counted in other snippets that people have rated; it costs nothing",
        f"  promise: agreement with the reference ≥ {AGREEMENT}, confidence {CONFIDENCE}; seed {SEED}, as always",
        f"  about {show.minutes} minutes on two cores, downloads included; everything it writes goes to {output}/",
    ]


def _outcome(done: Run[Path], answered: Path) -> list[str]:
    certificate = certificate_path(answered)
    problems = verify(certificate, done.ledger)
    cost = done.certificate.cost
    return [
        "",
        done.certificate.text(),
        "",
        f"this run ${cost.total:.6f}, the reference on every row ≈ ${cost.reference_only:.6f}: measured"
        " CPU-seconds at an assumed USD 0.05 a CPU-hour, so only their ratio means something",
        *how_right(done, answered),
        f"smart verify {certificate} --ledger {done.ledger}",
        *([f"  does not verify: {problem}" for problem in problems] or ["  verifies"]),
        f"answers: {answered}",
        f"report, to open in a browser: {answered.with_name('report.html')}",
        "",
        *wrapped(_ending(done)),
    ]


def _ending(done: Run[Path]) -> list[str]:
    """What came of it, in everyday words, whichever way it went, and what to run now."""
    c = done.certificate
    by, reference, rows = c.delivered.by, c.claim.reference, c.claim.rows
    if c.granted:
        cheap = sum(n for model, n in by.items() if model != reference)
        share = c.cost.total / c.cost.reference_only
        came = (
            f"{' and '.join(model for model in by if model != reference)} gave {cheap:,} of the {rows:,} answers, and "
            f"all of it cost {share:.0%} of what {reference} alone would have cost. They were compared with it on "
            f"{c.delivered.profiled:,} rows first."
        )
    else:
        came = (
            f"nothing was saved. {alone(c)} So {reference} answered every row, and the agreement holds by "
            "definition. Every run ends like this whose candidates are not good enough, or not cheap enough."
        )
    own = (
        "your own table: start smart mock-provider, which answers for free and prints the command to give; then smart "
        "plan TABLE says what it would cost with real models."
    )
    return [f"What you saw: {came}", f"Next: {own}"]


def how_right(done: Run[Path], answered: Path) -> list[str]:
    """How many answers are what the readers' ratings say: the reference's own, on the rows it was asked about at
    random, and those of the delivered table. Nothing in the run knew the ratings."""
    with answered.open(newline="", encoding="utf-8") as file:
        rated = [(float(row["rating"]), row["answer"]) for row in csv.DictReader(file)]
    with Reader.open(done.ledger) as reader:
        asks, _ = recorded(reader.events(done.run_id))
    profiled = sorted({position for ask in asks if 0 in ask["models"] for position in ask["positions"]})
    itself = f"  {_share(rated[k] for k in profiled)} of the rows asked of {done.certificate.claim.reference} at random"
    return [
        "right by the ratings of human readers, which the run did not see:",
        *[itself] * bool(profiled),
        f"  {_share(rated)} of the delivered table",
    ]


def _share(rated: Iterable[tuple[float, str]]) -> str:
    found = [right(rating, answer) for rating, answer in rated if answer]
    return f"{sum(found):,} of {len(found):,} ({sum(found) / max(1, len(found)):.1%})"
