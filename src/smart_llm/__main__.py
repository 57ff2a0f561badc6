"""The command `smart`, and `python -m smart_llm`.

Loading takes a few tenths of a second. Ctrl-C ends it at once and says so; the verbs hear it themselves later on.
"""

from __future__ import annotations

import os
import signal
from typing import Any

from smart_llm.text.commands import NOTHING_YET, go_on, typed


def _stopped(*_: Any) -> None:
    """Nothing has been begun, so there is nothing to end: an exception could be lost in the middle of an import."""
    os.write(2, f"smart: {NOTHING_YET}\n{go_on(typed())}\n".encode(errors="replace"))
    os._exit(130)


def main() -> None:
    """Load the command line and carry out what was typed."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is somebody else's, or ignored
        signal.signal(signal.SIGINT, _stopped)
    from smart_llm.cli import main as command_line

    command_line()


if __name__ == "__main__":
    main()
