"""The house-keeping jobs of the timetable that belong to no other room."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar

import msgspec
from sqlalchemy import Connection

from domain import heartbeats, jobs, ledger_checks, reservations, stripe_inbox
from domain.jobs.kind import Job, Queue
from domain.jobs.operate import PRUNED_PER_CALL_MAX
from domain.reservations import Released
from domain.webhooks import pruning


class ReleaseExpiredReservations(Job, frozen=True, kw_only=True):
    """Give back what was held for longer than its time."""

    kind: ClassVar[str] = "release_expired_reservations"
    queue: ClassVar[Queue] = Queue.UPKEEP
    time_limit: ClassVar[timedelta] = timedelta(minutes=10)


class PruneOldRows(Job, frozen=True, kw_only=True):
    """Delete what was kept for longer than its retention: ended jobs, ledger checks, heartbeats, app events."""

    kind: ClassVar[str] = "prune_old_rows"
    queue: ClassVar[Queue] = Queue.UPKEEP
    time_limit: ClassVar[timedelta] = timedelta(minutes=10)


class Swept(msgspec.Struct, frozen=True, kw_only=True):
    """How many rows were deleted so far."""

    count: int = 0


def release_expired(
    connection: Connection, _job: ReleaseExpiredReservations, done: Released, now: datetime
) -> tuple[Released, bool]:
    """One step: reservations.EXPIRED_PER_CALL_MAX at most."""
    return reservations.release_expired(connection, done, now=now)


def prune(connection: Connection, _job: PruneOldRows, swept: Swept, now: datetime) -> tuple[Swept, bool]:
    """One step: so many jobs and app events at most, and the few rows of the rest."""
    pruned = jobs.prune(connection, now=now)
    others = heartbeats.prune(connection, now=now) + ledger_checks.prune(connection, now=now)
    others += stripe_inbox.prune(connection, now=now)
    told = pruning.prune(connection, now=now)
    has_more = pruned == PRUNED_PER_CALL_MAX or told == pruning.PRUNED_PER_CALL_MAX
    return Swept(count=swept.count + pruned + others + told), has_more
