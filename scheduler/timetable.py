"""What happens when: a list.  Adding a line is all there is to do, once the job's kind has a handler.

Times are UTC, always: no slot is skipped or repeated when clocks change for the summer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from apscheduler.triggers.cron import CronTrigger  # type: ignore[import-untyped]
from sqlalchemy import Connection

from domain import usage_stats
from domain.gifts import ExpireGifts
from domain.idempotency import ForgetOldAnswers
from domain.jobs import Job
from domain.ledger_checks import CheckLedger
from domain.operators import figures
from domain.reconciliation import AskAboutPurchases, FetchMissedEvents
from domain.sync_billing import resuming
from domain.sync_billing.reminders import RemindOfRenewals
from domain.sync_billing.runs import ChargeRecurring
from domain.upkeep import PruneOldRows, ReleaseExpiredReservations
from domain.webhooks import low_balances


@dataclass(frozen=True)
class Entry:
    """A job for every slot.  `job` makes it, and is given the slot.

    A slot is fired once, whoever is scheduler.  Of the slots missed while there was none, the newest is made
    up for: a sweep does by one run what it did not do by many.
    """

    name: str
    when: CronTrigger
    job: Callable[[datetime], Job]


@dataclass(frozen=True)
class Chore:
    """Light work that the leading scheduler does by itself, every few seconds.

    For what is so frequent that rows of jobs would be more work than the work, and needs no memory: missed,
    it is done the next time; done twice, nothing is wrong.  `work` is given the scheduler's time.
    """

    name: str
    every: timedelta
    work: Callable[[Connection, datetime], object]


def cron(expression: str) -> CronTrigger:
    """`minute hour day month weekday`, in UTC."""
    return CronTrigger.from_crontab(expression, timezone=UTC)


TIMETABLE: Final = (
    Entry("release_expired_reservations", cron("* * * * *"), lambda _slot: ReleaseExpiredReservations()),
    Entry("ask_about_purchases", cron("*/5 * * * *"), lambda _slot: AskAboutPurchases()),
    Entry("fetch_missed_events", cron("2-59/5 * * * *"), lambda _slot: FetchMissedEvents()),
    Entry("charge_recurring_sync", cron("0 * * * *"), lambda _slot: ChargeRecurring()),
    Entry("remind_of_renewals", cron("30 * * * *"), lambda _slot: RemindOfRenewals()),
    Entry("expire_gifts", cron("* * * * *"), lambda _slot: ExpireGifts()),
    Entry("check_ledger", cron("7 * * * *"), lambda _slot: CheckLedger()),
    Entry("prune_old_rows", cron("23 3 * * *"), lambda _slot: PruneOldRows()),
    Entry("forget_old_answers", cron("43 3 * * *"), lambda _slot: ForgetOldAnswers()),
)

CHORES: Final = (
    # 43,000 jobs a day, each an insert and three updates, to move a few rows: done here instead.
    Chore("roll_up_usage", timedelta(seconds=2), lambda connection, _now: usage_stats.roll_up(connection)),
    Chore("resume_paused_sync", resuming.LOOK_EVERY, resuming.look),
    Chore("look_for_low_balances", low_balances.LOOK_EVERY, low_balances.look),
    Chore("keep_figures", timedelta(seconds=30), lambda connection, now: figures.keep(connection, now=now)),
)
