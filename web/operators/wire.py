"""The domain's structs as JSON: names in camelCase, amounts and times as the contract writes them.

Types of answers are made from the structs, so that the OpenAPI description cannot say anything else.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin
from uuid import UUID

import msgspec
from msgspec import Meta

from domain.amounts import wire_amount
from web.answers import Amount, Answer, Timestamp, timestamp
from web.openapi.fields import FIELDS, TRANSACTION
from web.operators.meanings import MEANINGS


def shown(kind: Any, example: str = "text") -> Any:
    """The type of what `show` makes of a value of that type; `example` is one of its texts."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _answer_type(kind)
    origin = get_origin(kind)
    if origin is list:
        return list[shown(get_args(kind)[0], example)]  # type: ignore[misc]
    if origin in (Union, UnionType):
        parts = tuple(shown(part, example) for part in get_args(kind))
        return Union[parts]  # noqa: UP007 - of parts not known here
    if kind in _SHOWN_AS:
        return _SHOWN_AS[kind]
    return Annotated[str, Meta(examples=[example])] if kind is str else kind


_SHOWN_AS: Final[dict[Any, Any]] = {
    Decimal: Amount,
    datetime: Timestamp,
    date: Annotated[str, Meta(extra_json_schema={"format": "date"}, examples=["2026-11-22"])],
    int: Annotated[int, Meta(examples=[3])],
    float: Annotated[float, Meta(examples=[0.5])],
    bool: Annotated[bool, Meta(examples=[True])],
    UUID: Annotated[UUID, Meta(extra_json_schema={"examples": [TRANSACTION]})],
}


@cache
def _answer_type(kind: type[msgspec.Struct]) -> type[msgspec.Struct]:
    fields = [(field.name, _described(field.name, field.type)) for field in msgspec.structs.fields(kind)]
    made = msgspec.defstruct(
        f"{kind.__name__}Shown", fields, bases=(Answer,), kw_only=True, module=__name__, rename="camel"
    )
    made.__doc__ = kind.__doc__
    return made


def _described(name: str, kind: Any) -> Any:
    """The field's type with what it means, and an example of a text."""
    wire_name = camel(name)
    field = FIELDS.get(wire_name)
    words = MEANINGS.get(wire_name) or (field.meaning if field is not None else _words(name))
    known = None if field is None else field.example
    answer = shown(kind, known if isinstance(known, str) else name.replace("_", " "))
    return Annotated[answer, Meta(description=words)]


def _words(name: str) -> str:
    words = name.removeprefix("is_").replace("_", " ")
    if name.startswith(("is_", "may_")):
        return f"Whether it {'is' if name.startswith('is_') else ''} {words}".replace("  ", " ")
    return words[0].upper() + words[1:]


def camel(name: str) -> str:
    """`created_at` as `createdAt`."""
    return re.sub(r"_(\w)", lambda match: match[1].upper(), name)


def show(value: Any) -> Any:
    """The value as JSON holds it."""
    match value:
        case msgspec.Struct():
            return {camel(name): show(getattr(value, name)) for name in value.__struct_fields__}
        case Decimal():
            return wire_amount(value)
        case datetime():
            return timestamp(value)
        case date():
            return value.isoformat()
        case dict():
            return {str(name): show(part) for name, part in value.items()}
        case list() | tuple():
            return [show(part) for part in value]
        case _:
            return value
