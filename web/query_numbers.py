"""Whole numbers of the query: read, bounded, and described."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from web.bodies import WHOLE_DIGITS_MAX, bad_field


def query_number(request: web.Request, name: str, default: int, *, low: int, high: int | None = None) -> int:
    """A whole number of the query, at least `low`; above `high` it is clamped.  Raises BadRequest."""
    raw = request.query.get(name)
    if raw is None or raw == "":
        return default
    digits = raw.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= WHOLE_DIGITS_MAX) or int(raw) < low:
        raise bad_field(name, f"must be a whole number, {low} or more, of at most {WHOLE_DIGITS_MAX} digits")
    return int(raw) if high is None else min(int(raw), high)


def number_schema(low: int) -> dict[str, Any]:
    """JSON Schema of such a number."""
    return {"type": "integer", "minimum": low, "maximum": 10**WHOLE_DIGITS_MAX - 1}
