"""The one folder of a user: model files, caches, anything that outlives a run and belongs to no project.

`SMART_HOME` in the environment names it; else the place the operating system keeps caches in. Ledgers of runs are not
here: they stand beside the user's own output.
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

HOME_VARIABLE = "SMART_HOME"


def user_dir() -> Path:
    """The user's folder as an absolute path. It is not created here: whoever writes makes the part it needs."""
    given = os.environ.get(HOME_VARIABLE)
    return Path(given).expanduser().absolute() if given else Path(platformdirs.user_cache_path("smart-llm"))
