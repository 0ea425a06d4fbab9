"""A refusal, kept in a job's row and made anew for the caller who waits: the same class, the same facts."""

from __future__ import annotations

from typing import Any, get_type_hints

import msgspec

from domain.errors import Refusal


def refusal_to_row(refusal: Refusal) -> dict[str, Any]:
    """The refusal as a job's result: its code, its facts, and its message for operators."""
    return {"code": refusal.code, "facts": dict(vars(refusal)), "message": str(refusal)}


def refusal_from_row(result: dict[str, Any]) -> Refusal:
    """The refusal that `refusal_to_row` wrote.

    A code that no class has any more (the row is older than the code) becomes an UnknownRefusal.
    """
    found = _class_of(result["code"])
    refusal = found.__new__(found, result["message"])
    if found is UnknownRefusal:
        refusal.__dict__["refused_code"] = result["code"]
        return refusal
    hints = get_type_hints(found.__init__)
    for name, value in result["facts"].items():
        refusal.__dict__[name] = msgspec.convert(value, hints[name]) if name in hints else value
    return refusal


class UnknownRefusal(Refusal):
    """A job was refused for a reason that this version of the service does not know: `refused_code`."""

    code = "unknown_refusal"
    refused_code: str


def _class_of(code: str) -> type[Refusal]:
    waiting = [Refusal]
    while waiting:
        candidate = waiting.pop()
        if getattr(candidate, "code", None) == code:
            return candidate
        waiting += candidate.__subclasses__()
    return UnknownRefusal
