"""Deriving usage statistics anew, as a job: deductions wait while it runs."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar

from sqlalchemy import Connection, text

from domain import usage_stats
from domain.jobs.kind import Job, Queue


class RebuildUsageStatistics(Job, frozen=True, kw_only=True):
    """Derive the statistics from the entries; the result says how many rows there are then."""

    kind: ClassVar[str] = "rebuild_usage_statistics"
    queue: ClassVar[Queue] = Queue.UPKEEP
    time_limit: ClassVar[timedelta] = timedelta(minutes=10)


def rebuild(connection: Connection, _job: RebuildUsageStatistics, _now: datetime) -> dict[str, int]:
    """Do it; one transaction, in which nobody sees half of it."""
    connection.execute(text("SET LOCAL statement_timeout = '9min'"))
    usage_stats.rebuild(connection)
    counted = text("SELECT count(*) FROM credits.usage_stats WHERE is_rolled_up")
    return {"rows": connection.execute(counted).scalar_one()}
