"""People, as administrators see and help them: search, one person's page, adjustments, sync, erasure, exports."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Final

import msgspec
from aiohttp import web
from msgspec import Meta
from sqlalchemy import Connection

from domain import ledger, operators
from domain.errors import (
    AdjustmentTooLarge,
    BalanceNotFound,
    BalanceTooLarge,
    InsufficientCredits,
    SyncNotFound,
    SyncNotGifted,
)
from domain.gifts import Gift, ReceivedGift
from domain.operators import exporting
from domain.operators.acting import Command
from domain.operators.adjusting import AdjustCredits, Direction
from domain.operators.commands import GiftSync, RevokeSync
from domain.operators.erasing import ErasePerson
from domain.operators.exporting import PERIOD_DEFAULT, PERIOD_MAX, ExportFormat, Selection
from domain.operators.people import Found, Person, PersonList, ReservationSeen, list_of
from web.answers import TransactionAnswer
from web.bodies import Credits, IdempotencyKey, bad_field, idempotency_key, path_text
from web.operators.actions import Reason, add_action, operator_of
from web.operators.queries import (
    PAGE,
    PERIOD,
    choice_query,
    limit_of,
    offset_of,
    query_choice,
    query_text,
    query_time,
    text_query,
)
from web.operators.streaming import stream
from web.operators.wire import show, shown
from web.routes.credits import CURSOR, cursor_of
from web.routing import Access, Call, Routes

routes = Routes("/api/v1/admin", Access.ADMIN, "Operators")

GiveOrTake = Annotated[Direction, Meta(description="Whether credits are given or taken back")]
BEGINNING: Final = datetime.min.replace(tzinfo=UTC)
"""Of time, as far as Python knows."""

MayOverdraw = Annotated[bool, Meta(description="Whether taking back may leave a debt")]


class AdjustBody(msgspec.Struct, kw_only=True, rename="camel"):
    """Give credits, or take them back, and why.  The idempotency key is needed, here or in the header."""

    direction: GiveOrTake
    amount: Credits
    reason: Reason
    may_overdraw: MayOverdraw = False
    idempotency_key: IdempotencyKey | None = None


class AdjustPreviewBody(msgspec.Struct, kw_only=True, rename="camel"):
    """Give credits, or take them back."""

    direction: GiveOrTake
    amount: Credits
    may_overdraw: MayOverdraw = False


@routes.add(
    "GET",
    "/people",
    answer=shown(list[Found]),
    queries=(
        text_query(
            "q", "A user id, an e-mail address, a gift code, or the id of an entry, a payment intent, …"
        ),
    ),
)
async def find_people(call: Call) -> Any:
    """The people that a key leads to, and what the key turned out to be."""
    key = query_text(call.request, "q") or ""
    return show(await call.services.bridge.run(lambda c, _now: operators.find(c, key)))


@routes.add("GET", "/people/{userId}", answer=shown(Person))
async def one_person(call: Call) -> Any:
    """Everything about one person; of each list the newest ones."""
    user_id = path_text(call.request, "userId")
    return show(await call.services.bridge.run(lambda c, now: operators.person(c, user_id, now=now)))


@routes.add(
    "GET",
    "/people/{userId}/entries",
    answer=list[TransactionAnswer],
    queries=(*PAGE, CURSOR),
)
async def entries_of_person(call: Call) -> list[TransactionAnswer]:
    """A person's entries, the newest first."""
    user_id = path_text(call.request, "userId")
    limit, offset = limit_of(call.request), offset_of(call.request)
    before = cursor_of(call.request)
    if before is not None:
        offset = 0
    page = await call.services.bridge.run(
        lambda c, _now: ledger.entries_of(c, user_id, limit=limit, offset=offset, before_version=before)
    )
    return [TransactionAnswer.of(entry) for entry in page]


def _add_list(path: str, which: PersonList, answer: Any, words: str) -> None:
    async def rows(call: Call) -> Any:
        user_id = path_text(call.request, "userId")
        limit, offset = limit_of(call.request), offset_of(call.request)
        return show(
            await call.services.bridge.run(
                lambda c, now: list_of(c, user_id, which, now=now, limit=limit, offset=offset)
            )
        )

    rows.__name__, rows.__doc__ = f"{which.value.replace('-', '_')}_of_person", words
    routes.add("GET", f"/people/{{userId}}/{path}", answer=shown(answer), queries=PAGE)(rows)


