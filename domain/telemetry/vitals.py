"""What the service as a whole says at a scrape, from PostgreSQL.  Bounded reads of indexes and small tables."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, text

from domain import ledger_checks
from domain.jobs.kind import Queue
from domain.operators import health, subscriptions
from domain.operators.webhooks_seen import webhook_health
from domain.telemetry import metrics
from domain.telemetry.metrics import Metric

OVERDUE_AFTER: Final = timedelta(minutes=5)
"""What the timetable does every minute has been missed several times by then."""

Reading = tuple[Metric, tuple[str, ...], float]
"""A metric, the values of its labels, and its value."""

_JOBS: Final = text("""
    SELECT queue, CASE WHEN run_at <= :now THEN 'due' ELSE 'scheduled' END AS state, NULL AS kind, count(*) AS number,
           min(run_at) FILTER (WHERE run_at <= :now) AS oldest_due_at
    FROM ops.jobs WHERE state = 'waiting' GROUP BY 1, 2
    UNION ALL
    SELECT queue, state, kind, count(*), NULL
    FROM ops.jobs WHERE state IN ('refused', 'failed', 'cancelled') GROUP BY 1, 2, 3
""")

_LINES: Final = text("SELECT name, last_slot FROM ops.timetable")

_OVERDUE: Final = text("""
    SELECT (SELECT count(*) FROM gifts.gift_codes WHERE status = 'active' AND expires_at < :since) AS gifts,
           (SELECT count(*) FROM credits.reservations WHERE status = 'reserved' AND expires_at < :since)
               AS reservations,
           (SELECT count(*) FROM ops.usage_pending) AS usage_pending
""")


def read(connection: Connection, *, now: datetime) -> list[Reading]:
    """The readings of this moment.  Ages are in seconds, and at or above zero."""
    return [
        *_of_jobs(connection, now),
        *_of_stripe(connection, now),
        *_of_ledger(connection, now),
        *_of_processes(connection, now),
        *_of_sync(connection, now),
        *_overdue(connection, now),
        *_of_webhooks(connection, now),
    ]


def _of_jobs(connection: Connection, now: datetime) -> Iterable[Reading]:
    counts: dict[tuple[str, str], int] = {}
    failed: dict[str, int] = {}
    oldest = dict.fromkeys((queue.value for queue in Queue), 0.0)
    for row in connection.execute(_JOBS, {"now": now}):
        counts[row.queue, row.state] = counts.get((row.queue, row.state), 0) + row.number
        if row.state == "failed":
            failed[row.kind] = failed.get(row.kind, 0) + row.number
        if row.oldest_due_at is not None:
            oldest[row.queue] = _age(row.oldest_due_at, now)
    for queue, seconds in oldest.items():
        yield metrics.JOBS_OLDEST_DUE, (queue,), seconds
    for (queue, state), number in counts.items():
        yield metrics.JOBS, (queue, state), number
    for kind, number in failed.items():
        yield metrics.JOBS_FAILED, (kind,), number


def _of_stripe(connection: Connection, now: datetime) -> Iterable[Reading]:
    heard = health.stripe_heard(connection, now=now)
    if heard.event_at is not None:
        yield metrics.STRIPE_EVENT_AGE, (), _age(heard.event_at, now)
    if heard.read_until is not None:
        yield metrics.STRIPE_READ_AGE, (), _age(heard.read_until, now)
    yield metrics.STRIPE_UNHANDLED, (), heard.unhandled


def _of_ledger(connection: Connection, now: datetime) -> Iterable[Reading]:
    check = ledger_checks.latest(connection)
    if check is None:
        return
    yield metrics.LEDGER_CHECK_AGE, (), _age(check.checked_at, now)
    yield metrics.LEDGER_CHECK_SECONDS, (), check.took_seconds
    for finding in check.findings:
        yield metrics.LEDGER_VIOLATIONS, (finding.name,), finding.violation_count


def _of_processes(connection: Connection, now: datetime) -> Iterable[Reading]:
    seen = health.processes(connection, now=now)
    for role, number in (("web", seen.web), ("worker", seen.workers), ("scheduler", seen.schedulers)):
        yield metrics.PROCESSES, (role,), number
    yield metrics.LEADERS, (), sum(one.is_alive and bool(one.leads) for one in seen.all)
    for row in connection.execute(_LINES):
        yield metrics.SLOT_AGE, (row.name,), _age(row.last_slot, now)


def _of_sync(connection: Connection, now: datetime) -> Iterable[Reading]:
    seen = subscriptions.renewals(connection, now=now)
    for state, number in (
        ("active", seen.active),
        ("due", seen.due),
        ("overdue", seen.overdue),
        ("paused", seen.paused),
        ("gifted", seen.gifted),
        ("problem", seen.problems),
    ):
        yield metrics.SYNC, (state,), number


def _overdue(connection: Connection, now: datetime) -> Iterable[Reading]:
    row = connection.execute(_OVERDUE, {"since": now - OVERDUE_AFTER}).one()
    yield metrics.GIFTS_OVERDUE, (), row.gifts
    yield metrics.RESERVATIONS_OVERDUE, (), row.reservations
    yield metrics.USAGE_PENDING, (), row.usage_pending


def _of_webhooks(connection: Connection, now: datetime) -> Iterable[Reading]:
    seen = webhook_health(connection, now=now)
    for state in ("working", "failing", "paused", "disabled"):
        yield metrics.WEBHOOK_ENDPOINTS, (state,), getattr(seen, state)
    yield metrics.WEBHOOKS_WAITING, (), seen.deliveries_waiting
    yield (
        metrics.WEBHOOKS_OLDEST_DUE,
        (),
        0.0 if seen.oldest_due_at is None else _age(seen.oldest_due_at, now),
    )


def _age(then: datetime, now: datetime) -> float:
    return max((now - then).total_seconds(), 0.0)
