"""Looking at the jobs that callers wait for: one query for all of them."""

from __future__ import annotations

import asyncio
from datetime import datetime
from functools import partial
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import Connection

from domain import jobs
from domain.jobs import JobResult, JobState
from web.batches import Overloaded
from web.bridge import Bridge
from web.deductions import Outage

log: Final = structlog.get_logger()

FIRST_LOOK_SECONDS: Final = 0.01
"""When to look at waiting jobs first: a job that nothing delays is done in about that time."""

LOOK_PAUSE_MAX_SECONDS: Final = 0.1
"""The longest pause between two looks.  One look is one query, however many callers wait."""


class JobWaiter:
    """Looks at the jobs that callers wait for, all in one query."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._waiting: dict[UUID, list[asyncio.Future[JobResult]]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._pause_seconds = FIRST_LOOK_SECONDS

    async def wait(self, job_id: UUID, seconds: float) -> JobResult | None:
        """How the job ended, or None when it has not within `seconds`."""
        future: asyncio.Future[JobResult] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(job_id, []).append(future)
        self._pause_seconds = FIRST_LOOK_SECONDS
        if self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._look())
        try:
            async with asyncio.timeout(seconds):
                return await future
        except TimeoutError:
            return None
        finally:
            self._forget(job_id, future)

    def _forget(self, job_id: UUID, future: asyncio.Future[JobResult]) -> None:
        futures = self._waiting.get(job_id, [])
        if future in futures:
            futures.remove(future)
        if not futures:
            self._waiting.pop(job_id, None)

    async def _look(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(self._pause_seconds)
                self._pause_seconds = min(self._pause_seconds * 1.5, LOOK_PAUSE_MAX_SECONDS)
                await self._look_once()
        finally:
            # However it ended: whoever waits next begins a look of their own.
            self._looking = None

    async def _look_once(self) -> None:
        wanted = list(self._waiting)
        try:
            found = await self._bridge.run(partial(_results, wanted))
        except (Outage, Overloaded):
            # The jobs are durable; their callers go on waiting until their time is over.
            log.warning("waiting_jobs_not_seen", count=len(wanted))
            return
        for job_id, result in found.items():
            if result.state is not JobState.WAITING:
                self._tell(job_id, result)

    def _tell(self, job_id: UUID, result: JobResult) -> None:
        for future in self._waiting.pop(job_id, []):
            if not future.done():
                future.set_result(result)


def _results(wanted: list[UUID], connection: Connection, _now: datetime) -> dict[UUID, JobResult]:
    return jobs.job_results(connection, wanted)
