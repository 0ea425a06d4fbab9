"""JSON Schemas of the bodies and answers, as msgspec makes them, put right and given their meanings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from web.bodies import schema_of_own_type
from web.openapi.fields import field_of
from web.openapi.types import Html, Schema

REF_TEMPLATE: Final = "#/components/schemas/{name}"


class Schemas:
    """The schemas of `types`, and the components they share."""

    def __init__(self, types: Iterable[Any]) -> None:
        wanted = list(dict.fromkeys(types))
        made, components = msgspec.json.schema_components(
            wanted, schema_hook=_schema_of_own_type, ref_template=REF_TEMPLATE
        )
        self._made: dict[str, Schema] = {
            id_of(kind): _mended(schema) for kind, schema in zip(wanted, made, strict=True)
        }
        self.components: dict[str, Schema] = {
            name: _described(name, _mended(schema)) for name, schema in sorted(components.items())
        }

    def of(self, kind: Any) -> Schema:
        """The schema of one of the types."""
        return self._made[id_of(kind)]


def _schema_of_own_type(kind: type) -> Schema:
    if kind is object:
        return {"description": "Any JSON"}
    return {"type": "string"} if kind is Html else schema_of_own_type(kind)


def id_of(kind: Any) -> str:
    """A name for a type that is the same for equal ones, such as two `list[int]`."""
    return repr(kind)


def _mended(schema: Any) -> Any:
    """With amounts as the numbers they are sent as, and with nulls as types where that is all there is."""
    if isinstance(schema, list):
        return [_mended(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    mended = {name: _mended(part) for name, part in schema.items()}
    if mended.get("type") == "string" and mended.get("format") == "decimal":
        mended["type"] = "number"
        del mended["format"]
    if isinstance(mended.get("description"), str):
        mended["description"] = " ".join(mended["description"].split())
    return mended


def _described(component: str, target: Schema) -> Schema:
    """With the meaning of each field that does not say its own."""
    for name, schema in target.get("properties", {}).items():
        field = field_of(component, name)
        if field is not None and "description" not in schema and not _says_its_own(schema):
            schema["description"] = field.meaning
    return target


def _says_its_own(schema: Schema) -> bool:
    return any("description" in choice for choice in schema.get("anyOf", ()))
