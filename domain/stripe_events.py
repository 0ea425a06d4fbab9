"""Stripe's events: received into a row with its job, in one transaction; handled by that job.

Handling needs nothing but the event: Stripe is not asked.  Seen is not done (law 5): whatever an event
does follows from the state of its purchase (domain.settling).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final
from uuid import UUID

import msgspec
from sqlalchemy import Connection, delete, select, update
from sqlalchemy.dialects.postgresql import insert

from domain import jobs, stripe_facts
from domain.errors import PaymentDoesNotMatch
from domain.jobs import Job, JobState, Queue
from domain.payments import Payment, PaymentState
from domain.settling import IGNORED, Settled, settle_payment, settle_reversal
from domain.stripe_facts import Object
from domain.tables import stripe_events
from domain.taking_back import Reversal

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


class HandleStripeEvent(Job, frozen=True, kw_only=True):
    """Do what one event calls for."""

    kind: ClassVar[str] = "handle_stripe_event"
    queue: ClassVar[Queue] = Queue.MONEY
    horizon: ClassVar[timedelta] = timedelta(days=1)

    event_id: str


class MalformedEvent(ValueError):
    """What was signed is no event of Stripe's.  Says why, fit for the sender to read."""


class Received(msgspec.Struct, frozen=True):
    """An event that has its row; `is_new` unless it had one before."""

    event_id: str
    is_new: bool


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


def receive(connection: Connection, event: Object, *, source: str = "webhook", now: datetime) -> Received:
    """Store an event and its job, in the caller's transaction; once this is committed it will be handled.

    A repeat changes nothing, but lets a job that had failed or was refused try again: Stripe repeats by
    itself only what we did not answer, so a person asked for it.  `source` is `webhook` or `asked`.
    """
    event_id, event_type = str(event["id"]), str(event["type"])
    has_effect = event_type in _HANDLERS
    obj = _object(event)
    statement = (
        insert(stripe_events)
        .values(
            id=event_id,
            type=event_type,
            stripe_created=stripe_facts.instant_of(event, "created") or now,
            livemode=event.get("livemode") is True,
            payload=_without_personal_data(event),
            payment_intent_id=_intent_of(obj),
            source=source,
            received_at=now,
            handled_at=None if has_effect else now,
            outcome=None if has_effect else "ignored: no effect of this type",
        )
        .on_conflict_do_nothing(index_elements=[stripe_events.c.id])
        .returning(stripe_events.c.id)
    )
    is_new = connection.execute(statement).one_or_none() is not None
    if is_new and has_effect:
        _add_job(connection, event_id, now)
    elif not is_new:
        _try_again_if_it_failed(connection, event_id, now)
    return Received(event_id, is_new)


def is_known(connection: Connection, event_id: str) -> bool:
    """Whether the event has its row."""
    query = select(stripe_events.c.id).where(stripe_events.c.id == event_id)
    return connection.execute(query).one_or_none() is not None


def _add_job(connection: Connection, event_id: str, now: datetime) -> UUID:
    job = HandleStripeEvent(event_id=event_id)
    job_id = jobs.add_job(connection, job, now=now, unique_key=f"stripe_event:{event_id}", subject=event_id)
    connection.execute(update(stripe_events).where(stripe_events.c.id == event_id).values(job_id=job_id))
    return job_id


def _try_again_if_it_failed(connection: Connection, event_id: str, now: datetime) -> None:
    row = connection.execute(
        select(stripe_events.c.handled_at, stripe_events.c.job_id).where(stripe_events.c.id == event_id)
    ).one()
    if row.handled_at is not None:
        return
    job_id = _add_job(connection, event_id, now)  # the one it has, unless that was pruned
    details = jobs.job_details(connection, job_id)
    if details.state in (JobState.FAILED, JobState.REFUSED, JobState.CANCELLED):
        jobs.retry(connection, job_id, now=now)


def handle(connection: Connection, event_id: str, *, now: datetime) -> dict[str, Any]:
    """Do what the event calls for, in one transaction; what came of it, for the job's result.

    Raises PaymentDoesNotMatch (recorded), BalanceTooLarge, LookupError for an event that has no row.
    """
    query = select(stripe_events).where(stripe_events.c.id == event_id).with_for_update()
    row = connection.execute(query).one_or_none()
    if row is None:
        raise LookupError(f"there is no event {event_id}")
    if row.handled_at is not None:
        return {"outcome": row.outcome}
    handler = _HANDLERS.get(row.type)
    try:
        settled = IGNORED if handler is None else handler(connection, row.payload, row.type, now)
    except PaymentDoesNotMatch as refusal:
        _mark(connection, event_id, outcome=f"flagged: {refusal.problem}")
        raise
    _mark(connection, event_id, outcome=settled.outcome, purchase_id=settled.purchase_id, handled_at=now)
    return {"outcome": settled.outcome, "purchaseId": settled.purchase_id}


