"""A batch of deductions, from sent to known: committed, refused, or surely not done."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
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

TRIES_MAX: Final = 3
"""How often a batch is sent: again after a deadlock, or after a lost answer when it was surely not done."""

Pool = AsyncConnectionPool[AsyncConnection[Any]]


class Outage(Exception):
    """The database does not answer.  What was asked was not done, as far as is known; try again later."""


class _AnswerLost(Exception):
    """The connection broke while a batch was under way on the server process `backend`."""

    def __init__(self, backend: int) -> None:
        super().__init__(backend)
        self.backend = backend


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
            return await self._send(postings)
        except pg.LockNotAvailable:
            by_person = _by_person(postings)
            if len(by_person) == 1:
                return [Outage("the balance is held by another transaction")] * len(postings)
            return await self._split(postings, by_person)
        except psycopg.Error as error:
            if len(postings) == 1:
                return [error]
            return await self._split(postings, [[position] for position in range(len(postings))])

    async def _split(
        self, postings: Sequence[Posting], parts: Sequence[Sequence[int]]
    ) -> list[Outcome | Exception]:
        """The outcomes of lists sent one after the other, each given by its positions in `postings`."""
        log.warning("batch_split", size=len(postings), parts=len(parts))
        outcomes: dict[int, Outcome | Exception] = {}
        for positions in parts:
            results: Sequence[Outcome | Exception]
            try:
                results = await self.post([postings[position] for position in positions])
            except Outage as outage:  # what was done before it stands, and is told
                results = [outage] * len(positions)
            outcomes.update(zip(positions, results, strict=True))
        return [outcomes[position] for position in range(len(postings))]

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
            except (psycopg.OperationalError, PoolTimeout):
                await asyncio.sleep(ASK_PAUSE_SECONDS)
        raise Outage("what became of the request is not known")

    async def _ask(
        self, connection: AsyncConnection[Any], postings: Sequence[Posting], backend: int
    ) -> list[Outcome | Exception] | None:
        # A server process that has not noticed the break may still commit: end it before looking.
        await connection.execute(
            "SELECT pg_terminate_backend(pid, 3000) FROM pg_stat_activity"
            " WHERE pid = %s AND application_name = %s AND pid <> pg_backend_pid()",
            (backend, self._application_name),
        )
        done = await ledger.find_posted_async(
            connection, {posting.id: posting.user_id for posting in postings}
        )
        log.warning("batch_answer_lost", size=len(postings), committed=bool(done))
        if not done:
            return None
        return [
            done.get(posting.id, Outage("what became of the request is not known")) for posting in postings
        ]


def _by_person(postings: Sequence[Posting]) -> list[list[int]]:
    """The positions of each person's postings."""
    found: dict[str, list[int]] = {}
    for position, posting in enumerate(postings):
        found.setdefault(posting.user_id, []).append(position)
    return list(found.values())
