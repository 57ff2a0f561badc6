"""Packs: several rows in one call, so that the instructions are paid for once. Pure.

What is sent: the task's own text once, its places left as they are written, then the items, each with its number and
the text of the columns in those places. What is wanted: one JSON object, the number of the item → its answer. A
provider that can is made to keep to that by a schema; what comes is read leniently all the same (`pack_replies`). An
item that is missing, or stands there twice, has no answer: a broken contract of its row.

Which rows share a call is cut from an order that the caller gives. A call holds a limited number of rows, of bytes to
read and of tokens to write; a row that is too long to share one goes alone.

The cost of a call is shared by its rows equally and without a remainder: the shares, added exactly, are the cost.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from math import floor, frexp, ldexp
from typing import Any

import numpy as np

from smart_llm.errors import InputError
from smart_llm.tasks import pack_replies
from smart_llm.tasks.contracts import Contract
from smart_llm.tasks.template import Template
from smart_llm.types import Answer, Ints, Part, Request, Usage

MOST = 200
"""Rows in a call, at most."""
ITEM_BYTES = 48_000
"""Of all items of a call, at most: about 12,000 tokens, of which models still read every one."""
ALONE = ITEM_BYTES // 4
"""Bytes of an item from which on it goes alone."""
ANSWER_TOKENS = 8_000
"""There is room for in one reply: many models write no more than 8,192."""
AROUND = 8
"""Tokens of an item's number, quotes and comma."""
SHORT_SCHEMA = 160
"""Characters of an item's schema up to which it is written out for every item; a longer one stands under `$defs`."""
BITS = 40
"""Of a share of a cost: the first row's share takes what is left, exactly."""

FRAME = """{instructions}

The text above is the same for {count} items. The text of an item stands for {places} in it; the items follow. Give \
the answer to each of them by itself, whatever the others say.

{items}

Reply with one JSON object and nothing else. Its keys are the numbers of the {count} items, and the value of each is \
the answer to that item: {"1": …, "2": …}"""
"""What a pack's prompt is, unless the user gives another one."""
_PLACE = re.compile(r"\{(instructions|items|count|places)\}")


# --------------------------------------------------------------------------- what is sent


def check_frame(frame: str, whose: str) -> str:
    """The template of a pack; `InputError` without a place for the items."""
    if "{items}" not in frame:
        raise InputError(
            f"{whose}: the template of a pack has no {{items}}; put {{items}} where they go, and {{instructions}} "
            "where the task's own text goes."
        )
    return frame


def cut(order: Ints, sizes: Ints, most: int, room: int, part: int = 0) -> list[Ints]:
    """The packs: places, in the order given, up to the limit together; last, those that go alone. sizes: bytes by
    place; room: tokens that an answer may take; part: so many places at the beginning share packs with no others."""
    fit, apart = fitting(most, room), int((sizes[order[:part]] <= ALONE).sum())
    ends, size, first = [0], 0, 0
    company = order[sizes[order] <= ALONE]
    for at, own in enumerate(sizes[company].tolist()):
        if size + own > ITEM_BYTES or at - first == fit or first < at == apart:
            ends.append(at)
            size, first = 0, at
        size += own
    packs = np.split(company, ends[1:]) if len(company) else []
    return [*packs, *(np.array([place]) for place in order[sizes[order] > ALONE].tolist())]


