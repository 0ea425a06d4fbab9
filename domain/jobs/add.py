"""Adding a job, in the transaction of the change that calls for it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert

from domain import tables
from domain.ids import new_id
from domain.jobs.kind import Job
from domain.nudge import AddedJob, remember_added
from domain.telemetry import traces

NUDGE_GRACE: Final = timedelta(seconds=1)
"""How long the relay leaves a new job to its own nudge, which takes milliseconds when it is not lost."""

_ADD_TRIES_MAX: Final = 3

_ADD: Final = (
    insert(tables.jobs)
    .on_conflict_do_nothing(
        index_elements=[tables.jobs.c.unique_key], index_where=tables.jobs.c.unique_key.is_not(None)
    )
    .returning(tables.jobs.c.id)
)


class NewJob(msgspec.Struct, frozen=True, kw_only=True):
    """The row of a job that is to be added; beside it the trace that it is a part of, for its nudge."""

    id: UUID
    kind: str
    queue: str
    payload: Job
    unique_key: str | None
    user_id: str | None
    subject: str | None
    horizon: timedelta
    created_at: datetime
    run_at: datetime
    nudge_at: datetime
    trace: str | None

    def row(self) -> dict[str, Any]:
        """Its columns."""
        columns = msgspec.structs.asdict(self)
        del columns["trace"]
        return columns

    def added(self) -> AddedJob:
        """What its nudge has to say."""
        return AddedJob(self.id, self.kind, self.queue, self.trace)


def new_job(
    job: Job,
    *,
    now: datetime,
    unique_key: str | None = None,
    run_at: datetime | None = None,
    user_id: str | None = None,
    subject: str | None = None,
) -> NewJob:
    """What `add_job` writes, with a new id."""
    due = max(run_at, now) if run_at is not None else now
    return NewJob(
        id=new_id(now),
        kind=job.kind,
        queue=job.queue.value,
        payload=job,
        unique_key=unique_key,
        user_id=user_id,
        subject=subject,
        horizon=job.horizon,
        created_at=now,
        run_at=due,
        nudge_at=max(due, now + NUDGE_GRACE),
        trace=traces.current(),
    )


def add_job(
    connection: Connection,
    job: Job,
    *,
    now: datetime,
    unique_key: str | None = None,
    run_at: datetime | None = None,
    user_id: str | None = None,
    subject: str | None = None,
) -> UUID:
    """Write the job's row; its id.  It is worked on once the caller's transaction is committed.

    With a `unique_key` that a row has (kept as long as jobs are: see prune), nothing is added and that row's
    id is returned; equal keys at once wait for one another.  `run_at` is the earliest time to work on it.
    `user_id` is the person it concerns, `subject` a thing (a purchase's id): both for operators to find it.
    """
    new = new_job(job, now=now, unique_key=unique_key, run_at=run_at, user_id=user_id, subject=subject)
    row = new.row()
    for _ in range(_ADD_TRIES_MAX):
        if connection.execute(_ADD, row).scalar_one_or_none() is not None:
            if new.run_at == now:
                remember_added(connection, new.added())
            return new.id
        query = select(tables.jobs.c.id).where(tables.jobs.c.unique_key == unique_key)
        existing: UUID | None = connection.execute(query).scalar_one_or_none()
        if existing is not None:
            return existing
        # The row with the key was pruned between the two statements: the next insert succeeds.
    raise RuntimeError(f"the key of a job of kind {job.kind} appears and disappears")


def add_jobs_of_people(connection: Connection, jobs: Mapping[str, Job], *, now: datetime) -> None:
    """Write a job for each person, by user id, in one go: a notice to each of a thousand.

    They are left to the relay, which tells the workers of a few hundred at a time, from NUDGE_GRACE on: so
    many nudges at once would hold up those of jobs that somebody waits for.
    """
    if not jobs:
        return
    rows = [new_job(job, now=now, user_id=user_id).row() for user_id, job in jobs.items()]
    connection.execute(insert(tables.jobs), rows)
