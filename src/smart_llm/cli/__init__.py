"""The command line: one short function per verb (parse, call, print). Heavy imports wait until a verb needs them."""

from __future__ import annotations

import os
import sys
import warnings

import typer

from smart_llm.cli.checking import replay, verify
from smart_llm.cli.doctor import doctor
from smart_llm.cli.local import demo, model_verbs
from smart_llm.cli.mock import mock_provider
from smart_llm.cli.past import report, runs
from smart_llm.cli.plan import plan
from smart_llm.cli.run import run
from smart_llm.errors import SmartError

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # designs multiply small matrices: more threads only wait

app = typer.Typer(
    name="smart",
    help="The answers of the best model at the price of the cheaper ones, with a promise you can check.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for verb in (run, plan, report, runs, replay, verify, demo, doctor):
    app.command()(verb)
app.add_typer(model_verbs, name="models")
app.command("mock-provider")(mock_provider)


def main() -> None:
    """Run a verb; errors become one or two lines on stderr and the exit code of their kind."""
    warnings.formatwarning = lambda message, *_: f"smart: {message}\n"
    try:
        app()
    except SmartError as error:
        print(f"smart: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("smart: stopped. What was bought is kept: run the same command again to go on.", file=sys.stderr)
        sys.exit(130)
