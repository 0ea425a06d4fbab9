"""Claiming a job: its lock and the count of the attempt, before any work begins."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Connection,
    DateTime,
    Interval,
    Row,
    bindparam,
    func,
    select,
    true,
    update,
)
from sqlalchemy.dialects import postgresql

from domain.database import one_by_one
from domain.jobs.lock import lock_key
from domain.jobs.read import JobState
from domain.tables import jobs

CRASHES_MAX: Final = 8
"""Attempts in a row whose worker died.  One that kills its worker is given up; deployments kill a few."""

CRASH_PAUSE_SECONDS: Final = 16.0
"""When a job whose worker died is begun again, at the latest; doubled with each death in a row.

Longer than RESEND_AFTER, so that jobs which the dead worker had fetched are done before the killer, if it is
one, comes back; short enough to redo a killed worker's work within 20 s.
"""

CRASH_PAUSE_JITTER: Final = 0.32
"""The part of the pause that is left to chance, so that a killer's neighbours do not come back beside it."""

CLOCK_SKEW: Final = timedelta(seconds=1)
"""How far the clock of the machine that added a job may be ahead of the worker's, without a wait."""


def _claim() -> Any:
    """Take the lock, and with it count the attempt and say when the next one is due should this one never end.

    A row that another session has just ended is looked at anew before it is claimed.
    """
    lock = select(
        func.pg_try_advisory_lock(bindparam("key", type_=BigInteger)).label("is_ours"),
        # The claim need not reach the disk before work begins: lost in a crash, it only forgets an attempt.
        func.set_config("synchronous_commit", "off", True),
    ).cte("lock")
    now = bindparam("now", type_=DateTime(timezone=True))
    crashes = func.least(jobs.c.attempts - jobs.c.attempts_ended, CRASHES_MAX)
    if_it_dies = now + func.power(2, crashes) * bindparam("pause", type_=Interval)
    claimed = (
        update(jobs)
        .where(
            select(lock.c.is_ours).scalar_subquery(),
            jobs.c.id == bindparam("job_id", type_=postgresql.UUID),
            jobs.c.state == JobState.WAITING,
            jobs.c.run_at <= bindparam("latest", type_=DateTime(timezone=True)),
        )
        .values(attempts=jobs.c.attempts + 1, started_at=now, run_at=if_it_dies, nudge_at=if_it_dies)
        .returning(*jobs.c)
        .cte("claimed")
    )
    return select(lock.c.is_ours, *claimed.c).select_from(lock.outerjoin(claimed, true()))


_CLAIM: Final = _claim()
_UNLOCK: Final = select(func.pg_advisory_unlock(bindparam("key", type_=BigInteger)))


def claim(connection: Connection, job_id: UUID, *, now: datetime) -> tuple[bool, Row[Any] | None]:
    """Whether the job's lock is this session's now, and the job's row if there is something to do about it.

    It is committed, in one exchange with the server.  The lock is kept until `unlock`, or until the session ends.
    """
    share = random.uniform(1 - CRASH_PAUSE_JITTER, 1)  # noqa: S311 - nobody gains by guessing it  # nosec B311
    parameters = {
        "key": lock_key(job_id),
        "job_id": job_id,
        "now": now,
        "latest": now + CLOCK_SKEW,
        "pause": timedelta(seconds=CRASH_PAUSE_SECONDS * share),
    }
    with one_by_one(connection):
        row = connection.execute(_CLAIM, parameters).one()
    return row.is_ours, None if row.id is None else row


def unlock(connection: Connection, job_id: UUID) -> None:
    """Give up the job's lock."""
    with one_by_one(connection):
        connection.execute(_UNLOCK, {"key": lock_key(job_id)})
