"""Charging those whose date has come: a thousand to a transaction, each period once.

A chunk is claimed by locking its rows; others who charge at the same time skip them and take the next ones.
One ledger.post for the chunk, keyed by person and period; next dates, pauses and their notices in the same
transaction.  So a chunk happens as a whole or not at all, and no period is charged twice, whoever crashes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
import structlog
from sqlalchemy import Connection, Row, func, or_, select, text, update

from domain import ledger, webhooks
from domain.isolating import in_parts
from domain.jobs.add import add_jobs_of_people
from domain.jobs.failing import describe
from domain.ledger import Insufficient, NoBalance, Outcome, Posting
from domain.ledger.post import POSTINGS_PER_CALL_MAX
from domain.notices.kinds import SendPauseNotice
from domain.sync_billing import telling
from domain.sync_billing.calendar import Interval, Period, anchor_day_of, current_period
from domain.sync_billing.prices import PRICES, ChargeType, period_posting
from domain.tables import sync_subscriptions as subscriptions

CHUNK: Final = POSTINGS_PER_CALL_MAX
"""Renewals in one transaction: the ledger's longest list.  A tenth of a second of work (bench/renewals.py)."""

log = structlog.get_logger(__name__)


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """How many were charged, paused, or failed."""

    charged: int = 0
    paused: int = 0
    errors: int = 0

    @property
    def total(self) -> int:
        """How many were due."""
        return self.charged + self.paused + self.errors

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            charged=self.charged + other.charged,
            paused=self.paused + other.paused,
            errors=self.errors + other.errors,
        )


class _Renewal(msgspec.Struct, frozen=True):
    """A subscription that is due, the period to charge, and the day of the month that it keeps."""

    row: Row[*tuple[Any, ...]]
    interval: Interval
    period: Period
    anchor_day: int
    posting: Posting


def charge_chunk(connection: Connection, *, began_at: datetime, now: datetime) -> Tally:
    """Charge or pause CHUNK of those due at `now`, at most; those that others hold are left to them.

    `began_at` is when the run began: whoever could not be charged since then is not tried again in it.
    """
    # The best plan for a list depends on its length and on how full the table is now: never a remembered one.
    connection.execute(text("SET LOCAL plan_cache_mode = force_custom_plan"))
    due = (
        select(subscriptions.c.user_id)
        .where(
            *_is_due(now), or_(subscriptions.c.problem_at.is_(None), subscriptions.c.problem_at < began_at)
        )
        .order_by(subscriptions.c.next_charge_at)
        .limit(CHUNK)
        .with_for_update(skip_locked=True)
    )
    people = sorted(connection.execute(due).scalars())
    tallies = in_parts(
        connection,
        people,
        lambda part: _charge(connection, part, now),
        lambda user_id, error: _note_problem(connection, user_id, error, max(began_at, now)),
    )
    return sum(tallies, start=Tally())


def count_due(connection: Connection, *, now: datetime, most: int) -> int:
    """How many are due at `now`; counting stops at `most`."""
    due = select(subscriptions.c.user_id).where(*_is_due(now)).limit(most).subquery()
    count: int = connection.execute(select(func.count()).select_from(due)).scalar_one()
    return count


def _is_due(now: datetime) -> tuple[Any, ...]:
    columns = subscriptions.c
    return columns.active, ~columns.is_gifted, columns.next_charge_at <= now


def _charge(connection: Connection, people: Sequence[str], now: datetime) -> Tally:
    rows = connection.execute(
        select(
            subscriptions.c.user_id,
            subscriptions.c.billing_interval,
            subscriptions.c.next_charge_at,
            subscriptions.c.anchor_day,
            subscriptions.c.activated_at,
            subscriptions.c.auto_resume,
        )
        .where(subscriptions.c.user_id == func.any(list(people)))
        .order_by(subscriptions.c.user_id)
    )
    renewals = [_renewal(row, now) for row in rows]
    outcomes = ledger.post(connection, [renewal.posting for renewal in renewals], now=now)
    charged: list[_Renewal] = []
    paused: list[_Renewal] = []
    for renewal, outcome in zip(renewals, outcomes, strict=True):
        (paused if _is_short(outcome) else charged).append(renewal)
    _move_on(connection, charged, now)
    _pause(connection, paused, now)
    return Tally(charged=len(charged), paused=len(paused))


def _renewal(row: Row[*tuple[Any, ...]], now: datetime) -> _Renewal:
    interval = Interval(row.billing_interval)
    anchor_day = anchor_day_of(row.next_charge_at, row.anchor_day, row.activated_at)
    period = current_period(row.next_charge_at, interval, anchor_day, now)
    posting = period_posting(row.user_id, interval, period.start, ChargeType.RENEWAL, now=now)
    return _Renewal(row, interval, period, anchor_day, posting)


def _is_short(outcome: Outcome) -> bool:
    """Whether the period could not be paid.  One paid before (replayed: its date was set back) counts as paid."""
    if isinstance(outcome, Insufficient | NoBalance):
        return True
    ledger.accepted(outcome)
    return False


_MOVE_ON: Final = text("""
    UPDATE credits.sync_subscriptions s
    SET next_charge_at = n.next_charge_at, paid_from = n.paid_from, anchor_day = n.anchor_day,
        amount_charged = n.amount_charged, problem = NULL, problem_at = NULL, updated_at = :now
    FROM unnest(
        CAST(:people AS text[]), CAST(:ends AS timestamptz[]), CAST(:starts AS timestamptz[]),
        CAST(:anchor_days AS smallint[]), CAST(:amounts AS integer[])
    ) AS n(user_id, next_charge_at, paid_from, anchor_day, amount_charged)
    WHERE s.user_id = n.user_id
""")


def _move_on(connection: Connection, charged: Sequence[_Renewal], now: datetime) -> None:
    if not charged:
        return
    connection.execute(
        _MOVE_ON,
        {
            "people": [renewal.row.user_id for renewal in charged],
            "ends": [renewal.period.end for renewal in charged],
            "starts": [renewal.period.start for renewal in charged],
            "anchor_days": [renewal.anchor_day for renewal in charged],
            "amounts": [int(PRICES[renewal.interval]) for renewal in charged],
            "now": now,
        },
    )


def _pause(connection: Connection, paused: Sequence[_Renewal], now: datetime) -> None:
    """End them for now; the date stays, to show since when.  Each is told, once this is committed."""
    if not paused:
        return
    people = [renewal.row.user_id for renewal in paused]
    connection.execute(
        update(subscriptions)
        .where(subscriptions.c.user_id == func.any(people))
        .values(active=False, paused_at=now, problem=None, problem_at=None, updated_at=now)
    )
    notices = {user_id: SendPauseNotice(user_id=user_id, paused_at=now) for user_id in people}
    add_jobs_of_people(connection, notices, now=now)
    events = [
        telling.paused(
            renewal.row.user_id,
            renewal.interval,
            due_at=renewal.row.next_charge_at,
            auto_resume=renewal.row.auto_resume,
        )
        for renewal in paused
    ]
    webhooks.tell(connection, events, now=now)


def _note_problem(connection: Connection, user_id: str, error: Exception, at: datetime) -> Tally:
    """Keep why somebody could not be charged: not tried again in this run, but in the next."""
    log.error("renewal_failed", error=describe(error))
    connection.execute(
        update(subscriptions)
        .where(subscriptions.c.user_id == user_id)
        .values(problem=describe(error), problem_at=at)
    )
    return Tally(errors=1)
