"""What is read behind the ledger's door: balances and entries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, LiteralString
from uuid import UUID

import msgspec
from psycopg import AsyncConnection
from sqlalchemy import Connection, func, select
from sqlalchemy.dialects.postgresql import insert

from domain.ledger.types import Entry, EntryType, Posted
from domain.prepared import Prepared
from domain.tables import balances, entries

ENTRIES_PER_PAGE_MAX: Final = 500
"""The longest page of entries (contract, section 8)."""


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """What a person has.  Figures in credits; `balance` can be spent, `held` is set aside."""

    user_id: str
    balance: Decimal
    held: Decimal
    total_earned: Decimal
    total_spent: Decimal
    version: int
    created_at: datetime
    updated_at: datetime


_BALANCE_COLUMNS: Final = (
    balances.c.user_id,
    balances.c.balance,
    balances.c.held,
    balances.c.total_earned,
    balances.c.total_spent,
    balances.c.version,
    balances.c.created_at,
    balances.c.updated_at,
)

_READ: Final = Prepared(
    "balances_of",
    "SELECT user_id, balance, total_earned, total_spent FROM credits.balances"
    " WHERE user_id = ANY (ARRAY(SELECT json_array_elements_text($1::json)))",
)


def balance_of(connection: Connection, user_id: str) -> Balance | None:
    """The person's balance, or None for someone without one."""
    row = connection.execute(select(*_BALANCE_COLUMNS).where(balances.c.user_id == user_id)).one_or_none()
    return None if row is None else Balance(**row._asdict())


def open_balance(connection: Connection, user_id: str, *, now: datetime) -> Balance:
    """The person's balance, which comes into being with zeros when there is none.  Safe to call at once."""
    # More than once only for somebody who is being erased at this very moment.
    while (balance := balance_of(connection, user_id)) is None:
        connection.execute(
            insert(balances)
            .values(user_id=user_id, created_at=now, updated_at=now)
            .on_conflict_do_nothing(index_elements=[balances.c.user_id])
        )
    return balance


class Figures(msgspec.Struct, frozen=True):
    """What a balance says to its person, in credits."""

    balance: Decimal
    total_earned: Decimal
    total_spent: Decimal


async def figures_of_async(connection: AsyncConnection[Any], user_ids: Iterable[str]) -> dict[str, Figures]:
    """The balances of many people by user id, without those who have none.  It waits for nobody's lock.

    `connection` is in autocommit mode: the front's reads need no transaction.
    """
    rows = await _READ.ask(connection, (msgspec.json.encode(list(set(user_ids))),))
    found: dict[str, Figures] = {}
    for row in range(rows.ntuples):
        user_id, *figures = [rows.get_value(row, column) or b"" for column in range(rows.nfields)]
        found[user_id.decode()] = Figures(*[Decimal(figure.decode()) for figure in figures])
    return found


_ENTRY_COLUMNS: Final = tuple(
    entries.c[name]
    for name in (
        "id",
        "user_id",
        "type",
        "amount",
        "balance_before",
        "balance_after",
        "held_after",
        "version",
        "app_id",
        "description",
        "metadata",
        "idempotency_key",
        "created_at",
        "completed_at",
        "status",
    )
)

# What changed totals alone is in the books and nothing to show; but what the old service showed, stays.
_IS_SHOWN: Final = (entries.c.amount != 0) | (entries.c.version < 0)


def entries_of(
    connection: Connection, user_id: str, *, limit: int, offset: int = 0, before_version: int | None = None
) -> list[Entry]:
    """A page of a person's entries, newest first: by the order the ledger made them, which never changes.

    `before_version` starts the page after the entry of that version, however many came before it;
    `offset` counts entries from the newest.  `limit` is at most ENTRIES_PER_PAGE_MAX.
    """
    query = (
        select(*_ENTRY_COLUMNS)
        .where(entries.c.user_id == user_id, _IS_SHOWN)
        .order_by(entries.c.version.desc())
        .limit(min(limit, ENTRIES_PER_PAGE_MAX))
        .offset(offset)
    )
    if before_version is not None:
        query = query.where(entries.c.version < before_version)
    return [entry_from_row(row._asdict()) for row in connection.execute(query)]


def count_entries(connection: Connection, user_id: str) -> int:
    """How many entries the person has."""
    query = select(func.count()).where(entries.c.user_id == user_id, _IS_SHOWN)
    return connection.execute(query.select_from(entries)).scalar_one()


def entry_from_row(columns: dict[str, Any]) -> Entry:
    """An Entry from the columns of its row."""
    return Entry(**{**columns, "type": EntryType(columns["type"])})


_FIND_SQL: Final[LiteralString] = (
    "SELECT row_to_json(e)::text, e.balance_after, e.held_after,"
    " b.total_earned - later.earned, b.total_spent - later.spent"
    " FROM credits.transactions e JOIN credits.balances b USING (user_id) CROSS JOIN LATERAL ("
    "SELECT coalesce(sum(l.earned_change), 0) AS earned, coalesce(sum(l.spent_change), 0) AS spent"
    " FROM credits.transactions l WHERE l.user_id = e.user_id AND l.version > e.version"
    ") later WHERE e.id = ANY (%s) AND e.user_id = ANY (%s)"
)


async def find_posted_async(
    connection: AsyncConnection[Any], owners: Mapping[UUID, str]
) -> dict[UUID, Posted]:
    """What became of postings, by id: those that made an entry, with the person's figures as it left them.

    `owners` says whose each posting is.
    """
    cursor = await connection.execute(_FIND_SQL, (list(owners), list({*owners.values()})))
    found: dict[UUID, Posted] = {}
    for entry_json, balance, held, earned, spent in await cursor.fetchall():
        entry = decode_entry(entry_json)
        found[entry.id] = Posted(
            entry=entry, balance=balance, held=held, total_earned=earned, total_spent=spent
        )
    return found


_entry_decoder: Final = msgspec.json.Decoder(Entry, float_hook=Decimal)


def decode_entry(row_as_json: str) -> Entry:
    """An Entry from its row as JSON; figures stay exact."""
    return _entry_decoder.decode(row_as_json)
