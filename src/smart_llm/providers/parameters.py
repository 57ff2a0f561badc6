"""Which parameters an endpoint says it does not take. Pure.

What is learnt here changes every later request, so it is learnt only from words that say so. "max_tokens is too large"
is said of one row; taken for "I do not know max_tokens", it would let every later answer grow without a limit. Nothing
is learnt from a refusal that speaks of the prompt: it may quote the row.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from smart_llm.providers.problems import ROW_ONLY, Problem

NOT_TAKEN = re.compile(
    r"unsupported|not (yet |currently )?(be )?(support|allow|permit|enabled|available|recogni[sz]ed|accept|implemented)"
    r"|n't (support|allow|recogni[sz]e|accept)|no longer|deprecated|unrecogni[sz]ed|unknown|unexpected|not (a )?valid"
    r"|extra (inputs?|fields?|propert|param)|extra_forbidden|(can ?not|can't|may not) be (used|set|specified)"
    r"|incompatible|(was|were|been) removed|only the default|invalid (parameter|argument|field|name)|disabled"
    r"|\buse\b.{0,4}max_completion_tokens",
    re.IGNORECASE,
)
"""A parameter is not known, or not taken."""
OUT_OF_RANGE = re.compile(
    r"too (large|big|high|long|many)|at (most|least)|exceed|(greater|larger|less|smaller|more) than|must be|may only be"
    r"|maximum (value|allowed|of|context)|out of range|between \d|[<>]=?\s*\d",
    re.IGNORECASE,
)
"""A parameter is known, and its value is not taken."""
BESIDE = re.compile(r"\b(with|without|requires?|when|if|instead of)\s+[`'\"]?\w+", re.IGNORECASE)
"""A parameter that is named only to say where another one is not taken."""
SCHEMA = re.compile(
    r"response.?format|output.?(format|config)|json.?schema|response.?schema|\bschemas?\b|\bgrammar|guided|structured.?output|xgrammar|outlines"
    r"|llguidance",
    re.IGNORECASE,
)
"""A schema is refused, in the words of OpenAI, Anthropic, vLLM, SGLang, llama.cpp, Gemini, Groq."""
SPOILT = re.compile(
    r"json_validate_failed|failed_generation|failed to (generate|validate) (valid )?json"
    r"|generated (json|output|text)\b.{0,60}\b(not|fail|invalid)",
    re.IGNORECASE,
)
"""What the model wrote this once does not keep to the schema (Groq): nothing is said of other rows."""
LIMITS = ("max_tokens",)
"""Parameters whose values are refused for one row alone: to leave them out takes words that say so …"""
OF_ONE_ROW = re.compile(r"\bvalue|prompt|input tokens|this (request|row)|smaller|lower|reduce", re.IGNORECASE)
"""… and not such words."""


def unsupported(problem: Problem, names: Sequence[str]) -> frozenset[str]:
    """Which of these parameters are not taken."""
    said = f"{' '.join(problem.codes)} {problem.message}"
    if ROW_ONLY.search(said):
        return frozenset()
    words = BESIDE.sub(" ", problem.message)
    named = {name for name in names if re.search(rf"(?<!\w){name}(?!\w)", words, re.IGNORECASE)}
    if problem.param is not None:
        given = set(re.split(r"[.\[\]]+", problem.param)) & set(names)
        named = (named if NOT_TAKEN.search(said) and given else set()) | given
    elif not (NOT_TAKEN.search(said) or OUT_OF_RANGE.search(said)):
        named = set()
    clearly = NOT_TAKEN.search(said) and not OUT_OF_RANGE.search(said) and not OF_ONE_ROW.search(said)
    return frozenset(name for name in named if clearly or name not in LIMITS)


def named(problem: Problem, names: Sequence[str]) -> frozenset[str]:
    """Which of these a refusal speaks of at all; all of them, where it speaks of parameters and names none."""
    said = f"{problem.param or ''} {problem.message}"
    found = frozenset(name for name in names if re.search(rf"(?<!\w){name}(?!\w)", said, re.IGNORECASE))
    return found or frozenset(names if "parameter" in said.lower() else ())


def no_schema(problem: Problem) -> bool:
    """Whether it is the schema that is refused."""
    said = f"{' '.join(problem.codes)} {problem.param or ''} {problem.message}"
    return bool(SCHEMA.search(said)) and not ROW_ONLY.search(said)


def spoilt(problem: Problem) -> bool:
    """Whether what the model wrote for this row does not keep to the schema."""
    return bool(SPOILT.search(f"{' '.join(problem.codes)} {problem.message}"))
