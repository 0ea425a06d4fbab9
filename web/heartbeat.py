"""The front says that it is alive, as workers and schedulers do: operators see how many processes serve."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Final

import structlog
from aiohttp import web
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from domain import heartbeats
from web.batches import Overloaded
from web.bridge import Bridge
from web.deductions import Outage
from web.routing import services_key

ROLE: Final = "web"

LEAVE_SECONDS_MAX: Final = 2
"""How long an end may wait for saying good-bye: without it the process counts as silent after 20 s."""

log: Final = structlog.get_logger()


async def beating(app: web.Application) -> AsyncIterator[None]:
    """Beat from the application's start to its end; made after its services."""
    bridge = app[services_key].bridge
    started_at = datetime.now(UTC)
    task = asyncio.get_running_loop().create_task(_beat(bridge, started_at))
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    with contextlib.suppress(Outage, Overloaded, SQLAlchemyError, TimeoutError):
        async with asyncio.timeout(LEAVE_SECONDS_MAX):
            await bridge.run(_leave)


async def _beat(bridge: Bridge, started_at: datetime) -> None:
    def beat(connection: Connection, now: datetime) -> None:
        heartbeats.beat(connection, ROLE, started_at=started_at, now=now)

    while True:
        try:
            await bridge.run(beat)
        except (Outage, Overloaded, SQLAlchemyError):
            # PostgreSQL is down or not migrated yet, or a crowd waits: requests say so.
            log.debug("no_heartbeat")
        await asyncio.sleep(heartbeats.BEAT_EVERY.total_seconds())


def _leave(connection: Connection, _now: datetime) -> None:
    heartbeats.leave(connection, ROLE)
