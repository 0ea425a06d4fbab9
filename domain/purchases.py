"""Purchases: a package, bought by a person; from the order to what the owner sees of it.

What Stripe tells of a purchase is the business of domain.settling, the way to Stripe that of domain.buying.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import Connection, select, update
from sqlalchemy.dialects.postgresql import insert

from domain import idempotency, packages
from domain.errors import AnswerForgotten, PurchaseLapsed, PurchaseNotFound
from domain.idempotency import Key
from domain.ids import new_id
from domain.payments import PaymentOrder, PreparedIntent, PreparedSession
from domain.tables import purchases, stripe_customers

FIRST_CHECK_AFTER: Final = timedelta(minutes=15)
"""When Stripe is first asked about a purchase that no event told of (issue B)."""

PREPARED_WITHIN: Final = timedelta(hours=23)
"""How long a purchase may be begun again with Stripe: it keeps idempotency keys for at least a day
(docs.stripe.com/api/idempotent_requests), after which the same key would make a second payment."""

PURCHASES_PER_PAGE_MAX: Final = 500

_OPERATION: Final = "purchase"
_NEW_CUSTOMER: Final = "new-customer"


class Purchase(msgspec.Struct, frozen=True, kw_only=True):
    """A purchase as its owner sees it.  `credits_taken_back` are those of refunds and disputes."""

    id: UUID
    user_id: str
    package_id: UUID | None
    credits: int
    price_euro_cents: int
    stripe_payment_intent_id: str | None
    stripe_customer_id: str | None
    status: str
    metadata: dict[str, Any] | None
    created_at: datetime
    completed_at: datetime | None
    failure_code: str | None
    credits_taken_back: int


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a person asks for; with a `success_url` they pay on Stripe's own page and come back to it."""

    user_id: str
    email: str | None
    package_id: UUID
    success_url: str | None = None
    cancel_url: str | None = None
    idempotency_key: str | None = None


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """A purchase that has its row, and as much of Stripe's side as is known."""

    order: PaymentOrder
    payment_intent_id: str | None
    checkout_url: str | None


_COLUMNS: Final = tuple(purchases.c[name] for name in Purchase.__struct_fields__)


def purchases_of(
    connection: Connection, user_id: str, *, limit: int = PURCHASES_PER_PAGE_MAX, offset: int = 0
) -> list[Purchase]:
    """A page of a person's purchases, newest first; PURCHASES_PER_PAGE_MAX at most."""
    query = (
        select(*_COLUMNS)
        .where(purchases.c.user_id == user_id)
        .order_by(purchases.c.created_at.desc(), purchases.c.id.desc())
        .limit(min(limit, PURCHASES_PER_PAGE_MAX))
        .offset(offset)
    )
    return [Purchase(**row._asdict()) for row in connection.execute(query)]


def purchase_of(connection: Connection, user_id: str, purchase_id: UUID) -> Purchase:
    """One purchase of a person.  Raises PurchaseNotFound, for somebody else's too."""
    query = select(*_COLUMNS).where(purchases.c.id == purchase_id, purchases.c.user_id == user_id)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise PurchaseNotFound
    return Purchase(**row._asdict())


def begin(connection: Connection, wanted: Wanted, *, now: datetime) -> Begun:
    """Write the purchase, pending, with the package's credits and price as they are now.

    A repeat of an idempotency key is the first purchase again.
    Raises PackageNotFound, IdempotencyKeyReused, PurchaseLapsed for a repeat that comes too late.
    """
    key = None
    if wanted.idempotency_key is not None:
        key = Key(user_id=wanted.user_id, operation=_OPERATION, key=wanted.idempotency_key)
    request = {
        "packageId": str(wanted.package_id),
        "successUrl": wanted.success_url,
        "cancelUrl": wanted.cancel_url,
    }

    def insert_purchase() -> dict[str, Any]:
        return {"purchaseId": str(_insert(connection, wanted, now))}

    answer = idempotency.once(connection, key, request, insert_purchase, now=now)
    return _begun(connection, UUID(answer["purchaseId"]), now)


