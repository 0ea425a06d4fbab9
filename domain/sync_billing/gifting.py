"""Sync as a gift of ours: given and taken back by administrators, without a charge.

A gift over a paid subscription lets the paid period stand still: what was left of it comes back with the
revoke (docs/decisions).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, update

from domain import webhooks
from domain.errors import SyncNotFound, SyncNotGifted
from domain.sync_billing import telling
from domain.sync_billing.calendar import Interval, moved
from domain.sync_billing.prices import PRICES
from domain.sync_billing.subscriptions import Status, lock, lock_or_open, status
from domain.tables import sync_subscriptions as subscriptions


def gift(connection: Connection, user_id: str, *, by: str, now: datetime) -> None:
    """Give sync for nothing until it is revoked.  Repeatable: a gift stays as it was first given.

    `by` is the administrator.  A pause ends; a paid period is kept for the revoke.
    """
    row = lock_or_open(connection, user_id, now=now)
    if row.is_gifted and row.active and row.next_charge_at is None:
        return
    connection.execute(
        update(subscriptions)
        .where(subscriptions.c.user_id == user_id)
        .values(
            active=True,
            is_gifted=True,
            gifted_by=by,
            gifted_at=(row.gifted_at or now) if row.is_gifted else now,
            amount_charged=0,
            paid_until=row.paid_until if row.is_gifted else _paid_until(row, now),
            next_charge_at=None,
            paused_at=None,
            problem=None,
            problem_at=None,
            updated_at=now,
        )
    )
    if row.paused_at is not None:
        resumed = telling.resumed(user_id, Interval(row.billing_interval), next_charge_at=None)
        webhooks.tell(connection, [resumed], now=now)


def revoke(connection: Connection, user_id: str, *, now: datetime) -> Status:
    """Take the gift back; how sync stands then: active for what was left of a paid period, else inactive.

    Raises SyncNotFound, SyncNotGifted.
    """
    row = lock(connection, user_id)
    if row is None:
        raise SyncNotFound
    if not row.is_gifted:
        raise SyncNotGifted
    next_charge_at = anchor_day = None
    if row.paid_until is not None:
        next_charge_at = moved(row.paid_until, row.gifted_at or now, now)
        has_same_day = next_charge_at.date() == row.paid_until.date()
        anchor_day = row.anchor_day if has_same_day else next_charge_at.day
    connection.execute(
        update(subscriptions)
        .where(subscriptions.c.user_id == user_id)
        .values(
            active=next_charge_at is not None,
            is_gifted=False,
            gifted_by=None,
            gifted_at=None,
            amount_charged=int(PRICES[Interval(row.billing_interval)]),
            paid_until=None,
            next_charge_at=next_charge_at,
            anchor_day=anchor_day,
            updated_at=now,
        )
    )
    return status(connection, user_id)


def _paid_until(row: Row[Any], now: datetime) -> datetime | None:
    """The end of the period that is paid and not over, or None."""
    if not row.active or row.next_charge_at is None or row.next_charge_at <= now:
        return None
    until: datetime = row.next_charge_at
    return until
