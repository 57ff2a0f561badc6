"""What the `status` of a row without an answer says: what happened, and what to do about it. Pure."""

from __future__ import annotations

from smart_llm.tasks.replies import spoken
from smart_llm.types import Answer

BROKEN = "error: the reference's answer breaks the output contract"
"""How the status of a row begins whose answer came, was paid, and cannot be delivered."""

LESS_OR_MORE = "give it more room (?thinking=2000), or tell it to think less (?effort=none)"
REWORD = "reword the prompt"


def status(reply: Answer) -> str:
    """Of a row whose answer by the reference is an error, or breaks the contract."""
    return f"error: {reply.error}" if reply.error else f"{BROKEN}{_told(reply)}"


def _told(reply: Answer) -> str:
    """Why an answer of the reference breaks the contract and what to do; begins with a colon, where there is any."""
    why, advice = why_broken(reply)
    other = ", or take another reference" if advice == REWORD else ""
    return "".join([f": {why}" if why else "", f"; {advice}{other}" if advice else ""])


def why_broken(reply: Answer) -> tuple[str, str]:
    """Why an answer breaks the contract, where the way it ended tells; and what to do about it."""
    used = f" after {count:,} tokens" if (count := reply.usage.output_tokens) else ""
    said = spoken(reply.text or "") is not None
    match reply.finish:
        case "length" if not said:
            return f"it thought until its room was used up{used}", LESS_OR_MORE
        case "length":
            return f"it was cut off{used}", "allow a longer one (--max-tokens), or room to think (?thinking=2000)"
        case "refusal":
            return "the model refused to answer", REWORD
        case "content_filter":
            return "the provider's safety filter held it back", REWORD
        case "empty":
            return "the reply was empty, as after a safety filter", REWORD
    thought = reply.usage.reasoning_tokens or "<think" in (reply.text or "")
    if not said and thought:
        return "it thought and then gave no answer", LESS_OR_MORE
    return ("", "") if said else ("it was empty", "")


def hopeless(model: str, rows: int, reply: Answer) -> str:
    """Why a run stops whose first rows have no answer by the reference."""
    why = reply.error or f"it said {(reply.text or '')[:60]!r}, which breaks the contract{_told(reply)}"
    return (
        f"None of the first {rows} rows has an answer from {model} ({why}). Stopped before more is spent. What was "
        "bought is kept, and would be used again: mend the prompt, the labels or the model, and run again with "
        f"--retry {'errors' if reply.error else 'broken'}, which asks anew."
    )