_add_list(
    "reservations",
    PersonList.RESERVATIONS,
    list[ReservationSeen],
    "A person's reservations, the newest first.",
)
_add_list("gifts-made", PersonList.GIFTS_MADE, list[Gift], "The gifts that a person made, the newest first.")
_add_list(
    "gifts-received",
    PersonList.GIFTS_RECEIVED,
    list[ReceivedGift],
    "The gifts that a person redeemed, the newest first.",
)


def adjust_credits(call: Call) -> Command:
    """Give a person credits, or take them back, through the ledger's door; at most OPS_ADJUST_MAX at once."""
    body: AdjustBody | AdjustPreviewBody = call.body
    key = "preview"
    if isinstance(body, AdjustBody):
        given = idempotency_key(call.request, body.idempotency_key)
        if given is None:
            raise bad_field("idempotencyKey", "is required")
        key = given
    return AdjustCredits(
        user_id=path_text(call.request, "userId"),
        direction=body.direction,
        amount=Decimal(body.amount),
        key=key,
        ceiling=call.services.settings.ops_adjust_max,
        may_overdraw=body.may_overdraw,
    )


def gift_sync(call: Call) -> Command:
    """Give a person sync for nothing until it is revoked; a paid period is kept for then."""
    return GiftSync(user_id=path_text(call.request, "userId"))


def revoke_sync(call: Call) -> Command:
    """Take a gift of sync back; what was left of a paid period goes on."""
    return RevokeSync(user_id=path_text(call.request, "userId"))


def erase_person(call: Call) -> Command:
    """Erase a person's data; the ledger's amounts stay under a pseudonym.  It cannot be undone."""
    return ErasePerson(user_id=path_text(call.request, "userId"))


add_action(
    routes,
    "/people/{userId}/adjust",
    adjust_credits,
    body=AdjustBody,
    preview_body=AdjustPreviewBody,
    refusals=(AdjustmentTooLarge, BalanceNotFound, InsufficientCredits, BalanceTooLarge),
)
add_action(routes, "/people/{userId}/gift-sync", gift_sync)
add_action(routes, "/people/{userId}/revoke-sync", revoke_sync, refusals=(SyncNotFound, SyncNotGifted))
add_action(routes, "/people/{userId}/erase", erase_person)


@routes.add(
    "GET",
    "/export/entries",
    answer=str,
    queries=(
        text_query("userId", "Whose entries; without it a period of everybody's"),
        *PERIOD,
        choice_query("format", "CSV without it", ExportFormat),
    ),
)
async def export_entries(call: Call) -> web.StreamResponse:
    """The entries of a person, or of everybody in a period (a year at most, else the last day), as a file.

    It is streamed, and written into the audit.  A file that breaks off is incomplete: ask again.
    """
    selection, wanted = _selection(call), query_choice(call.request, "format", ExportFormat)
    wanted = wanted or ExportFormat.CSV
    by = operator_of(call)
    await call.services.bridge.run(
        lambda c, now: exporting.record_export(c, selection, wanted, by=by, now=now)
    )

    def produce(connection: Connection, _now: datetime) -> Iterator[bytes]:
        return exporting.export(connection, selection, wanted)

    return await stream(call, produce, content_type=wanted.content_type, filename=f"entries.{wanted.value}")


def _selection(call: Call) -> Selection:
    request = call.request
    user_id = query_text(request, "userId")
    since, until = query_time(request, "since"), query_time(request, "until")
    if user_id is None:
        until = until or datetime.now(UTC)
        since = since or max(until, BEGINNING + PERIOD_DEFAULT) - PERIOD_DEFAULT
    if since is not None and until is not None:
        if until <= since:
            raise bad_field("until", "must be after since")
        if user_id is None and until - since > PERIOD_MAX:
            raise bad_field("until", f"must be at most {PERIOD_MAX.days} days after since")
    return Selection(user_id=user_id, since=since, until=until)
