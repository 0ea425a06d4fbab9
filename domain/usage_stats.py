"""Usage statistics: credits used per person, app and UTC day, derived from the entries.

The ledger leaves each use in `ops.usage_pending`, in the transaction of its entry; rolling up moves what
waits there into `credits.usage_stats`.  Rows that the old service wrote (one a call) stay beside them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

import msgspec
from sqlalchemy import Connection, text

PENDING_PER_CALL_MAX: Final = 50_000
"""How many uses one roll-up takes: under a second of work, so that nothing waits long for its locks."""

_ROLL_UP: Final = text("""
    WITH taken AS (
        DELETE FROM ops.usage_pending
        WHERE ctid = ANY (ARRAY(SELECT ctid FROM ops.usage_pending LIMIT :most FOR UPDATE SKIP LOCKED))
        RETURNING user_id, app_id, day, credits_used
    ), added AS (
        INSERT INTO credits.usage_stats AS s (user_id, app_id, credits_used, date, is_rolled_up)
        SELECT user_id, app_id, sum(credits_used), day::timestamp AT TIME ZONE 'UTC', true
        FROM taken GROUP BY user_id, app_id, day ORDER BY user_id, app_id, day
        ON CONFLICT (user_id, app_id, date) WHERE is_rolled_up
        DO UPDATE SET credits_used = s.credits_used + excluded.credits_used
    )
    SELECT count(*) FROM taken
""")

_REBUILD: Final = (
    text("LOCK TABLE ops.usage_pending IN SHARE ROW EXCLUSIVE MODE"),
    text("DELETE FROM ops.usage_pending"),
    text("DELETE FROM credits.usage_stats WHERE is_rolled_up"),
    text("""
        INSERT INTO credits.usage_stats (user_id, app_id, credits_used, date, is_rolled_up)
        SELECT user_id, app_id, -sum(amount), date_trunc('day', created_at, 'UTC'), true
        FROM credits.transactions WHERE type = 'usage' AND version > 0
            AND user_id NOT IN (SELECT pseudonym FROM ops.erasures)
        GROUP BY user_id, app_id, date_trunc('day', created_at, 'UTC')
    """),
)


def roll_up(connection: Connection) -> int:
    """Add waiting uses to the statistics, PENDING_PER_CALL_MAX at most; how many there were.

    Several may run at once; each use is counted once.
    """
    counted: int = connection.execute(_ROLL_UP, {"most": PENDING_PER_CALL_MAX}).scalar_one()
    return counted


def rebuild(connection: Connection) -> None:
    """Derive the statistics anew from the entries.  Deductions wait until the transaction ends."""
    for statement in _REBUILD:
        connection.execute(statement)


class DayUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What one app used of one person's credits on the UTC day that begins at `day`."""

    app_id: str
    day: datetime
    credits_used: Decimal


def usage_of(connection: Connection, user_id: str) -> list[DayUsage]:
    """A person's usage by app and day, oldest day first, counting rows of the old service."""
    rows = connection.execute(
        text("""
            SELECT app_id, date_trunc('day', date, 'UTC') AS day, sum(credits_used) AS credits_used
            FROM credits.usage_stats WHERE user_id = :user_id GROUP BY 1, 2 ORDER BY 2, 1
        """),
        {"user_id": user_id},
    )
    return [
        DayUsage(app_id=row.app_id, day=row.day.astimezone(UTC), credits_used=row.credits_used)
        for row in rows
    ]
