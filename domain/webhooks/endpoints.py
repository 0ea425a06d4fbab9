"""Endpoints: where an app is told, of what, and under which secret."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import Connection, func, select, update

from domain.errors import TooManyWebhookEndpoints, WebhookEndpointNotActive, WebhookUrlTaken
from domain.ids import new_id
from domain.tables import webhook_endpoints
from domain.webhooks import lanes, low_balances
from domain.webhooks.events import EventType
from domain.webhooks.signing import new_secret, retire
from domain.webhooks.states import EndpointState, lock, set_state

ENDPOINTS_MAX: Final = 50
"""Endpoints at once: each worker process keeps a few connections for each (workers.deliverer)."""

SECRET_KEPT: Final = timedelta(hours=24)
"""How long a secret that was replaced goes on signing beside the new one."""

_MAKING_LOCK: Final = 0x6D616E61_03
"""Advisory lock of whoever makes an endpoint ("mana", 3): what is counted and looked for stays so."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint to be made.  `low_balance_threshold`, in credits, goes with the event `balance.low`."""

    app_id: str
    url: str
    events: list[EventType]
    low_balance_threshold: Decimal | None = None
    description: str | None = None


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be changed; None leaves it as it is."""

    url: str | None = None
    events: list[EventType] | None = None
    low_balance_threshold: Decimal | None = None
    description: str | None = None


class ThresholdMissing(ValueError):
    """An endpoint listens to `balance.low` and has no threshold."""


def create(connection: Connection, wanted: Wanted, *, now: datetime) -> tuple[UUID, str]:
    """Make an endpoint, active at once; its id and its secret, which is told this once.

    Its address was checked before (domain.webhooks.addresses).
    Raises WebhookUrlTaken, TooManyWebhookEndpoints, ThresholdMissing.
    """
    connection.execute(select(func.pg_advisory_xact_lock(_MAKING_LOCK)))
    kept = webhook_endpoints.c.state != EndpointState.DELETED.value
    count = connection.execute(select(func.count()).select_from(webhook_endpoints).where(kept)).scalar_one()
    if count >= ENDPOINTS_MAX:
        raise TooManyWebhookEndpoints(ENDPOINTS_MAX)
    _refuse_taken(connection, wanted.app_id, wanted.url)
    endpoint_id, secret = new_id(now), new_secret()
    listening = _listening(wanted.events, wanted.low_balance_threshold)
    connection.execute(
        webhook_endpoints.insert().values(
            id=endpoint_id,
            app_id=wanted.app_id,
            url=wanted.url,
            description=wanted.description,
            secret=secret,
            state_at=now,
            created_at=now,
            updated_at=now,
            **listening,
        )
    )
    low_balances.begin_watching(connection, endpoint_id, listening["low_balance_threshold"], now=now)
    return endpoint_id, secret


def change(connection: Connection, endpoint_id: UUID, changes: Changes, *, now: datetime) -> None:
    """Change an endpoint.  What waits for it goes to its new address.

    With another threshold, everybody below it counts as told.
    Raises WebhookEndpointNotFound, WebhookUrlTaken, ThresholdMissing.
    """
    connection.execute(select(func.pg_advisory_xact_lock(_MAKING_LOCK)))
    row = lock(connection, endpoint_id)
    values: dict[str, Any] = {"updated_at": now}
    if changes.url is not None and changes.url != row.url:
        _refuse_taken(connection, row.app_id, changes.url)
        # What the old address did says nothing of the new one.
        values |= {"url": changes.url, "failing_since": None, "rest_until": None}
    if changes.description is not None:
        values["description"] = changes.description
    events = [EventType(one) for one in row.events] if changes.events is None else changes.events
    threshold = changes.low_balance_threshold
    values |= _listening(events, row.low_balance_threshold if threshold is None else threshold)
    connection.execute(update(webhook_endpoints).where(webhook_endpoints.c.id == endpoint_id).values(values))
    if values["low_balance_threshold"] != row.low_balance_threshold:
        low_balances.begin_watching(connection, endpoint_id, values["low_balance_threshold"], now=now)
    if "url" in values:
        lanes.begin_anew(connection, endpoint_id, now=now)


def rotate(connection: Connection, endpoint_id: UUID, *, now: datetime) -> tuple[str, datetime]:
    """Give it a new secret, told this once; the old one signs beside it until the instant that is returned.

    Raises WebhookEndpointNotFound.
    """
    row = lock(connection, endpoint_id)
    secret, until = new_secret(), now + SECRET_KEPT
    retired = retire(row.secret, row.retired_secrets, until=until, now=now)
    connection.execute(
        update(webhook_endpoints)
        .where(webhook_endpoints.c.id == endpoint_id)
        .values(secret=secret, retired_secrets=retired, updated_at=now)
    )
    return secret, until


def pause(connection: Connection, endpoint_id: UUID, *, now: datetime) -> None:
    """Send nothing until it is enabled: what waits goes on waiting, what happens meanwhile it is not told of.

    Raises WebhookEndpointNotFound, WebhookEndpointNotActive.
    """
    row = lock(connection, endpoint_id)
    if row.state != EndpointState.ACTIVE:
        raise WebhookEndpointNotActive(row.state)
    set_state(connection, endpoint_id, EndpointState.PAUSED, "paused by an operator", now=now)


def enable(connection: Connection, endpoint_id: UUID, *, now: datetime) -> None:
    """Send again, from now on and what still waits, which is tried for another three days.

    Whoever is below the threshold counts as told.  Of one that is active, what waits for its next attempt is sent now.
    Raises WebhookEndpointNotFound.
    """
    row = lock(connection, endpoint_id)
    if row.state != EndpointState.ACTIVE:
        set_state(connection, endpoint_id, EndpointState.ACTIVE, None, now=now)
        low_balances.begin_watching(connection, endpoint_id, row.low_balance_threshold, now=now)
    connection.execute(
        update(webhook_endpoints)
        .where(webhook_endpoints.c.id == endpoint_id)
        .values(failing_since=None, rest_until=None)
    )
    lanes.begin_anew(connection, endpoint_id, now=now)


def remove(connection: Connection, endpoint_id: UUID, *, now: datetime) -> None:
    """Forget its address and secrets now; its deliveries go with the next pruning.

    Raises WebhookEndpointNotFound.
    """
    lock(connection, endpoint_id)
    set_state(connection, endpoint_id, EndpointState.DELETED, "removed by an operator", now=now)
    connection.execute(
        update(webhook_endpoints)
        .where(webhook_endpoints.c.id == endpoint_id)
        .values(url="", secret="", retired_secrets=[], description=None)  # nosec B106 - none is kept
    )


def _listening(events: Sequence[EventType], threshold: Decimal | None) -> dict[str, Any]:
    """What is stored of what it listens to; a threshold without `balance.low` has no meaning."""
    listens = EventType.BALANCE_LOW in events
    if listens and threshold is None:
        raise ThresholdMissing("lowBalanceThreshold is needed to listen to balance.low")
    return {
        "events": [one.value for one in EventType if one in events],
        "low_balance_threshold": threshold if listens else None,
    }


def _refuse_taken(connection: Connection, app_id: str, url: str) -> None:
    query = select(webhook_endpoints.c.id).where(
        webhook_endpoints.c.app_id == app_id,
        webhook_endpoints.c.url == url,
        webhook_endpoints.c.state != EndpointState.DELETED.value,
    )
    if connection.execute(query).first() is not None:
        raise WebhookUrlTaken
