"""Settling: what Stripe tells of a purchase, in whatever order and however often, becomes its state.

An event, an answer of Stripe's to our question, and a repeat of either all come through here.  Everything
is decided by the state of the purchase under its lock, never by whether something was seen before.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import Column, Connection, Row, Select, bindparam, func, select, update
from sqlalchemy.dialects.postgresql import insert

from domain import ledger, webhooks
from domain.errors import PaymentDoesNotMatch
from domain.ids import new_id
from domain.ledger import CountsAs, EntryType, Posting
from domain.payments import CURRENCY, Payment, PaymentState
from domain.tables import purchase_reversals, purchases
from domain.taking_back import Reversal, ReversalKind, ReversalState, credits_owed_back, merge, reversed_cents
from domain.webhooks import AppEvent, PurchaseCompleted, PurchaseReversed

APP_ID: Final = "stripe"

TAKEN_OVER: Final = "taken over:"
"""How a problem begins that revision 0004 found in the old service's books."""

_LOCK_INTENT: Final = select(func.pg_advisory_xact_lock(func.hashtextextended(bindparam("intent"), 0)))


def _locked_by(column: Column[Any]) -> Select[Any]:
    return select(purchases).where(column == bindparam("name")).with_for_update()


_BY_INTENT: Final = _locked_by(purchases.c.stripe_payment_intent_id)
_BY_SESSION: Final = _locked_by(purchases.c.checkout_session_id)
_BY_ID: Final = _locked_by(purchases.c.id)
_CHANGE: Final = update(purchases).where(purchases.c.id == bindparam("this_id"))
_REVERSALS_OF: Final = select(purchase_reversals).where(
    purchase_reversals.c.payment_intent_id == bindparam("intent")
)

log = structlog.get_logger(__name__)


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it: `outcome` in a few words for operators."""

    outcome: str
    purchase_id: UUID | None = None


IGNORED: Final = Settled(outcome="ignored: not a payment of ours")


def settle_payment(connection: Connection, payment: Payment, *, now: datetime) -> Settled:
    """Bring the purchase to where its payment is: credited once when it is paid, never un-credited here.

    Raises PaymentDoesNotMatch (recorded) for money that does not fit, BalanceTooLarge.
    """
    lock_intent(connection, payment.payment_intent_id)
    row = _find(connection, payment)
    if row is None:
        return IGNORED
    if not _is_its_own(row, payment):
        if payment.state is PaymentState.PAID:
            raise _flagged(connection, row, "paid a second time, by another payment")
        return Settled(outcome="ignored: another payment of the purchase", purchase_id=row.id)
    values = _names(row, payment)
    status = next_status(row.status, row.stripe_status_at, payment)
    if status == "completed" and row.status != "completed":
        problem = _mismatch(row, payment)
        if problem is not None:
            raise _flagged(connection, row, problem, values)
    values |= _status_values(row, status, payment)
    outcome = _write(connection, row, values, payment.payment_intent_id, now)
    return Settled(outcome=outcome, purchase_id=row.id)


def settle_reversal(connection: Connection, seen: Reversal, *, now: datetime) -> Settled:
    """Keep what went back to the payer, and take back, or give back, the credits that belong to it.

    It is kept for a payment that no purchase is known of too: its event may come before the one that
    tells whose it is.  Raises PaymentDoesNotMatch (recorded), BalanceTooLarge.
    """
    lock_intent(connection, seen.payment_intent_id)
    _keep(connection, seen, now)
    row = _locked(connection, _BY_INTENT, seen.payment_intent_id)
    if row is None:
        return Settled(outcome="kept: not a payment of ours, as far as is known")
    outcome = _write(connection, row, {}, seen.payment_intent_id, now)
    return Settled(outcome=outcome, purchase_id=row.id)


def lock_intent(connection: Connection, payment_intent_id: str | None) -> None:
    """Let one transaction at a time settle what concerns a payment.

    The row's lock does not do: which row it is may become known only by what is being settled.
    """
    if payment_intent_id is not None:
        connection.execute(_LOCK_INTENT, {"intent": f"payment:{payment_intent_id}"})


_RANK: Final = {PaymentState.PROCESSING: 0, PaymentState.FAILED: 1}
"""Of two told in the same second, the later: a payment is processed before it fails."""


def next_status(status: str, told_at: datetime | None, payment: Payment) -> str:
    """The purchase's status once the payment's state is known too; `told_at` is what `status` rests on.

    Paid is for good, then cancelled; of processing (pending) and failed, which may alternate, the newer
    one holds.  So every order of the same events ends in the same status.
    """
    if status == "completed" or payment.state is PaymentState.PAID:
        return "completed"
    if status == "cancelled" or payment.state is PaymentState.CANCELLED:
        return "cancelled"
    if payment.state is PaymentState.OPEN:
        return status
    known_rank = 1 if status == "failed" else 0
    is_newer = told_at is None or (payment.at, _RANK[payment.state]) >= (told_at, known_rank)
    if not is_newer:
        return status
    return "failed" if payment.state is PaymentState.FAILED else "pending"


def _status_values(row: Row[Any], status: str, payment: Payment) -> dict[str, Any]:
    values: dict[str, Any] = {"status": status}
    if payment.state in _RANK:
        newest = max(payment.at, row.stripe_status_at or payment.at)
        values["stripe_status_at"] = newest
        if status == "failed" and newest == payment.at and payment.failure_code is not None:
            values["failure_code"] = payment.failure_code
    if status in ("completed", "cancelled"):
        values["next_check_at"] = None
    if status == "completed":
        values["failure_code"] = None
    return values


def _locked(connection: Connection, query: Select[Any], name: str | UUID) -> Row[Any] | None:
    return connection.execute(query, {"name": name}).one_or_none()


def _find(connection: Connection, payment: Payment) -> Row[Any] | None:
    """The purchase, locked: by what Stripe calls it, else by what we wrote into the payment."""
    names: tuple[tuple[Select[Any], str | UUID | None], ...] = (
        (_BY_INTENT, payment.payment_intent_id),
        (_BY_SESSION, payment.checkout_session_id),
        (_BY_ID, payment.purchase_id),
    )
    for query, name in names:
        if name is not None:
            row = _locked(connection, query, name)
            if row is not None:
                return row
    return None


def _is_its_own(row: Row[Any], payment: Payment) -> bool:
    """Whether it is the purchase's one payment, as far as is known."""
    return all(
        known is None or told is None or known == told
        for known, told in (
            (row.stripe_payment_intent_id, payment.payment_intent_id),
            (row.checkout_session_id, payment.checkout_session_id),
        )
    )


