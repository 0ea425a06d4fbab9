"""What is deleted in time: old app events with their deliveries, and what is left of endpoints that were removed."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, delete, text

from domain.ids import lowest_id
from domain.tables import app_events, webhook_deliveries

KEPT: Final = timedelta(days=30)
"""For so long operators can look at what was sent, and send it again."""

PRUNED_PER_CALL_MAX: Final = 5_000
"""Rows of a table that one transaction deletes: well under a second."""

# What is on its way, because an operator sends it again, goes when it has arrived or is given up.
_OLD: Final = text("""
    SELECT e.id FROM ops.app_events e
    WHERE e.id < :before AND NOT EXISTS (
        SELECT FROM ops.webhook_deliveries d JOIN ops.webhook_endpoints w ON w.id = d.endpoint_id
        WHERE d.event_id = e.id AND d.state = 'waiting' AND w.state = 'active')
    ORDER BY e.id LIMIT :most
""")

# Whoever tells waits for the lanes, and begins those anew that end here.
_LOCK_LANES: Final = text("""
    SELECT l.user_id FROM ops.webhook_lanes l
    WHERE (l.endpoint_id, l.user_id) IN (
        SELECT endpoint_id, user_id FROM ops.webhook_deliveries
        WHERE event_id = ANY (:events) AND state = 'waiting')
    ORDER BY l.endpoint_id, l.user_id FOR UPDATE
""")
_END_LANES: Final = text("""
    DELETE FROM ops.webhook_lanes l
    WHERE l.user_id = ANY (:people) AND NOT EXISTS (
        SELECT FROM ops.webhook_deliveries d
        WHERE d.endpoint_id = l.endpoint_id AND d.user_id = l.user_id AND d.state = 'waiting')
""")

_OF_REMOVED: Final = tuple(
    text(f"""
        DELETE FROM {table} WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM {table}
            WHERE endpoint_id IN (SELECT id FROM ops.webhook_endpoints WHERE state = 'deleted') LIMIT :most))
    """)  # noqa: S608 - names of our own tables
    for table in ("ops.webhook_lanes", "ops.low_balances", "ops.webhook_deliveries")
)
_REMOVED: Final = text("DELETE FROM ops.webhook_endpoints WHERE state = 'deleted'")


def prune(connection: Connection, *, now: datetime) -> int:
    """Delete app events of long ago, and the rows of removed endpoints; how many of one table, at most.

    When it is PRUNED_PER_CALL_MAX there may be more.
    """
    return max(_prune_old(connection, now), _prune_removed(connection))


def _prune_old(connection: Connection, now: datetime) -> int:
    old = {"before": lowest_id(now - KEPT), "most": PRUNED_PER_CALL_MAX}
    ids = connection.execute(_OLD, old).scalars().all()
    if ids:
        # What still waits after so long is for an endpoint that nobody enabled.
        people = connection.execute(_LOCK_LANES, {"events": list(ids)}).scalars().all()
        connection.execute(delete(webhook_deliveries).where(webhook_deliveries.c.event_id.in_(ids)))
        connection.execute(_END_LANES, {"people": list(people)})
        connection.execute(delete(app_events).where(app_events.c.id.in_(ids)))
    return len(ids)


def _prune_removed(connection: Connection) -> int:
    pruned = [connection.execute(each, {"most": PRUNED_PER_CALL_MAX}).rowcount for each in _OF_REMOVED]
    if max(pruned) < PRUNED_PER_CALL_MAX:
        connection.execute(_REMOVED)
    return max(pruned)
