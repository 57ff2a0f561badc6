"""What a model is told besides the request, read from the options of its spec. `InputError` for what it cannot be."""

from __future__ import annotations

from collections.abc import Mapping

from smart_llm.errors import InputError
from smart_llm.providers import enforced
from smart_llm.providers.thinking import room

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
MOST_DRAWS = 20


def effort(name: str, provider: str, options: Mapping[str, str]) -> str | None:
    """How much a model is told to think, where the user says so."""
    said = options.get("effort")
    if said is None:
        return None
    if said not in EFFORTS:
        raise InputError(f"Model {name}: effort={said} is not known; write one of {', '.join(EFFORTS)}.")
    if provider in ("local", "fake"):
        raise InputError(f"Model {name}: {provider} models are not told how much to think; leave effort out.")
    return said


def thinking(
    name: str, provider: str, model: str, url: str | None, told: str | None, options: Mapping[str, str]
) -> int:
    """Tokens a model may think on top of the answer's. told: its effort."""
    if "thinking" not in options:
        return room(model, told, hosted=url is None and provider not in ("local", "fake"))
    text = options["thinking"]
    if not (text.isascii() and text.isdigit()):
        raise InputError(f"Model {name}: thinking={text} is not a number of tokens; write a whole number, 0 or more.")
    return int(text)


def draws(name: str, provider: str, options: Mapping[str, str]) -> int:
    """Further answers drawn to every row."""
    text = options.get("draws", "0")
    if not (text.isascii() and text.isdigit() and int(text) <= MOST_DRAWS):
        raise InputError(f"Model {name}: draws={text} is not a number of answers; write 0 to {MOST_DRAWS}.")
    if int(text) and provider == "local":
        raise InputError(f"Model {name}: local models tell how sure they are by log-probabilities; leave draws out.")
    return int(text)


def enforce(name: str, provider: str, options: Mapping[str, str]) -> str:
    """How its server is made to keep to the labels; empty: nothing is said of it."""
    way = options.get("enforce", "")
    if way and way not in enforced.WAYS:
        raise InputError(f"Model {name}: enforce={way} is not known; write one of {', '.join(enforced.WAYS)}.")
    if way in ("", enforced.NONE):
        return way
    if provider in ("local", "fake"):
        why = "keep to labels anyhow" if provider == "local" else "say what they are written to say"
        raise InputError(f"Model {name}: {provider} models {why}; leave enforce out.")
    if way == enforced.AUTO and provider == "anyllm":
        raise InputError(f"Model {name}: enforce=auto is for servers asked directly (openai:NAME@…); write schema.")
    if way == "choice" and provider in ("anthropic", "anyllm"):
        raise InputError(f"Model {name}: enforce=choice is for vLLM and SGLang (openai:NAME@…); write enforce=schema.")
    return way
