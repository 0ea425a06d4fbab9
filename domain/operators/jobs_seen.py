"""Jobs as operators look for them: by kind, state, person, thing and time, page by page."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from sqlalchemy import Connection, literal_column, select

from domain import jobs as domain_jobs
from domain.jobs import JobDetails, JobState
from domain.operators import health
from domain.operators.rows import PAGE_DEFAULT, all_as, page_size
from domain.tables import jobs


class JobFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which jobs: all that is given must hold.  `since` and `until` bound when they were added.

    `before` continues a list after the job of that id.
    """

    kind: str | None = None
    state: JobState | None = None
    user_id: str | None = None
    subject: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: UUID | None = None
    limit: int = PAGE_DEFAULT


class JobLine(msgspec.Struct, frozen=True, kw_only=True):
    """One job in a list."""

    id: UUID
    kind: str
    queue: str
    state: JobState
    user_id: str | None
    subject: str | None
    created_at: datetime
    run_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    attempts: int
    last_error: str | None


class JobSeen(msgspec.Struct, frozen=True, kw_only=True):
    """One job, everything about it.  `may_retry` and `may_cancel` say what its state allows."""

    job: JobDetails
    is_running: bool
    may_retry: bool
    may_cancel: bool
    took_seconds: float | None
    """From the beginning of its last attempt to its end."""


# Written out, not parameters: the indexes hold some states alone, and a prepared plan has to know.
_STATES: Final = {state: jobs.c.state == literal_column(f"'{state.value}'") for state in JobState}
_ENDED_BADLY: Final = (JobState.REFUSED, JobState.FAILED, JobState.CANCELLED)


def list_jobs(connection: Connection, wanted: JobFilter) -> list[JobLine]:
    """A page of jobs that match, those added last first."""
    query = select(*(jobs.c[name] for name in JobLine.__struct_fields__))
    for name in ("kind", "user_id", "subject"):
        value = getattr(wanted, name)
        if value is not None:
            query = query.where(jobs.c[name] == value)
    if wanted.state is not None:
        query = query.where(_STATES[wanted.state])
    if wanted.state in _ENDED_BADLY:
        query = query.where(literal_column("state IN ('refused', 'failed', 'cancelled')"))
    if wanted.since is not None:
        query = query.where(jobs.c.created_at >= wanted.since)
    if wanted.until is not None:
        query = query.where(jobs.c.created_at < wanted.until)
    if wanted.before is not None:
        query = query.where(jobs.c.id < wanted.before)
    # Ids sort by the time they were made.
    return all_as(connection, JobLine, query.order_by(jobs.c.id.desc()).limit(page_size(wanted.limit)))


def job_seen(connection: Connection, job_id: UUID) -> JobSeen:
    """One job.  Raises JobNotFound."""
    job = domain_jobs.job_details(connection, job_id)
    is_running = job.state is JobState.WAITING and job_id in health.running_jobs(connection)
    took = None
    if job.started_at is not None and job.finished_at is not None:
        took = max((job.finished_at - job.started_at).total_seconds(), 0.0)
    return JobSeen(
        job=job,
        is_running=is_running,
        may_retry=job.state is not JobState.DONE and not is_running,
        may_cancel=job.state is JobState.WAITING and not is_running,
        took_seconds=took,
    )
