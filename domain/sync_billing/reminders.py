"""Reminders: who is to be told that the renewal to come is not covered."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar, Final

import msgspec
from sqlalchemy import Connection, func, select, update

from domain.jobs.add import add_jobs_of_people
from domain.jobs.kind import Job, Queue
from domain.notices.kinds import SendRenewalReminder
from domain.sync_billing.prices import PRICE
from domain.tables import balances
from domain.tables import sync_subscriptions as subscriptions

REMINDED_PER_STEP_MAX: Final = 1_000
"""How many one transaction finds: their rows are locked for a fraction of a second."""


class RemindOfRenewals(Job, frozen=True, kw_only=True):
    """Add a reminder for everybody whose balance does not cover a renewal that comes soon."""

    kind: ClassVar[str] = "remind_of_renewals"
    queue: ClassVar[Queue] = Queue.UPKEEP
    time_limit: ClassVar[timedelta] = timedelta(minutes=10)


class Reminded(msgspec.Struct, frozen=True, kw_only=True):
    """How many are reminded so far."""

    count: int = 0


def remind_step(
    connection: Connection, reminded: Reminded, *, days: int, now: datetime
) -> tuple[Reminded, bool]:
    """One step: REMINDED_PER_STEP_MAX people at most, once for a renewal.  `days` ahead; 0 reminds nobody."""
    if days == 0:
        return reminded, False
    columns = subscriptions.c
    found = connection.execute(
        select(columns.user_id, columns.next_charge_at)
        .outerjoin(balances, balances.c.user_id == columns.user_id)
        .where(
            columns.active,
            ~columns.is_gifted,
            columns.next_charge_at > now,
            columns.next_charge_at <= now + timedelta(days=days),
            columns.reminded_for.is_distinct_from(columns.next_charge_at),
            func.coalesce(balances.c.balance, 0) < PRICE,
        )
        .order_by(columns.next_charge_at)
        .limit(REMINDED_PER_STEP_MAX)
        .with_for_update(of=subscriptions, skip_locked=True)
    ).all()
    people = [row.user_id for row in found]
    connection.execute(
        update(subscriptions)
        .where(columns.user_id == func.any(people))
        .values(reminded_for=columns.next_charge_at)
    )
    reminders = {
        row.user_id: SendRenewalReminder(user_id=row.user_id, due=row.next_charge_at) for row in found
    }
    add_jobs_of_people(connection, reminders, now=now)
    return Reminded(count=reminded.count + len(people)), len(people) == REMINDED_PER_STEP_MAX
