"""The command line: one short function per verb (parse, call, print). Heavy imports wait until a verb needs them."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Callable
from functools import cache
from typing import Annotated

import typer
from typer.main import get_command

from smart_llm.cli.demo import demo
from smart_llm.cli.doctor import doctor
from smart_llm.cli.helping import Verb, Verbs
from smart_llm.cli.mock import mock_provider
from smart_llm.cli.models import model_verbs
from smart_llm.cli.plan import plan
from smart_llm.cli.printing import readable, say
from smart_llm.cli.replay import replay
from smart_llm.cli.report import report
from smart_llm.cli.run import run
from smart_llm.cli.runs import runs
from smart_llm.cli.serve import serve
from smart_llm.cli.verify import verify
from smart_llm.errors import SmartError
from smart_llm.garbage import rarely
from smart_llm.text.commands import go_on, typed
from smart_llm.wording import on_the_command_line

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # designs multiply small matrices: more threads only wait

app = typer.Typer(
    name="smart",
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for verb in (run, plan, report, runs, replay, verify, serve, demo, doctor):
    app.command(cls=Verb)(verb)
app.add_typer(model_verbs, name="models")
app.command("mock-provider", cls=Verb)(mock_provider)


def _version(asked: bool) -> None:
    if asked:
        from smart_llm import __version__

        print(f"smart {__version__}")
        raise typer.Exit


@app.callback()
def smart(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """The answers of the best model at the price of the cheaper ones, with a promise you can check."""


@cache
def _command() -> Callable[[], object]:
    """The verbs, made from their functions once in a process: it takes a twentieth of a second."""
    return get_command(app)


def _fitted(text: str) -> list[str]:
    """The lines of a message; on a terminal broken between words."""
    if not sys.stderr.isatty():
        return [text]
    from smart_llm.text.wrapping import wrapped

    return wrapped(text.splitlines(), readable(os.get_terminal_size(sys.stderr.fileno()).columns))


def _spell_out() -> None:
    """Where the terminal or the log takes fewer signs than there are ("≥" in ASCII), another stands in for them."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def main() -> None:
    """Run a verb; errors become one or two lines on stderr and the exit code of their kind."""
    _spell_out()
    warnings.formatwarning = lambda message, *_: f"smart: {message}\n"
    with on_the_command_line(), rarely():
        try:
            _command()()
        except SmartError as error:
            say("\n".join([*_fitted(f"smart: {error}"), *getattr(error, "__notes__", ())]))
            sys.exit(error.exit_code)
        except KeyboardInterrupt:  # in between; a verb says more
            say(f"smart: stopped.\n{go_on(typed())}")
            sys.exit(130)
