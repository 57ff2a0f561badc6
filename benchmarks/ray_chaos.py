"""Ray beside one process, and what is paid twice when something dies: our workers and a plain `map_batches`.

1. *same*: the same command with and without `--engine ray`: rows, answers, errors, certificate.
2. *worker*, *driver*: kill −9 of one worker, of the driver (and the same command again): complete, the same answers,
   calls paid twice at most those that could be in flight at the kill.
3. *plain*: a table of the same rows through `ray.data.map_batches` with actors that ask the same server and keep
   nothing; one actor is killed likewise. (Of a killed driver it keeps nothing: everything would be paid again.)
4. *packs-worker*, *packs-driver*: the same where the candidate is asked about eight rows a call, which lie in different
   partitions; some packs go wrong, and are asked again in halves.
5. *limit*: a server that allows so many requests a minute, told in headers or hidden; the use of it that four workers
   make together after a warm-up, and the share of calls that met a 429.

One machine, a mock server in this process, `smart` in processes of its own. Exit code 1 if something does not hold.
"""

from __future__ import annotations

import asyncio
import csv
import importlib.util
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

from chaos import delivered, start, whole
from common import finish, options, show
from scale import Family

from smart_llm.certificates.verify import verify
from smart_llm.mock.limits import Limits
from smart_llm.mock.packs import Packs
from smart_llm.mock.server import MockServer

ROWS, KILLED, WORKERS, IN_FLIGHT = 50_000, 12_000, 4, 32
"""Rows of the first case, and of those in which something dies. IN_FLIGHT: calls, for each model and worker."""
MODELS = 2
PACKED = "&pack=8"
RPM, WARM, SECONDS = 6_000, 25.0, 60.0
PLAIN = """
import sys, pyarrow.csv, ray
from concurrent.futures import ThreadPoolExecutor
from urllib.request import Request, urlopen
import json

class Ask:
    def __init__(self):
        self.pool = ThreadPoolExecutor({in_flight})

    def one(self, text):
        body = {{"model": "big", "messages": [{{"role": "user", "content": "Yes or no? " + text}}]}}
        sent = Request("{url}/chat/completions", json.dumps(body).encode(), {{"Content-Type": "application/json"}})
        with urlopen(sent) as reply:
            return json.load(reply)["choices"][0]["message"]["content"]

    def __call__(self, batch):
        batch["answer"] = list(self.pool.map(self.one, batch["text"]))
        return batch

ray.init(num_cpus={workers}, include_dashboard=False, log_to_driver=False, object_store_memory=200 << 20)
rows = pyarrow.csv.read_csv("{table}")
data = ray.data.from_arrow(rows).repartition({blocks})
ray.data.DataContext.get_current().enable_progress_bars = False
done = data.map_batches(Ask, batch_size=None, compute=ray.data.ActorPoolStrategy(size={workers}), num_cpus=0.5)
print(json.dumps({{"rows": done.count()}}))
"""


def table(path: Path, rows: int) -> None:
    """Different reviews."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(
            [["id", "text"], *[[i, f"review {i}: a film, and what I think of it"] for i in range(rows)]]
        )


def command(folder: Path, name: str, url: str, *more: str, way: str = "") -> list[str]:
    """A run; each name has a ledger and an output of its own. way: how the candidate is asked."""
    return [
        *(sys.executable, "-m", "smart_llm.cli", "run", str(folder / "t.csv"), "--prompt", "Yes or no? {text}"),
        *("--labels", "yes,no", "--agreement", "0.9", "--seed", "5", "--output", str(folder / f"{name}.csv"), "--json"),
        *("--reference", f"openai:big@{url}?in=10&out=10", "--candidate", f"openai:small@{url}?in=1&out=1{way}"),
        *("--concurrency", str(IN_FLIGHT), "--ledger", str(folder / f"{name}.db"), *more),
    ]


def on_ray(rows: int) -> list[str]:
    """The options of every run on Ray here."""
    return ["--engine", "ray", "--workers", str(WORKERS), "--partition", str(max(50, rows // 24))]


def server(**more: Any) -> MockServer:
    """A candidate that strays on 4 % of the rows."""
    return MockServer(rule="label:yes,no", errors={"small": 0.04}, seed=1, **{"latency": 0.02, **more})


def certificate(result: dict[str, Any]) -> Any:
    """What the certificate's file says."""
    return json.loads(Path(result["certificate_file"]).read_text())


async def same(folder: Path, rows: int) -> dict[str, Any]:
    """One process and four workers."""
    table(folder / "t.csv", rows)
    async with server() as url:
        clock = perf_counter()
        one = await whole(command(folder, "one", url))
        alone, clock = perf_counter() - clock, perf_counter()
        many = await whole(command(folder, "many", url, *on_ray(rows)))
        together = perf_counter() - clock
    return {
        "case": "same",
        "rows": rows,
        "same rows and answers": delivered(folder / "one.csv") == delivered(folder / "many.csv"),
        "same certificate": certificate(one) == certificate(many),
        "verifies": verify(Path(many["certificate_file"]), folder / "many.db") == [],
        "seconds, one process": alone,
        "seconds, Ray": together,
    }


def kill_one(pid: int, title: str) -> None:
    """SIGKILL to one of the processes below this one that work under that title."""
    family = Family(pid, ((title, "wanted"),))
    family.look()
    os.kill(next(each for each, role in family.role.items() if role == "wanted"), signal.SIGKILL)