def _mark(connection: Connection, event_id: str, **values: Any) -> None:
    connection.execute(update(stripe_events).where(stripe_events.c.id == event_id).values(values))


def prune(connection: Connection, *, now: datetime) -> int:
    """Delete events received long ago, PRUNED_PER_CALL_MAX at most; how many.  Their effects are elsewhere."""
    old = (
        select(stripe_events.c.id)
        .where(stripe_events.c.received_at < now - KEPT, stripe_events.c.handled_at.is_not(None))
        .order_by(stripe_events.c.received_at)
        .limit(PRUNED_PER_CALL_MAX)
    )
    return connection.execute(delete(stripe_events).where(stripe_events.c.id.in_(old))).rowcount


def _object(event: Object) -> Object:
    return stripe_facts.object_of(stripe_facts.object_of(event, "data"), "object")


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


_Handler = Callable[[Connection, Object, str, datetime], Settled]


def _at(event: Object, now: datetime) -> datetime:
    return stripe_facts.instant_of(event, "created") or now.astimezone(UTC)


def _intent(state: PaymentState) -> _Handler:
    def handle_intent(connection: Connection, event: Object, _type: str, now: datetime) -> Settled:
        payment = stripe_facts.payment_of_intent(_object(event), _at(event, now), state)
        return _settle(connection, payment, now)

    return handle_intent


def _session(state: PaymentState) -> _Handler:
    def handle_session(connection: Connection, event: Object, _type: str, now: datetime) -> Settled:
        payment = stripe_facts.payment_of_session(_object(event), _at(event, now), state)
        return _settle(connection, payment, now)

    return handle_session


def _session_completed(connection: Connection, event: Object, _type: str, now: datetime) -> Settled:
    # Completed only says that the page's work is done: a bank debit may be unpaid for days.
    is_paid = _object(event).get("payment_status") == "paid"
    state = PaymentState.PAID if is_paid else PaymentState.PROCESSING
    return _session(state)(connection, event, _type, now)


def _settle(connection: Connection, payment: Payment | None, now: datetime) -> Settled:
    return IGNORED if payment is None else settle_payment(connection, payment, now=now)


def _reversal(read: Callable[[Object, datetime, str], Reversal | None]) -> _Handler:
    def handle_reversal(connection: Connection, event: Object, event_type: str, now: datetime) -> Settled:
        reversal = read(_object(event), _at(event, now), event_type)
        return IGNORED if reversal is None else settle_reversal(connection, reversal, now=now)

    return handle_reversal


_refund: Final = _reversal(lambda obj, at, _type: stripe_facts.reversal_of_refund(obj, at))
_charge: Final = _reversal(lambda obj, at, _type: stripe_facts.reversal_of_charge(obj, at))
_dispute: Final = _reversal(stripe_facts.reversal_of_dispute)

_HANDLERS: Final[dict[str, _Handler]] = {
    "payment_intent.succeeded": _intent(PaymentState.PAID),
    "payment_intent.processing": _intent(PaymentState.PROCESSING),
    "payment_intent.payment_failed": _intent(PaymentState.FAILED),
    "payment_intent.canceled": _intent(PaymentState.CANCELLED),
    "checkout.session.completed": _session_completed,
    "checkout.session.async_payment_succeeded": _session(PaymentState.PAID),
    "checkout.session.async_payment_failed": _session(PaymentState.FAILED),
    "checkout.session.expired": _session(PaymentState.CANCELLED),
    "charge.refunded": _charge,
    "charge.refund.updated": _refund,
    "refund.created": _refund,
    "refund.updated": _refund,
    "refund.failed": _refund,
    "charge.dispute.created": _dispute,
    "charge.dispute.updated": _dispute,
    "charge.dispute.closed": _dispute,
    "charge.dispute.funds_withdrawn": _dispute,
    "charge.dispute.funds_reinstated": _dispute,
}
"""What each type does (contract, section 6).  All others are kept without effect."""

HANDLED_EVENTS: Final = tuple(_HANDLERS)
"""The types that have an effect; Stripe lists up to 20 types at once."""
