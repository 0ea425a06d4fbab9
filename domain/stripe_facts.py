"""Stripe's objects, as JSON, read into our values.  Pure; what an object lacks or has in a wrong form is None.

Fields and statuses: docs.stripe.com/api, version 2026-10-28; older versions name the same ones.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from domain.payments import CURRENCY, Payment, PaymentState
from domain.taking_back import Reversal, ReversalKind, ReversalState

Object = dict[str, Any]

WHOLE_PRICE_CENTS: Final = 99_999_999
"""Stripe's largest amount.  A dispute in another currency than the payment's counts as all of it: what the
bank took cannot be compared with the price."""

_DISPUTE_VOID: Final = frozenset({"won", "warning_closed", "prevented"})
_DISPUTE_WARNING: Final = "warning_"

_INTENT_STATES: Final = {
    "succeeded": PaymentState.PAID,
    "processing": PaymentState.PROCESSING,
    "canceled": PaymentState.CANCELLED,
}


def text_of(obj: Object, name: str) -> str | None:
    """A text member, not empty."""
    value = obj.get(name)
    return value if isinstance(value, str) and value else None


def number_of(obj: Object, name: str) -> int | None:
    """A whole-number member, zero or more."""
    value = obj.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def id_of(obj: Object, name: str) -> str | None:
    """The id of another object, which may be there whole (expanded)."""
    value = obj.get(name)
    return text_of(value, "id") if isinstance(value, dict) else text_of(obj, name)


def object_of(obj: Object, name: str) -> Object:
    """A member that is an object; empty where there is none."""
    value = obj.get(name)
    return value if isinstance(value, dict) else {}


def instant_of(obj: Object, name: str) -> datetime | None:
    """A member in seconds since 1970, as an instant."""
    seconds = number_of(obj, name)
    return None if seconds is None or seconds >= 1 << 33 else datetime.fromtimestamp(seconds, UTC)


def purchase_of(obj: Object) -> UUID | None:
    """The purchase that an object of ours names in its metadata."""
    return _uuid(text_of(object_of(obj, "metadata"), "purchaseId"))


def _uuid(value: str | None) -> UUID | None:
    try:
        return None if value is None else UUID(value)
    except ValueError:
        return None


def payment_of_intent(intent: Object, at: datetime, state: PaymentState | None = None) -> Payment | None:
    """The payment of a PaymentIntent; `state` where an event says it, else by the intent's own status."""
    intent_id = text_of(intent, "id")
    if intent_id is None:
        return None
    state = state or _state_of_intent(intent)
    failure = object_of(intent, "last_payment_error")
    return Payment(
        state=state,
        at=at,
        payment_intent_id=intent_id,
        purchase_id=purchase_of(intent),
        paid_cents=_paid_cents(intent, "amount_received", "amount"),
        currency=_currency(intent),
        failure_code=_failure_code(failure) if state is PaymentState.FAILED else None,
    )


def _state_of_intent(intent: Object) -> PaymentState:
    waiting = PaymentState.FAILED if object_of(intent, "last_payment_error") else PaymentState.OPEN
    return _INTENT_STATES.get(text_of(intent, "status") or "", waiting)


def _failure_code(failure: Object) -> str | None:
    code = text_of(failure, "decline_code") or text_of(failure, "code")
    return None if code is None else code[:100]


def payment_of_session(session: Object, at: datetime, state: PaymentState | None = None) -> Payment | None:
    """The payment of a Checkout Session; `state` where an event says it, else by the session's statuses.

    A session stays complete and unpaid when its bank debit fails: that is told by its PaymentIntent alone,
    where it is there whole (expanded).
    """
    session_id = text_of(session, "id")
    if session_id is None:
        return None
    intent = object_of(session, "payment_intent")
    if state is None:
        match text_of(session, "status"), text_of(session, "payment_status"):
            case _, "paid":
                state = PaymentState.PAID
            case "expired", _:
                state = PaymentState.CANCELLED
            case "complete", _:
                state = _state_of_intent(intent) if intent else PaymentState.PROCESSING
            case _:
                state = PaymentState.OPEN
    return Payment(
        state=state,
        at=at,
        payment_intent_id=id_of(session, "payment_intent"),
        checkout_session_id=session_id,
        purchase_id=purchase_of(session) or _uuid(text_of(session, "client_reference_id")),
        paid_cents=_paid_cents(session, "amount_total"),
        currency=_currency(session),
        failure_code=_failure_code(object_of(intent, "last_payment_error"))
        if state is PaymentState.FAILED
        else None,
    )


def _paid_cents(obj: Object, *names: str) -> int | None:
    """The first of these amounts that is told; one in a wrong form is 0, which pays for nothing."""
    told = [name for name in names if obj.get(name) is not None]
    return (number_of(obj, told[0]) or 0) if told else None


def _currency(obj: Object) -> str | None:
    value = obj.get("currency")
    return None if value is None else str(value).lower()


def reversal_of_refund(refund: Object, at: datetime) -> Reversal | None:
    """A refund counts from its beginning, unless it failed or was cancelled: then the money never left."""
    is_void = text_of(refund, "status") in ("failed", "canceled")
    return _reversal(
        refund,
        ReversalKind.REFUND,
        charge_id=id_of(refund, "charge"),
        amount_cents=number_of(refund, "amount"),
        state=ReversalState.VOID if is_void else ReversalState.COUNTED,
        at=at,
    )


def reversal_of_dispute(dispute: Object, at: datetime, event_type: str = "") -> Reversal | None:
    """A dispute counts while its funds are withdrawn; `event_type` where an event tells more than the status."""
    status = text_of(dispute, "status") or ""
    if status in _DISPUTE_VOID or event_type == "charge.dispute.funds_reinstated":
        state = ReversalState.VOID
    elif status == "lost":
        state = ReversalState.FINAL
    elif status.startswith(_DISPUTE_WARNING) and event_type != "charge.dispute.funds_withdrawn":
        state = ReversalState.OPEN
    else:
        state = ReversalState.COUNTED
    amount = number_of(dispute, "amount")
    if (text_of(dispute, "currency") or CURRENCY).lower() != CURRENCY:
        amount = WHOLE_PRICE_CENTS
    return _reversal(
        dispute,
        ReversalKind.DISPUTE,
        charge_id=id_of(dispute, "charge"),
        amount_cents=amount,
        state=state,
        at=at,
    )


def reversal_of_charge(charge: Object, at: datetime) -> Reversal | None:
    """What a charge says of its refunds: their sum."""
    return _reversal(
        charge,
        ReversalKind.CHARGE,
        charge_id=text_of(charge, "id"),
        amount_cents=number_of(charge, "amount_refunded"),
        state=ReversalState.COUNTED,
        at=at,
    )


def _reversal(
    obj: Object,
    kind: ReversalKind,
    *,
    charge_id: str | None,
    amount_cents: int | None,
    state: ReversalState,
    at: datetime,
) -> Reversal | None:
    stripe_id, intent_id = text_of(obj, "id"), id_of(obj, "payment_intent")
    if stripe_id is None or intent_id is None or amount_cents is None:
        return None
    return Reversal(
        stripe_id=stripe_id,
        payment_intent_id=intent_id,
        kind=kind,
        charge_id=charge_id,
        amount_cents=amount_cents,
        state=state,
        seen_at=at,
    )
