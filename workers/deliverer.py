"""The deliverer: sends apps what waits for them, from every worker process.

It looks once a second, and at once when something was delivered.  Redis has no part in it.  What keeps the order, and
what becomes of a delivery, is said in domain.webhooks.lanes; here is how many go at once, and an end in good order.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import Final, TypeVar
from uuid import UUID

import structlog
from psycopg import errors as pg
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from domain.database import transaction
from domain.jobs.failing import describe
from domain.telemetry.metrics import WEBHOOK_AGE, WEBHOOK_SECONDS
from domain.webhooks import lanes
from domain.webhooks.lanes import ATTEMPT_SECONDS_MAX, CLAIMED_FOR, Attempt, Sending
from workers.webhook_door import WebhookDoor

LOOK_EVERY_SECONDS: Final = 1.0

CONNECTIONS: Final = 2
"""Transactions at once, all of them short: as many threads ask the database."""

STOP_SECONDS: Final = 8.0
"""How long attempts under way may take at the process's end; then they are broken off, and made elsewhere."""

TRIES_MAX: Final = 3
"""How often a transaction that lost a race is run before it is left: then the claim ends by itself."""

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Deliverer:
    """A thread with an event loop of its own."""

    def __init__(self, engine: Engine, door: WebhookDoor, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._door = door
        self._clock = clock
        self._database = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="deliverer")
        self._busy: Counter[UUID] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_down = False
        self._stops = False
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="deliverer", daemon=True)

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs: the process should end when it does not."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()
        self._ready.wait()

    def end_soon(self) -> None:
        """Begin nothing more, and end with what is under way, within STOP_SECONDS and a moment."""
        self._stops = True
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._wake.set)

    def stop(self) -> None:
        """The same, and wait for the end."""
        self.end_soon()
        self._thread.join()
        self._database.shutdown()

    def _run(self) -> None:
        asyncio.run(self._deliver())

    async def _deliver(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ready.set()
        async with self._door:
            while not self._stops:
                self._wake.clear()
                await self._begin_due()
                await self._wait()
            await self._end()

    async def _begin_due(self) -> None:
        claimed_at = time.monotonic()
        try:
            claimed = await self._in_database(partial(self._claim, dict(self._busy)))
        except SQLAlchemyError as error:
            if not self._is_down:
                log.warning("deliverer_waits", error=describe(error))
            self._is_down = True
            return
        if self._is_down:
            log.info("deliverer_goes_on")
        self._is_down = False
        for sent in claimed:
            self._busy[sent.endpoint_id] += 1
            task = asyncio.get_running_loop().create_task(self._walk(sent, claimed_at))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(LOOK_EVERY_SECONDS):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _walk(self, sent: Sending, claimed_at: float) -> None:
        """A claimed lane: one after the other, as long as they are taken."""
        following: Sending | None = sent
        try:
            while following is not None:
                sent = following
                if time.monotonic() - claimed_at > CLAIMED_FOR.total_seconds() - ATTEMPT_SECONDS_MAX:
                    # This process stood still: before the attempt is over the lane would be another's.
                    await self._give_back(sent)
                    return
                attempt = await self._attempt(sent)
                claimed_at = time.monotonic()
                following = await self._in_database(
                    partial(self._record, sent, attempt, may_go_on=not self._stops)
                )
        except asyncio.CancelledError:
            await self._give_back(sent)
        except SQLAlchemyError as error:
            # PostgreSQL is down: the claim ends by itself, and the event is sent again under its id.
            log.warning("webhook_not_recorded", delivery_id=str(sent.delivery_id), error=describe(error))
        except Exception as error:  # noqa: BLE001 - one lane's defect must not end all others
            log.error("webhook_defect", delivery_id=str(sent.delivery_id), error=describe(error))  # noqa: TRY400
        finally:
            self._busy[sent.endpoint_id] -= 1
            self._wake.set()

    async def _attempt(self, sent: Sending) -> Attempt:
        now, began = self._clock(), time.monotonic()
        try:
            attempt = await self._door.post(sent, now=now)
        except Exception as error:  # noqa: BLE001 - not recorded, it would be sent again without end
            # Its message may have parts of the answer: the class alone is told.
            defect = type(error).__name__
            log.error("webhook_defect", delivery_id=str(sent.delivery_id), error=defect)  # noqa: TRY400
            seconds = round(time.monotonic() - began, 3)
            attempt = Attempt(at=now, seconds=seconds, error=f"no answer: {defect}")
        outcome = _outcome(attempt)
        WEBHOOK_SECONDS.labels(outcome).observe(attempt.seconds)
        if attempt.is_success:
            age = (self._clock() - sent.created_at).total_seconds()
            WEBHOOK_AGE.observe(max(age, 0.0))
        log.debug(
            "webhook_attempt", delivery_id=str(sent.delivery_id), outcome=outcome, seconds=attempt.seconds
        )
        return attempt

    async def _give_back(self, sent: Sending) -> None:
        try:
            await self._in_database(partial(self._release, sent))
        except SQLAlchemyError as error:
            log.warning("webhook_not_given_back", error=describe(error))

    async def _end(self) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=STOP_SECONDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _in_database(self, work: Callable[[Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._database, self._committed, work)

    def _committed(self, work: Callable[[Connection], T]) -> T:
        attempt = 1
        while True:
            try:
                with transaction(self._engine) as connection:
                    return work(connection)
            except DBAPIError as error:
                if not isinstance(error.orig, pg.DeadlockDetected) or attempt == TRIES_MAX:
                    raise
                attempt += 1

    def _claim(self, busy: dict[UUID, int], connection: Connection) -> list[Sending]:
        return lanes.claim(connection, busy, now=self._clock())

    def _record(
        self, sent: Sending, attempt: Attempt, connection: Connection, *, may_go_on: bool
    ) -> Sending | None:
        return lanes.record(connection, sent, attempt, may_go_on=may_go_on, now=self._clock())

    def _release(self, sent: Sending, connection: Connection) -> None:
        lanes.release(connection, sent, now=self._clock())


def _outcome(attempt: Attempt) -> str:
    """What came of it, as metrics name it."""
    if attempt.is_success:
        return "delivered"
    if attempt.status is not None:
        return "refused"
    return "not_allowed" if (attempt.error or "").startswith("not allowed") else "unanswered"
