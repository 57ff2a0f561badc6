"""The help pages: options in groups, an example under each verb, and what every verb has in common.

Which option stands in which group is laid out here, like a page; an option that is listed nowhere comes at the end.
"""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from threading import current_thread, main_thread
from typing import Any

from typer import BadParameter
from typer.core import TyperCommand, TyperGroup

from smart_llm.errors import InputError, Interrupted
from smart_llm.text.commands import NOTHING_YET, go_on, typed

OTHERS = "Other options"
_WANTED = re.compile(r"should be a valid (integer|number)")
FEW = 12
"""So many options need no groups."""
GROUPS: Mapping[str, Sequence[str]] = {
    "The question": (
        *("prompt", "prompt_file", "labels", "answer", "schema", "equivalence", "tolerance", "system", "max_tokens"),
    ),
    "The table and what is written": (
        *(
            "rows",
            "encoding",
            "quotes",
            "header",
            "skip_empty",
            "output",
            "answer_column",
            "explode",
            "id_column",
            "safe_csv",
            "report",
        ),
        *("html", "ledger", "no_store_text", "as_json"),
    ),
    "The models": ("reference", "candidate", "ways", "models"),
    "The promise": ("agreement", "confidence", "per_label", "floor", "procedure", "self_check", "no_scores"),
    "Money and time": (
        *("budget", "yes", "pilot", "concurrency", "timeout", "patience", "retry", "batch", "batch_poll", "batch_rows"),
    ),
    "Many machines": ("engine", "workers", "partition"),
    "The server": ("host", "port"),
    "How it answers": ("rule", "answers", "error", "break_contract", "chat", "keep", "refuse_logprobs"),
    "How it fails": (
        *("latency", "jitter", "rpm", "tpm", "faults", "fault", "hang", "pause", "batch_seconds", "batch_fault"),
        *("queue_tokens", "pack"),
    ),
}
"""Heading → parameters under it, in the order they are shown."""

VALUES: Mapping[str, str] = {
    "str": "TEXT",
    "path": "FILE",
    "int": "N",
    "float": "NUMBER",
    "list[str]": "TEXT",
    "list[path]": "FILE",
    "list[Path]": "FILE",
}
"""What stands for a value of a type, …"""
NAMED: Mapping[str, str] = {
    "reference": "MODEL",
    "candidate": "MODEL",
    "agreement": "SHARE",
    "confidence": "SHARE",
    "per_label": "SHARE",
    "floor": "SHARE",
    "budget": "USD",
    "timeout": "SECONDS",
    "patience": "SECONDS",
    "batch_poll": "SECONDS",
    "labels": "A,B,C",
    "output": "FILE",
    "id_column": "COLUMN",
    "answer_column": "NAME",
    "encoding": "NAME",
    "quotes": "KIND",
    "procedure": "NAME",
    "equivalence": "NAME",
    "retry": "WHICH",
    "answer": "KIND",
    "break_contract": "MODEL",
    "latency": "SECONDS",
    "jitter": "SECONDS",
    "hang": "SECONDS",
    "pause": "SECONDS",
    "batch_seconds": "SECONDS",
    "error": "MODEL=SHARE",
    "fault": "KIND=SHARE",
    "batch_fault": "KIND=SHARE",
    "faults": "SHARE",
    "chat": "MODEL=SHARE",
    "keep": "WAYS",
    "pack": "KIND=SHARE",
    "ways": "given|auto",
    "engine": "WHERE",
    "listen": "HOST:PORT",
    "rule": "RULE",
    "tier": "TIER",
    "host": "ADDRESS",
    "folder": "FOLDER",
}
"""… and of an option that says more than its type."""

EXAMPLES: Mapping[str, str] = {
    "run": """smart run reviews.csv --prompt "Positive or negative? {text}" --labels positive,negative \\
  --reference openai:gpt-4.1 --candidate openai:gpt-4.1-mini --agreement 0.95 --budget 20""",
    "plan": """smart plan reviews.csv --prompt "Positive or negative? {text}" --labels positive,negative \\
  --reference openai:gpt-4.1 --candidate openai:gpt-4.1-mini""",
    "report": "smart report last --html report.html",
    "runs": "smart runs --ledger reviews.csv.ledger.db",
    "replay": "smart replay recorded.csv --reference gpt-4.1 --agreement 0.95 --trials 100",
    "verify": "smart verify answered.csv.certificate.json --ledger reviews.csv.ledger.db",
    "serve": "smart serve gateway.toml --listen 127.0.0.1:8080",
    "demo": "smart demo --output demo",
    "doctor": "smart doctor openai:gpt-4.1 openai:gpt-4.1-mini",
    "mock-provider": "smart mock-provider --port 8000 --rule label:spam,ham --error small=0.04",
    "pull": "smart models pull tiny",
    "add": "smart models add ~/models/mine.gguf --name mine",
    "list": "smart models list",
}

