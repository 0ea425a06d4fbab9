"""Gift codes: making them, looking them up, redeeming and cancelling them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from domain import gifts
from domain.errors import (
    AnswerForgotten,
    BalanceTooLarge,
    GiftAlreadyClaimed,
    GiftCodeNotFound,
    GiftExpired,
    GiftNotActive,
    GiftNotFound,
    GiftNotOpen,
    GiftReservedForAnother,
    IdempotencyKeyReused,
    InsufficientForGift,
)
from domain.gifts.reading import GIFTS_PER_PAGE_MAX
from domain.idempotency import Answer
from web.bodies import path_text, path_uuid
from web.gift_shapes import (
    CancelledGiftAnswer,
    CreateGiftBody,
    FoundGiftAnswer,
    GiftAnswer,
    PendingGiftAnswer,
    ReceivedGiftAnswer,
    RedeemedGiftAnswer,
    RedeemGiftBody,
)
from web.guessing import counted
from web.once import once
from web.query_numbers import number_schema, query_number
from web.routes.credits import OFFSET_MAX
from web.routing import Access, Call, Query, Routes

routes = Routes("/api/v1/gifts", Access.USER, "Gifts")

PAGE_QUERIES = (
    Query(
        "limit",
        f"How many, newest first: {GIFTS_PER_PAGE_MAX} unless it says fewer",
        number_schema(0),
    ),
    Query("offset", "How many to pass over", number_schema(0)),
)


@routes.add(
    "GET",
    "/{code}",
    answer=FoundGiftAnswer,
    access=Access.OPEN,
    refusals=(GiftCodeNotFound,),
    is_throttled=True,
)
async def look_up(call: Call) -> FoundGiftAnswer:
    """The gift of a code, for whoever has it.  One whose time is over is `expired`."""
    code = path_text(call.request, "code")
    async with counted(call):
        found = await call.services.bridge.run(
            lambda connection, now: gifts.look_up(connection, code, now=now)
        )
    return FoundGiftAnswer.of(found)


@routes.add(
    "POST",
    "",
    alias="/",
    body=CreateGiftBody,
    answer=GiftAnswer,
    status=201,
    refusals=(InsufficientForGift, AnswerForgotten, IdempotencyKeyReused),
)
async def create(call: Call) -> Answer:
    """Make a gift: the caller pays for it now.

    With a `targetEmail` it is `personalized` unless `type` says `simple`: then only that address may redeem it.
    """
    body: CreateGiftBody = call.body
    body.checked()
    base_url = call.services.settings.base_url

    def work(connection: Connection, now: datetime) -> GiftAnswer:
        gift = gifts.create(connection, body.wanted(call.caller, now=now), base_url=base_url, now=now)
        return GiftAnswer.of(gift, base_url=base_url)

    return await once(call, "gift", body.idempotency_key, lambda _connection: call.caller.user_id, work)


@routes.add(
    "POST",
    "/{code}/redeem",
    body=RedeemGiftBody,
    answer=RedeemedGiftAnswer,
    refusals=(
        GiftCodeNotFound,
        GiftNotActive,
        GiftExpired,
        GiftAlreadyClaimed,
        GiftReservedForAnother,
        BalanceTooLarge,
        AnswerForgotten,
        IdempotencyKeyReused,
    ),
    is_throttled=True,
)
async def redeem(call: Call) -> Answer:
    """Take a gift, once."""
    body: RedeemGiftBody = call.body
    code = path_text(call.request, "code")
    redeemer = gifts.Redeemer(
        user_id=call.caller.user_id, email=call.caller.email, app_id=body.source_app_id or None
    )

    def work(connection: Connection, now: datetime) -> RedeemedGiftAnswer:
        return RedeemedGiftAnswer.of(gifts.redeem(connection, code, redeemer, now=now))

    async with counted(call):
        return await once(
            call,
            "redeem-gift",
            body.idempotency_key,
            lambda _connection: call.caller.user_id,
            work,
            path={"code": gifts.normal_code(code)},
        )


@routes.add("GET", "/me/created", answer=list[GiftAnswer], queries=PAGE_QUERIES)
async def created(call: Call) -> list[GiftAnswer]:
    """The gifts that the caller made, newest first."""
    limit, offset = _page(call)
    user_id, base_url = call.caller.user_id, call.services.settings.base_url
    found = await call.services.bridge.run(
        lambda connection, now: gifts.created_by(connection, user_id, limit=limit, offset=offset, now=now)
    )
    return [GiftAnswer.of(gift, base_url=base_url) for gift in found]


@routes.add("GET", "/me/received", answer=list[ReceivedGiftAnswer], queries=PAGE_QUERIES)
async def received(call: Call) -> list[ReceivedGiftAnswer]:
    """The gifts that the caller redeemed, newest first."""
    limit, offset = _page(call)
    user_id = call.caller.user_id
    found = await call.services.bridge.run(
        lambda connection, _now: gifts.received_by(connection, user_id, limit=limit, offset=offset)
    )
    return [ReceivedGiftAnswer.of(one) for one in found]


@routes.add("GET", "/me/pending", answer=list[PendingGiftAnswer])
async def pending(call: Call) -> list[PendingGiftAnswer]:
    """The gifts that wait for the address in the caller's token, newest first: redeem them by their codes."""
    email, base_url = call.caller.email, call.services.settings.base_url
    found = await call.services.bridge.run(
        lambda connection, now: gifts.pending_for(connection, email, now=now)
    )
    return [PendingGiftAnswer.waiting(gift, base_url=base_url) for gift in found]


@routes.add(
    "DELETE", "/{id}", answer=CancelledGiftAnswer, refusals=(GiftNotFound, GiftNotOpen, BalanceTooLarge)
)
async def cancel(call: Call) -> CancelledGiftAnswer:
    """Cancel a gift of the caller's own that nobody took: the credits come back."""
    gift_id, user_id = path_uuid(call.request, "id"), call.caller.user_id
    gift = await call.services.bridge.run(
        lambda connection, now: gifts.cancel(connection, gift_id, user_id, now=now)
    )
    return CancelledGiftAnswer(success=True, refunded_credits=gift.total_credits)


def _page(call: Call) -> tuple[int, int]:
    limit = query_number(call.request, "limit", GIFTS_PER_PAGE_MAX, low=0, high=GIFTS_PER_PAGE_MAX)
    return limit, query_number(call.request, "offset", 0, low=0, high=OFFSET_MAX)
