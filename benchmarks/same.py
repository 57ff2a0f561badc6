"""Whether two versions of the code give the same results: replays of recorded tasks in both, compared figure by figure.

    python benchmarks/same.py --old OTHER/.venv/bin/smart [--new …] [--data FOLDER] [--trials 23]

Three tasks and three procedures, `--trials` seeds each: costs, violations, agreement, rows profiled and certified runs
must be the same to the last digit. Exit status 1 if anything differs. A procedure of another version is compared only
by name, so a change of the default shows.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from common import heading

TASKS = {"hellaswag": "0.9", "gsm8k": "0.9", "product_attributes": "0.8"}
"""Recorded task → agreement."""
PROCEDURES = ("ladder", "smart/2024:model-mix", "smart/2024:profile-smart")


def main() -> int:
    """Compare, and say what differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--old", required=True, type=Path, help="the `smart` of the version to compare with")
    parser.add_argument("--new", type=Path, default=Path(sys.executable).with_name("smart"), help="default: this one")
    parser.add_argument("--data", type=Path, default=Path("../shared/data/recorded"))
    parser.add_argument("--trials", type=int, default=23)
    args = parser.parse_args()
    if not args.data.is_dir():
        print(f"Skipped: there are no recorded answers in {args.data}.")
        return 0
    heading(args)
    differing = 0
    for task, agreement in TASKS.items():
        for procedure in PROCEDURES:
            command = [
                *("replay", str(args.data / f"{task}.parquet"), "--agreement", agreement, "--json"),
                *("--reference", reference_of(task), "--procedure", procedure, "--trials", str(args.trials)),
            ]
            old, new = (told(smart, command) for smart in (args.old, args.new))
            names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
            differing += bool(names)
            print(f"{task:20} {procedure:26} {'differs in ' + ', '.join(names) if names else 'same'}")
    print(f"{differing} of {len(TASKS) * len(PROCEDURES)} cells differ, {args.trials} replays each")
    return int(differing > 0)


def told(smart: Path, command: list[str]) -> dict[str, Any]:
    """The figures of one command, without the time it took."""
    done = subprocess.run([str(smart), *command], capture_output=True, text=True, check=True)
    figures: dict[str, Any] = json.loads(done.stdout)
    return {name: value for name, value in figures.items() if name != "seconds_per_trial"}


def reference_of(task: str) -> str:
    """The model the others of a recorded task are compared with."""
    from recorded import REFERENCES

    return str(REFERENCES[task])


if __name__ == "__main__":
    sys.exit(main())
