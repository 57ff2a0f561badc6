"""The page itself: a view put into the template, and written whole or not at all.

Whatever the template prints goes through `visible` first and is then escaped, so no text of a row, a prompt or a model
can leave its place or move what is around it. The page allows itself nothing: no script, no request.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from smart_llm.errors import InputError
from smart_llm.files import whole
from smart_llm.reports.blocks import View
from smart_llm.text.safe import visible


def html(view: View) -> str:
    """One self-contained page."""
    return _template().render(view=view)


def write(view: View, path: str | os.PathLike[str]) -> None:
    """Write the page. `InputError` where it cannot be written."""
    target = Path(os.path.realpath(path))
    page = html(view).encode()
    try:
        with whole(target) as file:
            file.write(page)
    except OSError as error:
        raise InputError(f"the report {path} cannot be written: {error.strerror}") from None


@cache
def _template() -> Template:
    loader = PackageLoader("smart_llm.reports", "templates")
    found = Environment(
        loader=loader,
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.globals["style"] = Markup(loader.get_source(found, "report.css")[0])
    return found.get_template("report.html")


def _shown(value: Any) -> Any:
    return value if isinstance(value, Markup) or not isinstance(value, str) else visible(value)
