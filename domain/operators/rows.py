"""From rows to structs, and pages of them."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec
from sqlalchemy import Connection, Row, RowMapping, Select, TextClause

S = TypeVar("S", bound=msgspec.Struct)

PAGE_DEFAULT: Final = 50
PAGE_MAX: Final = 500
"""Rows on one page: what a person can look through, and an answer of about a megabyte."""


def as_struct(struct: type[S], row: RowMapping | Row[Any], **more: Any) -> S:
    """A struct from a row that has its fields as columns, and those in `more`."""
    mapping = row if isinstance(row, RowMapping) else row._mapping  # noqa: SLF001 - SQLAlchemy's own name for it
    # The driver's column names are a subclass of str, which msgspec does not take for keys.
    return msgspec.convert({**{str(name): value for name, value in mapping.items()}, **more}, struct)


def all_as(
    connection: Connection, struct: type[S], query: Select[Any] | TextClause, **parameters: Any
) -> list[S]:
    """What a query finds, as structs."""
    return [as_struct(struct, row) for row in connection.execute(query, parameters).mappings()]


def page_size(limit: int) -> int:
    """The number of rows that a page of `limit` has: from 1 to PAGE_MAX."""
    return max(1, min(limit, PAGE_MAX))
