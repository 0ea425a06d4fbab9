"""Reservations: credits set aside for an operation whose end is not known yet.

Reserving makes no entry: the credits move from `balance` to `held`.  Committing spends them (one entry);
refunding, or the end of their time, puts them back.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import Connection, Row, select, tuple_, update

from domain import ledger, webhooks
from domain.errors import ReservationExpired, ReservationNotFound, ReservationNotOpen
from domain.ids import new_id
from domain.isolating import in_parts
from domain.jobs.failing import describe
from domain.ledger import CountsAs, Entry, EntryType, Posted, Posting
from domain.tables import reservations
from domain.webhooks import low_balances

LIFETIME_DEFAULT: Final = timedelta(hours=24)
"""How long credits are held unless the caller says otherwise (contract, section 8)."""

LIFETIME_MAX: Final = timedelta(days=30)
"""The longest that credits are held (contract, section 8)."""

EXPIRED_PER_CALL_MAX: Final = 500
"""How many expired reservations one transaction releases: few enough to hold their locks briefly."""

log: Final = structlog.get_logger(__name__)


class Reserved(msgspec.Struct, frozen=True, kw_only=True):
    """A new hold; `balance` is what can still be spent, in credits."""

    reservation_id: UUID
    balance: Decimal
    expires_at: datetime


def reserve(
    connection: Connection,
    *,
    user_id: str,
    amount: Decimal,
    reason: str,
    lifetime: timedelta = LIFETIME_DEFAULT,
    now: datetime,
) -> Reserved:
    """Set whole credits aside.  Raises InsufficientCredits, BalanceNotFound."""
    reservation_id = new_id(now)
    [outcome] = ledger.post(connection, [_move(reservation_id, user_id, held_change=amount)], now=now)
    posted = ledger.accepted(outcome)
    if not isinstance(posted, Posted):
        raise RuntimeError("a posting without a key was replayed")
    expires_at = now + min(lifetime, LIFETIME_MAX)
    connection.execute(
        reservations.insert().values(
            id=reservation_id,
            user_id=user_id,
            amount=amount,
            reason=reason,
            created_at=now,
            expires_at=expires_at,
        )
    )
    return Reserved(reservation_id=reservation_id, balance=posted.balance, expires_at=expires_at)


def commit(
    connection: Connection, reservation_id: UUID, *, description: str | None = None, now: datetime
) -> Entry:
    """Spend what was set aside; the entry of it.

    Raises ReservationNotFound, ReservationExpired (then it was released now), ReservationNotOpen.
    """
    row = _lock_open(connection, reservation_id, "commit", now)
    _resolve(connection, [row.id], "committed", now)
    posting = Posting(
        id=new_id(now),
        user_id=row.user_id,
        type=EntryType.USAGE,
        amount=-row.amount,
        held_change=-row.amount,
        counts_as=CountsAs.SPENT,
        app_id=row.reason.partition(":")[0] or row.reason,
        description=row.reason if description is None else description,
        metadata={"reservationId": str(row.id)},
        posting_key=f"commit:{row.id}",
    )
    [outcome] = ledger.post(connection, [posting], now=now)
    entry = ledger.accepted(outcome).entry
    if entry is None:
        raise RuntimeError("a committed reservation made no entry")
    return entry


def refund(connection: Connection, reservation_id: UUID, *, now: datetime) -> Decimal:
    """Put the credits back; what can be spent then, in credits.

    Raises ReservationNotFound, ReservationExpired (then it was released now), ReservationNotOpen.
    """
    row = _lock_open(connection, reservation_id, "refund", now)
    return _release(connection, [row], now)[0]


def owner(connection: Connection, reservation_id: UUID) -> str:
    """Whose reservation it is.  Raises ReservationNotFound."""
    query = select(reservations.c.user_id).where(reservations.c.id == reservation_id)
    user_id: str | None = connection.execute(query).scalar_one_or_none()
    if user_id is None:
        raise ReservationNotFound
    return user_id


class Released(msgspec.Struct, frozen=True, kw_only=True):
    """How far a sweep is: what it released, what it passed over, and the last one that it looked at."""

    count: int = 0
    passed_over: int = 0
    after: tuple[datetime, UUID] | None = None


def release_expired(connection: Connection, done: Released, *, now: datetime) -> tuple[Released, bool]:
    """Look at reservations whose time is over, EXPIRED_PER_CALL_MAX at most, and release them; whether more wait.

    One that somebody commits or refunds at this moment is left to them.  One that does not fit its person's balance
    (somebody wrote past the ledger) keeps no other from being released: it is passed over, told of in the log and
    for as long as it stays in `mana_reservations_overdue`, and tried again by the next sweep.
    """
    by_age = (reservations.c.expires_at, reservations.c.id)
    query = select(reservations).where(reservations.c.status == "reserved", reservations.c.expires_at <= now)
    if done.after is not None:
        query = query.where(tuple_(*by_age) > tuple_(*done.after))
    query = query.order_by(*by_age).limit(EXPIRED_PER_CALL_MAX)
    due = connection.execute(query.with_for_update(skip_locked=True)).all()

    def release(part: Sequence[Row[Any]]) -> int:
        return len(_release(connection, part, now, is_expired=True))

    def pass_over(row: Row[Any], error: Exception) -> int:
        log.error("reservation_not_released", reservation_id=str(row.id), error=describe(error))
        return 0

    by_person = sorted(due, key=lambda row: (row.user_id, row.id))
    count = sum(in_parts(connection, by_person, release, pass_over))
    progress = Released(
        count=done.count + count,
        passed_over=done.passed_over + len(due) - count,
        after=(due[-1].expires_at, due[-1].id) if due else done.after,
    )
    return progress, len(due) == EXPIRED_PER_CALL_MAX


def close_open(connection: Connection, user_id: str, *, now: datetime) -> list[Posting]:
    """Mark all open reservations of a person refunded; the postings that put their credits back.

    For whoever has other postings to make in the same transaction: it makes these with them, in one list.
    """
    rows = connection.execute(
        select(reservations)
        .where(reservations.c.user_id == user_id, reservations.c.status == "reserved")
        .order_by(reservations.c.id)
        .with_for_update()
    ).all()
    _resolve(connection, [row.id for row in rows], "refunded", now)
    return [_move(row.id, row.user_id, held_change=-row.amount) for row in rows]


def _lock_open(connection: Connection, reservation_id: UUID, action: str, now: datetime) -> Row[Any]:
    row = connection.execute(
        select(reservations).where(reservations.c.id == reservation_id).with_for_update()
    ).one_or_none()
    if row is None:
        raise ReservationNotFound
    if row.status != "reserved":
        raise ReservationNotOpen(action, row.status)
    if row.expires_at <= now:
        _release(connection, [row], now, is_expired=True)
        raise ReservationExpired(action)
    return row


def _release(
    connection: Connection, rows: Sequence[Row[Any]], now: datetime, *, is_expired: bool = False
) -> list[Decimal]:
    _resolve(connection, [row.id for row in rows], "refunded", now, is_expired=is_expired)
    postings = [_move(row.id, row.user_id, held_change=-row.amount) for row in rows]
    balances: list[Decimal] = []
    for outcome in ledger.post(connection, postings, now=now):
        posted = ledger.accepted(outcome)
        if not isinstance(posted, Posted):
            raise RuntimeError("a posting without a key was replayed")
        balances.append(posted.balance)
    if is_expired:
        webhooks.tell(connection, [_event(row) for row in rows], now=now)
    low_balances.let_go(connection, [(row.user_id, left) for row, left in zip(rows, balances, strict=True)])
    return balances


def _event(row: Row[Any]) -> webhooks.ReservationExpired:
    return webhooks.ReservationExpired(
        user_id=row.user_id,
        reservation_id=row.id,
        amount=row.amount,
        app_id=webhooks.app_of_reason(row.reason),
    )


def _resolve(
    connection: Connection, ids: Sequence[UUID], status: str, now: datetime, *, is_expired: bool = False
) -> None:
    connection.execute(
        update(reservations)
        .where(reservations.c.id.in_(ids))
        .values(status=status, resolved_at=now, is_expired=is_expired)
    )


def _move(reservation_id: UUID, user_id: str, *, held_change: Decimal) -> Posting:
    """A posting that moves credits between `balance` and `held`; it makes no entry."""
    return Posting(
        id=reservation_id,
        user_id=user_id,
        type=EntryType.USAGE,
        amount=Decimal(0),
        held_change=held_change,
        counts_as=CountsAs.NEITHER,
        app_id="",
        description="",
    )
