"""The overview: in ten seconds, whether people's money is safe.  It stays up whatever is down."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from aiohttp import web

from domain import operators
from domain.jobs import Queue
from domain.operators import Overview
from nudges.queues import QueueSeen
from web.batches import Overloaded
from web.deductions import Outage
from web.operators.pages import Visit
from web.operators.redis import RedisDown, ask_redis
from web.operators.speed import speed_key
from web.operators.verdict import verdict

FRESH_SECONDS: Final = 2.0
"""For so long an overview is shown again: pages that live ask every few seconds."""

STALE_SECONDS: Final = 8.0
"""For so long it is still shown while a newer one is made: nobody waits who looks all the time."""

QUEUE_NAMES: Final = [queue.value for queue in Queue]


class Overviews:
    """The newest overview; one question to the database at a time, however many look."""

    def __init__(self) -> None:
        self._seen: Overview | None = None
        self._made_at = float("-inf")
        self._making: asyncio.Task[None] | None = None

    async def get(self, visit: Visit) -> Overview | None:
        """The overview; None while PostgreSQL does not answer."""
        age = time.monotonic() - self._made_at
        if age >= FRESH_SECONDS:
            if self._making is None:
                self._making = asyncio.get_running_loop().create_task(self._make(visit))
            if age >= STALE_SECONDS or self._seen is None:
                await asyncio.shield(self._making)
        return self._seen

    async def _make(self, visit: Visit) -> None:
        try:
            self._seen = await visit.read(lambda connection, now: operators.overview(connection, now=now))
        except (Outage, Overloaded):
            self._seen = None
        finally:
            self._made_at = time.monotonic()
            self._making = None


overviews_key: Final = web.AppKey("operator_overviews", Overviews)


async def overview(visit: Visit) -> web.StreamResponse:
    """GET /ops."""
    app = visit.request.app
    seen, queues = await asyncio.gather(app[overviews_key].get(visit), queues_or_none(visit.request))
    return visit.show(
        "overview.html",
        seen=seen,
        queues=queues,
        speed=app[speed_key].speed(),
        verdict=verdict(seen, is_redis_up=queues is not None),
    )


async def queues_or_none(request: web.Request) -> list[QueueSeen] | None:
    """Dramatiq's queues; None while Redis does not answer."""
    try:
        return await ask_redis(request, lambda queues: queues.seen(QUEUE_NAMES))
    except RedisDown:
        return None
