"""Entries as a file: of a person, or of a period; streamed, so that no size of ledger fills the memory."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, Select, func, select, text

from domain.amounts import wire_amount
from domain.operators import audit
from domain.operators.audit import Action, Operator
from domain.tables import entries

ROWS_PER_CHUNK: Final = 1_000
"""Rows that are in memory at once: some hundred kilobytes."""

PERIOD_MAX: Final = timedelta(days=366)
PERIOD_DEFAULT: Final = timedelta(days=1)

READER_PAUSE_MAX: Final = "10min"
"""How long a reader may stop in the middle: longer than other transactions, which may not at all."""

FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What makes a spreadsheet take a text for a formula (OWASP, CSV injection): it gets a `'` before it."""


class ExportFormat(StrEnum):
    """CSV with a line of names, or one JSON object a line."""

    CSV = "csv"
    JSON_LINES = "jsonl"

    @property
    def content_type(self) -> str:
        """The media type."""
        return "text/csv" if self is ExportFormat.CSV else "application/jsonl"


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries: of a person, in their order, or of everybody from `since` to before `until`, by time.

    With both, a person's of that period.
    """

    user_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


_COLUMNS: Final = {
    "id": entries.c.id,
    "userId": entries.c.user_id,
    "type": entries.c.type,
    "status": entries.c.status,
    "amount": entries.c.amount,
    "balanceBefore": entries.c.balance_before,
    "balanceAfter": entries.c.balance_after,
    "heldAfter": entries.c.held_after,
    "version": entries.c.version,
    "appId": entries.c.app_id,
    "description": entries.c.description,
    "metadata": entries.c.metadata,
    "idempotencyKey": entries.c.idempotency_key,
    "createdAt": entries.c.created_at,
    "completedAt": entries.c.completed_at,
}
NAMES: Final = tuple(_COLUMNS)

_encoder: Final = msgspec.json.Encoder(decimal_format="number")


def record_export(
    connection: Connection, selection: Selection, wanted: ExportFormat, *, by: Operator, now: datetime
) -> None:
    """Write into the audit that entries are about to leave.  Viewers may: it changes nothing."""
    period = {"since": selection.since, "until": selection.until}
    audit.record(
        connection,
        by=by,
        action=Action.EXPORT_ENTRIES,
        reason="export",
        outcome=f"entries as {wanted.value}",
        user_id=selection.user_id,
        subject=selection.user_id,
        details=period,
        now=now,
    )


def count_selected(connection: Connection, selection: Selection) -> int:
    """How many entries there are to export: for a progress bar."""
    query = _where(select(func.count()).select_from(entries), selection)
    return int(connection.execute(query).scalar_one())


def export(connection: Connection, selection: Selection, wanted: ExportFormat) -> Iterator[bytes]:
    """The entries in chunks of ROWS_PER_CHUNK lines, of one moment, through a cursor of the server's.

    The transaction is open while it is read from.
    """
    connection.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = '{READER_PAUSE_MAX}'"))
    if wanted is ExportFormat.CSV:
        yield _csv_lines([NAMES])
    result = connection.execution_options(stream_results=True, yield_per=ROWS_PER_CHUNK).execute(
        _query(selection)
    )
    for chunk in result.partitions():
        if wanted is ExportFormat.CSV:
            yield _csv_lines([_csv_row(row) for row in chunk])
        else:
            yield b"".join(_encoder.encode(_json_object(row)) + b"\n" for row in chunk)


def _query(selection: Selection) -> Select[Any]:
    query = _where(select(*(column.label(name) for name, column in _COLUMNS.items())), selection)
    if selection.user_id is not None:
        return query.order_by(entries.c.version)
    return query.order_by(entries.c.created_at, entries.c.id)


def _where(query: Select[Any], selection: Selection) -> Select[Any]:
    if selection.user_id is not None:
        query = query.where(entries.c.user_id == selection.user_id)
    if selection.since is not None:
        query = query.where(entries.c.created_at >= selection.since)
    return query if selection.until is None else query.where(entries.c.created_at < selection.until)


def _plain(value: Any) -> Any:
    match value:
        case Decimal():
            return wire_amount(value)
        case datetime():
            return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 1000:03d}Z"
        case _:
            return value


def _json_object(row: Row[Any]) -> dict[str, Any]:
    return {name: _plain(value) for name, value in zip(NAMES, row, strict=True)}


def _csv_row(row: Row[Any]) -> list[str]:
    return [_cell(value) for value in row]


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case str():
            return f"'{value}" if value.startswith(FORMULA_STARTS) else value
        case dict():
            return _encoder.encode(value).decode()
        case Decimal():
            return f"{wire_amount(value):f}"
        case _:
            return str(_plain(value))


def _csv_lines(rows: Sequence[Sequence[str]]) -> bytes:
    lines = io.StringIO()
    csv.writer(lines).writerows(rows)
    return lines.getvalue().encode()
