"""What operators can do to endpoints and deliveries; see acting for how."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from sqlalchemy import Connection

from domain.errors import WebhookEndpointNotActive
from domain.operators.acting import Command, Effect, Facts
from domain.operators.audit import Action, Operator
from domain.operators.webhooks_seen import EndpointSeen, delivery_seen, endpoint_seen
from domain.webhooks import endpoints, redelivering
from domain.webhooks.events import WebhookTest
from domain.webhooks.states import EndpointState
from domain.webhooks.telling import tell_one


def _facts(seen: EndpointSeen) -> Facts:
    return {
        "app": seen.app_id,
        "url": seen.url,
        "state": seen.state,
        "failingSince": seen.failing_since,
        "waiting": seen.deliveries_waiting,
        "failed": seen.deliveries_failed,
    }


class EndpointCommand(Command, frozen=True, kw_only=True):
    """Something to be done to an endpoint."""

    endpoint_id: UUID

    def look(self, connection: Connection, now: datetime) -> Facts:
        """How the endpoint stands."""
        return _facts(endpoint_seen(connection, self.endpoint_id, now=now))

    def effect(self, connection: Connection, words: str, now: datetime, **facts: object) -> Effect:
        """What was done to it."""
        seen = endpoint_seen(connection, self.endpoint_id, now=now)
        return Effect(
            outcome=f"{seen.app_id}: {words}",
            facts={"app": seen.app_id, **facts},
            subject=str(self.endpoint_id),
        )


class TestWebhook(EndpointCommand, frozen=True, kw_only=True):
    """Send an endpoint a test event, which concerns nobody."""

    __test__ = False  # no test of pytest's
    action: ClassVar[Action] = Action.TEST_WEBHOOK

    def do(self, connection: Connection, by: Operator, now: datetime) -> Effect:  # noqa: ARG002
        """Raises WebhookEndpointNotFound, WebhookEndpointNotActive."""
        seen = endpoint_seen(connection, self.endpoint_id, now=now)
        if seen.state != EndpointState.ACTIVE:
            raise WebhookEndpointNotActive(seen.state)
        event_id = tell_one(connection, WebhookTest(endpoint_id=seen.id), seen.id, now=now)
        return self.effect(connection, "a test event is sent", now, eventId=event_id)


class PauseWebhook(EndpointCommand, frozen=True, kw_only=True):
    """Send an endpoint nothing until it is enabled."""

    action: ClassVar[Action] = Action.PAUSE_WEBHOOK

    def do(self, connection: Connection, by: Operator, now: datetime) -> Effect:  # noqa: ARG002
        """Raises WebhookEndpointNotFound, WebhookEndpointNotActive."""
        endpoints.pause(connection, self.endpoint_id, now=now)
        return self.effect(connection, "paused", now)


class EnableWebhook(EndpointCommand, frozen=True, kw_only=True):
    """Send an endpoint events again, and at once what waits."""

    action: ClassVar[Action] = Action.ENABLE_WEBHOOK

    def do(self, connection: Connection, by: Operator, now: datetime) -> Effect:  # noqa: ARG002
        """Raises WebhookEndpointNotFound."""
        endpoints.enable(connection, self.endpoint_id, now=now)
        return self.effect(connection, "enabled", now)


class RedeliverFailedWebhooks(EndpointCommand, frozen=True, kw_only=True):
    """Send again what was given up, of events since then."""

    action: ClassVar[Action] = Action.REDELIVER_FAILED_WEBHOOKS
    since: datetime

    def look(self, connection: Connection, now: datetime) -> Facts:
        """How many there are."""
        seen = endpoint_seen(connection, self.endpoint_id, now=now)
        failed = redelivering.count_failed(connection, self.endpoint_id, since=self.since)
        return {**_facts(seen), "failed": failed}

    def do(self, connection: Connection, by: Operator, now: datetime) -> Effect:  # noqa: ARG002
        """None failed is no refusal.  Raises WebhookEndpointNotFound, WebhookEndpointNotActive."""
        sent, left = redelivering.redeliver_failed(connection, self.endpoint_id, since=self.since, now=now)
        words = f"{sent} failed deliveries are sent again" + (f", {left} are left" if left else "")
        return self.effect(connection, words, now, redelivered=sent, left=left)


class RedeliverWebhook(Command, frozen=True, kw_only=True):
    """Send one delivery again, whatever became of it; one that waits, now."""

    action: ClassVar[Action] = Action.REDELIVER_WEBHOOK
    delivery_id: UUID

    def look(self, connection: Connection, now: datetime) -> Facts:  # noqa: ARG002
        """How the delivery stands."""
        seen = delivery_seen(connection, self.delivery_id)
        return {
            "type": seen.delivery.type,
            "state": seen.delivery.state.value,
            "attempts": seen.delivery.attempts,
            "nextAttemptAt": seen.delivery.next_attempt_at,
            "lastError": seen.delivery.last_error,
        }

    def do(self, connection: Connection, by: Operator, now: datetime) -> Effect:  # noqa: ARG002
        """Raises WebhookDeliveryNotFound, WebhookEndpointNotActive."""
        seen = delivery_seen(connection, self.delivery_id)
        was = redelivering.redeliver(connection, self.delivery_id, now=now)
        return Effect(
            outcome=f"{seen.delivery.type} is sent again, it was {was.state}",
            facts={"type": seen.delivery.type, "was": was.state, "eventId": seen.delivery.event_id},
            subject=str(self.delivery_id),
            user_id=seen.delivery.user_id,
        )