async def reached(mock: MockServer, goal: int, process: asyncio.subprocess.Process) -> None:
    """Wait until the server has answered so many."""
    while mock.stats()["answered"] < goal:
        await asyncio.sleep(0.01)
        assert process.returncode is None, "it ended before anything could be killed"


async def killed(folder: Path, rows: int, who: str, way: str = "") -> dict[str, Any]:
    """The driver dies and the same command is given again, or one worker dies and the run goes on by itself."""
    table(folder / "t.csv", rows)
    mock = server(packs=Packs(worse=0.01, omit=0.01, double=0.01, spoil=0.05))
    async with mock as url:
        calm = await whole(command(folder, "calm", url, way=way))
        before = mock.stats()["answered"]
        process = await start(arguments := command(folder, "rough", url, *on_ray(rows), way=way))
        await reached(mock, before + before // 2, process)
        if who == "driver":
            process.kill()
            await process.wait()
            rough = await whole(arguments)
        else:
            kill_one(process.pid, "Settle")
            out, err = await process.communicate()
            assert process.returncode == 0, err.decode()
            rough = json.loads(out)
    twice = mock.stats()["answered"] - 2 * before
    return _judged(
        f"{who} {way}".strip(), folder, (calm, rough), twice, (WORKERS if who == "driver" else 1) * MODELS * IN_FLIGHT
    )


def _judged(case: str, folder: Path, results: tuple[Any, Any], twice: int, flying: int) -> dict[str, Any]:
    """twice: calls answered beyond those of the calm run."""
    calm, rough = results
    return {
        "case": case,
        "same rows and answers": delivered(folder / "calm.csv") == delivered(folder / "rough.csv"),
        "same certificate": certificate(calm) == certificate(rough),
        "verifies": verify(Path(rough["certificate_file"]), folder / "rough.db") == [],
        "paid twice": twice,
        "in flight at most": flying,
        "no more than in flight": twice <= flying,
    }


async def plain(folder: Path, rows: int) -> dict[str, Any]:
    """`map_batches`, one actor killed."""
    table(folder / "t.csv", rows)
    mock = server()
    async with mock as url:
        text = PLAIN.format(in_flight=IN_FLIGHT, url=url, workers=WORKERS, table=folder / "t.csv", blocks=24)
        (folder / "plain.py").write_text(text)
        process = await start([sys.executable, str(folder / "plain.py")])
        await reached(mock, rows // 2, process)
        kill_one(process.pid, "MapWorker")
        out, err = await process.communicate()
        assert process.returncode == 0, err.decode()[-2000:]
        stats = mock.stats()
    paid = stats["answered"] - stats["distinct"]
    return {
        "case": "plain map_batches, actor",
        "rows": json.loads(next(line for line in out.splitlines() if line.startswith(b"{")))["rows"],
        "paid twice": paid,
        "in flight at most": IN_FLIGHT,
    }


async def limit(folder: Path, told: bool, warm: float, seconds: float) -> dict[str, Any]:
    """Four workers at one provider's limit, every row asked of the reference."""
    mock = server(latency=0.2, jitter=0.2, limits=Limits(RPM, None, 2.0, headers=told, retry_after=told))
    table(folder / "t.csv", int(RPM / 60 * (warm + seconds + 30)))
    async with mock as url:
        arguments = command(folder, f"limit-{told}", url, "--procedure", "reference-only", *on_ray(10_000))
        process = await start(arguments)
        await reached(mock, 300, process)
        await asyncio.sleep(warm)
        before, clock = mock.stats()["answered"], perf_counter()
        await asyncio.sleep(seconds)
        answered, took = mock.stats()["answered"] - before, perf_counter() - clock
        process.send_signal(signal.SIGINT)
        await process.communicate()
        stats = mock.stats()
    use, refused = answered / took / (RPM / 60), stats["faults"].get("throttle", 0) / stats["requests"]
    return {
        "case": f"limit, {'told' if told else 'hidden'}",
        "use": use,
        "429s": refused,
        "85 % used": use >= 0.85,
        "under 2 % refused": refused < 0.02,
    }


def cases(quick: bool) -> dict[str, Callable[[Path], Any]]:
    """By name."""
    rows, some = (2_000, 2_000) if quick else (ROWS, KILLED)
    span = (10.0, 10.0) if quick else (WARM, SECONDS)
    return {
        "same": lambda folder: same(folder, rows),
        "worker": lambda folder: killed(folder, some, "worker"),
        "driver": lambda folder: killed(folder, some, "driver"),
        "packs-worker": lambda folder: killed(folder, some, "worker", PACKED),
        "packs-driver": lambda folder: killed(folder, some, "driver", PACKED),
        "plain": lambda folder: plain(folder, some),
        "limit-told": lambda folder: limit(folder, True, *span),
        "limit-hidden": lambda folder: limit(folder, False, *span),
    }


def main(names: list[str], quick: bool) -> list[dict[str, Any]]:
    """Each in a folder of its own."""
    found = []
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            found.append(asyncio.run(cases(quick)[name](Path(folder))))
        show([{"what": key, "found": value} for key, value in found[-1].items()], ["what", "found"])
    return found


if __name__ == "__main__":
    parser = options(__doc__ or "")
    parser.add_argument("--case", action="append", choices=list(cases(False)), help="only this; repeat for several")
    arguments = parser.parse_args()
    if importlib.util.find_spec("ray") is None:
        print("skipped: needs the extra [ray], which is not installed.")
        sys.exit(0)
    results = main(arguments.case or list(cases(False)), arguments.quick)
    finish({"cases": results}, arguments.json)
    sys.exit(0 if all(value for each in results for value in each.values() if isinstance(value, bool)) else 1)
