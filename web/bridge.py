"""From the event loop to the database: deductions and balance reads in batches, all else on threads.

The domain is synchronous; here, and only here, the front waits for it.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Final, TypeVar

import psycopg
from psycopg import errors as pg
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection

from domain import ledger
from domain.database import (
    CONNECT_TIMEOUT_SECONDS,
    borrowed,
    connections_in_use,
    connections_max,
    make_async_pool,
    make_engine,
    make_pooled_engine,
    transaction,
)
from domain.ledger import Figures, Outcome, Posting
from domain.nudge import Nudge
from domain.settings import Settings
from domain.telemetry import traces
from domain.telemetry.metrics import BATCHES_WAITING, COLD_WAITING, CONNECTIONS_IN_USE, CONNECTIONS_MAX
from web.batches import Batches, Overloaded
from web.deductions import Deductions, Outage

POSTINGS_PER_BATCH_MAX: Final = 256
"""Deductions in one batch: the fixed 0.3 ms of a batch are then a thirtieth of its work, and a longer one holds its
locks longer."""

BATCHES_IN_FLIGHT_MAX: Final = 3
"""Batches at once, at most.  With three under way from the start 32 connections got 5,900 deductions a second,
with the next one waiting until it is worthwhile 8,900 (two cores, the load generator on them too)."""

DEDUCTIONS_WORTHWHILE: Final = 16
"""As many waiting deductions make a second batch beside the first: the fixed part of a batch is then less than the
deductions' own."""

PERSONS_SHARE_MAX: Final = 32
"""Deductions of one person in a batch: as many as 32 callers can have under way, and answered within a few
milliseconds, so that the callers of others hear soon."""

PERSONS_WAITING_MAX: Final = 1_000
"""Deductions of one person waiting: more than any app has connections for one person, and about a tenth of a second of
work.  While somebody holds the balance for long, they are what waits in vain."""

DEDUCTIONS_WAITING_MAX: Final = 4_000
"""Deductions waiting, without those beyond a person's share: about a second of work.  Beyond it a caller hears 503 now
instead of later."""

CALLERS_BATCHES_IN_FLIGHT_MAX: Final = 2
"""Lists that callers sent as such, at once; they share the connections of the other batches."""

CALLERS_BATCHES_WAITING_MAX: Final = 32
"""Such lists waiting: 16,000 deductions, about a second of work."""

READS_PER_BATCH_MAX: Final = 500
"""Balances read in one query."""

READS_WAITING_MAX: Final = 20_000
"""Reads waiting: about a second of work."""

THREADS: Final = 8
"""Cold requests at once; as many connections."""

RUNS_WAITING_MAX: Final = 1_000
"""Cold requests under way or waiting: about two seconds of work.  Beyond it a caller hears 503 now."""

LOCK_SECONDS_MAX: Final = 1
"""How long a batch waits for balances that others hold: our own transactions hold them for milliseconds, and
beyond it the people whose balances are free are served without those whose are not."""

COLD_LOCK_SECONDS_MAX: Final = 2
"""How long a statement of a cold request waits for what others hold: behind it everybody's cold requests wait for a
thread.  Longer than a batch does, for its turn may come after that of all other threads."""

TRIES_MAX: Final = 5
"""How often a transaction that lost a race (a deadlock, a serialization failure) is run."""

T = TypeVar("T")

_LOST_RACES: Final = (pg.DeadlockDetected, pg.SerializationFailure, pg.UniqueViolation)