def _names(row: Row[Any], payment: Payment) -> dict[str, Any]:
    """Stripe's names for the purchase that were not known before."""
    values: dict[str, Any] = {}
    if row.stripe_payment_intent_id is None and payment.payment_intent_id is not None:
        values["stripe_payment_intent_id"] = payment.payment_intent_id
    if row.checkout_session_id is None and payment.checkout_session_id is not None:
        values["checkout_session_id"] = payment.checkout_session_id
    return values


def _mismatch(row: Row[Any], payment: Payment) -> str | None:
    """Why the money does not fit.  What was not told is unknown, and keeps no paid purchase waiting."""
    if payment.currency is not None and payment.currency != CURRENCY:
        return f"paid in {payment.currency[:3]}, not in {CURRENCY}"
    if payment.paid_cents is not None and payment.paid_cents < row.price_euro_cents:
        return f"paid {payment.paid_cents} cents of {row.price_euro_cents}"
    return None


def _flagged(
    connection: Connection, row: Row[Any], problem: str, values: dict[str, Any] | None = None
) -> PaymentDoesNotMatch:
    """Mark the purchase, for a person to look at; what to raise."""
    marked = {**(values or {}), "problem": problem}
    connection.execute(_CHANGE, {"this_id": row.id, **marked})
    log.error("payment_does_not_match", purchase_id=str(row.id), problem=problem)
    return PaymentDoesNotMatch(problem)


def _keep(connection: Connection, seen: Reversal, now: datetime) -> None:
    columns = purchase_reversals.c
    row = connection.execute(
        select(purchase_reversals).where(columns.stripe_id == seen.stripe_id)
    ).one_or_none()
    known = None if row is None else _reversal(row)
    merged = merge(known, seen)
    if merged != known:
        values = {**msgspec.structs.asdict(merged), "updated_at": now}
        connection.execute(
            insert(purchase_reversals)
            .values(values)
            .on_conflict_do_update(index_elements=[columns.stripe_id], set_=values)
        )


