"""The figures of the whole service: credits by day, and where credits are now.  Amounts in credits."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final

import msgspec
from sqlalchemy import Connection, text

from domain.operators.rows import all_as, as_struct

DAYS_SHOWN: Final = 30
DAYS_MAX: Final = 366

RATE_WINDOW: Final = timedelta(minutes=5)
"""How far back the rate of deductions looks: long enough to be calm, short enough to be now."""

NOTHING: Final = Decimal(0)


class DayFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What happened on one UTC day.  All amounts are at or above zero.

    `sold` was paid for through Stripe; `taken_back` went with payments that were refunded or disputed (less what
    was given back when they stood again); `spent` was used; `refunded` was given back for operations that
    failed; `granted` and `withdrawn` are rewards and adjustments; `gifts_made` went into gift codes,
    `gifts_received` and `gifts_returned` came out of them.
    """

    day: date
    entries: int = 0
    sold: Decimal = NOTHING
    taken_back: Decimal = NOTHING
    spent: Decimal = NOTHING
    refunded: Decimal = NOTHING
    granted: Decimal = NOTHING
    withdrawn: Decimal = NOTHING
    gifts_made: Decimal = NOTHING
    gifts_received: Decimal = NOTHING
    gifts_returned: Decimal = NOTHING


class CreditsNow(msgspec.Struct, frozen=True, kw_only=True):
    """Where all credits are: with people, set aside in `reservations` open reservations, in `gifts` active gifts.

    `with_people` counts no debts; `debts` is what `people_in_debt` people owe, at or above zero.
    """

    people: int
    with_people: Decimal
    debts: Decimal
    people_in_debt: int
    in_reservations: Decimal
    reservations: int
    in_gifts: Decimal
    gifts: int


class Deductions(msgspec.Struct, frozen=True, kw_only=True):
    """Uses in the last `window_seconds`, and a second."""

    count: int
    window_seconds: float
    per_second: float


# The old service's rows that were never completed moved nothing.
_BY_DAY: Final = text("""
    SELECT date_trunc('day', created_at, 'UTC') AS day_begins, count(*) AS entries,
           coalesce(sum(amount) FILTER (WHERE type = 'purchase' AND NOT is_back), 0) AS sold,
           -coalesce(sum(amount) FILTER (WHERE type = 'purchase' AND is_back), 0) AS taken_back,
           -coalesce(sum(amount) FILTER (WHERE type = 'usage'), 0) AS spent,
           coalesce(sum(amount) FILTER (WHERE type = 'refund' AND app_id <> 'gifts'), 0) AS refunded,
           coalesce(sum(amount) FILTER (WHERE type = 'grant' AND amount > 0), 0) AS granted,
           -coalesce(sum(amount) FILTER (WHERE type = 'grant' AND amount < 0), 0) AS withdrawn,
           -coalesce(sum(amount) FILTER (WHERE type = 'gift' AND amount < 0), 0) AS gifts_made,
           coalesce(sum(amount) FILTER (WHERE type = 'gift' AND amount > 0), 0) AS gifts_received,
           coalesce(sum(amount) FILTER (WHERE type = 'refund' AND app_id = 'gifts'), 0) AS gifts_returned
    FROM (
        SELECT created_at, type, amount, app_id,
               type = 'purchase' AND (amount < 0 OR coalesce(posting_key LIKE 'take-back:%', false)) AS is_back
        FROM credits.transactions
        WHERE created_at >= :since AND created_at < :until AND status = 'completed' AND version <> 0
    ) e
    GROUP BY 1 ORDER BY 1
""")

_NOW: Final = text("""
    SELECT b.*, r.*, g.* FROM (
        SELECT count(*) AS people, coalesce(sum(balance) FILTER (WHERE balance > 0), 0) AS with_people,
               -coalesce(sum(balance) FILTER (WHERE balance < 0), 0) AS debts,
               count(*) FILTER (WHERE balance < 0) AS people_in_debt
        FROM credits.balances
    ) b, (
        SELECT coalesce(sum(amount), 0) AS in_reservations, count(*) AS reservations
        FROM credits.reservations WHERE status = 'reserved'
    ) r, (
        SELECT coalesce(sum(total_credits), 0) AS in_gifts, count(*) AS gifts
        FROM gifts.gift_codes WHERE status = 'active'
    ) g
""")


def by_day(connection: Connection, *, now: datetime, days: int = DAYS_SHOWN) -> list[DayFigures]:
    """The last `days` UTC days (DAYS_MAX at most), today last; a day on which nothing happened has zeros.

    Reads the entries of those days: about a tenth of a second for 200,000.
    """
    days = max(1, min(days, DAYS_MAX))
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    first = today - timedelta(days=days - 1)
    found = {}
    parameters = {"since": first, "until": today + timedelta(days=1)}
    for row in connection.execute(_BY_DAY, parameters).mappings():
        day = row["day_begins"].astimezone(UTC).date()
        found[day] = as_struct(DayFigures, row, day=day)
    shown = [(first + timedelta(days=number)).date() for number in range(days)]
    return [found.get(day) or DayFigures(day=day) for day in shown]


def credits_now(connection: Connection) -> CreditsNow:
    """Where all credits are at this moment.  Reads each balance once."""
    return all_as(connection, CreditsNow, _NOW)[0]


def deductions(connection: Connection, *, now: datetime) -> Deductions:
    """How much is being spent at this moment."""
    count: int = connection.execute(
        text("""
            SELECT count(*) FROM credits.transactions
            WHERE created_at > :since AND created_at <= :now AND type = 'usage' AND version > 0
        """),
        {"since": now - RATE_WINDOW, "now": now},
    ).scalar_one()
    seconds = RATE_WINDOW.total_seconds()
    return Deductions(count=count, window_seconds=seconds, per_second=count / seconds)