def _insert(connection: Connection, wanted: Wanted, now: datetime) -> UUID:
    package = packages.for_sale(connection, wanted.package_id)
    purchase_id = new_id(now)
    connection.execute(
        purchases.insert().values(
            id=purchase_id,
            user_id=wanted.user_id,
            package_id=package.id,
            credits=package.credits,
            price_euro_cents=package.price_euro_cents,
            metadata={"packageName": package.name, "stripePriceId": package.stripe_price_id},
            kind="payment_intent" if wanted.success_url is None else "checkout_session",
            created_at=now,
            next_check_at=now + FIRST_CHECK_AFTER,
        )
    )
    return purchase_id


def _begun(connection: Connection, purchase_id: UUID, now: datetime) -> Begun:
    row = connection.execute(select(purchases).where(purchases.c.id == purchase_id)).one()
    is_prepared = row.stripe_payment_intent_id is not None or row.checkout_url is not None
    if not is_prepared and row.created_at + PREPARED_WITHIN < now:
        raise PurchaseLapsed
    order = PaymentOrder(
        purchase_id=row.id,
        user_id=row.user_id,
        package_id=row.package_id,
        package_name=row.metadata["packageName"],
        credits=row.credits,
        price_euro_cents=row.price_euro_cents,
        stripe_price_id=row.metadata["stripePriceId"],
    )
    return Begun(order=order, payment_intent_id=row.stripe_payment_intent_id, checkout_url=row.checkout_url)


def record_prepared(
    connection: Connection, purchase_id: UUID, prepared: PreparedIntent | PreparedSession
) -> None:
    """Keep what Stripe calls the payment.  An event may have told it before; then nothing changes."""
    values: dict[str, Any]
    if isinstance(prepared, PreparedIntent):
        values = {"stripe_payment_intent_id": prepared.payment_intent_id}
        is_unknown = purchases.c.stripe_payment_intent_id.is_(None)
    else:
        values = {"checkout_session_id": prepared.checkout_session_id, "checkout_url": prepared.url}
        is_unknown = purchases.c.checkout_url.is_(None)
    connection.execute(update(purchases).where(purchases.c.id == purchase_id, is_unknown).values(values))


def customer_of(connection: Connection, user_id: str) -> str | None:
    """Stripe's id of a person who bought before."""
    query = select(stripe_customers.c.stripe_customer_id).where(stripe_customers.c.user_id == user_id)
    found: str | None = connection.execute(query).scalar_one_or_none()
    return found


class NewCustomer(msgspec.Struct, frozen=True, kw_only=True):
    """A customer that is to be made at Stripe, with this address, under this key."""

    email: str | None
    key: str


def new_customer(
    connection: Connection, wanted: Wanted, *, replaces: str | None, now: datetime
) -> NewCustomer:
    """What the person's customer is made with: what the first of requests at once says.

    Their tokens may have different addresses, and Stripe takes a key again only with the same parameters.
    `replaces` is a customer that Stripe does not know any more.
    """
    key = Key(user_id=wanted.user_id, operation=_NEW_CUSTOMER, key=replaces or "first")
    first: idempotency.Answer = {"email": wanted.email, "key": f"customer:{new_id(now)}"}
    # Once forgotten here it is long forgotten by Stripe, too, and nobody else is at it any more.
    with suppress(AnswerForgotten):
        first = idempotency.once(connection, key, None, lambda: first, now=now)
    return NewCustomer(**first)


def keep_customer(
    connection: Connection,
    user_id: str,
    customer_id: str,
    *,
    email: str | None,
    replaces: str | None,
    now: datetime,
) -> str:
    """Remember a person's customer id, unless another request was first; the one that is kept.

    `replaces` is one that Stripe does not know any more.
    """
    statement = insert(stripe_customers).values(
        user_id=user_id, stripe_customer_id=customer_id, email=email, created_at=now, updated_at=now
    )
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[stripe_customers.c.user_id],
            set_={"stripe_customer_id": customer_id, "email": email, "updated_at": now},
            where=stripe_customers.c.stripe_customer_id == replaces,
        )
    )
    kept = customer_of(connection, user_id)
    if kept is None:
        raise RuntimeError("the customer just kept is not there")
    return kept


def assign_customer(connection: Connection, purchase_id: UUID, customer_id: str) -> None:
    """Keep for whom Stripe is about to be asked: should its answer be lost, the payment is found by it."""
    connection.execute(
        update(purchases).where(purchases.c.id == purchase_id).values(stripe_customer_id=customer_id)
    )