def _reversal(row: Row[Any]) -> Reversal:
    return Reversal(
        stripe_id=row.stripe_id,
        payment_intent_id=row.payment_intent_id,
        kind=ReversalKind(row.kind),
        charge_id=row.charge_id,
        amount_cents=row.amount_cents,
        state=ReversalState(row.state),
        seen_at=row.seen_at,
    )


def _write(
    connection: Connection,
    row: Row[Any],
    values: dict[str, Any],
    payment_intent_id: str | None,
    now: datetime,
) -> str:
    """Write the purchase's new values and, in one list, the postings that follow; the outcome in words."""
    values = dict(values)
    status = values.get("status", row.status)
    words = [status]
    postings: list[Posting] = []
    if status == "completed":
        intent_id = payment_intent_id or row.stripe_payment_intent_id
        if row.status != "completed":
            values["completed_at"] = now
            postings.append(_credit(row, intent_id, now))
            words.append("credited")
        owed = _owed_back(connection, row, intent_id)
        if owed != row.credits_taken_back:
            if row.status == "completed" and (row.problem or "").startswith(TAKEN_OVER):
                raise _flagged(connection, row, f"{TAKEN_OVER} money went back, the old entry does not fit")
            values |= {"credits_taken_back": owed, "take_backs": row.take_backs + 1}
            postings.append(_take_back(row, owed, intent_id, now))
            words.append(f"{owed} of {row.credits} credits taken back")
    if postings:
        [first, *_] = [ledger.accepted(outcome) for outcome in ledger.post(connection, postings, now=now)]
        is_right = first.entry is not None and first.entry.amount == row.credits
        if row.status != "completed" and is_right:
            values["problem"] = None
    if values:
        connection.execute(_CHANGE, {"this_id": row.id, **values})
    webhooks.tell(connection, _events(row, values), now=now)
    return ", ".join(words)


def _events(row: Row[Any], values: dict[str, Any]) -> list[AppEvent]:
    """What apps are told of a purchase's new values."""
    events: list[AppEvent] = []
    if "completed_at" in values:
        events.append(
            PurchaseCompleted(
                user_id=row.user_id,
                purchase_id=row.id,
                package_id=row.package_id,
                credits=row.credits,
                price_euro_cents=row.price_euro_cents,
            )
        )
    if "take_backs" in values:
        taken_back = values["credits_taken_back"]
        events.append(
            PurchaseReversed(
                user_id=row.user_id,
                purchase_id=row.id,
                credits=row.credits,
                credits_taken_back=taken_back,
                change=row.credits_taken_back - taken_back,
            )
        )
    return events


def _owed_back(connection: Connection, row: Row[Any], payment_intent_id: str | None) -> int:
    if payment_intent_id is None:
        return int(row.credits_taken_back)
    found = connection.execute(_REVERSALS_OF, {"intent": payment_intent_id})
    gone = reversed_cents([_reversal(one) for one in found], row.price_euro_cents)
    return credits_owed_back(
        credits_bought=row.credits, price_cents=row.price_euro_cents, reversed_cents=gone
    )


def _credit(row: Row[Any], payment_intent_id: str | None, now: datetime) -> Posting:
    return Posting(
        id=new_id(now),
        user_id=row.user_id,
        type=EntryType.PURCHASE,
        amount=Decimal(row.credits),
        counts_as=CountsAs.EARNED,
        app_id=APP_ID,
        description=f"Purchase of {row.credits} credits",
        metadata={"purchaseId": str(row.id), "paymentIntentId": payment_intent_id},
        posting_key=f"purchase:{row.id}",
        creates_balance=True,
    )


def _take_back(row: Row[Any], owed: int, payment_intent_id: str | None, now: datetime) -> Posting:
    number = row.take_backs + 1
    is_taken = owed > row.credits_taken_back
    return Posting(
        id=new_id(now),
        user_id=row.user_id,
        type=EntryType.PURCHASE,
        amount=Decimal(row.credits_taken_back - owed),
        counts_as=CountsAs.EARNED,
        app_id=APP_ID,
        description="Taken back: the payment was refunded or disputed"
        if is_taken
        else "Given back: the payment stands again",
        metadata={
            "purchaseId": str(row.id),
            "paymentIntentId": payment_intent_id,
            "creditsTakenBack": owed,
        },
        posting_key=f"take-back:{row.id}:{number}",
        may_overdraw=True,
        creates_balance=True,
    )
