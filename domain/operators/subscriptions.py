"""Cloud Sync as operators see it: who is due, paused, gifted, and what comes in."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Connection, and_, func, select, text

from domain.operators.rows import PAGE_DEFAULT, as_struct, page_size
from domain.sync_billing.prices import PRICE
from domain.tables import balances
from domain.tables import sync_subscriptions as subscriptions

OVERDUE_AFTER: Final = timedelta(hours=2)
"""The run is hourly: what has been due for two has been missed by one."""

REVENUE_DAYS: Final = 30
REVENUE_DAYS_MAX: Final = 366


class SubscriptionState(StrEnum):
    """What to list.  `problem` are those that could not be charged for a reason of ours."""

    ACTIVE = "active"
    DUE = "due"
    OVERDUE = "overdue"
    PAUSED = "paused"
    GIFTED = "gifted"
    PROBLEM = "problem"


class SubscriptionSeen(msgspec.Struct, frozen=True, kw_only=True):
    """One subscription.  `price` is what the next period costs in credits; `balance` what the person can spend."""

    user_id: str
    active: bool
    interval: str
    price: int
    activated_at: datetime | None
    next_charge_at: datetime | None
    paused_at: datetime | None
    is_gifted: bool
    gifted_by: str | None
    gifted_at: datetime | None
    paid_until: datetime | None
    auto_resume: bool
    problem: str | None
    problem_at: datetime | None
    balance: Any
    is_covered: bool
    """Whether the balance covers the price."""


class Renewals(msgspec.Struct, frozen=True, kw_only=True):
    """How many subscriptions there are, and what renewals wait: `overdue` should have been charged before."""

    active: int
    due: int
    overdue: int
    oldest_due_at: datetime | None
    paused: int
    gifted: int
    problems: int
    due_within_day: int


class RevenueDay(msgspec.Struct, frozen=True, kw_only=True):
    """What one UTC day will bring in credits when everybody can pay; `covered` is what balances cover now."""

    day: date
    renewals: int = 0
    expected: int = 0
    covered: int = 0


_PAYING: Final = and_(subscriptions.c.active, ~subscriptions.c.is_gifted)

_CONDITIONS: Final[dict[SubscriptionState, Callable[[datetime], ColumnElement[bool]]]] = {
    SubscriptionState.ACTIVE: lambda _now: subscriptions.c.active,
    SubscriptionState.DUE: lambda now: and_(_PAYING, subscriptions.c.next_charge_at <= now),
    SubscriptionState.OVERDUE: lambda now: and_(
        _PAYING, subscriptions.c.next_charge_at <= now - OVERDUE_AFTER
    ),
    SubscriptionState.PAUSED: lambda _now: ~subscriptions.c.active & subscriptions.c.paused_at.is_not(None),
    SubscriptionState.GIFTED: lambda _now: subscriptions.c.is_gifted,
    SubscriptionState.PROBLEM: lambda _now: subscriptions.c.problem.is_not(None),
}


def renewals(connection: Connection, *, now: datetime) -> Renewals:
    """The counts.  Reads each subscription once."""
    row = connection.execute(
        text("""
            SELECT count(*) FILTER (WHERE active) AS active,
                   count(*) FILTER (WHERE active AND NOT is_gifted AND next_charge_at <= :now) AS due,
                   count(*) FILTER (WHERE active AND NOT is_gifted AND next_charge_at <= :overdue) AS overdue,
                   min(next_charge_at) FILTER (WHERE active AND NOT is_gifted AND next_charge_at <= :now)
                       AS oldest_due_at,
                   count(*) FILTER (WHERE NOT active AND paused_at IS NOT NULL) AS paused,
                   count(*) FILTER (WHERE is_gifted) AS gifted,
                   count(*) FILTER (WHERE problem IS NOT NULL) AS problems,
                   count(*) FILTER (WHERE active AND NOT is_gifted AND next_charge_at <= :tomorrow)
                       AS due_within_day
            FROM credits.sync_subscriptions
        """),
        {"now": now, "overdue": now - OVERDUE_AFTER, "tomorrow": now + timedelta(days=1)},
    )
    return as_struct(Renewals, row.one())


_SEEN: Final = select(
    *(
        subscriptions.c[name]
        for name in SubscriptionSeen.__struct_fields__
        if name not in ("interval", "price", "balance", "is_covered")
    ),
    subscriptions.c.billing_interval.label("interval"),
    PRICE.label("price"),
    balances.c.balance,
    (func.coalesce(balances.c.balance, 0) >= PRICE).label("is_covered"),
).outerjoin_from(subscriptions, balances, balances.c.user_id == subscriptions.c.user_id)


def list_subscriptions(
    connection: Connection,
    state: SubscriptionState,
    *,
    now: datetime,
    limit: int = PAGE_DEFAULT,
    offset: int = 0,
) -> list[SubscriptionSeen]:
    """A page of those in a state: the next to be charged first, then those paused longest."""
    query = (
        _SEEN.where(_CONDITIONS[state](now))
        .order_by(
            subscriptions.c.next_charge_at.asc().nulls_last(),
            subscriptions.c.paused_at.asc().nulls_last(),
            subscriptions.c.user_id,
        )
        .limit(page_size(limit))
        .offset(max(offset, 0))
    )
    return [as_struct(SubscriptionSeen, row) for row in connection.execute(query).mappings()]


def subscription_seen(connection: Connection, user_id: str) -> SubscriptionSeen | None:
    """One person's subscription; None for somebody who never had it."""
    query = _SEEN.where(subscriptions.c.user_id == user_id)
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else as_struct(SubscriptionSeen, row)


def coming_revenue(connection: Connection, *, now: datetime, days: int = REVENUE_DAYS) -> list[RevenueDay]:
    """What the next `days` UTC days bring by the dates known now, today first; overdue ones count today.

    A subscription counts once, at its next charge: a monthly one that is renewed twice within 60 days, once.
    """
    days = max(1, min(days, REVENUE_DAYS_MAX))
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    day = func.date_trunc("day", func.greatest(subscriptions.c.next_charge_at, today), "UTC").label("day")
    is_covered = func.coalesce(balances.c.balance, 0) >= PRICE
    query = (
        select(
            day,
            func.count().label("renewals"),
            func.sum(PRICE).label("expected"),
            func.coalesce(func.sum(PRICE).filter(is_covered), 0).label("covered"),
        )
        .outerjoin_from(subscriptions, balances, balances.c.user_id == subscriptions.c.user_id)
        .where(_PAYING, subscriptions.c.next_charge_at < today + timedelta(days=days))
        .group_by(day)
    )
    found = {
        row.day.astimezone(UTC).date(): RevenueDay(
            day=row.day.astimezone(UTC).date(),
            renewals=row.renewals,
            expected=int(row.expected),
            covered=int(row.covered),
        )
        for row in connection.execute(query)
    }
    shown = [(today + timedelta(days=number)).date() for number in range(days)]
    return [found.get(one) or RevenueDay(day=one) for one in shown]
