"""Sending again what was sent before, or given up, because an operator says so.

It goes first in its lane, before what waits there, and after what was delivered meanwhile: its `sequence` tells.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Row, func, literal_column, select, update

from domain.errors import WebhookDeliveryNotFound, WebhookEndpointNotActive
from domain.tables import webhook_deliveries, webhook_lanes
from domain.webhooks import states
from domain.webhooks.states import EndpointState
from domain.webhooks.telling import add_lanes

REDELIVERED_PER_CALL_MAX: Final = 1_000
"""Deliveries that one transaction lets be sent again: a fraction of a second."""

_HAS_FAILED: Final = webhook_deliveries.c.state == literal_column("'failed'")


def redeliver(connection: Connection, delivery_id: UUID, *, now: datetime) -> Row[Any]:
    """Let one delivery be sent again, whatever became of it; one that waits for its next attempt, now.

    Returns its row as it was.  Raises WebhookDeliveryNotFound, WebhookEndpointNotActive.
    """
    query = select(webhook_deliveries).where(webhook_deliveries.c.id == delivery_id)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise WebhookDeliveryNotFound
    _lock_active(connection, row.endpoint_id)
    _send_again(connection, [row], now)
    return row


def redeliver_failed(
    connection: Connection, endpoint_id: UUID, *, since: datetime, now: datetime
) -> tuple[int, int]:
    """Let what was given up be sent again, of events since then: the oldest REDELIVERED_PER_CALL_MAX.

    Returns how many are sent, and how many are left.  Raises WebhookEndpointNotFound, WebhookEndpointNotActive.
    """
    _lock_active(connection, endpoint_id)
    query = (
        select(webhook_deliveries)
        .where(*_failed_since(endpoint_id, since))
        .order_by(webhook_deliveries.c.id)
        .limit(REDELIVERED_PER_CALL_MAX)
    )
    rows = connection.execute(query).all()
    _send_again(connection, rows, now)
    return len(rows), count_failed(connection, endpoint_id, since=since)


def count_failed(connection: Connection, endpoint_id: UUID, *, since: datetime) -> int:
    """How many deliveries were given up, of events since then."""
    query = select(func.count()).select_from(webhook_deliveries).where(*_failed_since(endpoint_id, since))
    count: int = connection.execute(query).scalar_one()
    return count


def _failed_since(endpoint_id: UUID, since: datetime) -> tuple[Any, ...]:
    columns = webhook_deliveries.c
    return columns.endpoint_id == endpoint_id, _HAS_FAILED, columns.created_at >= since


def _lock_active(connection: Connection, endpoint_id: UUID) -> None:
    row = states.lock(connection, endpoint_id)
    if row.state != EndpointState.ACTIVE:
        raise WebhookEndpointNotActive(row.state)


def _send_again(connection: Connection, rows: Any, now: datetime) -> None:
    """In the order of whoever sends: first the lanes, then what is in them."""
    add_lanes(connection, [(row.endpoint_id, row.user_id) for row in rows], now=now)
    for endpoint_id, people in _people_of(rows).items():
        connection.execute(
            update(webhook_lanes)
            .where(
                webhook_lanes.c.endpoint_id == endpoint_id,
                webhook_lanes.c.user_id.in_(people),
                webhook_lanes.c.claim.is_(None),
            )
            .values(next_at=now, failures=0, failing_since=None)
        )
    connection.execute(
        update(webhook_deliveries)
        .where(webhook_deliveries.c.id.in_([row.id for row in rows]))
        .values(state="waiting", ended_at=None)
    )


def _people_of(rows: Any) -> dict[UUID, list[str]]:
    people: dict[UUID, list[str]] = {}
    for row in rows:
        people.setdefault(row.endpoint_id, []).append(row.user_id)
    return people
