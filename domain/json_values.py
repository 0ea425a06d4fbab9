"""JSON values, and when two of them are the same."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

import msgspec

_encoder: Final = msgspec.json.Encoder(decimal_format="number", order="sorted")


def canonical(value: Any) -> bytes:
    """The one spelling of all values that are the same JSON: for comparing, and for digests.

    Members of objects have no order; `5`, `5.0` and `5e0` are one number; `1`, `true` and `"1"` are three values.
    Raises TypeError for what is no JSON.
    """
    return _encoder.encode(_plain(value))


def _plain(value: Any) -> Any:
    match value:
        case bool() | str() | None:
            return value
        case int() | Decimal():
            return _plain_number(Decimal(value))
        case float():
            return _plain_number(Decimal(repr(value)))
        case dict():
            return {name: _plain(part) for name, part in value.items()}
        case list() | tuple():
            return [_plain(part) for part in value]
        case _:
            raise TypeError(f"no JSON: {type(value).__name__}")


def _plain_number(value: Decimal) -> Decimal:
    if value == 0:
        return Decimal(0)
    digits = f"{value:f}"  # which, unlike normalize(), rounds nothing
    return Decimal(digits.rstrip("0").removesuffix(".") if "." in digits else digits)
