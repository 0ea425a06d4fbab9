"""The inbox of Stripe's events: each is stored in a row with its job, in one transaction, and only then answered.

Seen is not done (law 5): what an event does is its job's business (domain.stripe_events).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, LiteralString
from uuid import UUID

import msgspec
from psycopg import AsyncConnection
from sqlalchemy import Connection, delete, func, select, update

from domain import jobs, stripe_facts
from domain.jobs import JobState
from domain.jobs.add import NewJob, new_job
from domain.nudge import AddedJob, remember_added
from domain.stripe_events import HANDLED_EVENTS, HandleStripeEvent
from domain.stripe_facts import Object
from domain.tables import stripe_events

KEPT: Final = timedelta(days=90)
"""Longer than Stripe itself keeps events (30 days), and than most disputes take to be opened (8 weeks)."""

PRUNED_PER_CALL_MAX: Final = 5_000

PERSONAL: Final = frozenset(
    {
        *("billing_details", "customer_details", "customer_email", "customer_address", "receipt_email"),
        *("shipping", "shipping_details", "shipping_cost", "collected_information", "custom_fields"),
        *("email", "name", "phone", "address", "tax_ids", "owner", "evidence", "payment_method_details"),
        *("client_secret", "receipt_url", "receipt_number", "url", "next_action", "source", "ip", "mandate"),
        *("card", "sepa_debit"),
    }
)
"""Members that are not kept, at any depth: personal data and secrets, which handling does not need."""

_WITH_EFFECT: Final = frozenset(HANDLED_EVENTS)

_STORE: Final[LiteralString] = """
    WITH given AS MATERIALIZED (
        SELECT * FROM json_to_recordset(%s::json) AS g(
            id text, type text, stripe_created timestamptz, livemode boolean, payload jsonb,
            payment_intent_id text, source text, received_at timestamptz,
            handled_at timestamptz, outcome text, job jsonb
        )
    ), stored AS (
        INSERT INTO ops.stripe_events (
            id, type, stripe_created, livemode, payload, payment_intent_id, source, received_at,
            handled_at, outcome, job_id
        )
        SELECT id, type, stripe_created, livemode, payload, payment_intent_id, source, received_at,
            handled_at, outcome, (job->>'id')::uuid
        FROM given ORDER BY id  -- two who store the same events wait for one another, and not both
        ON CONFLICT (id) DO NOTHING
        RETURNING id, job_id
    ), added AS (
        INSERT INTO ops.jobs (
            id, kind, queue, payload, unique_key, subject, horizon, created_at, run_at, nudge_at
        )
        SELECT j.id, j.kind, j.queue, j.payload, j.unique_key, j.subject, j.horizon,
            j.created_at, j.run_at, j.nudge_at
        FROM stored
        JOIN given ON (given.job->>'id')::uuid = stored.job_id
        CROSS JOIN jsonb_populate_record(NULL::ops.jobs, given.job) AS j
    )
    SELECT id FROM stored
"""
"""Stores the events that have no row, with their jobs, all in one statement; the ids of those that had none.

A job whose key is taken while its event has no row would be somebody else's: the statement fails.
"""


class MalformedEvent(ValueError):
    """What was signed is no event of Stripe's.  Says why, fit for the sender to read."""


class Received(msgspec.Struct, frozen=True):
    """An event that has its row; `is_new` unless it had one before."""

    event_id: str
    is_new: bool


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """An event as it will be stored, and the job that will handle it; None for one without effect."""

    id: str
    type: str
    stripe_created: datetime
    livemode: bool
    payload: Any
    payment_intent_id: str | None
    source: str
    received_at: datetime
    handled_at: datetime | None
    outcome: str | None
    job: NewJob | None

    @property
    def nudges(self) -> list[AddedJob]:
        """What the workers are to be told once it is stored."""
        return [] if self.job is None else [self.job.added()]


def parse(body: bytes) -> Object:
    """The event in a webhook's body.  Raises MalformedEvent."""
    try:
        event = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise MalformedEvent("must be well-formed JSON") from None
    if not isinstance(event, dict):
        raise MalformedEvent("must be a JSON object")
    for name in ("id", "type"):
        value = stripe_facts.text_of(event, name)
        if value is None or len(value) > 255 or "\x00" in value:
            raise MalformedEvent(f"must have the text member {name}")
    return event