def fitting(most: int, room: int) -> int:
    """How many items may share a call whose answers may take so many tokens each, at most."""
    return max(1, min(most, ANSWER_TOKENS // (room + AROUND)))


def prompt(template: Template, frame: str | None, items: Sequence[Mapping[str, str]]) -> str:
    """The prompt of a pack. template: the prompt of one row; items: column → text."""
    places = [f"{{{column}}}" for column in template.columns]
    instructions = template.pattern % tuple([f"{{{field}}}" for field in template.fields])
    told = {
        "instructions": instructions.strip(),
        "places": " and ".join([*([", ".join(places[:-1])] if places[1:] else []), places[-1]]),
        "count": str(len(items)),
        "items": _items([_text(item, template.columns) for item in items]),
    }
    return _PLACE.sub(lambda found: told[found[1]], frame or FRAME)


def _items(texts: Sequence[str]) -> str:
    """The texts, each between marks with its number; the marks are such that no text can hold one of them."""
    whole, mark, further = "\n".join(texts).casefold(), "item", 1
    while f"<{mark} " in whole or f"</{mark} " in whole:
        further += 1
        mark = f"item-{further}"
    return "\n\n".join(f"<{mark} {number}>\n{text}\n</{mark} {number}>" for number, text in enumerate(texts, 1))


def _text(item: Mapping[str, str], columns: Sequence[str]) -> str:
    return item[columns[0]] if len(columns) == 1 else "\n".join(f"{column}: {item[column]}" for column in columns)


def max_tokens(room: int, count: int) -> int:
    """Tokens that the reply to this number of items may take. room: what an answer may take."""
    return 2 * AROUND + count * (room + AROUND)


def schema(contract: Contract, count: int) -> str | None:
    """The JSON schema of the reply to `count` items; None where the answers' own cannot stand inside another one."""
    return _schema(contract.kind, contract.labels, contract.schema, count)


@lru_cache(maxsize=1024)
def _schema(kind: str, labels: tuple[str, ...] | None, given: str | None, count: int) -> str | None:
    one = _answer_schema(kind, labels, given)
    if one is None:
        return None
    inside = {name: one.pop(name) for name in ("$defs", "definitions") if name in one}
    one.pop("$schema", None)
    if len(json.dumps(one)) > SHORT_SCHEMA and "answer of an item" not in inside.get("$defs", {}):
        inside["$defs"] = {**inside.get("$defs", {}), "answer of an item": one}
        one = {"$ref": "#/$defs/answer of an item".replace(" ", "%20")}
    keys = [str(number) for number in range(1, count + 1)]
    whole = {"type": "object", "properties": dict.fromkeys(keys, one), "required": keys, "additionalProperties": False}
    return json.dumps({**whole, **inside}, ensure_ascii=False, separators=(",", ":"))


def _answer_schema(kind: str, labels: tuple[str, ...] | None, given: str | None) -> dict[str, Any] | None:
    if labels:
        return {"type": "string", "enum": list(labels)}
    if kind != "json":
        return {"type": "number" if kind == "number" else "string"}
    if given is None:
        return None
    schema: dict[str, Any] = json.loads(given)
    return None if any(not ref.startswith(("#/$defs/", "#/definitions/")) for ref in _references(schema)) else schema


def _references(value: Any) -> Iterator[str]:
    """Every reference inside a schema, and what cannot stand inside another one."""
    if isinstance(value, list):
        for each in value:
            yield from _references(each)
    if isinstance(value, dict):
        for name, each in value.items():
            if name in ("$ref", "$dynamicRef", "$recursiveRef", "$id", "$anchor") and isinstance(each, str):
                yield each
            yield from _references(each)


# --------------------------------------------------------------------------- what comes back


def readable(answer: Answer, count: int) -> bool:
    """Whether anything can be read in the reply to this number of items."""
    return bool(pack_replies.read(answer.text, count, cut=answer.finish == "length"))


def item(answer: Answer, number: int, count: int) -> Answer:
    """The answer to one item, counted from 1, with its share of what the call used and cost. One that is missing, or
    given twice, is empty."""
    said = pack_replies.read(answer.text, count, cut=answer.finish == "length").get(number)
    usage = Usage(**{name: _part(getattr(answer.usage, name), number, count) for name in Usage.__slots__})
    own = replace(answer, usage=usage, cost=shares(answer.cost, count)[number - 1], logprobs=(), listed=())
    if said is None:
        return replace(own, text="", finish="missing" if answer.finish == "stop" else answer.finish)
    return replace(own, text=said.text, finish="stop", logprobs=_tokens(answer, said))


def used(usage: Usage, request: Request) -> Usage:
    """A row's share of what a call uses; all of it, where the row has the call for itself."""
    if not isinstance(request, Part):
        return usage
    told = {name: getattr(usage, name) for name in Usage.__slots__}
    return Usage(**{name: _part(amount, request.number, request.count) for name, amount in told.items()})


def added(whole: Answer, half: Answer) -> Answer:
    """The answer to an item of a pack that was asked again in halves: what both cost, and what the second said."""
    usage = Usage(**{n: getattr(whole.usage, n) + getattr(half.usage, n) for n in Usage.__slots__})
    return replace(half, usage=usage, cost=whole.cost + half.cost)


def shares(cost: float, count: int) -> tuple[float, ...]:
    """What each row of a pack bears of its cost: the same share, cut off after `BITS` bits; the first row's is what is
    left. Added exactly (`math.fsum`), they are the cost."""
    if count == 1 or not cost:
        return (cost,) * count
    mantissa, exponent = frexp(cost / count)
    each = ldexp(floor(mantissa * 2**BITS), exponent - BITS)
    return (float(Fraction(cost) - (count - 1) * Fraction(each)), *(each,) * (count - 1))


def _part(amount: float, number: int, count: int) -> Any:
    """A share of a number of tokens, whole; of seconds."""
    if isinstance(amount, float):
        return amount / count
    return amount // count + (number <= amount % count)


def _tokens(answer: Answer, said: pack_replies.Said) -> tuple[tuple[str, float], ...]:
    """The tokens that spell an item's answer, cut at its ends, with their log-probabilities."""
    if not answer.logprobs or said.end <= said.start or answer.text is None:
        return ()
    at = "".join(token for token, _ in answer.logprobs).find(answer.text)
    if at < 0:
        return ()
    found, place = [], -at
    for token, logp in answer.logprobs:
        begin, end = max(place, said.start), min(place + len(token), said.end)
        if begin < end:
            found.append((token[begin - place : end - place], logp))
        place += len(token)
    return tuple(found)
