"""What the operators' queries may hold, each part bounded."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, TypeVar
from uuid import UUID

from aiohttp import web

from domain.operators.rows import PAGE_DEFAULT, PAGE_MAX
from web.bodies import UNFIT, bad_field
from web.query_numbers import number_schema, query_number
from web.routing import Query

E = TypeVar("E", bound=StrEnum)

TEXT_CHARACTERS_MAX: Final = 320
OFFSET_MAX: Final = 1_000_000

TIME: Final[dict[str, Any]] = {"type": "string", "format": "date-time"}

PAGE: Final = (
    Query("limit", f"How many; more than {PAGE_MAX} is taken as {PAGE_MAX}", number_schema(1)),
    Query("offset", "How many to pass over", number_schema(0)),
)
BEFORE: Final = (
    PAGE[0],
    Query("before", "The id of the last one seen: continues after it", {"type": "string", "format": "uuid"}),
)
PERIOD: Final = (
    Query("since", "From this time on", TIME),
    Query("until", "Before this time", TIME),
)


def text_query(name: str, description: str) -> Query:
    """A text parameter."""
    return Query(name, description, {"type": "string", "maxLength": TEXT_CHARACTERS_MAX})


def choice_query(name: str, description: str, choices: type[StrEnum]) -> Query:
    """One of a few words."""
    return Query(name, description, {"type": "string", "enum": [choice.value for choice in choices]})


def flag_query(name: str, description: str) -> Query:
    """true or false."""
    return Query(name, description, {"type": "boolean"})


def query_text(request: web.Request, name: str) -> str | None:
    """A text; None where it is absent or empty.  Raises BadRequest."""
    value = request.query.get(name)
    if not value:
        return None
    if len(value) > TEXT_CHARACTERS_MAX or UNFIT.search(value):
        raise bad_field(name, f"must be at most {TEXT_CHARACTERS_MAX} characters of text, without NUL")
    return value


def query_uuid(request: web.Request, name: str) -> UUID | None:
    """An id.  Raises BadRequest."""
    value = query_text(request, name)
    if value is None:
        return None
    try:
        return UUID(value)
    except ValueError:
        raise bad_field(name, "must be a UUID") from None


def query_time(request: web.Request, name: str) -> datetime | None:
    """An instant of ISO 8601; without a zone it is UTC.  Raises BadRequest."""
    value = query_text(request, name)
    if value is None:
        return None
    try:
        # A `+` of a zone that nobody encoded arrives as a space.
        instant = datetime.fromisoformat(value.replace(" ", "+") if "T" in value else value)
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    except (ValueError, OverflowError):
        raise bad_field(name, "must be a time, such as 2026-11-22T15:28:32.039Z") from None


def query_choice(request: web.Request, name: str, choices: type[E]) -> E | None:
    """One of a few words.  Raises BadRequest."""
    value = query_text(request, name)
    if value is None:
        return None
    try:
        return choices(value)
    except ValueError:
        words = ", ".join(choice.value for choice in choices)
        raise bad_field(name, f"must be one of {words}") from None


def query_flag(request: web.Request, name: str) -> bool | None:
    """true or false.  Raises BadRequest."""
    value = query_text(request, name)
    if value is None:
        return None
    if value not in ("true", "false"):
        raise bad_field(name, "must be true or false")
    return value == "true"


def limit_of(request: web.Request) -> int:
    """How many rows a page shall have."""
    return query_number(request, "limit", PAGE_DEFAULT, low=1, high=PAGE_MAX)


def offset_of(request: web.Request) -> int:
    """How many rows to pass over."""
    return query_number(request, "offset", 0, low=0, high=OFFSET_MAX)
