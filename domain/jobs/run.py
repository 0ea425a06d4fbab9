"""The frame of every job: one attempt at it, that ends it, or keeps the error and lets it wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec
import structlog
from psycopg import errors as pg
from sqlalchemy import Connection, Engine, Row, bindparam, select, update
from sqlalchemy.exc import DBAPIError

from domain.errors import Refusal
from domain.jobs.claiming import CRASHES_MAX, claim, claim_suspect, hold_back, unlock
from domain.jobs.failing import ERRORS_KEPT_MAX, TRIES_MIN, backoff, describe, error_entry
from domain.jobs.handlers import Handler, Once, Outside, Steps
from domain.jobs.kind import Queue
from domain.jobs.read import JobState
from domain.jobs.refusals import refusal_to_row
from domain.nudge import Nudge, take_added
from domain.tables import jobs
from domain.telemetry.metrics import JOB_AGE, JOB_SECONDS, JOBS_RUNNING

LOST_RACE_TRIES_MAX: Final = 5
"""How often a transaction that lost a race is run at once, before it counts as a failed attempt."""

LOST_RACES: Final = (pg.DeadlockDetected, pg.SerializationFailure, pg.UniqueViolation)

_ON_A_SUSPECT: Final = {queue: threading.Lock() for queue in Queue}
"""Held while this process is on a job of that queue whose worker died on it: money does not wait for a long sweep."""

_LOCK_ROW: Final = select(jobs.c.state).where(jobs.c.id == bindparam("job_id")).with_for_update()
_FINISH: Final = update(jobs).where(jobs.c.id == bindparam("job_id"))

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Ending(StrEnum):
    """What came of an attempt."""

    DONE = "done"
    REFUSED = "refused"
    WAITING = "waiting"
    """It failed and will be tried again."""
    FAILED = "failed"
    SKIPPED = "skipped"
    """Nothing was done: the job has ended, is not due, or somebody is on it."""


class WorkerDied(Exception):
    """The job was begun CRASHES_MAX times, and each time its worker ended before it did."""


class _HasEnded(Exception):
    """The job is not waiting any more."""


def run_job(
    engine: Engine,
    handler: Handler,
    job_id: UUID,
    *,
    clock: Callable[[], datetime],
    nudge: Nudge | None = None,
) -> Ending:
    """Attempt a job once.  It may be called any number of times, anywhere, at once: the job ends once.

    Raises what the database raises when even the failure cannot be written down; then the job waits as it
    was.  An interruption of the thread (not an Exception) is written down as a failure, and raised.
    """
    with engine.connect() as connection:
        try:
            is_ours, row = claim(connection, job_id, now=clock())
            if not is_ours:
                return Ending.SKIPPED
            if row is not None:
                ending = _Attempt(connection, handler, row, clock, nudge).run()
            else:
                ending = _run_suspect(connection, handler, job_id, clock, nudge)
            unlock(connection, job_id)
        except BaseException:
            # Whatever state the session is in, its end gives up the lock.
            connection.invalidate()
            raise
        return ending


def _run_suspect(
    connection: Connection,
    handler: Handler,
    job_id: UUID,
    clock: Callable[[], datetime],
    nudge: Nudge | None,
) -> Ending:
    """Attempt a job whose worker died on it, if this process is on no other such of its queue.

    A killer then takes none of them along a second time, and they end while it goes on killing.
    """
    is_on_a_suspect = _ON_A_SUSPECT[handler.kind.queue]
    if not is_on_a_suspect.acquire(blocking=False):
        hold_back(connection, job_id, now=clock())
        return Ending.SKIPPED
    with ExitStack() as alone:
        alone.callback(is_on_a_suspect.release)
        row = claim_suspect(connection, job_id, now=clock())
        if row is None:
            return Ending.SKIPPED
        return _Attempt(connection, handler, row, clock, nudge, cleared=alone.close).run()


def _nobody_waits() -> None:
    """A job that is no suspect keeps none waiting."""


class _Attempt:
    """One attempt at a claimed job, on the connection whose session holds its lock.

    `cleared` is called once it is shown that the job does not kill its worker.
    """

    def __init__(
        self,
        connection: Connection,
        handler: Handler,
        row: Row[Any],
        clock: Callable[[], datetime],
        nudge: Nudge | None,
        *,
        cleared: Callable[[], object] = _nobody_waits,
    ) -> None:
        self._connection = connection
        self._handler = handler
        self._row = row
        self._clock = clock
        self._nudge = nudge
        self._cleared = cleared
        self._retry_until: datetime | None = row.retry_until
        self._began = time.monotonic()
        self._log = log.bind(kind=row.kind, job_id=str(row.id), attempt=row.attempts, user_id=row.user_id)

    def run(self) -> Ending:
        """Do the work and end the job, or write down why not."""
        running = JOBS_RUNNING.labels(self._row.queue)
        running.inc()
        try:
            ending = self._run()
        except _HasEnded:
            self._undo()
            return Ending.SKIPPED
        finally:
            running.dec()
        self._count(ending)
        return ending

    def _count(self, ending: Ending) -> None:
        seconds = time.monotonic() - self._began
        JOB_SECONDS.labels(self._row.kind, ending.value).observe(seconds)
        if ending is Ending.DONE:
            self._log.debug("job_done", seconds=seconds)
        if ending is Ending.DONE:
            age = self._clock() - self._row.created_at
            JOB_AGE.labels(self._row.kind).observe(max(age.total_seconds(), 0.0))

    def _run(self) -> Ending:
        try:
            self._give_up_on_a_killer()
            job = msgspec.convert(self._row.payload, self._handler.kind)
            match self._handler:
                case Once():
                    return self._once(self._handler, job)
                case Steps():
                    return self._steps(self._handler, job)
                case Outside():
                    return self._outside(self._handler, job)
        except Refusal as refusal:
            self._undo()
            return self._refused(refusal)
        except _HasEnded:
            raise
        except Exception as error:  # noqa: BLE001 - kept in the row, and told by the log
            self._undo()
            return self._failed(error)
        except BaseException as error:
            # A time limit struck, wherever it was: the session is not to be trusted.
            self._connection.invalidate()
            self._connection.rollback()
            self._count(self._failed(error))
            raise

    def _undo(self) -> None:
        """Roll back, or leave a session that cannot even do that: the next transaction is on a new one."""
        try:
            self._connection.rollback()
        except DBAPIError:
            self._connection.invalidate()
            self._connection.rollback()

    def _give_up_on_a_killer(self) -> None:
        crashes = self._row.attempts - 1 - self._row.attempts_ended
        if crashes >= CRASHES_MAX:
            raise WorkerDied(f"its worker ended {crashes} times in a row while it was on this job")

    def _once(self, handler: Once[Any], job: Any) -> Ending:
        return self._end(lambda now: handler.work(self._connection, job, now))

    def _outside(self, handler: Outside[Any, Any, Any], job: Any) -> Ending:
        plan = self._in_transaction(lambda now: handler.read(self._connection, job, now))
        if plan is None:
            return self._end(lambda _now: None)
        outcome = handler.call(plan, f"job:{self._row.id}")
        return self._end(lambda now: handler.record(self._connection, job, outcome, now))

    def _steps(self, handler: Steps[Any, Any], job: Any) -> Ending:
        progress = handler.start
        if self._row.result is not None:
            progress = msgspec.convert(self._row.result, type(handler.start))
        has_more = True
        while has_more:
            step = partial(self._step, handler, job, progress)
            progress, has_more = self._in_transaction(step)
            self._cleared()
        return Ending.DONE

    def _step(self, handler: Steps[Any, Any], job: Any, progress: Any, now: datetime) -> tuple[Any, bool]:
        made, has_more = handler.step(self._connection, job, progress, now)
        if has_more:
            # Progress shows that the job neither fails nor kills for good: both counts begin anew.
            self._retry_until = None
            self._write(result=made, retry_until=None, attempts_ended=jobs.c.attempts - 1)
        else:
            self._finish(JobState.DONE, made, now)
        return made, has_more

    def _end(self, work: Callable[[datetime], object]) -> Ending:
        """The last transaction of the job: its effect and its end, in one commit."""

        def effect_and_end(now: datetime) -> Ending:
            try:
                result = work(now)
            except Refusal as refusal:
                if not refusal.is_recorded:
                    raise
                self._finish(JobState.REFUSED, refusal_to_row(refusal), now)
                return Ending.REFUSED
            self._finish(JobState.DONE, result, now)
            return Ending.DONE

        return self._in_transaction(effect_and_end)

    def _in_transaction(self, work: Callable[[datetime], T]) -> T:
        attempt = 1
        while True:
            try:
                with self._transaction() as now:
                    return work(now)
            except DBAPIError as error:
                if not isinstance(error.orig, LOST_RACES) or attempt == LOST_RACE_TRIES_MAX:
                    raise
                self._undo()
                attempt += 1

    @contextmanager
    def _transaction(self) -> Iterator[datetime]:
        """A transaction with the job's row locked and waiting; committed, then the jobs it added are nudged."""
        take_added(self._connection)
        state = self._connection.execute(_LOCK_ROW, {"job_id": self._row.id}).scalar_one_or_none()
        if state != JobState.WAITING:
            raise _HasEnded
        yield self._clock()
        self._connection.commit()
        added = take_added(self._connection)
        if added and self._nudge is not None:
            self._nudge(added)

    def _refused(self, refusal: Refusal) -> Ending:
        self._log.info("job_refused", code=refusal.code)
        with self._transaction() as now:
            self._finish(JobState.REFUSED, refusal_to_row(refusal), now)
        return Ending.REFUSED

    def _failed(self, error: BaseException) -> Ending:
        """Keep the error, in a transaction of its own; wait, or fail when the horizon is passed."""
        with self._transaction() as now:
            retry_until = self._retry_until or now + self._row.horizon
            is_over = now >= retry_until
            is_final = (is_over and self._row.attempts >= TRIES_MIN) or isinstance(error, WorkerDied)
            next_at = now + backoff(self._row.attempts, self._row.horizon)
            if not is_over:
                next_at = min(next_at, retry_until)
            entry = error_entry(error, attempt=self._row.attempts, now=now)
            ending = {"state": JobState.FAILED, "finished_at": now} if is_final else {}
            self._write(
                last_error=describe(error),
                errors=[*self._row.errors, entry][-ERRORS_KEPT_MAX:],
                retry_until=retry_until,
                run_at=next_at,
                nudge_at=next_at,
                attempts_ended=jobs.c.attempts,
                **ending,
            )
        if is_final:
            self._log.error("job_failed", error=describe(error))
            return Ending.FAILED
        self._log.warning("job_attempt_failed", error=describe(error), next_at=next_at.isoformat())
        return Ending.WAITING

    def _finish(self, state: JobState, result: object, now: datetime) -> None:
        ending = {"job_id": self._row.id, "state": state, "result": result, "finished_at": now}
        self._connection.execute(_FINISH, ending)

    def _write(self, **values: Any) -> None:
        self._connection.execute(update(jobs).where(jobs.c.id == self._row.id).values(**values))
