"""Reading jobs: one job's end for who waits for it, and what the operators look at."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec
from sqlalchemy import Connection, RowMapping, func, select

from domain.errors import JobNotFound, Refusal
from domain.jobs.refusals import refusal_from_row
from domain.tables import jobs

S = TypeVar("S", bound=msgspec.Struct)

LIST_MAX: Final = 500
"""Jobs in one list: a page for a person, not an export."""


class JobState(StrEnum):
    """`waiting` is every job not ended: new, being worked on, or to be tried again."""

    WAITING = "waiting"
    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"
    CANCELLED = "cancelled"


class JobResult(msgspec.Struct, frozen=True, kw_only=True):
    """How a job stands.  `result` is the JSON that its handler returned; numbers are exact.

    `refusal` is the very refusal that the handler raised, in state `refused` alone: raise it, or answer it.
    """

    id: UUID
    kind: str
    state: JobState
    user_id: str | None
    created_at: datetime
    finished_at: datetime | None
    result: Any
    refusal: Refusal | None


class JobError(msgspec.Struct, frozen=True, kw_only=True):
    """One failed attempt: the error's class and message, and where in the code (newest frame last)."""

    at: datetime
    attempt: int
    error: str
    where: list[str]


class JobDetails(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one job, for operators."""

    id: UUID
    kind: str
    queue: str
    state: JobState
    payload: Any
    unique_key: str | None
    user_id: str | None
    subject: str | None
    created_at: datetime
    run_at: datetime
    sent_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    retry_until: datetime | None
    attempts: int
    last_error: str | None
    errors: list[JobError]
    result: Any


class JobCount(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs of one kind in one state; `oldest_at` is when the oldest of them was added."""

    kind: str
    queue: str
    state: JobState
    count: int
    oldest_at: datetime


_DETAILS: Final = select(*(jobs.c[name] for name in JobDetails.__struct_fields__))


def job_result(connection: Connection, job_id: UUID) -> JobResult:
    """How the job stands.  Raises JobNotFound, also for one that was pruned."""
    found = job_results(connection, [job_id])
    if not found:
        raise JobNotFound
    return found[job_id]


def job_results(connection: Connection, job_ids: Sequence[UUID]) -> dict[UUID, JobResult]:
    """How many jobs stand, in one query; those that are not there are missing."""
    columns = jobs.c
    query = select(
        columns.id,
        columns.kind,
        columns.state,
        columns.user_id,
        columns.created_at,
        columns.finished_at,
        columns.result,
    ).where(columns.id.in_(job_ids))
    return {row["id"]: _result(row) for row in connection.execute(query).mappings()}


def _result(row: RowMapping) -> JobResult:
    state = JobState(row["state"])
    is_refused = state is JobState.REFUSED
    return JobResult(
        id=row["id"],
        kind=row["kind"],
        state=state,
        user_id=row["user_id"],
        created_at=row["created_at"],
        finished_at=row["finished_at"],
        result=None if is_refused else row["result"],
        refusal=refusal_from_row(row["result"]) if is_refused else None,
    )


def job_details(connection: Connection, job_id: UUID) -> JobDetails:
    """Everything about a job.  Raises JobNotFound."""
    row = connection.execute(_DETAILS.where(jobs.c.id == job_id)).mappings().one_or_none()
    if row is None:
        raise JobNotFound
    return _as(JobDetails, row)


def list_jobs(
    connection: Connection,
    *,
    state: JobState | None = None,
    kind: str | None = None,
    user_id: str | None = None,
    subject: str | None = None,
    limit: int = 50,
) -> list[JobDetails]:
    """Jobs that match, LIST_MAX at most: newest first, those that ended without effect by their end."""
    has_ended_badly = state in (JobState.REFUSED, JobState.FAILED, JobState.CANCELLED)
    newest = jobs.c.finished_at if has_ended_badly else jobs.c.id
    query = _DETAILS.order_by(newest.desc()).limit(min(limit, LIST_MAX))
    wanted = {"state": state, "kind": kind, "user_id": user_id, "subject": subject}
    for name, value in wanted.items():
        if value is not None:
            query = query.where(jobs.c[name] == str(value))
    return [_as(JobDetails, row) for row in connection.execute(query).mappings()]


def count_jobs(connection: Connection) -> list[JobCount]:
    """Jobs by kind and state.  Reads the table once: for a dashboard, not for every request."""
    query = select(
        jobs.c.kind,
        jobs.c.queue,
        jobs.c.state,
        func.count().label("count"),
        func.min(jobs.c.created_at).label("oldest_at"),
    ).group_by(jobs.c.kind, jobs.c.queue, jobs.c.state)
    rows = connection.execute(query.order_by(jobs.c.kind, jobs.c.state)).mappings()
    return [_as(JobCount, row) for row in rows]


def _as(struct: type[S], row: RowMapping) -> S:
    # The driver's column names are a subclass of str, which msgspec does not take for keys.
    return msgspec.convert({str(name): value for name, value in row.items()}, struct)
