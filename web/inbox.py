"""Webhooks on their way to the disk: those that arrive while others are being stored are stored together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg import errors as pg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from domain import stripe_inbox
from domain.database import borrowed, make_async_pool
from domain.nudge import Nudge
from domain.stripe_inbox import Arrival, Received
from domain.telemetry.metrics import BATCHES_WAITING, CONNECTIONS_IN_USE, CONNECTIONS_MAX
from web.batches import Batches
from web.bridge import Bridge
from web.deductions import Outage

log: Final = structlog.get_logger()

EVENTS_PER_BATCH_MAX: Final = 64
"""Events stored in one transaction: a megabyte or two at most, of events as they usually are."""

CONNECTIONS: Final = 2
"""Batches at once: while one waits for the disk, the next one is on its way to it."""

EVENTS_WORTHWHILE: Final = 8
"""As many waiting events make a second batch beside the first."""

EVENTS_WAITING_MAX: Final = 1_000
"""About a second of work.  Beyond it Stripe hears 503, and delivers again later."""

TRIES_MAX: Final = CONNECTIONS + 1
"""How often a batch is sent: each connection may be one that a restart of the database has ended."""

_WAITED_IN_VAIN: Final = (PoolTimeout, pg.LockNotAvailable, pg.QueryCanceled)
"""Took as long as anything may: Stripe waits no longer than for one of them."""

_TOO_MUCH: Final = (pg.ProgramLimitExceeded, pg.StatementTooComplex)
"""An event that is too long for an index, say.  psycopg counts them as the server's trouble; they are the event's."""


class Inbox:
    """Stores events and tells the workers.  Open it, use it, close it before the bridge, all in one event loop.

    It has connections of its own: money that comes in waits for nobody who spends.
    """

    def __init__(self, database_url: str, bridge: Bridge, nudge: Nudge) -> None:
        self._bridge = bridge
        self._nudge = nudge
        self._pool: AsyncConnectionPool[AsyncConnection[Any]] = make_async_pool(
            database_url, size=CONNECTIONS, application_name=bridge.session_name
        )
        self.events: Batches[Arrival, bool] = Batches(
            "webhooks",
            self._store,
            batch_max=EVENTS_PER_BATCH_MAX,
            in_flight_max=CONNECTIONS,
            worthwhile=EVENTS_WORTHWHILE,
            waiting_max=EVENTS_WAITING_MAX,
        )

    async def open(self) -> None:
        """Begin to connect.  A database that is down now is tried again with every event."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        """End what is under way, then disconnect."""
        await self.events.drain()
        await self._pool.close()

    def tell_how_busy(self) -> None:
        """Say what waits and how many connections are in use at this moment, for /metrics."""
        BATCHES_WAITING.labels(self.events.name).set(self.events.waiting)
        stats = self._pool.get_stats()
        CONNECTIONS_IN_USE.labels("inbox").set(stats["pool_size"] - stats["pool_available"])
        CONNECTIONS_MAX.labels("inbox").set(stats["pool_max"])

    async def receive(self, arrived: Arrival) -> Received:
        """Store the event with its job: on the disk when this returns.

        Raises Outage when the database does not answer (the event may be stored: a repeat does no harm), and
        Overloaded when too many are waiting.
        """
        if await self.events.submit(arrived):
            return Received(arrived.id, True)
        # A repeat, or one that the database would not take together with others: by itself, with what that calls for.
        return await self._bridge.run(
            lambda connection, now: stripe_inbox.receive(connection, arrived, now=now)
        )

    async def _store(self, arrived: Sequence[Arrival]) -> list[bool]:
        """Whether each is stored now that was not before."""
        try:
            unseen = await self._send(arrived)
        except psycopg.Error as error:
            if isinstance(error, psycopg.OperationalError) and not isinstance(error, _TOO_MUCH):
                raise Outage(type(error).__name__) from error
            log.warning("events_not_stored_together", size=len(arrived), error=type(error).__name__)
            return [False] * len(arrived)
        stored = []
        for each in arrived:
            stored.append(each.id in unseen)
            if each.id in unseen:
                unseen.discard(each.id)  # of two deliveries in one batch, one is the first
                self._nudge(each.nudges)
        return stored

    async def _send(self, arrived: Sequence[Arrival]) -> set[str]:
        """The ids of those that had no row.  What is sent twice is stored once."""
        for _ in range(TRIES_MAX - 1):
            try:
                async with borrowed(self._pool) as connection:
                    return await stripe_inbox.store_async(connection, arrived)
            except (*_WAITED_IN_VAIN, *_TOO_MUCH):
                raise
            except psycopg.OperationalError as error:
                log.warning("events_sent_again", size=len(arrived), error=type(error).__name__)
        async with borrowed(self._pool) as connection:
            return await stripe_inbox.store_async(connection, arrived)