VERBS: Mapping[str, Sequence[str]] = {
    "Answer a table": ("plan", "run"),
    "Answer an application": ("serve",),
    "Look back and check": ("runs", "report", "verify", "replay"),
    "Try it, and get ready": ("demo", "mock-provider", "models", "doctor"),
}


class Verb(TyperCommand):
    """A command whose help is in groups and ends with an example. A flag that is off unless given
    has no `--no-` twin; one that is found out unless given has."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        for each in self.params:
            if getattr(each, "is_bool_flag", False) and each.default is False:
                each.secondary_opts = []

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The options. A value that is no number is said in a line."""
        try:
            return super().parse_args(ctx, args)
        except BadParameter as error:
            if not error.param or not (wanted := _WANTED.search(error.message)):
                raise
            whole = " whole" if wanted[1] == "integer" else ""
            raise InputError(f"{error.param.opts[0]}: give a{whole} number.") from None

    def invoke(self, ctx: Any) -> Any:
        """Run it. Ctrl-C, which has ended the program at once while it was loading, is an exception from here on; it is
        said in a sentence, wherever it comes."""
        if current_thread() is main_thread() and callable(signal.getsignal(signal.SIGINT)):
            signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise _stopped(str(ctx.info_name)) from None

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments, then options under their headings."""
        shown = [(each, record) for each in self.get_params(ctx) if (record := each.get_help_record(ctx))]
        arguments = [record for each, record in shown if each.param_type_name == "argument"]
        options = {each.name: _named(each, record, ctx) for each, record in shown if each.param_type_name == "option"}
        for heading, rows in (("Arguments", [_bare(row) for row in arguments]), *_grouped(options)):
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """The example, as it is to be typed."""
        if example := EXAMPLES.get(ctx.info_name):
            with formatter.section("Example"):
                for line in example.splitlines():
                    formatter.write(f"  {line}\n")


class Verbs(TyperGroup):
    """The verbs in groups."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Each with its first sentence."""
        verbs = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        rows = {name: (name, _first(verb.help)) for name, verb in verbs.items() if verb}
        for heading, found in _in_groups(rows, VERBS, "Commands"):
            with formatter.section(heading):
                formatter.write_dl(found)


SPENDING = ("run", "plan", "demo")


def _stopped(verb: str) -> Interrupted:
    """What to say of a verb that was stopped outside a run; what has not been loaded has begun nothing."""
    signals = sys.modules.get("smart_llm.engine.signals")
    begun = signals is not None and signals.begun()
    yet = NOTHING_YET if verb in SPENDING else "stopped."
    stopped = Interrupted("stopped. What was recorded is kept." if begun else yet)
    stopped.add_note(go_on(typed()))
    return stopped


def _grouped(options: dict[str, tuple[str, str]]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    yield from _in_groups(options, GROUPS if len(options) > FEW else {}, OTHERS if len(options) > FEW else "Options")


def _in_groups(
    rows: Mapping[str, tuple[str, str]], groups: Mapping[str, Iterable[str]], last: str
) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """(heading, its rows), without empty groups; what is listed nowhere comes last."""
    left = dict(rows)
    for heading, names in groups.items():
        if found := [left.pop(name) for name in names if name in left]:
            yield heading, found
    if left:
        yield last, list(left.values())


def _first(text: str | None) -> str:
    """The first paragraph."""
    return " ".join((text or "").partition("\n\n")[0].split())


def _named(option: Any, record: tuple[str, str], ctx: Any) -> tuple[str, str]:
    """`--budget <float>` as `--budget USD`."""
    if option.is_flag:
        return record
    label = option.display_type(ctx)
    return record[0].replace(label, NAMED.get(option.name, VALUES.get(label[1:-1], label))), record[1]


def _bare(record: tuple[str, str]) -> tuple[str, str]:
    """An argument without its type, and without saying that it is needed: the usage line does."""
    return record[0].partition(" <")[0], record[1].replace("  [required]", "")
