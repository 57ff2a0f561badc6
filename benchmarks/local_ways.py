"""Ways of asking a real model on this machine: what a row costs in each, and how often it agrees with the reference.

    python benchmarks/local_ways.py [--quick] [--rows 400] [--keep FILE]

The reference and the text of `smart demo`, and a smaller model (downloaded where they are not here yet: 1.7 GB). Every
row of the table is answered by the reference, a 1.5B model, and by a 0.5B model: row by row, in packs of 4 and of 8,
with a short prompt. Price: measured CPU-seconds of all calls of a way, halves of packs that could not be read included,
÷ rows. Broken: rows whose answer breaks the contract, which a run sends to the reference; they count as not agreeing.
The interval of the agreement is exact, two-sided, 95 %. For comparison the table says what a row costs whose deferrals
are paid as well.

It takes half an hour of an idle processor, and hours of a busy one. With --keep, replies are written to a file as they
come, and the same command again goes on from there.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from common import finish, options, show

from smart_llm import Candidate
from smart_llm.cli.demonstration import PROMPT, SHOW
from smart_llm.cli.snippets import LABELS, reviews, shared_out, write_table
from smart_llm.engine.questions import Questions
from smart_llm.ledger import request_key
from smart_llm.providers.local import weights
from smart_llm.providers.local.provider import LocalProvider
from smart_llm.providers.specs import resolve
from smart_llm.stats.clopper_pearson import interval
from smart_llm.tables import open_table
from smart_llm.tasks import Task, packs
from smart_llm.types import Answer, Model, Part, Request, Usage

SHORT = "Review: {text}\nDoes the reviewer like it? yes or no:"
SMALL = "local:qwen2.5-coder-0.5b"
WAYS = {
    "row by row": Candidate(SMALL),
    "packs of 4": Candidate(SMALL, pack=4),
    "packs of 8": Candidate(SMALL, pack=8),
    "short prompt": Candidate(SMALL, prompt=SHORT),
}
COLUMNS = ("way", "calls", "seconds a row", "price", "agreement", "low", "high", "broken", "with deferrals")


def main() -> None:
    """Ask, compare, print."""
    parser = options(__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--keep", type=Path, help="where replies are kept")
    args = parser.parse_args()
    weights.pull("default", progress=print)
    task = Task(PROMPT, labels=LABELS)
    with tempfile.TemporaryDirectory() as folder:
        shown, _ = shared_out(reviews(print), 24 if args.quick else args.rows)
        table = open_table(write_table(shown, Path(folder)))
        models = [resolved(str(spec)) for spec in (SHOW.reference, *WAYS.values())]
        questions = Questions(table, task, tuple(models))
        reference, lines = None, list[dict[str, Any]]()
        for number, (name, model) in enumerate(zip(["reference", *WAYS], models, strict=True)):
            said = asyncio.run(asked(questions, number, model, args.keep))
            reference = reference or said
            lines.append(line(task, name, reference, said))
            print(json.dumps(lines[-1]), flush=True)  # hours on a busy machine
    show(lines, COLUMNS)
    finish({"benchmark": "local_ways", "rows": table.rows, "ways": lines}, args.json)


def resolved(spec: str) -> Model:
    """The model of a spec that is one."""
    model = resolve(spec)
    assert isinstance(model, Model)
    return model


def kept(keep: Path | None) -> dict[str, Answer]:
    """Replies by key that an earlier start has written down."""
    lines = keep.read_text(encoding="utf-8").splitlines() if keep and keep.exists() else []
    told = [json.loads(line) for line in lines if line.endswith("}")]  # the last line may be half of one
    return {
        each["key"]: Answer(each["text"], Usage(cpu_seconds=each["seconds"]), finish=each["finish"]) for each in told
    }


async def asked(questions: Questions, number: int, model: Model, keep: Path | None) -> dict[str, Any]:
    """Every row by one way: the answers, in the order of the rows, and what all calls together took."""
    provider, calls, known = LocalProvider(model.model), dict[str, Answer](), kept(keep)

    async def call(request: Request) -> Answer:
        key = request_key(request)
        if key not in calls:
            calls[key] = known.get(key) or await provider.complete(request)
            if keep is not None and key not in known:
                said = calls[key]
                line = {"key": key, "text": said.text, "finish": said.finish, "seconds": said.usage.cpu_seconds}
                with keep.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
        return calls[key]

    answers = []
    for prompt in questions.prompts(np.arange(questions.rows)):
        answers.append(await answered(questions.request(number, prompt), call))
        if len(answers) % 50 == 0:
            print(f"{model.name}: {len(answers)} rows", flush=True)
    await provider.close()
    return {"answers": answers, "calls": len(calls), "seconds": sum(a.usage.cpu_seconds for a in calls.values())}


async def answered(request: Request, call: Any) -> Answer:
    """One row's answer, as the client has it: read from its pack, which is halved once where nothing can be read."""
    if not isinstance(request, Part):
        return await call(request)
    whole = await call(request.call)
    if request.half is not None and not packs.readable(whole, request.count):
        return await answered(request.half, call)
    return packs.item(whole, request.number, request.count)


def line(task: Task, name: str, reference: dict[str, Any], way: dict[str, Any]) -> dict[str, Any]:
    """One line of the table; prices in units of the reference's."""
    rows = len(way["answers"])
    values = [task.read(answer) for answer in way["answers"]]
    truth = [task.read(answer) for answer in reference["answers"]]
    agreeing = sum(a is not None and task.equivalent(a, b) for a, b in zip(values, truth, strict=True))
    broken = sum(value is None for value in values)
    low, high = interval(agreeing, rows, 0.95)
    price = way["seconds"] / reference["seconds"]
    return {
        "way": name,
        "calls": way["calls"],
        "seconds a row": way["seconds"] / rows,
        "price": price,
        "agreement": agreeing / rows,
        "low": float(low),
        "high": float(high),
        "broken": broken / rows,
        "with deferrals": price + broken / rows,
    }


if __name__ == "__main__":
    main()
