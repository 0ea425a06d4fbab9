"""Is it healthy: who is alive, what waits, when Stripe was heard last.

PostgreSQL is well when this answers; Redis is asked elsewhere: the domain does not know it.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import Connection, text

from domain import heartbeats
from domain.heartbeats import Heartbeat
from domain.jobs.lock import lock_key
from domain.tables import jobs

DONE_WITHIN: Final = timedelta(hours=24)
"""Done jobs are counted for a day: beyond it they only say how busy last week was."""

STRIPE_SILENT_AFTER: Final = timedelta(minutes=15)
"""Stripe's list of events is read every five minutes: after three times nothing, somebody should look."""

LATE_SECONDS: Final = 60.0
"""A job that is due waits for milliseconds; after a minute its workers are gone or behind."""

CHECK_STALE_AFTER: Final = timedelta(hours=2)
"""The ledger is checked every hour."""


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """One process that was alive within a day.  `leads` is None for all but schedulers."""

    name: str
    role: str
    is_alive: bool
    started_at: datetime
    seen_at: datetime
    leads: bool | None


class Processes(msgspec.Struct, frozen=True, kw_only=True):
    """Who is alive; `leader` is the name of the scheduler that leads, None when nobody does."""

    web: int
    workers: int
    schedulers: int
    leader: str | None
    all: list[Process]


class StripeHeard(msgspec.Struct, frozen=True, kw_only=True):
    """When Stripe told us something last (`event_at`), and until when its list was read (`read_until`).

    `unhandled` events wait for their job, or it failed; None of both times: never.
    """

    event_at: datetime | None
    read_until: datetime | None
    unhandled: int
    is_silent: bool


class KindOfJob(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs of one kind.  `waiting` counts those due or to be tried again, without the `running` ones.

    `oldest_due_at` is when the one that is longest overdue should have been done; `done` are of the last day.
    """

    kind: str
    queue: str
    waiting: int = 0
    running: int = 0
    retrying: int = 0
    """Waiting ones that failed before."""
    failed: int = 0
    refused: int = 0
    cancelled: int = 0
    done: int = 0
    oldest_due_at: datetime | None = None
    oldest_due_seconds: float | None = None
    oldest_failed_at: datetime | None = None


def processes(connection: Connection, *, now: datetime) -> Processes:
    """Who is alive."""
    seen = [_process(one) for one in heartbeats.processes(connection, now=now)]
    alive = Counter(one.role for one in seen if one.is_alive)
    leaders = [one.name for one in seen if one.is_alive and one.leads]
    return Processes(
        web=alive["web"],
        workers=alive["worker"],
        schedulers=alive["scheduler"],
        leader=leaders[0] if leaders else None,
        all=seen,
    )


def _process(one: Heartbeat) -> Process:
    return Process(
        name=one.name,
        role=one.role,
        is_alive=one.is_alive,
        started_at=one.started_at,
        seen_at=one.seen_at,
        leads=bool(one.details.get("leads")) if one.role == "scheduler" else None,
    )


def stripe_heard(connection: Connection, *, now: datetime) -> StripeHeard:
    """When Stripe was heard last."""
    row = connection.execute(
        text("""
            SELECT (SELECT max(received_at) FROM ops.stripe_events) AS event_at,
                   (SELECT read_until FROM ops.stripe_events_read) AS read_until,
                   (SELECT count(*) FROM ops.stripe_events WHERE handled_at IS NULL) AS unhandled
        """)
    ).one()
    newest = max((at for at in (row.event_at, row.read_until) if at is not None), default=None)
    return StripeHeard(
        event_at=row.event_at,
        read_until=row.read_until,
        unhandled=row.unhandled,
        is_silent=newest is None or newest < now - STRIPE_SILENT_AFTER,
    )


_NOT_DONE: Final = text("""
    SELECT kind, queue, state, count(*) AS number,
           count(*) FILTER (WHERE state = 'waiting' AND last_error IS NOT NULL) AS retrying,
           min(run_at) FILTER (WHERE state = 'waiting' AND run_at <= :now) AS oldest_due_at,
           min(finished_at) FILTER (WHERE state = 'failed') AS oldest_failed_at
    FROM (
        SELECT kind, queue, state, run_at, last_error, finished_at FROM ops.jobs WHERE state = 'waiting'
        UNION ALL
        SELECT kind, queue, state, run_at, last_error, finished_at FROM ops.jobs
        WHERE state IN ('refused', 'failed', 'cancelled')
        UNION ALL
        SELECT kind, queue, state, run_at, NULL, finished_at FROM ops.jobs
        WHERE state = 'done' AND finished_at > :since
    ) j GROUP BY kind, queue, state
""")

# The locks that workers hold for as long as they are on a job (domain.jobs.lock).
_HELD: Final = text("""
    SELECT classid::bigint AS high, objid::bigint AS low FROM pg_locks
    WHERE locktype = 'advisory' AND objsubid = 1 AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
""")
_BEGUN: Final = text("SELECT id, kind FROM ops.jobs WHERE state = 'waiting' AND attempts > attempts_ended")


def running_jobs(connection: Connection) -> dict[UUID, str]:
    """The jobs that a worker is on at this moment, with their kinds."""
    held = {_signed(row.high << 32 | row.low) for row in connection.execute(_HELD)}
    return {row.id: row.kind for row in connection.execute(_BEGUN) if lock_key(row.id) in held}


def _signed(key: int) -> int:
    return key - (1 << 64) if key >= 1 << 63 else key


def kinds_of_jobs(connection: Connection, *, now: datetime) -> list[KindOfJob]:
    """Jobs by kind, those with failed ones first.  Done ones of more than a day ago are not read."""
    running = Counter(running_jobs(connection).values())
    facts: dict[tuple[str, str], dict[str, Any]] = {}
    for row in connection.execute(_NOT_DONE, {"now": now, "since": now - DONE_WITHIN}):
        fact = facts.setdefault((row.kind, row.queue), {})
        fact[row.state] = row.number
        if row.state == "waiting":
            fact["running"] = min(running[row.kind], row.number)
            fact["waiting"] = row.number - fact["running"]
            fact["retrying"] = row.retrying
            fact["oldest_due_at"] = row.oldest_due_at
            if row.oldest_due_at is not None:
                fact["oldest_due_seconds"] = (now - row.oldest_due_at).total_seconds()
        if row.state == "failed":
            fact["oldest_failed_at"] = row.oldest_failed_at
    kinds = [KindOfJob(kind=kind, queue=queue, **fact) for (kind, queue), fact in facts.items()]
    return sorted(kinds, key=lambda one: (-one.failed, -one.waiting, one.kind))


def known_kinds(connection: Connection) -> list[str]:
    """The kinds of which there are jobs, for a filter."""
    # A loose index does not help: the kinds are few and the table is pruned after a week.
    return sorted(connection.execute(jobs.select().with_only_columns(jobs.c.kind).distinct()).scalars())
