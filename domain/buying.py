"""Buying: the way of a new purchase to Stripe and back (law 4).

The row comes first, committed.  Then Stripe is called, outside of transactions, with keys that the row gave:
however often a call is repeated, there is one customer and one payment.  Then its answer is kept.  When no
answer comes, the purchase stays pending, and reconciliation asks what became of it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol, TypeVar
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import Connection

from domain import purchases
from domain.payments import CustomerUnknown, Gateway, PaymentOrder, PreparedIntent, PreparedSession
from domain.purchases import NewCustomer, Wanted

T = TypeVar("T")

log = structlog.get_logger(__name__)


class InTransaction(Protocol):
    """Runs work in a transaction of its own, committed when it returns: the frame's."""

    def __call__(self, work: Callable[[Connection, datetime], T], /) -> T: ...


class Bought(msgspec.Struct, frozen=True, kw_only=True):
    """A purchase that waits for its payer: in their own page (`client_secret`) or on Stripe's."""

    purchase_id: UUID
    client_secret: str | None
    checkout_url: str | None
    price_euro_cents: int
    credits: int


def buy(in_transaction: InTransaction, gateway: Gateway, wanted: Wanted) -> Bought:
    """Begin a purchase, or go on with the one that the idempotency key began.  Blocks while Stripe answers.

    Raises what purchases.begin raises, and PaymentProviderUnavailable or PaymentProviderRefused.
    """
    begun = in_transaction(lambda connection, now: purchases.begin(connection, wanted, now=now))
    order = begun.order
    secret, url = None, begun.checkout_url
    if begun.payment_intent_id is not None and wanted.success_url is None:
        secret = gateway.client_secret(begun.payment_intent_id)
    elif url is None:
        prepared = _prepare(in_transaction, gateway, wanted, order)
        in_transaction(
            lambda connection, _now: purchases.record_prepared(connection, order.purchase_id, prepared)
        )
        if isinstance(prepared, PreparedIntent):
            secret = prepared.client_secret
        else:
            url = prepared.url
    return Bought(
        purchase_id=order.purchase_id,
        client_secret=secret,
        checkout_url=url,
        price_euro_cents=order.price_euro_cents,
        credits=order.credits,
    )


def _prepare(
    in_transaction: InTransaction, gateway: Gateway, wanted: Wanted, order: PaymentOrder
) -> PreparedIntent | PreparedSession:
    customer_id = _customer(in_transaction, gateway, wanted, order, replaces=None)
    try:
        return _ask_for_payment(gateway, wanted, order, customer_id)
    except CustomerUnknown:
        # Somebody deleted the customer at Stripe.
        log.warning("customer_replaced", customer_id=customer_id)
        customer_id = _customer(in_transaction, gateway, wanted, order, replaces=customer_id)
        return _ask_for_payment(gateway, wanted, order, customer_id)


def _ask_for_payment(
    gateway: Gateway, wanted: Wanted, order: PaymentOrder, customer_id: str
) -> PreparedIntent | PreparedSession:
    # With the customer in the key, since a key may be used again only with the same parameters.
    key = f"purchase:{order.purchase_id}:{customer_id}"
    if wanted.success_url is None:
        return gateway.create_intent(order, customer_id=customer_id, key=key)
    return gateway.create_session(
        order,
        customer_id=customer_id,
        success_url=wanted.success_url,
        cancel_url=wanted.cancel_url,
        key=key,
    )


def _customer(
    in_transaction: InTransaction,
    gateway: Gateway,
    wanted: Wanted,
    order: PaymentOrder,
    *,
    replaces: str | None,
) -> str:
    """The person's customer at Stripe, made when there is none; kept with the purchase, before it is used.

    First purchases at once make the same call with the same key, so that Stripe makes one customer.
    """

    def find(connection: Connection, now: datetime) -> str | NewCustomer:
        known = purchases.customer_of(connection, wanted.user_id)
        if known is None or known == replaces:
            return purchases.new_customer(connection, wanted, replaces=replaces, now=now)
        purchases.assign_customer(connection, order.purchase_id, known)
        return known

    found = in_transaction(find)
    if isinstance(found, str):
        return found
    made = gateway.create_customer(user_id=wanted.user_id, email=found.email, key=found.key)

    def keep(connection: Connection, now: datetime) -> str:
        kept = purchases.keep_customer(
            connection, wanted.user_id, made, email=found.email, replaces=replaces, now=now
        )
        purchases.assign_customer(connection, order.purchase_id, kept)
        return kept

    return in_transaction(keep)
