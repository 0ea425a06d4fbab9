"""How an endpoint stands."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, select, update

from domain.errors import WebhookEndpointNotFound
from domain.tables import webhook_endpoints


class EndpointState(StrEnum):
    """`paused` by an operator; `disabled` after long failure, or because the endpoint said that it is gone."""

    ACTIVE = "active"
    PAUSED = "paused"
    DISABLED = "disabled"
    DELETED = "deleted"


def lock(connection: Connection, endpoint_id: UUID) -> Row[Any]:
    """The endpoint's row; nobody tells it anything until the transaction ends.  Raises WebhookEndpointNotFound."""
    query = select(webhook_endpoints).where(webhook_endpoints.c.id == endpoint_id).with_for_update()
    row = connection.execute(query).one_or_none()
    if row is None or row.state == EndpointState.DELETED:
        raise WebhookEndpointNotFound
    return row


def set_state(
    connection: Connection,
    endpoint_id: UUID,
    state: EndpointState,
    reason: str | None,
    *,
    was: EndpointState | None = None,
    now: datetime,
) -> bool:
    """Write the state and why it is so, unless it is another than `was`; whether it was written."""
    columns = webhook_endpoints.c
    conditions = [columns.id == endpoint_id]
    if was is not None:
        conditions.append(columns.state == was.value)
    written = connection.execute(
        update(webhook_endpoints)
        .where(*conditions)
        .values(state=state.value, state_reason=reason, state_at=now, updated_at=now)
    )
    return written.rowcount > 0
