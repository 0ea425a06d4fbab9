"""Those who asked for it get their sync back by themselves once they have the credits.

The question is put to the balances, every few seconds, and not to what changes them: credits come by many
doors (a purchase, a gift, a reward, a refund, an expired reservation, another team's script), and none of
them has to know of sync.  A small index holds just those who wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final

import msgspec
import structlog
from sqlalchemy import Connection, func, or_, select, text, update

from domain import ledger, webhooks
from domain.isolating import in_parts
from domain.jobs.add import add_job
from domain.jobs.failing import describe
from domain.jobs.kind import Job, Queue
from domain.jobs.read import JobState
from domain.ledger import Posted
from domain.sync_billing import telling
from domain.sync_billing.calendar import Interval, first_period
from domain.sync_billing.prices import PRICE, PRICES, ChargeType, period_posting
from domain.tables import balances, jobs
from domain.tables import sync_subscriptions as subscriptions
from domain.webhooks import SyncResumed

LOOK_EVERY: Final = timedelta(seconds=3)
"""How long credits lie before sync resumes, at most: people look at the page a moment after they paid."""

RESUMED_PER_STEP_MAX: Final = 500
"""How many one transaction resumes: more are seldom waiting, and its locks are short."""

TRY_AGAIN_AFTER: Final = timedelta(hours=1)
"""When somebody whose row could not be worked on is tried again."""

log = structlog.get_logger(__name__)


class ResumePausedSync(Job, frozen=True, kw_only=True):
    """Charge a new period to everybody paused who asked for it and has the credits now."""

    kind: ClassVar[str] = "resume_paused_sync"
    queue: ClassVar[Queue] = Queue.BILLING
    time_limit: ClassVar[timedelta] = timedelta(minutes=10)


class Resumed(msgspec.Struct, frozen=True, kw_only=True):
    """How many were resumed, and how many could not be worked on."""

    resumed: int = 0
    errors: int = 0


def look(connection: Connection, now: datetime) -> None:
    """Add the job when there is somebody to resume and no such job is waiting.  One look-up, seldom more."""
    if connection.execute(_payable(now).limit(1)).first() is None:
        return
    is_waiting = select(jobs.c.id).where(
        jobs.c.kind == ResumePausedSync.kind,
        jobs.c.queue == ResumePausedSync.queue.value,
        jobs.c.state == JobState.WAITING.value,
    )
    if connection.execute(is_waiting.limit(1)).first() is None:
        add_job(connection, ResumePausedSync(), now=now)


def resume_step(
    connection: Connection, _job: ResumePausedSync, done: Resumed, now: datetime
) -> tuple[Resumed, bool]:
    """One step: RESUMED_PER_STEP_MAX people at most."""
    connection.execute(text("SET LOCAL plan_cache_mode = force_custom_plan"))
    claim = _payable(now).order_by(subscriptions.c.paused_at).limit(RESUMED_PER_STEP_MAX)
    claimed = connection.execute(claim.with_for_update(of=subscriptions, skip_locked=True)).scalars()
    people = sorted(claimed)
    for part in in_parts(
        connection,
        people,
        lambda part: _resume(connection, part, now),
        lambda user_id, error: _note_problem(connection, user_id, error, now),
    ):
        done = Resumed(resumed=done.resumed + part.resumed, errors=done.errors + part.errors)
    return done, len(people) == RESUMED_PER_STEP_MAX


def _payable(now: datetime) -> Any:
    columns = subscriptions.c
    return (
        select(columns.user_id)
        .join(balances, balances.c.user_id == columns.user_id)
        .where(
            columns.auto_resume,
            ~columns.active,
            ~columns.is_gifted,
            columns.paused_at.is_not(None),
            balances.c.balance >= PRICE,
            or_(columns.problem_at.is_(None), columns.problem_at < now - TRY_AGAIN_AFTER),
        )
    )


def _resume(connection: Connection, people: Sequence[str], now: datetime) -> Resumed:
    """Begin a new period for each: sync was off since the pause, so nothing is owed for that time."""
    rows = connection.execute(
        select(subscriptions.c.user_id, subscriptions.c.billing_interval)
        .where(subscriptions.c.user_id == func.any(list(people)))
        .order_by(subscriptions.c.user_id)
    ).all()
    postings = [
        period_posting(row.user_id, Interval(row.billing_interval), now, ChargeType.SUBSCRIPTION, now=now)
        for row in rows
    ]
    resumed: list[SyncResumed] = []
    for row, outcome in zip(rows, ledger.post(connection, postings, now=now), strict=True):
        if not isinstance(outcome, Posted):
            continue  # the credits were spent a moment ago: they go on waiting
        interval = Interval(row.billing_interval)
        period = first_period(now, interval)
        connection.execute(
            update(subscriptions)
            .where(subscriptions.c.user_id == row.user_id)
            .values(
                active=True,
                paused_at=None,
                activated_at=now,
                next_charge_at=period.end,
                anchor_day=period.start.day,
                paid_from=period.start,
                amount_charged=int(PRICES[interval]),
                problem=None,
                problem_at=None,
                updated_at=now,
            )
        )
        resumed.append(telling.resumed(row.user_id, interval, next_charge_at=period.end))
    webhooks.tell(connection, resumed, now=now)
    return Resumed(resumed=len(resumed))


def _note_problem(connection: Connection, user_id: str, error: Exception, now: datetime) -> Resumed:
    log.error("resuming_failed", error=describe(error))
    connection.execute(
        update(subscriptions)
        .where(subscriptions.c.user_id == user_id)
        .values(problem=describe(error), problem_at=now)
    )
    return Resumed(errors=1)
