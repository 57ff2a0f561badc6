"""Ways of answering as the user writes them: `smart.Candidate(…)`, and the same as options of a model's spec.

    openai:gpt-4.1-nano?pack=20&head=2000&prompt=short.txt

`prompt`, `system` and `pack_template` are the names of files, or the text itself: of a prompt and a template it is text
what has a place in braces, of a system text what has a space in it. In the name of the model a file stands by its last
part, a text by its hash; what they say is in the plan.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from smart_llm.errors import InputError, named
from smart_llm.files import small_text, unreadable
from smart_llm.tasks.packs import MOST, check_frame
from smart_llm.types import Model, Way

OPTIONS = ("pack", "head", "tail", "prompt", "system", "max_tokens", "pack_template")
_BRACED = "{"
_TEXTS: Mapping[str, Callable[[str], bool]] = {
    "prompt": lambda said: _BRACED in said,
    "system": lambda said: " " in said.strip(),
    "pack_template": lambda said: _BRACED in said or "\n" in said,
}
"""Of what may be a text or the name of a file: whether it is text."""


@dataclass(frozen=True, slots=True, init=False)
class Candidate:
    """A way of answering: a model, and how it is asked, or a function. What counts as an answer stays the task's.

    model: `provider:model`, as everywhere; or a function of a row (its parameters named as columns, or a single one
    that takes them all as a dict); or a regular expression, or a dict of them with what each says.
    Of a model, pack: rows asked about in one call, at most (1 to 200), so that the instructions are paid for once.
    prompt, system: in place of the task's own, which may be long; a text, or a `pathlib.Path` of a file. head, tail:
    characters shown of the beginning and of the end of each column's text. max_tokens: the longest answer. effort: how
    much the model is told to think. draws: further answers to every row, to see how sure it is. pack_template: what
    stands around the rows of a pack, with {instructions} and {items}.
    Of a function, name: what `answered_by` calls it; price: USD a row, 0 unless given; version: what stands for what it
    refers to that cannot be hashed.
    """

    spec: str
    function: Model | None = field(default=None, compare=False, repr=False)

    @named
    def __init__(
        self,
        model: str | Callable[..., Any] | re.Pattern[str] | Mapping[Any, str],
        *,
        prompt: str | os.PathLike[str] | None = None,
        system: str | os.PathLike[str] | None = None,
        max_tokens: int | None = None,
        pack: int = 1,
        head: int | None = None,
        tail: int | None = None,
        effort: str | None = None,
        draws: int = 0,
        pack_template: str | os.PathLike[str] | None = None,
        name: str | None = None,
        price: float | None = None,
        version: str | None = None,
    ) -> None:
        texts = {"prompt": prompt, "system": system, "pack_template": pack_template}
        told: dict[str, Any] = {name: _given(name, text) for name, text in texts.items() if text is not None}
        told |= {"pack": pack} if pack != 1 or isinstance(pack, bool) else {}
        told |= {"draws": draws} if draws else {}
        plain = {"head": head, "tail": tail, "max_tokens": max_tokens, "effort": effort}
        told |= {name: value for name, value in plain.items() if value is not None}
        own = {"name": name, "price": price, "version": version}
        if not isinstance(model, str):
            function = _function(model, told, own)
            object.__setattr__(self, "function", function)
            object.__setattr__(self, "spec", function.name)
            return
        if odd := next((option for option, value in own.items() if value is not None), None):
            raise InputError(f"Candidate {model}: {odd}= is for functions; leave it out.")
        object.__setattr__(self, "function", None)
        query = f"{'&' if '?' in model else '?'}{urlencode(told)}" if told else ""
        object.__setattr__(self, "spec", model + query)

    def __str__(self) -> str:
        return self.spec


def _function(given: Any, told: Mapping[str, Any], own: Mapping[str, Any]) -> Model:
    """A candidate that is no model; `InputError` for what cannot be one, or is told what only models are told."""
    from smart_llm.providers import rules  # only here: nobody else loads what looks into functions

    if not rules.is_function(given):
        raise InputError(
            "Candidate: give a model as a text, 'openai:gpt-4.1-mini', a function, or a regular expression, not "
            f"{type(given).__name__}."
        )
    if told:
        raise InputError(f"Candidate: {next(iter(told))}= says how a model is asked; a function is given the row.")
    return rules.of_given(given, **own)


def _given(name: str, said: str | os.PathLike[str]) -> str:
    """A path as the name of its file, a text as text: in Python nobody's text is taken for a name."""
    if isinstance(said, str):
        return TEXT + said
    if not isinstance(said, os.PathLike):
        raise InputError(f"Candidate: {name}= is {type(said).__name__}; give a text, or a pathlib.Path of a file.")
    return os.fspath(said)


TEXT = "text:"
"""In front of what is text in any case."""


def way(name: str, options: Mapping[str, str]) -> tuple[Way, list[str]]:
    """How a model is asked, by the options of its spec; and what its name says of that. `InputError`: one of them
    cannot be used."""
    said: dict[str, Any] = {}
    told = list[str]()
    for option in OPTIONS:
        if option not in options:
            continue
        if option in _TEXTS:
            text, short = _text(name, option, options[option])
            said["frame" if option == "pack_template" else option] = text
        else:
            said[option] = _number(name, option, options[option])
            short = str(said[option])
        if (option, short) != ("pack", "1"):
            told.append(f"{option}={short}")
    if "frame" in said:
        if said.get("pack", 1) == 1:
            raise InputError(f"Model {name}: pack_template= goes with pack=; write &pack=20, or leave it out.")
        check_frame(said["frame"], f"Model {name}")
    _check_pack(name, said.get("pack", 1), options)
    return Way(**said), told


def _number(name: str, option: str, text: str) -> int:
    most = MOST if option == "pack" else 10**9
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= most):
        what = {"pack": f"rows in a call; write 1 to {MOST}", "max_tokens": "tokens; write 1 or more"}
        needed = what.get(option, "characters to show; write 1 or more, or leave it out")
        raise InputError(f"Model {name}: {option}={text} is not a number of {needed}.")
    return int(text)


def _check_pack(name: str, pack: int, options: Mapping[str, str]) -> None:
    if pack == 1:
        return
    if options.get("draws", "0") != "0":
        raise InputError(
            f"Model {name}: draws= asks about every row several times, pack= about several at once; give one."
        )
    if options.get("enforce") == "choice":
        raise InputError(f"Model {name}: the reply to a pack is JSON, not one label; leave enforce=choice out.")


def _text(name: str, option: str, said: str) -> tuple[str, str]:
    """What a file or the option itself says, and how that is called."""
    if not said:
        raise InputError(f"Model {name}: {option}= is empty; write the name of a file or a text, or leave it out.")
    if said.startswith(TEXT) or _TEXTS[option](said):
        text = said.removeprefix(TEXT)
        called = f"text-{blake2b(text.encode(), digest_size=4).hexdigest()}"
    else:
        path = Path(said)
        try:
            text, called = small_text(path), path.name
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"Model {name}: {option}={said} cannot be read: {unreadable(error)}.") from None
    if option == "prompt" and not text.strip():
        raise InputError(f"Model {name}: the prompt {called} is empty; write what to ask, with a {{column}} in it.")
    return text, called
