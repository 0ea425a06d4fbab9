"""The figures of the whole service: credits by day, and where credits are now.  Amounts in credits.

Entries never change, so an hour that is over is summed up once, and kept in `ops.hour_figures` by the leading
scheduler.  What is not kept yet is summed from the entries when somebody looks: slower, and the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, RowMapping, func, select, text

from domain.operators.rows import all_as
from domain.tables import hour_figures

DAYS_SHOWN: Final = 30
DAYS_MAX: Final = 366

KEPT_DAYS: Final = DAYS_SHOWN + 1
"""How far back keeping begins in a database in which nothing was kept; days before that are summed when asked for."""

KEPT_AFTER: Final = timedelta(hours=1)
"""How long after its end an hour is kept.  An entry is dated when its transaction begins, and no transaction lasts
nearly as long (domain.database, a worker's time limits)."""

HOURS_PER_CALL_MAX: Final = 7 * 24
"""Hours kept by one call: what was missed is made up for step by step."""

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


SUMMED: Final = tuple(name for name in DayFigures.__struct_fields__ if name != "day")

# The old service's rows that were never completed moved nothing.
_HOURS: Final = """
    SELECT date_trunc('hour', created_at, 'UTC') AS hour, count(*) AS entries,
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
    GROUP BY 1
"""

_KEPT: Final = text(
    f"""
    SELECT date_trunc('day', hour, 'UTC') AS hour, {", ".join(f"sum({name}) AS {name}" for name in SUMMED)}
    FROM ops.hour_figures WHERE hour >= :since AND hour < :until GROUP BY 1
"""  # noqa: S608 - names of our own columns
)
_KEPT_FROM: Final = select(func.min(hour_figures.c.hour), func.max(hour_figures.c.hour))

# Hours without entries too: what is kept has no gaps, so that its ends tell all.
_KEEP: Final = text(
    f"""
    INSERT INTO ops.hour_figures (hour, {", ".join(SUMMED)})
    SELECT h.hour, {", ".join(f"coalesce(f.{name}, 0)" for name in SUMMED)}
    FROM generate_series(:since, :until - interval '1 hour', interval '1 hour') AS h (hour)
    LEFT JOIN ({_HOURS}) f ON f.hour = h.hour
    ON CONFLICT (hour) DO NOTHING
"""  # noqa: S608 - names of our own columns
)

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

    Reads a row for each hour that is kept, and the entries of the hours that are not: commonly two.
    """
    days = max(1, min(days, DAYS_MAX))
    today = _day_of(now)
    first, end = today - timedelta(days=days - 1), today + timedelta(days=1)
    kept_from, kept_until = _kept(connection, otherwise=end)
    # Up to the end that was seen: what is kept at this very moment is summed below.
    kept = {"since": first, "until": min(kept_until, end)}
    hours = [
        *connection.execute(_KEPT, kept).mappings(),
        *_summed(connection, first, min(kept_from, end)),
        *_summed(connection, max(kept_until, first), end),
    ]
    found: dict[date, dict[str, Any]] = {}
    for hour in hours:
        day = found.setdefault(hour["hour"].astimezone(UTC).date(), dict.fromkeys(SUMMED, 0))
        for name in SUMMED:
            day[name] += hour[name]
    shown = [(first + timedelta(days=number)).date() for number in range(days)]
    return [DayFigures(day=day, **found.get(day, {})) for day in shown]


def keep(connection: Connection, *, now: datetime) -> int:
    """Keep the figures of hours that are over, HOURS_PER_CALL_MAX at most; how many.  Two at once keep the same."""
    _, since = _kept(connection, otherwise=_day_of(now) - timedelta(days=KEPT_DAYS))
    over = (now - KEPT_AFTER).astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    until = min(over, since + timedelta(hours=HOURS_PER_CALL_MAX))
    if until <= since:
        return 0
    return connection.execute(_KEEP, {"since": since, "until": until}).rowcount


def _kept(connection: Connection, *, otherwise: datetime) -> tuple[datetime, datetime]:
    """From when until when hours are kept; twice `otherwise` when none is."""
    oldest, newest = connection.execute(_KEPT_FROM).one()
    return (otherwise, otherwise) if newest is None else (oldest, newest + timedelta(hours=1))


def _summed(connection: Connection, since: datetime, until: datetime) -> Sequence[RowMapping]:
    """The hours of a period, from its entries."""
    if since >= until:
        return ()
    return connection.execute(text(_HOURS), {"since": since, "until": until}).mappings().all()


def _day_of(now: datetime) -> datetime:
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


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
