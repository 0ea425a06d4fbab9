"""A person buys credits, and sees what became of it."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from domain import buying, purchases
from domain.errors import (
    AnswerForgotten,
    IdempotencyKeyReused,
    PackageNotFound,
    PaymentsNotConfigured,
    PurchaseLapsed,
    PurchaseNotFound,
)
from domain.purchases import PURCHASES_PER_PAGE_MAX, Purchase, Wanted
from web.answers import Answer, Timestamp, timestamp, timestamp_or_null
from web.bodies import IdempotencyKey, idempotency_key, path_uuid
from web.query_numbers import query_number
from web.redirects import check_redirect
from web.routes.credits import OFFSET_MAX, PAGE_QUERIES
from web.routing import Access, Call, Routes

routes = Routes("/api/v1/credits", Access.USER, "Credits")

RedirectUrl = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=2000,
        description="On an origin of CORS_ORIGINS or BASE_URL; Stripe fills in `{CHECKOUT_SESSION_ID}`",
        examples=["https://mana.how/credits?session={CHECKOUT_SESSION_ID}"],
    ),
]


class PurchaseBody(msgspec.Struct, kw_only=True, rename="camel"):
    """Buy a package: in the caller's own page, or on Stripe's when there is a `successUrl` to come back to."""

    package_id: UUID
    success_url: RedirectUrl | None = None
    cancel_url: RedirectUrl | None = None
    idempotency_key: IdempotencyKey | None = None


class BoughtAnswer(Answer, omit_defaults=True):
    """A purchase that waits to be paid: with `clientSecret` for Stripe's elements, or at `checkoutUrl`."""

    purchase_id: UUID
    amount: Annotated[int, Meta(description="Euro cents", examples=[500])]
    credits: int
    client_secret: str | None = None
    checkout_url: str | None = None


class PurchaseAnswer(Answer):
    """A purchase; `status` is pending, completed, failed or cancelled."""

    id: UUID
    user_id: str
    package_id: UUID | None
    credits: int
    price_euro_cents: int
    stripe_payment_intent_id: str | None
    stripe_customer_id: str | None
    status: str
    metadata: dict[str, object] | None
    created_at: Timestamp
    completed_at: Timestamp | None
    failure_code: str | None
    credits_taken_back: int

    @classmethod
    def of(cls, purchase: Purchase) -> PurchaseAnswer:
        """From the domain's purchase."""
        plain = msgspec.structs.asdict(purchase)
        created, completed = timestamp(purchase.created_at), timestamp_or_null(purchase.completed_at)
        return cls(**{**plain, "created_at": created, "completed_at": completed})


@routes.add(
    "POST",
    "/purchase",
    body=PurchaseBody,
    answer=BoughtAnswer,
    refusals=(PackageNotFound, PaymentsNotConfigured, PurchaseLapsed, AnswerForgotten, IdempotencyKeyReused),
)
async def buy(call: Call) -> BoughtAnswer:
    """Begin to buy a package.  The credits come when Stripe says that it is paid."""
    body: PurchaseBody = call.body
    settings = call.services.settings
    for field, url in (("successUrl", body.success_url), ("cancelUrl", body.cancel_url)):
        if url is not None:
            check_redirect(field, url, (*settings.cors_origins, settings.base_url))
    wanted = Wanted(
        user_id=call.caller.user_id,
        email=call.caller.email or None,
        package_id=body.package_id,
        success_url=body.success_url,
        cancel_url=body.cancel_url,
        idempotency_key=idempotency_key(call.request, body.idempotency_key),
    )
    bought = await call.services.outside.run(
        lambda in_transaction, gateway: buying.buy(in_transaction, gateway, wanted)
    )
    return BoughtAnswer(
        purchase_id=bought.purchase_id,
        amount=bought.price_euro_cents,
        credits=bought.credits,
        client_secret=bought.client_secret,
        checkout_url=bought.checkout_url,
    )


@routes.add("GET", "/purchases", answer=list[PurchaseAnswer], queries=PAGE_QUERIES[:2])
async def own_purchases(call: Call) -> list[PurchaseAnswer]:
    """The caller's purchases, newest first."""
    user_id = call.caller.user_id
    limit = query_number(call.request, "limit", PURCHASES_PER_PAGE_MAX, low=0, high=PURCHASES_PER_PAGE_MAX)
    offset = query_number(call.request, "offset", 0, low=0, high=OFFSET_MAX)
    found = await call.services.bridge.run(
        lambda connection, _now: purchases.purchases_of(connection, user_id, limit=limit, offset=offset)
    )
    return [PurchaseAnswer.of(purchase) for purchase in found]


@routes.add("GET", "/purchase/{id}", answer=PurchaseAnswer, refusals=(PurchaseNotFound,))
async def own_purchase(call: Call) -> PurchaseAnswer:
    """One purchase of the caller's."""
    user_id, purchase_id = call.caller.user_id, path_uuid(call.request, "id")
    found = await call.services.bridge.run(
        lambda connection, _now: purchases.purchase_of(connection, user_id, purchase_id)
    )
    return PurchaseAnswer.of(found)
