"""The one door to balances.  The rule itself is in sql/post.sql; this sends postings and reads outcomes."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from datetime import datetime
from decimal import Decimal
from importlib.resources import files
from typing import Any, Final, LiteralString, NamedTuple

import msgspec
from psycopg import AsyncConnection
from sqlalchemy import Connection

from domain.amounts import BALANCE_MAX
from domain.errors import BalanceNotFound, BalanceTooLarge, InsufficientCredits
from domain.ledger.types import (
    Entry,
    Insufficient,
    NoBalance,
    Outcome,
    Posted,
    Posting,
    Replayed,
    TooLarge,
)
from domain.prepared import Prepared
from domain.telemetry import traces

POSTINGS_PER_CALL_MAX: Final = 1_000
"""The longest list for one call: a chunk of renewals.  Longer ones hold their locks longer and are no
cheaper by the posting (bench/)."""

POST_FUNCTION_SQL: Final = files("domain.ledger").joinpath("sql/post.sql").read_text("utf-8")
"""The definition of `credits.post`; migrations install it, `/ready` compares its digest."""

POST_FUNCTION_DIGEST: Final = hashlib.sha256(POST_FUNCTION_SQL.encode()).hexdigest()

_CALL: Final[LiteralString] = "SELECT * FROM credits.post(%s::json, %s, %s)"
_PREPARED: Final = Prepared("credits_post", "SELECT * FROM credits.post($1::json, $2, $3)")

_BALANCE_MAX_TEXT: Final = str(BALANCE_MAX).encode()

_encoder: Final = msgspec.json.Encoder(decimal_format="number")
_figures: Final = msgspec.json.Decoder(list[Decimal | None])
_whole_numbers: Final = msgspec.json.Decoder(list[int | None])


class _First(msgspec.Struct):
    position: int
    entry: Entry


_firsts: Final = msgspec.json.Decoder(list[_First], float_hook=Decimal)


class _Row(NamedTuple):
    """What `credits.post` returns: one element a posting in each list."""

    outcome: Sequence[str]
    balance_after: Sequence[Any]  # figures are Decimal, and None for no_balance
    held_after: Sequence[Any]
    version: Sequence[Any]
    total_earned: Sequence[Any]
    total_spent: Sequence[Any]
    same_as: Sequence[int | None]
    first_entries: str | None


def post(connection: Connection, postings: Sequence[Posting], *, now: datetime) -> list[Outcome]:
    """Apply postings in their order, in the connection's transaction; one outcome each, in that order.

    `now` is an aware UTC instant, the time of the entries.  At most POSTINGS_PER_CALL_MAX postings.
    A transaction calls this once: a second call could lock balances against the order of user ids.
    Refusals are outcomes, not exceptions; anything raised is an outage, and nothing was applied.
    """
    if not postings:
        return []
    with traces.span("ledger.post", postings=len(postings)):
        row = connection.exec_driver_sql(_CALL, _parameters(postings, now)).one()
    return _outcomes(postings, _Row(*row), now)


async def post_async(
    connection: AsyncConnection[Any], postings: Sequence[Posting], *, now: datetime
) -> list[Outcome]:
    """The same as `post`, for the front's deductions: one statement, committed by the caller's frame.

    On a connection in autocommit mode the statement is its own transaction, and a return means committed.
    """
    if not postings:
        return []
    parameters = (_encoded(postings), now.isoformat().encode(), _BALANCE_MAX_TEXT)
    answer = await _PREPARED.ask(connection, parameters)
    return _outcomes(postings, _row_of([answer.get_value(0, at) for at in range(answer.nfields)]), now)


def _parameters(postings: Sequence[Posting], now: datetime) -> tuple[str, datetime, Decimal]:
    return _encoded(postings).decode(), now, BALANCE_MAX


def _encoded(postings: Sequence[Posting]) -> bytes:
    if len(postings) > POSTINGS_PER_CALL_MAX:
        raise ValueError(f"{len(postings)} postings in one call; the most is {POSTINGS_PER_CALL_MAX}")
    if any(posting.posting_key is not None and not posting.amount for posting in postings):
        raise ValueError("a posting key with an amount of zero: there is no entry to keep it")
    return _encoder.encode(postings)


def _row_of(values: Sequence[bytes | None]) -> _Row:
    """The row as PostgreSQL writes it: arrays of words and numbers, and JSON."""
    *arrays, first_entries = values
    outcome, balance_after, held_after, version, total_earned, total_spent, same_as = map(_as_json, arrays)
    return _Row(
        outcome=outcome[1:-1].decode().split(","),
        balance_after=_figures.decode(balance_after),
        held_after=_figures.decode(held_after),
        version=_whole_numbers.decode(version),
        total_earned=_figures.decode(total_earned),
        total_spent=_figures.decode(total_spent),
        same_as=_whole_numbers.decode(same_as),
        first_entries=None if first_entries is None else first_entries.decode(),
    )


def _as_json(array: bytes | None) -> bytes:
    # `{1.500,NULL}` of PostgreSQL is `[1.500,null]` of JSON, which is read in a tenth of psycopg's time.
    if array is None:
        raise RuntimeError("credits.post returned no array")
    return b"[" + array[1:-1].replace(b"NULL", b"null") + b"]"


def _outcomes(postings: Sequence[Posting], row: _Row, now: datetime) -> list[Outcome]:
    first_entries = _firsts.decode(row.first_entries) if row.first_entries else []
    entries = {first.position - 1: first.entry for first in first_entries}
    outcomes: list[Outcome] = []
    for at, (posting, word) in enumerate(zip(postings, row.outcome, strict=True)):
        outcome: Outcome
        match word:
            case "posted":
                outcome = _posted(posting, row, at, now)
                if outcome.entry is not None:
                    entries[at] = outcome.entry
            case "replayed":
                origin = row.same_as[at]
                entry = entries[at if origin is None else origin - 1]
                outcome = Replayed(entry=entry, matches=entry.repeats(posting))
            case "insufficient":
                required = posting.held_change - posting.amount
                outcome = Insufficient(required=required, available=row.balance_after[at])
            case "no_balance":
                outcome = NoBalance()
            case "too_large":
                outcome = TooLarge()
            case _:
                raise RuntimeError(f"credits.post answered {word!r}")
        outcomes.append(outcome)
    return outcomes


def _posted(posting: Posting, row: _Row, at: int, now: datetime) -> Posted:
    balance, held = row.balance_after[at], row.held_after[at]
    entry = None
    if posting.amount:
        entry = Entry(
            id=posting.id,
            user_id=posting.user_id,
            type=posting.type,
            amount=posting.amount,
            balance_before=balance - posting.amount,
            balance_after=balance,
            held_after=held,
            version=row.version[at],
            app_id=posting.app_id,
            description=posting.description,
            metadata=posting.metadata,
            idempotency_key=posting.idempotency_key,
            created_at=now,
            completed_at=now,
        )
    return Posted(
        entry=entry,
        balance=balance,
        held=held,
        total_earned=row.total_earned[at],
        total_spent=row.total_spent[at],
    )


_FIND_HELD_SQL: Final[LiteralString] = (
    "WITH free AS (SELECT user_id FROM credits.balances WHERE user_id = ANY (%(people)s)"
    " FOR NO KEY UPDATE SKIP LOCKED)"
    " SELECT user_id FROM credits.balances"
    " WHERE user_id = ANY (%(people)s) AND user_id NOT IN (SELECT user_id FROM free)"
)


async def find_held_async(connection: AsyncConnection[Any], user_ids: Collection[str]) -> set[str]:
    """Those of these people for whose balances a posting would have to wait at this moment.

    `connection` is in autocommit mode: nothing stays locked by the look.
    """
    cursor = await connection.execute(_FIND_HELD_SQL, {"people": list(user_ids)})
    return {user_id for (user_id,) in await cursor.fetchall()}


def accepted(outcome: Outcome) -> Posted | Replayed:
    """The outcome when the posting took effect, now or before.

    Raises InsufficientCredits, BalanceNotFound or BalanceTooLarge for one that was refused.
    """
    match outcome:
        case Posted() | Replayed():
            return outcome
        case Insufficient():
            raise InsufficientCredits(outcome.required, outcome.available)
        case NoBalance():
            raise BalanceNotFound
        case TooLarge():
            raise BalanceTooLarge
