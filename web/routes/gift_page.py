"""The page behind a gift's link."""

from __future__ import annotations

import structlog
from aiohttp import web

from domain import gifts
from domain.errors import GiftCodeNotFound
from web.batches import Overloaded
from web.bodies import BadRequest, path_text
from web.deductions import Outage
from web.errors import RETRY_AFTER_SECONDS
from web.gift_page import Outcome, page_response
from web.guessing import counted
from web.openapi import Html
from web.routing import Access, Call, Routes
from web.throttle import TooManyRequests

routes = Routes("/g", Access.OPEN, "Gifts")

log = structlog.get_logger()


@routes.add("GET", "/{code}", answer=Html, further={404: Html, 429: Html, 503: Html})
async def page(call: Call) -> web.Response:
    """A gift as a page for people: who gives, how much, and the way to the app.  German or English."""
    wait_seconds: int | None = None
    shown: gifts.Gift | Outcome
    try:
        async with counted(call):
            shown = await _look_up(call)
    except GiftCodeNotFound:
        shown = Outcome.UNKNOWN
    except TooManyRequests as refusal:
        shown, wait_seconds = Outcome.TOO_MANY, refusal.retry_after_seconds
    except (Outage, Overloaded) as error:
        log.warning("outage", route="/g/{code}", error=str(error))
        shown, wait_seconds = Outcome.UNAVAILABLE, RETRY_AFTER_SECONDS
    return page_response(
        shown,
        app_url=call.services.settings.app_url,
        accept_language=call.request.headers.get("Accept-Language", ""),
        retry_after_seconds=wait_seconds,
    )


async def _look_up(call: Call) -> gifts.Gift:
    try:
        code = path_text(call.request, "code")
    except BadRequest:
        raise GiftCodeNotFound from None
    return await call.services.bridge.run(lambda connection, now: gifts.look_up(connection, code, now=now))
