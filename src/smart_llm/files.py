"""The one folder of a user: model files, and the ledgers and spooled copies of tables that have no file of their own.

`SMART_HOME` in the environment names it; else the place the operating system keeps a user's data in, which nobody
empties as he would a cache: answers in a ledger were paid for. The ledger of a file stands beside the file.
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

HOME_VARIABLE = "SMART_HOME"


def user_dir() -> Path:
    """The user's folder as an absolute path. It is not created here: whoever writes makes the part it needs."""
    given = os.environ.get(HOME_VARIABLE)
    return Path(given).expanduser().absolute() if given else Path(platformdirs.user_data_path("smart-llm"))
