"""Money in: Stripe's events, and what Stripe is asked."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, Engine

from domain import reconciliation, stripe_events
from domain.jobs import Handler, Job, Once, Outside
from domain.payments import Gateway
from domain.reconciliation import AskAboutPurchase, AskAboutPurchases, FetchMissedEvents
from domain.stripe_events import HandleStripeEvent
from domain.stripe_gateway import gateway_of
from workers.parts import Parts


def handlers(parts: Parts) -> list[Handler]:
    """The kinds of this module, with the door to Stripe that the settings describe."""
    return handlers_with(gateway_of(parts.settings), parts.engine)


def handlers_with(gateway: Gateway | None, engine: Engine) -> list[Handler]:
    """The same with a given door.  Events need none; without it there is nobody to ask."""
    handle = Once(
        HandleStripeEvent,
        lambda connection, job, now: stripe_events.handle(connection, job.event_id, now=now),
    )
    if gateway is None:
        return [
            handle,
            Once(AskAboutPurchases, _nobody_to_ask),
            Once(AskAboutPurchase, _nobody_to_ask),
            Once(FetchMissedEvents, _nobody_to_ask),
        ]
    return [
        handle,
        Once(
            AskAboutPurchases,
            lambda connection, _job, now: reconciliation.add_questions(connection, now=now),
        ),
        Outside(
            AskAboutPurchase,
            read=lambda connection, job, now: reconciliation.question(connection, job.purchase_id, now=now),
            call=lambda question, _key: reconciliation.ask(gateway, question),
            record=lambda connection, job, known, now: reconciliation.record_answer(
                connection, job.purchase_id, known, now=now
            ),
        ),
        Outside(
            FetchMissedEvents,
            read=lambda connection, job, now: reconciliation.next_window(connection, job, now=now),
            call=lambda window, _key: reconciliation.read_events(gateway, engine, window),
            record=lambda connection, _job, reading, now: reconciliation.record_events(
                connection, reading, now=now
            ),
        ),
    ]


def _nobody_to_ask(_connection: Connection, _job: Job, _now: datetime) -> dict[str, str]:
    return {"outcome": "payments are not configured"}
