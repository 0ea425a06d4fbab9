"""Endpoints of apps, as operators make and change them: each change with its record in the audit.

What is told in return (a secret) is in no record.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Connection

from domain.operators import audit
from domain.operators.audit import Action, Operator
from domain.operators.webhooks_seen import EndpointSeen, endpoint_seen
from domain.webhooks import endpoints
from domain.webhooks.endpoints import Changes, Wanted


class Rotated(msgspec.Struct, frozen=True, kw_only=True):
    """A new secret, told this once; the old one signs beside it until then."""

    secret: str
    previous_secret_until: datetime

    def __repr__(self) -> str:
        """Without the secret."""
        return f"{type(self).__name__}(previous_secret_until={self.previous_secret_until!r})"


def create_endpoint(
    connection: Connection, wanted: Wanted, *, by: Operator, reason: str, now: datetime
) -> tuple[EndpointSeen, str]:
    """Make an endpoint whose address was checked; its secret beside it.

    Raises WebhookUrlTaken, TooManyWebhookEndpoints, ThresholdMissing, NotPermitted, ReasonMissing.
    """
    reason = audit.check_may_act(by, reason)
    endpoint_id, secret = endpoints.create(connection, wanted, now=now)
    made = endpoint_seen(connection, endpoint_id, now=now)
    _record(connection, Action.CREATE_WEBHOOK, made, _given(wanted), by=by, reason=reason, now=now)
    return made, secret


def change_endpoint(
    connection: Connection, endpoint_id: UUID, changes: Changes, *, by: Operator, reason: str, now: datetime
) -> EndpointSeen:
    """Change an endpoint, whose new address was checked.

    Raises WebhookEndpointNotFound, WebhookUrlTaken, ThresholdMissing, NotPermitted, ReasonMissing.
    """
    reason = audit.check_may_act(by, reason)
    endpoints.change(connection, endpoint_id, changes, now=now)
    changed = endpoint_seen(connection, endpoint_id, now=now)
    _record(connection, Action.CHANGE_WEBHOOK, changed, _given(changes), by=by, reason=reason, now=now)
    return changed


def rotate_secret(
    connection: Connection, endpoint_id: UUID, *, by: Operator, reason: str, now: datetime
) -> Rotated:
    """Give an endpoint a new secret.  Raises WebhookEndpointNotFound, NotPermitted, ReasonMissing."""
    reason = audit.check_may_act(by, reason)
    secret, until = endpoints.rotate(connection, endpoint_id, now=now)
    changed = endpoint_seen(connection, endpoint_id, now=now)
    _record(connection, Action.ROTATE_WEBHOOK_SECRET, changed, {}, by=by, reason=reason, now=now)
    return Rotated(secret=secret, previous_secret_until=until)


def remove_endpoint(
    connection: Connection, endpoint_id: UUID, *, by: Operator, reason: str, now: datetime
) -> EndpointSeen:
    """Remove an endpoint; how it was.  Raises WebhookEndpointNotFound, NotPermitted, ReasonMissing."""
    reason = audit.check_may_act(by, reason)
    was = endpoint_seen(connection, endpoint_id, now=now)
    endpoints.remove(connection, endpoint_id, now=now)
    _record(connection, Action.REMOVE_WEBHOOK, was, {}, by=by, reason=reason, now=now)
    return was


def _given(wanted: Wanted | Changes) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(wanted).items() if value is not None}


def _record(
    connection: Connection,
    action: Action,
    endpoint: EndpointSeen,
    details: dict[str, Any],
    *,
    by: Operator,
    reason: str,
    now: datetime,
) -> None:
    audit.record(
        connection,
        by=by,
        action=action,
        reason=reason,
        outcome=f"{endpoint.app_id}: {endpoint.url}, {', '.join(endpoint.events)}"[:500],
        subject=str(endpoint.id),
        details=details,
        now=now,
    )
