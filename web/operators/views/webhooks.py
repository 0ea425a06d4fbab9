"""Webhooks: the endpoints of apps, what was sent to one, and one delivery with its attempts."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from domain.operators import webhooks_seen
from domain.operators.rows import PAGE_DEFAULT
from domain.operators.webhooks_seen import DeliveryFilter, DeliveryState
from domain.webhooks import EventType
from web.bodies import path_uuid
from web.operators.asked import Asked
from web.operators.pages import Visit


async def endpoints(visit: Visit) -> web.StreamResponse:
    """GET /ops/webhooks."""
    found, health = await visit.read(
        lambda connection, now: (
            webhooks_seen.list_endpoints(connection, now=now),
            webhooks_seen.webhook_health(connection, now=now),
        )
    )
    return visit.show("webhooks.html", endpoints=found, health=health)


async def endpoint(visit: Visit) -> web.StreamResponse:
    """GET /ops/webhooks/{id}."""
    endpoint_id = path_uuid(visit.request, "id")
    wanted = _filter(visit.asked, endpoint_id)
    seen, deliveries = await visit.read(
        lambda connection, now: (
            webhooks_seen.endpoint_seen(connection, endpoint_id, now=now),
            webhooks_seen.list_deliveries(connection, wanted),
        )
    )
    return visit.show(
        "webhook.html",
        endpoint=seen,
        deliveries=deliveries,
        states=list(DeliveryState),
        types=list(EventType),
        size=PAGE_DEFAULT,
    )


async def delivery(visit: Visit) -> web.StreamResponse:
    """GET /ops/webhooks/deliveries/{id}."""
    delivery_id = path_uuid(visit.request, "id")
    seen = await visit.read(lambda connection, _now: webhooks_seen.delivery_seen(connection, delivery_id))
    return visit.show("webhook_delivery.html", seen=seen)


def _filter(asked: Asked, endpoint_id: Any) -> DeliveryFilter:
    kind = asked.choice("type", EventType)
    return DeliveryFilter(
        endpoint_id=endpoint_id,
        state=asked.choice("state", DeliveryState),
        type=None if kind is None else kind.value,
        user_id=asked.text("user"),
        since=asked.instant("since"),
        until=asked.instant("until"),
        before=asked.uuid("before"),
    )
