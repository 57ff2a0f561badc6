"""One JSON array of objects as the lines of a JSONL file, every object as it was written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from smart_llm.errors import InputError


def lines_of(path: Path, data: bytes) -> bytes:
    """The objects, one a line. InputError: no JSON, or JSON of another shape.

    A line end in JSON stands between values only, so it may as well be a space.
    """
    import msgspec

    if not data.lstrip().startswith(b"["):
        return _not_an_array(path, data)
    try:
        rows = msgspec.json.decode(data, type=list[msgspec.Raw])
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON: {str(error).splitlines()[0][:160]}") from None
    for number, row in enumerate(rows, 1):
        if not bytes(row).lstrip().startswith(b"{"):
            raise InputError(f"{path}, item {number}: each item of the array must be a JSON object, {{…}}")
    return b"\n".join(bytes(row).strip().replace(b"\r", b" ").replace(b"\n", b" ") for row in rows)


def _not_an_array(path: Path, data: bytes) -> bytes:
    import msgspec

    try:
        whole = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return data  # JSON lines under the name of JSON; what is wrong with them, their reader says
    if not isinstance(whole, dict):
        raise InputError(f"{path}: the file must be a JSON array of objects, [{{…}}, {{…}}]")
    lists = [name for name, value in whole.items() if isinstance(value, list) and value and isinstance(value[0], dict)]
    if lists:
        raise InputError(f"{path} holds one object: take the rows out of it: jq -c '.{lists[0]}[]' {path} > rows.jsonl")
    orient = _of_pandas(whole)
    if orient is None:
        return data
    read = f"pandas.read_json('{path}', orient='{orient}')"
    code = f"import pandas; {read}.to_json('rows.jsonl', orient='records', lines=True)"
    raise InputError(f'{path} holds one object of {orient}: write its rows one a line: python -c "{code}"')


def _of_pandas(whole: dict[str, Any]) -> str | None:
    """How a table is turned into one object, in the words of `DataFrame.to_json`; None where it is an object like any
    other."""
    if isinstance(whole.get("columns"), list) and isinstance(whole.get("data"), list):
        return "split"
    values = list(whole.values())
    if values and all(isinstance(value, list) for value in values) and len(set(map(len, values))) == 1:
        return "columns"
    if not values or not all(isinstance(value, dict) and value for value in values):
        return None
    inner = [name for value in values for name in value]
    return "columns" if all(map(str.isdecimal, inner)) or not all(map(str.isdecimal, whole)) else "index"