def arrival(event: Object, *, source: str = "webhook", now: datetime) -> Arrival:
    """What is to be stored of an event, without personal data.  `source` is `webhook` or `asked`."""
    event_id, event_type = str(event["id"]), str(event["type"])
    has_effect = event_type in _WITH_EFFECT
    return Arrival(
        id=event_id,
        type=event_type,
        stripe_created=stripe_facts.instant_of(event, "created") or now,
        livemode=event.get("livemode") is True,
        payload=_without_personal_data(event),
        payment_intent_id=_intent_of(stripe_facts.object_of(stripe_facts.object_of(event, "data"), "object")),
        source=source,
        received_at=now,
        handled_at=None if has_effect else now,
        outcome=None if has_effect else "ignored: no effect of this type",
        job=_job_of(event_id, now) if has_effect else None,
    )


def receive(connection: Connection, arrived: Arrival, *, now: datetime) -> Received:
    """Store an event and its job, in the caller's transaction; once this is committed it will be handled.

    A repeat changes nothing, but lets a job that had failed or was refused try again: Stripe repeats by
    itself only what we did not answer, so a person asked for it.
    """
    is_new = bool(connection.exec_driver_sql(_STORE, (_as_json([arrived]),)).all())
    if is_new:
        for job in arrived.nudges:
            remember_added(connection, job)
    else:
        _try_again_if_it_failed(connection, arrived.id, now)
    return Received(arrived.id, is_new)


async def store_async(connection: AsyncConnection[Any], arrived: Sequence[Arrival]) -> set[str]:
    """The first half of `receive`, for the front's webhooks: the ids of those that had no row and now have one.

    On a connection in autocommit mode the statement is its own transaction, and a return means committed.
    """
    cursor = await connection.execute(_STORE, (_as_json(arrived),), prepare=True)
    return {row[0] for row in await cursor.fetchall()}


def known(connection: Connection, event_ids: Sequence[str]) -> set[str]:
    """Those of the events that have their row."""
    query = select(stripe_events.c.id).where(stripe_events.c.id == func.any(list(event_ids)))
    return set(connection.execute(query).scalars())


def prune(connection: Connection, *, now: datetime) -> int:
    """Delete events received long ago, PRUNED_PER_CALL_MAX at most; how many.  Their effects are elsewhere."""
    old = (
        select(stripe_events.c.id)
        .where(stripe_events.c.received_at < now - KEPT, stripe_events.c.handled_at.is_not(None))
        .order_by(stripe_events.c.received_at)
        .limit(PRUNED_PER_CALL_MAX)
    )
    return connection.execute(delete(stripe_events).where(stripe_events.c.id.in_(old))).rowcount


def _as_json(arrived: Sequence[Arrival]) -> str:
    return msgspec.json.encode(arrived).decode()


def _job_of(event_id: str, now: datetime) -> NewJob:
    job = HandleStripeEvent(event_id=event_id)
    return new_job(job, now=now, unique_key=f"stripe_event:{event_id}", subject=event_id)


def _try_again_if_it_failed(connection: Connection, event_id: str, now: datetime) -> None:
    row = connection.execute(
        select(stripe_events.c.handled_at, stripe_events.c.job_id).where(stripe_events.c.id == event_id)
    ).one()
    if row.handled_at is not None:
        return
    job_id = _job_again(connection, event_id, now)
    details = jobs.job_details(connection, job_id)
    if details.state in (JobState.FAILED, JobState.REFUSED, JobState.CANCELLED):
        jobs.retry(connection, job_id, now=now)


def _job_again(connection: Connection, event_id: str, now: datetime) -> UUID:
    """The job that the event has; a new one when that was pruned."""
    job = HandleStripeEvent(event_id=event_id)
    job_id = jobs.add_job(connection, job, now=now, unique_key=f"stripe_event:{event_id}", subject=event_id)
    connection.execute(update(stripe_events).where(stripe_events.c.id == event_id).values(job_id=job_id))
    return job_id


def _intent_of(obj: Object) -> str | None:
    """The PaymentIntent that an event's object is or belongs to."""
    if obj.get("object") == "payment_intent":
        return stripe_facts.text_of(obj, "id")
    return stripe_facts.id_of(obj, "payment_intent")


def _without_personal_data(value: Any) -> Any:
    match value:
        case dict():
            return {
                name.replace("\x00", ""): _without_personal_data(part)
                for name, part in value.items()
                if name not in PERSONAL
            }
        case list():
            return [_without_personal_data(part) for part in value]
        case str():
            return value.replace("\x00", "")  # which jsonb cannot hold
        case _:
            return value
