"""Webhooks as operators see them: endpoints, what is on its way to them, and every attempt."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import Connection, literal_column, select, text

from domain.errors import WebhookDeliveryNotFound, WebhookEndpointNotFound
from domain.operators.rows import PAGE_DEFAULT, all_as, as_struct, page_size
from domain.tables import app_events, webhook_deliveries, webhook_endpoints
from domain.webhooks.signing import signing_until


class DeliveryState(StrEnum):
    """`waiting` for its turn or its next attempt, `delivered`, or `failed`: given up after three days."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    FAILED = "failed"


class EndpointSeen(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint, without its secrets.  `previous_secret_until` is there while a replaced secret signs too.

    `deliveries_failed` were given up; `failing_since` is the first failure after which nothing was taken.
    """

    id: UUID
    app_id: str
    url: str
    description: str | None
    events: list[str]
    low_balance_threshold: Decimal | None
    state: str
    state_reason: str | None
    state_at: datetime
    failing_since: datetime | None
    rest_until: datetime | None
    delivered_at: datetime | None
    previous_secret_until: datetime | None
    created_at: datetime
    updated_at: datetime
    deliveries_waiting: int
    deliveries_failed: int


class DeliveryFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which deliveries: all that is given must hold.  `before` continues a list after the delivery of that id."""

    endpoint_id: UUID
    state: DeliveryState | None = None
    user_id: str | None = None
    type: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: UUID | None = None
    limit: int = PAGE_DEFAULT


class DeliveryLine(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery in a list.  `next_attempt_at` is that of its person's turn, while it waits."""

    id: UUID
    event_id: UUID
    endpoint_id: UUID
    type: str
    user_id: str | None
    state: DeliveryState
    attempts: int
    created_at: datetime
    ended_at: datetime | None
    next_attempt_at: datetime | None
    last_error: str | None


class AttemptSeen(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt: the status that was answered, or why there was no answer; and the answer's first words."""

    at: datetime
    seconds: float
    status: int | None = None
    error: str | None = None
    answer: str | None = None


class DeliverySeen(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery, with what is sent and its newest attempts, the newest last."""

    delivery: DeliveryLine
    app_id: str
    url: str
    sequence: int
    data: dict[str, Any]
    tried: list[AttemptSeen]


class WebhookHealth(msgspec.Struct, frozen=True, kw_only=True):
    """How webhooks stand: how many endpoints work, fail, are paused or disabled; what waits at active ones.

    `oldest_due_at` is since when the person's turn that is longest overdue has been due.
    """

    working: int
    failing: int
    paused: int
    disabled: int
    deliveries_waiting: int
    oldest_due_at: datetime | None


_COUNTED: Final = """
    SELECT e.*, d.waiting AS deliveries_waiting, d.failed AS deliveries_failed
    FROM ops.webhook_endpoints e
    LEFT JOIN LATERAL (
        SELECT (SELECT count(*) FROM ops.webhook_deliveries WHERE endpoint_id = e.id AND state = 'waiting')
                   AS waiting,
               (SELECT count(*) FROM ops.webhook_deliveries WHERE endpoint_id = e.id AND state = 'failed')
                   AS failed
    ) d ON true
    WHERE e.state <> 'deleted'
"""
_ENDPOINTS: Final = text(f"{_COUNTED} ORDER BY e.app_id, e.id")
_ENDPOINT: Final = text(f"{_COUNTED} AND e.id = :endpoint_id")

_HEALTH: Final = text("""
    SELECT count(*) FILTER (WHERE state = 'active' AND failing_since IS NULL) AS working,
           count(*) FILTER (WHERE state = 'active' AND failing_since IS NOT NULL) AS failing,
           count(*) FILTER (WHERE state = 'paused') AS paused,
           count(*) FILTER (WHERE state = 'disabled') AS disabled,
           coalesce(sum(waiting) FILTER (WHERE state = 'active'), 0)::bigint AS deliveries_waiting,
           min(next_at) FILTER (WHERE state = 'active' AND coalesce(rest_until, :now) <= :now) AS oldest_due_at
    FROM ops.webhook_endpoints e
    LEFT JOIN LATERAL (
        SELECT (SELECT count(*) FROM ops.webhook_deliveries WHERE endpoint_id = e.id AND state = 'waiting')
                   AS waiting,
               (SELECT min(next_at) FROM ops.webhook_lanes WHERE endpoint_id = e.id AND next_at <= :now)
                   AS next_at
    ) d ON true
""")

# Written out, not parameters: the indexes hold some states alone, and a prepared plan has to know.
_STATES: Final = {
    state: webhook_deliveries.c.state == literal_column(f"'{state.value}'") for state in DeliveryState
}


def list_endpoints(connection: Connection, *, now: datetime) -> list[EndpointSeen]:
    """All endpoints, by app."""
    return [_endpoint(row, now) for row in connection.execute(_ENDPOINTS)]


def endpoint_seen(connection: Connection, endpoint_id: UUID, *, now: datetime) -> EndpointSeen:
    """One endpoint.  Raises WebhookEndpointNotFound."""
    row = connection.execute(_ENDPOINT, {"endpoint_id": endpoint_id}).one_or_none()
    if row is None:
        raise WebhookEndpointNotFound
    return _endpoint(row, now)


def _endpoint(row: Any, now: datetime) -> EndpointSeen:
    facts = {
        name: getattr(row, name) for name in EndpointSeen.__struct_fields__ if name != "previous_secret_until"
    }
    until = signing_until(row.retired_secrets, now=now)
    return msgspec.convert({**facts, "previous_secret_until": until}, EndpointSeen)


_LINE: Final[tuple[Any, ...]] = (
    webhook_deliveries.c.id,
    webhook_deliveries.c.event_id,
    webhook_deliveries.c.endpoint_id,
    app_events.c.type,
    literal_column("nullif(ops.webhook_deliveries.user_id, '')").label("user_id"),
    webhook_deliveries.c.state,
    webhook_deliveries.c.attempts,
    webhook_deliveries.c.created_at,
    webhook_deliveries.c.ended_at,
    literal_column(
        """CASE WHEN ops.webhook_deliveries.state = 'waiting' THEN (
               SELECT l.next_at FROM ops.webhook_lanes l
               WHERE l.endpoint_id = ops.webhook_deliveries.endpoint_id
                 AND l.user_id = ops.webhook_deliveries.user_id) END"""
    ).label("next_attempt_at"),
    webhook_deliveries.c.last_error,
)


def list_deliveries(connection: Connection, wanted: DeliveryFilter) -> list[DeliveryLine]:
    """A page of an endpoint's deliveries, the newest event first.  Raises WebhookEndpointNotFound."""
    known = select(webhook_endpoints.c.id).where(
        webhook_endpoints.c.id == wanted.endpoint_id, webhook_endpoints.c.state != "deleted"
    )
    if connection.execute(known).one_or_none() is None:
        raise WebhookEndpointNotFound
    columns = webhook_deliveries.c
    query = (
        select(*_LINE)
        .join(app_events, app_events.c.id == columns.event_id)
        .where(columns.endpoint_id == wanted.endpoint_id)
    )
    if wanted.state is not None:
        query = query.where(_STATES[wanted.state])
    if wanted.user_id is not None:
        query = query.where(columns.user_id == wanted.user_id)
    if wanted.type is not None:
        query = query.where(app_events.c.type == wanted.type)
    if wanted.since is not None:
        query = query.where(columns.created_at >= wanted.since)
    if wanted.until is not None:
        query = query.where(columns.created_at < wanted.until)
    if wanted.before is not None:
        query = query.where(columns.id < wanted.before)
    # Ids sort by the time they were made.
    return all_as(connection, DeliveryLine, query.order_by(columns.id.desc()).limit(page_size(wanted.limit)))


def delivery_seen(connection: Connection, delivery_id: UUID) -> DeliverySeen:
    """One delivery with its attempts.  Raises WebhookDeliveryNotFound."""
    row = connection.execute(
        select(
            *_LINE,
            webhook_endpoints.c.app_id,
            webhook_endpoints.c.url,
            app_events.c.seq.label("sequence"),
            app_events.c.data,
            webhook_deliveries.c.tried,
        )
        .join(app_events, app_events.c.id == webhook_deliveries.c.event_id)
        .join(webhook_endpoints, webhook_endpoints.c.id == webhook_deliveries.c.endpoint_id)
        .where(webhook_deliveries.c.id == delivery_id, webhook_endpoints.c.state != "deleted")
    ).one_or_none()
    if row is None:
        raise WebhookDeliveryNotFound
    line = {name: getattr(row, name) for name in DeliveryLine.__struct_fields__}
    return DeliverySeen(
        delivery=msgspec.convert(line, DeliveryLine),
        app_id=row.app_id,
        url=row.url,
        sequence=row.sequence,
        data=row.data,
        tried=msgspec.convert(row.tried, list[AttemptSeen], strict=False),
    )


def webhook_health(connection: Connection, *, now: datetime) -> WebhookHealth:
    """How webhooks stand at this moment."""
    return as_struct(WebhookHealth, connection.execute(_HEALTH, {"now": now}).one())
