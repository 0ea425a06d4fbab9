"""Stripe's events: what each calls for, done by the job that was stored with it (domain.stripe_inbox).

Handling needs nothing but the event: Stripe is not asked.  Seen is not done (law 5): whatever an event
does follows from the state of its purchase (domain.settling).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final

from sqlalchemy import Connection, bindparam, select, update

from domain import stripe_facts
from domain.errors import PaymentDoesNotMatch
from domain.jobs import Job, Queue
from domain.payments import Payment, PaymentState
from domain.settling import IGNORED, Settled, settle_payment, settle_reversal
from domain.stripe_facts import Object
from domain.tables import stripe_events
from domain.taking_back import Reversal

_THIS: Final = stripe_events.c.id == bindparam("event_id")
_LOCKED: Final = select(stripe_events).where(_THIS).with_for_update()
_MARK: Final = update(stripe_events).where(_THIS)


class HandleStripeEvent(Job, frozen=True, kw_only=True):
    """Do what one event calls for."""

    kind: ClassVar[str] = "handle_stripe_event"
    queue: ClassVar[Queue] = Queue.MONEY
    horizon: ClassVar[timedelta] = timedelta(days=1)

    event_id: str


def handle(connection: Connection, event_id: str, *, now: datetime) -> dict[str, Any]:
    """Do what the event calls for, in one transaction; what came of it, for the job's result.

    Raises PaymentDoesNotMatch (recorded), BalanceTooLarge, LookupError for an event that has no row.
    """
    row = connection.execute(_LOCKED, {"event_id": event_id}).one_or_none()
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
    connection.execute(_MARK, {"event_id": event_id, **values})


def _object(event: Object) -> Object:
    return stripe_facts.object_of(stripe_facts.object_of(event, "data"), "object")


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
