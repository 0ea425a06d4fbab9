"""Claiming a job: its lock and the count of the attempt, before any work begins.

A *suspect* is a job whose worker died the last time it was begun: it may have killed it, or only been beside
the killer.
"""

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
    and_,
    bindparam,
    func,
    not_,
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

SUSPECT_HELD_BACK: Final = timedelta(seconds=1)
"""How long a suspect waits for the one that its worker is on: about a sweep of the relay."""

CLOCK_SKEW: Final = timedelta(seconds=1)
"""How far the clock of the machine that added a job may be ahead of the worker's, without a wait."""


_NOW: Final = bindparam("now", type_=DateTime(timezone=True))

_IS_DUE: Final = and_(
    jobs.c.id == bindparam("job_id", type_=postgresql.UUID),
    jobs.c.state == JobState.WAITING,
    jobs.c.run_at <= bindparam("latest", type_=DateTime(timezone=True)),
)

_IS_SUSPECT: Final = jobs.c.attempts > jobs.c.attempts_ended


def _begin() -> Any:
    """Count the attempt, and say when the next one is due should this one never end."""
    crashes = func.least(jobs.c.attempts - jobs.c.attempts_ended, CRASHES_MAX)
    if_it_dies = _NOW + func.power(2, crashes) * bindparam("pause", type_=Interval)
    begun = {
        "attempts": jobs.c.attempts + 1,
        "started_at": _NOW,
        "run_at": if_it_dies,
        "nudge_at": if_it_dies,
    }
    return update(jobs).where(_IS_DUE).values(begun).returning(*jobs.c)


def _claim() -> Any:
    """Take the lock, and with it begin, unless the job is a suspect.

    A row that another session has just ended is looked at anew before it is claimed.
    """
    lock = select(
        func.pg_try_advisory_lock(bindparam("key", type_=BigInteger)).label("is_ours"),
        # The claim need not reach the disk before work begins: lost in a crash, it only forgets an attempt.
        func.set_config("synchronous_commit", "off", True),
    ).cte("lock")
    claimed = _begin().where(select(lock.c.is_ours).scalar_subquery(), not_(_IS_SUSPECT)).cte("claimed")
    return select(lock.c.is_ours, *claimed.c).select_from(lock.outerjoin(claimed, true()))


_CLAIM: Final = _claim()
_CLAIM_SUSPECT: Final = _begin().where(_IS_SUSPECT)
_HOLD_BACK: Final = update(jobs).where(_IS_DUE, _IS_SUSPECT).values(nudge_at=_NOW + SUSPECT_HELD_BACK)
_UNLOCK: Final = select(func.pg_advisory_unlock(bindparam("key", type_=BigInteger)))


def claim(connection: Connection, job_id: UUID, *, now: datetime) -> tuple[bool, Row[Any] | None]:
    """Whether the job's lock is this session's now, and the job's row if it is due and no suspect.

    It is committed, in one exchange with the server.  The lock is kept until `unlock`, or until the session ends.
    """
    parameters = {"key": lock_key(job_id), "pause": _pause(), **_due(job_id, now)}
    with one_by_one(connection):
        row = connection.execute(_CLAIM, parameters).one()
    return row.is_ours, None if row.id is None else row


def claim_suspect(connection: Connection, job_id: UUID, *, now: datetime) -> Row[Any] | None:
    """The row of a job whose worker died on it, if it is due: it is this session's, which has the lock already."""
    with one_by_one(connection):
        return connection.execute(_CLAIM_SUSPECT, {"pause": _pause(), **_due(job_id, now)}).one_or_none()


def hold_back(connection: Connection, job_id: UUID, *, now: datetime) -> None:
    """Let a suspect that is due wait a moment: its worker is on another."""
    with one_by_one(connection):
        connection.execute(_HOLD_BACK, _due(job_id, now))


def _due(job_id: UUID, now: datetime) -> dict[str, object]:
    return {"job_id": job_id, "now": now, "latest": now + CLOCK_SKEW}


def _pause() -> timedelta:
    share = random.uniform(1 - CRASH_PAUSE_JITTER, 1)  # noqa: S311 - nobody gains by guessing it  # nosec B311
    return timedelta(seconds=CRASH_PAUSE_SECONDS * share)


def unlock(connection: Connection, job_id: UUID) -> None:
    """Give up the job's lock."""
    with one_by_one(connection):
        connection.execute(_UNLOCK, {"key": lock_key(job_id)})
