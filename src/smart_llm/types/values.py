"""What plans and certificates are made of: frozen values with named fields, read strictly from JSON.

A field that is missing, unknown or of another type is refused; so is a format of another version (`types.plan`,
`certificates.certificate`). In Python the fields are attributes, which type checkers see. `claim["rows"]` gives the
same value as it stands in the JSON, for those who know a certificate by its file.
"""

from __future__ import annotations

from collections.abc import Iterator, KeysView
from typing import TypeAlias

import msgspec

from smart_llm.types.calls import Json

Number: TypeAlias = int | float
"""A whole number stays one: the hash of a plan is made from its JSON, where 1 and 1.0 are different texts."""


class Value(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A part of a plan or of a certificate. Fields that have a default are left out of the JSON where they have it."""

    def to_json(self) -> dict[str, Json]:
        """As JSON values, fields in their order."""
        fields: dict[str, Json] = msgspec.json.decode(msgspec.json.encode(self))
        return fields

    def __getitem__(self, name: str) -> Json:
        return self.to_json()[name]

    def get(self, name: str, default: Json = None) -> Json:
        """The same, or the default where the JSON has no such field."""
        return self.to_json().get(name, default)

    def __iter__(self) -> Iterator[str]:
        return iter(self.to_json())

    def keys(self) -> KeysView[str]:
        """The names of the fields in the JSON."""
        return self.to_json().keys()
