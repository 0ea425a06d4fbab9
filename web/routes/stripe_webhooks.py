"""Stripe's webhooks: verified, stored with a job, answered.  What they do is a worker's business."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final

import structlog
from aiohttp import web
from msgspec import Meta

from domain import stripe_facts, stripe_inbox, stripe_signature
from domain.telemetry.metrics import STRIPE_DELIVERY, WEBHOOKS_REFUSED
from web.answers import Answer
from web.bodies import bad_field
from web.routing import Access, Call, Routes, json_response, read_bytes

routes = Routes("/api/v1/webhooks", Access.OPEN, "Stripe")

EVENT_BYTES_MAX: Final = 512 * 1024
"""Far above the largest event with an effect here, some 20 KB."""

MISSING_SIGNATURE: Final = {"error": "Missing signature"}
INVALID_SIGNATURE: Final = {"error": "Invalid signature"}

log = structlog.get_logger(__name__)


class ReceivedAnswer(Answer):
    """The event is stored, and will be handled."""

    received: Annotated[bool, Meta(examples=[True])]


@routes.add("POST", "/stripe", answer=ReceivedAnswer, body_bytes_max=EVENT_BYTES_MAX)
async def receive(call: Call) -> ReceivedAnswer | web.Response:
    """Take an event of Stripe's, signed over its raw bytes."""
    header = call.request.headers.get("Stripe-Signature")
    if not header:
        WEBHOOKS_REFUSED.labels("missing").inc()
        return json_response(MISSING_SIGNATURE, status=400)
    body = await read_bytes(call.request, EVENT_BYTES_MAX)
    secrets = call.services.settings.stripe_webhook_secrets
    now = datetime.now(UTC)
    if not stripe_signature.is_signed(body, header, secrets, now=now):
        WEBHOOKS_REFUSED.labels("invalid").inc()
        log.warning("webhook_not_signed", size=len(body))
        return json_response(INVALID_SIGNATURE, status=400)
    try:
        event = stripe_inbox.parse(body)
    except stripe_inbox.MalformedEvent as error:
        raise bad_field("body", str(error)) from error
    arrived = stripe_inbox.arrival(event, now=now)
    received = await call.services.inbox.receive(arrived)
    sent_at = stripe_facts.instant_of(event, "created")
    if received.is_new and sent_at is not None:
        STRIPE_DELIVERY.observe(max((datetime.now(UTC) - sent_at).total_seconds(), 0.0))
    log.info("stripe_event", event_id=received.event_id, type=arrived.type, is_new=received.is_new)
    return ReceivedAnswer(received=True)
