"""The overview: in ten seconds, whether people's money is safe."""

from __future__ import annotations

from datetime import datetime

import msgspec
from sqlalchemy import Connection

from domain import ledger_checks
from domain.ledger_checks import LedgerCheck
from domain.operators import figures, health, subscriptions
from domain.operators.figures import CreditsNow, DayFigures, Deductions
from domain.operators.health import KindOfJob, Processes, StripeHeard
from domain.operators.subscriptions import Renewals
from domain.operators.webhooks_seen import WebhookHealth, webhook_health


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """Everything at one moment, `at`.  `days` are the last thirty, today last."""

    at: datetime
    processes: Processes
    stripe: StripeHeard
    jobs: list[KindOfJob]
    deductions: Deductions
    today: DayFigures
    days: list[DayFigures]
    now: CreditsNow
    last_check: LedgerCheck | None
    renewals: Renewals
    webhooks: WebhookHealth
    worries: list[str]
    """What a person should look at, in words; empty when all is well."""


def overview(connection: Connection, *, now: datetime) -> Overview:
    """The overview: about twenty short queries.  `now` is an aware UTC instant."""
    days = figures.by_day(connection, now=now)
    seen = Overview(
        at=now,
        processes=health.processes(connection, now=now),
        stripe=health.stripe_heard(connection, now=now),
        jobs=health.kinds_of_jobs(connection, now=now),
        deductions=figures.deductions(connection, now=now),
        today=days[-1],
        days=days,
        now=figures.credits_now(connection),
        last_check=ledger_checks.latest(connection),
        renewals=subscriptions.renewals(connection, now=now),
        webhooks=webhook_health(connection, now=now),
        worries=[],
    )
    return msgspec.structs.replace(seen, worries=_worries(seen))


def _worries(seen: Overview) -> list[str]:
    check = seen.last_check
    failed = sum(kind.failed for kind in seen.jobs)
    late = [kind.kind for kind in seen.jobs if (kind.oldest_due_seconds or 0) > health.LATE_SECONDS]
    told = (
        (check is None, "the ledger was never checked"),
        (check is not None and check.violation_count > 0, "the ledger check found violations"),
        (
            check is not None and (seen.at - check.checked_at) > health.CHECK_STALE_AFTER,
            "the last ledger check is old",
        ),
        (not seen.processes.workers, "no worker is alive"),
        (seen.processes.leader is None, "no scheduler leads"),
        (bool(failed), f"{failed} jobs failed"),
        (bool(late), f"jobs are late: {', '.join(late)}"),
        (bool(seen.renewals.overdue), f"{seen.renewals.overdue} renewals are overdue"),
        (bool(seen.renewals.problems), f"{seen.renewals.problems} subscriptions could not be charged"),
        (bool(seen.webhooks.disabled), f"{seen.webhooks.disabled} webhook endpoints are disabled"),
    )
    return [words for is_so, words in told if is_so]
