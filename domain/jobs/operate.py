"""What operators do to jobs, and what happens to old ones."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Row, delete, func, select, update

from domain.errors import JobBusy, JobNotFound, JobNotInState
from domain.jobs.add import NUDGE_GRACE
from domain.jobs.lock import lock_key
from domain.jobs.read import JobState
from domain.nudge import AddedJob, remember_added
from domain.tables import jobs
from domain.telemetry import traces

DONE_KEPT: Final = timedelta(days=7)
"""Results are asked for within seconds; a week is for people who look into what happened."""

NOT_DONE_KEPT: Final = timedelta(days=90)
"""Refused, failed, cancelled: nobody may miss one for being on holiday, and a quarter's books stay explained."""

PRUNED_PER_CALL_MAX: Final = 5_000
"""Rows that one transaction deletes: well under a second."""

_RETRYABLE: Final = (JobState.REFUSED, JobState.FAILED, JobState.CANCELLED)


def retry(connection: Connection, job_id: UUID, *, now: datetime) -> None:
    """Let a job that ended without effect wait again, with its whole horizon; or a waiting one run now.

    Raises JobNotFound, JobNotInState for one that is done.
    """
    row = _lock(connection, job_id)
    if row.state != JobState.WAITING and row.state not in _RETRYABLE:
        raise JobNotInState("retry", row.state)
    connection.execute(
        update(jobs)
        .where(jobs.c.id == job_id)
        .values(
            state=JobState.WAITING,
            run_at=now,
            nudge_at=now + NUDGE_GRACE,
            retry_until=None,
            finished_at=None,
            # What had refused is no result; a long job's progress is, and it goes on from there.
            result=None if row.state == JobState.REFUSED else jobs.c.result,
            # Attempts without an end count as crashes (domain.jobs.run): begin anew.
            attempts_ended=jobs.c.attempts,
        )
    )
    remember_added(connection, AddedJob(row.id, row.kind, row.queue, traces.current()))


def cancel(connection: Connection, job_id: UUID, *, now: datetime) -> None:
    """End a waiting job without working on it.

    Raises JobNotFound, JobNotInState for one that has ended, JobBusy for one that is being worked on.
    """
    # The lock that a worker holds for as long as it is on the job, outside calls included.
    is_free = connection.execute(select(func.pg_try_advisory_xact_lock(lock_key(job_id)))).scalar_one()
    if not is_free:
        raise JobBusy
    row = _lock(connection, job_id)
    if row.state != JobState.WAITING:
        raise JobNotInState("cancel", row.state)
    connection.execute(
        update(jobs).where(jobs.c.id == job_id).values(state=JobState.CANCELLED, finished_at=now)
    )


def prune(connection: Connection, *, now: datetime) -> int:
    """Delete jobs that ended long ago, PRUNED_PER_CALL_MAX at most; how many there were."""
    states = {
        DONE_KEPT: jobs.c.state == JobState.DONE,
        NOT_DONE_KEPT: jobs.c.state.in_(_RETRYABLE),
    }
    pruned = 0
    for kept, in_state in states.items():
        old = (
            select(jobs.c.id)
            .where(in_state, jobs.c.finished_at < now - kept)
            .order_by(jobs.c.finished_at)
            .limit(PRUNED_PER_CALL_MAX - pruned)
            .with_for_update(skip_locked=True)
        )
        pruned += connection.execute(delete(jobs).where(jobs.c.id.in_(old))).rowcount
    return pruned


def _lock(connection: Connection, job_id: UUID) -> Row[Any]:
    row = connection.execute(select(jobs).where(jobs.c.id == job_id).with_for_update()).one_or_none()
    if row is None:
        raise JobNotFound
    return row
