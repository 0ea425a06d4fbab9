"""One person's subscription: activate, deactivate, change the interval, and how it stands.

Every change locks the subscription's row first and the balance second, as renewals do: whichever of two
changes comes second sees what the first one left.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, select, update
from sqlalchemy.dialects.postgresql import insert

from domain import ledger, webhooks
from domain.errors import SyncAlreadyActive, SyncAlreadyGifted, SyncIsGifted, SyncNotActive, SyncNotFound
from domain.ledger import Posted
from domain.sync_billing import telling
from domain.sync_billing.calendar import Interval, first_period
from domain.sync_billing.prices import PRICES, ChargeType, period_posting
from domain.tables import sync_subscriptions as subscriptions

INSTANT: Final = timedelta(microseconds=1)
"""The finest step of time that PostgreSQL keeps."""

MOMENT: Final = timedelta(seconds=1)


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """How a person's sync stands.  The defaults are those of somebody who never had it."""

    active: bool = False
    interval: Interval = Interval.MONTHLY
    next_charge_at: datetime | None = None
    paused_at: datetime | None = None
    gifted: bool = False
    auto_resume: bool = False


class Activated(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription that was begun and paid for; `amount_charged` in credits."""

    interval: Interval
    next_charge_at: datetime
    amount_charged: Decimal
    auto_resume: bool


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """A new interval: `amount_charged` credits from `effective_at` on, which is None under a gift."""

    interval: Interval
    amount_charged: Decimal
    effective_at: datetime | None


def status(connection: Connection, user_id: str) -> Status:
    """How the person's sync stands.  Reads alone."""
    query = select(subscriptions).where(subscriptions.c.user_id == user_id)
    row = connection.execute(query).one_or_none()
    if row is None:
        return Status()
    return Status(
        active=row.active,
        interval=Interval(row.billing_interval),
        next_charge_at=None if row.is_gifted else row.next_charge_at,
        paused_at=row.paused_at,
        gifted=row.is_gifted,
        auto_resume=row.auto_resume,
    )


def activate(
    connection: Connection,
    user_id: str,
    *,
    interval: Interval = Interval.MONTHLY,
    auto_resume: bool = False,
    contact_email: str | None = None,
    now: datetime,
) -> Activated:
    """Begin a subscription and charge its first period.  It ends a pause.

    `contact_email` is where notices go: an address that a signed token vouched for, kept with the row.
    Raises SyncAlreadyGifted, SyncAlreadyActive, InsufficientCredits, BalanceNotFound.
    """
    row = lock_or_open(connection, user_id, now=now)
    if row.is_gifted:
        raise SyncAlreadyGifted
    if row.active:
        raise SyncAlreadyActive
    period = first_period(_start_after(row.paid_from, now), interval)
    posting = period_posting(user_id, interval, period.start, ChargeType.SUBSCRIPTION, now=now)
    [outcome] = ledger.post(connection, [posting], now=now)
    if not isinstance(ledger.accepted(outcome), Posted):
        raise RuntimeError("a period that begins now was charged before")
    price = PRICES[interval]
    connection.execute(
        update(subscriptions)
        .where(subscriptions.c.user_id == user_id)
        .values(
            active=True,
            billing_interval=interval.value,
            amount_charged=int(price),
            activated_at=now,
            next_charge_at=period.end,
            paused_at=None,
            anchor_day=period.start.day,
            paid_from=period.start,
            auto_resume=auto_resume,
            contact_email=contact_email or row.contact_email,
            problem=None,
            problem_at=None,
            updated_at=now,
        )
    )
    if row.paused_at is not None:
        resumed = telling.resumed(user_id, interval, next_charge_at=period.end)
        webhooks.tell(connection, [resumed], now=now)
    return Activated(
        interval=interval, next_charge_at=period.end, amount_charged=price, auto_resume=auto_resume
    )


def deactivate(connection: Connection, user_id: str, *, now: datetime) -> None:
    """End the subscription now; what was paid stays paid.  Raises SyncNotActive, SyncIsGifted."""
    _lock_active(connection, user_id, refuse_gifted=True)
    connection.execute(
        update(subscriptions)
        .where(subscriptions.c.user_id == user_id)
        .values(active=False, next_charge_at=None, paused_at=None, updated_at=now)
    )


def change_interval(connection: Connection, user_id: str, interval: Interval, *, now: datetime) -> Changed:
    """Charge another interval's price from the next renewal on.  Free now.  Raises SyncNotActive."""
    row = _lock_active(connection, user_id)
    price = PRICES[interval]
    connection.execute(
        update(subscriptions)
        .where(subscriptions.c.user_id == user_id)
        .values(
            billing_interval=interval.value,
            amount_charged=0 if row.is_gifted else int(price),
            updated_at=now,
        )
    )
    effective_at = None if row.is_gifted else row.next_charge_at
    return Changed(interval=interval, amount_charged=price, effective_at=effective_at)


def set_auto_resume(connection: Connection, user_id: str, auto_resume: bool, *, now: datetime) -> None:
    """Ask for resuming by itself after a pause, or ask for it no longer.  Raises SyncNotFound."""
    changed = connection.execute(
        update(subscriptions)
        .where(subscriptions.c.user_id == user_id)
        .values(auto_resume=auto_resume, updated_at=now)
    )
    if not changed.rowcount:
        raise SyncNotFound


def lock(connection: Connection, user_id: str) -> Row[Any] | None:
    """The person's row, locked until the transaction ends; None for somebody who never had sync."""
    query = select(subscriptions).where(subscriptions.c.user_id == user_id).with_for_update()
    return connection.execute(query).one_or_none()


def lock_or_open(connection: Connection, user_id: str, *, now: datetime) -> Row[Any]:
    """The person's row, locked; it comes into being, inactive, when there is none.  Safe to call at once."""
    row = lock(connection, user_id)
    if row is not None:
        return row
    connection.execute(
        insert(subscriptions)
        .values(user_id=user_id, active=False, created_at=now, updated_at=now)
        .on_conflict_do_nothing(index_elements=[subscriptions.c.user_id])
    )
    query = select(subscriptions).where(subscriptions.c.user_id == user_id).with_for_update()
    return connection.execute(query).one()


def _start_after(paid_from: datetime | None, now: datetime) -> datetime:
    """Now; just after the last period's start when that was this moment: another period has another key."""
    if paid_from is not None and now <= paid_from < now + MOMENT:
        return paid_from + INSTANT
    return now


def _lock_active(connection: Connection, user_id: str, *, refuse_gifted: bool = False) -> Row[Any]:
    row = lock(connection, user_id)
    if row is None or not row.active:
        raise SyncNotActive
    if refuse_gifted and row.is_gifted:
        raise SyncIsGifted
    return row
