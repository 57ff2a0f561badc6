"""`smart serve`: the gateway."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from smart_llm.cli.printing import say, say_out


def serve(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A TOML file that says what is served, and where.")],
    *,
    listen: Annotated[
        str | None, typer.Option(help="The address to listen on, in place of the file's. Port 0 takes a free one.")
    ] = None,
    ledger: Annotated[Path | None, typer.Option(help="The ledger, in place of the file's.")] = None,
    store_text: Annotated[
        bool, typer.Option("--store-text/--no-store-text", help="Keep the text of requests in the ledger.")
    ] = True,
) -> None:
    """Serve a gateway for applications.

    Applications ask it for the model smart/ROUTE, in the protocol of OpenAI or Anthropic. A cheap model answers where
    the promise allows it, and the reference answers the rest. SIGTERM or Ctrl-C ends it cleanly.
    """
    from smart_llm.gateway.config import read_config, told
    from smart_llm.gateway.serving import serve as run

    run(told(read_config(config), listen=listen, ledger=ledger, store_text=store_text), _ready)


def _ready(url: str) -> None:
    """Where it is, on stdout."""
    say_out(f"gateway at {url}")
    say(f"base URL for OpenAI's SDK: {url}/v1   for Anthropic's: {url}   page: {url}/")