class Bridge:
    """The front's way to the domain.  Open it, use it, close it, all in one event loop."""

    def __init__(self, settings: Settings, nudge: Nudge) -> None:
        self._nudge = nudge
        # Tells our connections from those of another process, when one of them has to be ended.
        self.session_name = name = f"mana-web-{os.urandom(4).hex()}"
        self.engine = (make_engine if settings.pooler_url is None else make_pooled_engine)(
            settings.pooler_url or settings.database_url,
            pool_size=THREADS,
            application_name=name,
            lock_timeout_seconds=COLD_LOCK_SECONDS_MAX,
        )
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="domain")
        self._pool = make_async_pool(
            settings.database_url,
            size=BATCHES_IN_FLIGHT_MAX + CALLERS_BATCHES_IN_FLIGHT_MAX + 1,
            application_name=name,
            lock_timeout_seconds=LOCK_SECONDS_MAX,
        )
        self._deductions = Deductions(self._pool, name)
        self._lists_waiting = 0
        self._runs_waiting = 0
        self._together = asyncio.Semaphore(CALLERS_BATCHES_IN_FLIGHT_MAX)
        self.deductions: Batches[Posting, Outcome] = Batches(
            "deductions",
            self._deductions.post,
            batch_max=POSTINGS_PER_BATCH_MAX,
            in_flight_max=BATCHES_IN_FLIGHT_MAX,
            waiting_max=DEDUCTIONS_WAITING_MAX,
            worthwhile=DEDUCTIONS_WORTHWHILE,
            whose=lambda posting: posting.user_id,
            share_max=PERSONS_SHARE_MAX,
            crowd_max=PERSONS_WAITING_MAX,
        )
        self.balances: Batches[str, Figures | None] = Batches(
            "balances",
            self._read_balances,
            batch_max=READS_PER_BATCH_MAX,
            in_flight_max=1,
            waiting_max=READS_WAITING_MAX,
            worthwhile=READS_PER_BATCH_MAX,
        )

    async def open(self) -> None:
        """Begin to connect.  A database that is down now is tried again with every request."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        """End what is under way, then disconnect."""
        await self.deductions.drain()
        await self.balances.drain()
        await self._pool.close()
        await asyncio.to_thread(self._threads.shutdown)
        self.engine.dispose()

    def tell_how_busy(self) -> None:
        """Say what waits and how many connections are in use at this moment, for /metrics."""
        for batches in (self.deductions, self.balances):
            BATCHES_WAITING.labels(batches.name).set(batches.waiting)
        COLD_WAITING.set(self._runs_waiting)
        stats = self._pool.get_stats()
        CONNECTIONS_IN_USE.labels("hot").set(stats["pool_size"] - stats["pool_available"])
        CONNECTIONS_MAX.labels("hot").set(stats["pool_max"])
        CONNECTIONS_IN_USE.labels("cold").set(connections_in_use(self.engine))
        CONNECTIONS_MAX.labels("cold").set(connections_max(self.engine))

    async def run(self, work: Callable[[Connection, datetime], T]) -> T:
        """Run domain work in a transaction of its own, on a thread; committed when this returns.

        `work` touches nothing but the database: it runs again when its transaction lost a race.
        Raises the domain's refusals, Outage when the database does not answer, and Overloaded when too much
        is waiting.
        """
        if self._runs_waiting >= RUNS_WAITING_MAX:
            raise Overloaded
        self._runs_waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, traces.carried(self.run_committed), work)
        finally:
            self._runs_waiting -= 1

    def run_committed(self, work: Callable[[Connection, datetime], T]) -> T:
        """The same, on the calling thread, which waits."""
        attempt = 1
        while True:
            try:
                with transaction(self.engine, self._nudge) as connection:
                    return work(connection, datetime.now(UTC))
            except NoConnection as error:
                raise Outage("no connection") from error
            except DBAPIError as error:
                if isinstance(error.orig, _LOST_RACES) and attempt < TRIES_MAX:
                    attempt += 1
                elif isinstance(error, OperationalError):
                    raise Outage(type(error.orig).__name__) from error
                else:
                    raise

    def deduct(self, posting: Posting) -> Awaitable[Outcome]:
        """Post one deduction, in a batch with those that arrive beside it.

        Raises Outage, and Overloaded when too many are waiting.
        """
        return self._deduct_traced(posting) if traces.are_on() else self.deductions.submit(posting)

    async def _deduct_traced(self, posting: Posting) -> Outcome:
        with traces.span("ledger.post", postings=1):
            return await self.deductions.submit(posting)

    async def post_together(self, postings: Sequence[Posting]) -> list[Outcome | Exception]:
        """Post a list that belongs together, in its order and in one transaction; an outcome for each.

        Raises Outage, and Overloaded when too many lists are waiting.
        """
        if self._lists_waiting >= CALLERS_BATCHES_WAITING_MAX:
            raise Overloaded
        self._lists_waiting += 1
        try:
            async with self._together:
                with traces.span("ledger.post", postings=len(postings)):
                    return await self._deductions.post(postings)
        finally:
            self._lists_waiting -= 1

    async def balance(self, user_id: str) -> Figures:
        """A person's balance, read with those that others ask for; it comes into being with zeros.

        Raises Outage and Overloaded.
        """
        found = await self.balances.submit(user_id)
        if found is not None:
            return found
        # In a transaction of its own, for it may have to wait, and those whose balances are there do not.
        opened = await self.run(lambda connection, now: ledger.open_balance(connection, user_id, now=now))
        return Figures(opened.balance, opened.total_earned, opened.total_spent)

    async def _read_balances(self, user_ids: Sequence[str]) -> Sequence[Figures | None]:
        give_up_at = time.monotonic() + CONNECT_TIMEOUT_SECONDS
        try:
            while True:
                async with borrowed(self._pool) as connection:
                    try:
                        found = await ledger.figures_of_async(connection, user_ids)
                        return [found.get(user_id) for user_id in user_ids]
                    except psycopg.OperationalError:
                        # A restart of the database has ended all connections: the next one may be dead, too.
                        if not connection.broken or time.monotonic() > give_up_at:
                            raise
        except psycopg.OperationalError as error:  # no connection is one, too
            raise Outage(type(error).__name__) from error
