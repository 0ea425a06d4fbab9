"""What asks for a gift by its code is counted, so that codes cannot be guessed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from domain.errors import GiftCodeNotFound
from web.client_address import client_address
from web.routing import Call
from web.throttle import Client


@asynccontextmanager
async def counted(call: Call) -> AsyncIterator[None]:
    """Around whatever asks for a code: counts it, and a GiftCodeNotFound as a miss.

    Raises TooManyRequests, before anything is done.
    """
    address = client_address(call.request, forwarded_hops=call.services.settings.forwarded_hops)
    client = Client(address, call.caller.user_id)
    await call.services.throttle.admit(client)
    try:
        yield
    except GiftCodeNotFound:
        await call.services.throttle.count_miss(client)
        raise
