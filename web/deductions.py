"""A batch of deductions, from sent to known: committed, refused, or surely not done."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg import errors as pg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from domain import ledger
from domain.database import borrowed
from domain.ledger import Outcome, Posting

log: Final = structlog.get_logger()

ASK_SECONDS_MAX: Final = 5.0
"""How long to ask what became of a batch whose answer was lost: longer than PostgreSQL takes to restart
after a crash under load here (about 1 s), and shorter than callers wait."""

ASK_PAUSE_SECONDS: Final = 0.05
"""Between two tries to reach a database that is restarting."""

ENDING_SECONDS_MAX: Final = 3.0
"""How long one such question waits for the end of the server process that had the batch."""

TRIES_MAX: Final = 3
"""How often a batch is sent: again after a deadlock, or after a lost answer when it was surely not done."""

LOOKS_MAX: Final = 3
"""How often it is looked whose balances are free, once a list has waited for somebody's in vain."""

LOOK_PAUSE_SECONDS: Final = 0.05
"""Between two looks: our own transactions hold a balance for milliseconds, and may do so at the moment of one."""

Pool = AsyncConnectionPool[AsyncConnection[Any]]


class Outage(Exception):
    """The database does not answer.  What was asked was not done, as far as is known; try again later."""


class _AnswerLost(Exception):
    """The connection broke while a batch was under way on the server process `backend`."""

    def __init__(self, backend: int) -> None:
        super().__init__(backend)
        self.backend = backend


class _StillUnderWay(Exception):
    """The server process that had a batch does not end, and may commit it."""


class Deductions:
    """Sends batches of postings.  `application_name` is that of the pool's connections, and of no other's."""

    def __init__(self, pool: Pool, application_name: str) -> None:
        self._pool = pool
        self._application_name = application_name

    async def post(self, postings: Sequence[Posting]) -> list[Outcome | Exception]:
        """An outcome for each posting, committed when this returns.

        A posting that the database itself refuses to take, or whose balance somebody holds for long, does not
        fail its neighbours: they are sent without it, and it alone gets the error.
        Raises Outage when the database does not answer.
        """
        try:
            return await self._send_without_the_refused(postings)
        except pg.LockNotAvailable:
            return await self._send_without_the_held(postings)

    async def _send_without_the_held(self, postings: Sequence[Posting]) -> list[Outcome | Exception]:
        """The outcomes of a list that waited for a balance in vain: those of free balances are sent together.

        So the free wait no longer for a hundred who are held than for one.
        """
        outcomes: list[Outcome | Exception] = [Outage("the balance is held by another transaction")]
        outcomes *= len(postings)
        left = list(range(len(postings)))
        people = {posting.user_id for posting in postings}
        for look in range(LOOKS_MAX if len(people) > 1 else 0):
            if look:
                await asyncio.sleep(LOOK_PAUSE_SECONDS)
            try:
                held = await self._find_held(people)
                free = [position for position in left if postings[position].user_id not in held]
                log.warning("batch_held_up", size=len(postings), free=len(free), held=len(left) - len(free))
                results = await self._send_without_the_refused([postings[position] for position in free])
            except pg.LockNotAvailable:  # somebody's balance was free, and was taken since
                continue
            except Outage as outage:  # what was done before it stands, and is told
                for position in left:
                    outcomes[position] = outage
                break
            for position, result in zip(free, results, strict=True):
                outcomes[position] = result
            left = [position for position in left if postings[position].user_id in held]
            people = held
            if not left:
                break
        return outcomes

    async def _find_held(self, user_ids: Collection[str]) -> set[str]:
        try:
            async with borrowed(self._pool) as connection:
                return await ledger.find_held_async(connection, user_ids)
        except (psycopg.OperationalError, PoolTimeout) as error:  # a table that is locked whole is one, too
            raise Outage(type(error).__name__) from error

    async def _send_without_the_refused(self, postings: Sequence[Posting]) -> list[Outcome | Exception]:
        """The outcomes; when the database refuses the list, each posting is sent by itself."""
        try:
            return await self._send(postings)
        except pg.LockNotAvailable:
            raise
        except psycopg.Error as error:
            if len(postings) == 1:
                return [
                    Outage(type(error).__name__) if isinstance(error, psycopg.OperationalError) else error
                ]
        log.warning("batch_split", size=len(postings))
        outcomes: list[Outcome | Exception] = []
        for posting in postings:
            try:
                outcomes += await self.post([posting])
            except Outage as outage:  # what was done before it stands, and is told
                outcomes.append(outage)
        return outcomes

    async def _send(self, postings: Sequence[Posting]) -> list[Outcome | Exception]:
        for attempt in range(1, TRIES_MAX + 1):
            try:
                return [*await self._send_once(postings)]
            except _AnswerLost as lost:
                known = await self._what_became(postings, lost.backend)
                if known is not None:
                    return known
            except (pg.DeadlockDetected, pg.SerializationFailure):
                if attempt == TRIES_MAX:
                    raise
            except pg.LockNotAvailable:
                raise
            except psycopg.OperationalError as error:
                raise Outage(type(error).__name__) from error
            except PoolTimeout as error:
                raise Outage("no connection") from error
        raise Outage("the database keeps breaking off")

    async def _send_once(self, postings: Sequence[Posting]) -> list[Outcome]:
        async with borrowed(self._pool) as connection:
            backend = connection.info.backend_pid
            try:
                return await ledger.post_async(connection, postings, now=datetime.now(UTC))
            except psycopg.OperationalError:
                if connection.broken:
                    raise _AnswerLost(backend) from None
                raise

    async def _what_became(
        self, postings: Sequence[Posting], backend: int
    ) -> list[Outcome | Exception] | None:
        """The outcomes when the batch was committed, None when it surely was not and never will be."""
        deadline = time.monotonic() + ASK_SECONDS_MAX
        while time.monotonic() < deadline:
            try:
                async with borrowed(self._pool, timeout_seconds=ASK_SECONDS_MAX) as connection:
                    return await self._ask(connection, postings, backend)
            except (psycopg.OperationalError, PoolTimeout, _StillUnderWay):
                await asyncio.sleep(ASK_PAUSE_SECONDS)
        raise Outage("what became of the request is not known")

    async def _ask(
        self, connection: AsyncConnection[Any], postings: Sequence[Posting], backend: int
    ) -> list[Outcome | Exception] | None:
        # A server process that has not noticed the break may still commit: end it before looking.
        cursor = await connection.execute(
            "SELECT pg_terminate_backend(pid, %s) FROM pg_stat_activity"
            " WHERE pid = %s AND application_name = %s AND pid <> pg_backend_pid()",
            (int(ENDING_SECONDS_MAX * 1_000), backend, self._application_name),
        )
        if (False,) in await cursor.fetchall():  # one that waits for the disk hears nothing meanwhile
            raise _StillUnderWay
        done = await ledger.find_posted_async(
            connection, {posting.id: posting.user_id for posting in postings}
        )
        log.warning("batch_answer_lost", size=len(postings), committed=bool(done))
        if not done:
            return None
        return [
            done.get(posting.id, Outage("what became of the request is not known")) for posting in postings
        ]
