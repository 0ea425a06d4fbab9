"""A person's own credits."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from domain import ledger, packages
from domain.errors import BalanceNotFound, IdempotencyKeyReused, InsufficientCredits
from domain.ledger.read import ENTRIES_PER_PAGE_MAX
from web.answers import BalanceAnswer, PackageAnswer, TransactionAnswer, UseAnswer
from web.bodies import END, WHOLE_DIGITS_MAX, UseBody, idempotency_key
from web.query_numbers import number_schema, query_number
from web.routes.uses import answer_of, posting_of
from web.routing import Access, Call, Query, Routes

routes = Routes("/api/v1/credits", Access.USER, "Credits")

PAGE_DEFAULT: Final = 50
OFFSET_MAX: Final = 10_000_000

CURSOR: Final = Query(
    "cursor",
    "The `cursor` of the last one seen, instead of `offset`",
    {"type": "string", "pattern": rf"^-?[0-9]{{1,{WHOLE_DIGITS_MAX}}}{END}"},
)

PAGE_QUERIES: Final = (
    Query("limit", "How many, newest first; more than 500 is taken as 500", number_schema(0)),
    Query("offset", "How many to pass over", number_schema(0)),
    CURSOR,
)


def cursor_of(request: web.Request) -> int | None:
    """The version of the last entry seen.  Raises BadRequest."""
    if "cursor" not in request.query:
        return None
    return query_number(request, "cursor", 0, low=-(10**WHOLE_DIGITS_MAX))


@routes.add("GET", "/balance", answer=BalanceAnswer)
async def balance(call: Call) -> BalanceAnswer:
    """The caller's balance; it comes into being with zeros."""
    return BalanceAnswer.of(await call.services.bridge.balance(call.caller.user_id))


@routes.add(
    "POST",
    "/use",
    body=UseBody,
    answer=UseAnswer,
    refusals=(InsufficientCredits, BalanceNotFound, IdempotencyKeyReused),
)
async def use(call: Call) -> UseAnswer:
    """Spend the caller's credits now."""
    body: UseBody = call.body
    posting = posting_of(body, call.caller.user_id, idempotency_key(call.request, body.idempotency_key))
    return answer_of(await call.services.bridge.deduct(posting))


@routes.add("GET", "/transactions", answer=list[TransactionAnswer], queries=PAGE_QUERIES)
async def transactions(call: Call) -> list[TransactionAnswer]:
    """The caller's entries, newest first."""
    limit = query_number(call.request, "limit", PAGE_DEFAULT, low=0, high=ENTRIES_PER_PAGE_MAX)
    offset = query_number(call.request, "offset", 0, low=0, high=OFFSET_MAX)
    cursor = cursor_of(call.request)
    if cursor is not None:
        offset = 0
    user_id = call.caller.user_id
    page = await call.services.bridge.run(
        lambda connection, _now: ledger.entries_of(
            connection, user_id, limit=limit, offset=offset, before_version=cursor
        )
    )
    return [TransactionAnswer.of(entry) for entry in page]


@routes.add("GET", "/packages", answer=list[PackageAnswer], access=Access.OPEN)
async def packages_for_sale(call: Call) -> list[PackageAnswer]:
    """What can be bought."""
    found = await call.services.bridge.run(lambda connection, _now: packages.active_packages(connection))
    return [PackageAnswer.of(package) for package in found]
