"""The application's look into Dramatiq's queues."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from aiohttp import web

from nudges.queues import Queues
from web.routing import services_key

queues_key: Final = web.AppKey("queues", Queues)


async def dramatiq_queues(app: web.Application) -> AsyncIterator[None]:
    """From the application's start to its end; connects when it is first asked."""
    app[queues_key] = Queues(app[services_key].settings.redis_url)
    yield
    await asyncio.to_thread(app[queues_key].close)
