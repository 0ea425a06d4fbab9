"""The jobs that tell people about their sync: what each says, and when it is better not to say it any more.

A notice is a job, added in the transaction of what it tells of: nobody is told of what did not happen, and
nothing that happened is forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar, Final

import msgspec
from sqlalchemy import Connection, Row, func, select

from domain import ledger
from domain.jobs.kind import Job, Queue
from domain.notices import texts
from domain.notices.gateway import Notification, Notifier
from domain.notices.texts import Language
from domain.sync_billing.calendar import Interval
from domain.sync_billing.prices import PRICES
from domain.tables import stripe_customers, sync_subscriptions

SETTINGS_PATH: Final = "/settings/sync"


@dataclass(frozen=True)
class Mail:
    """How notices are sent here.  `notifier` is None where none is configured: they are skipped.

    `app_url` is where people find their settings.
    """

    notifier: Notifier | None
    language: Language
    app_url: str
    tells_of_pauses: bool
    tells_of_renewals: bool


class SendPauseNotice(Job, frozen=True, kw_only=True):
    """Tell a person that their sync was paused at that instant."""

    kind: ClassVar[str] = "send_pause_notice"
    queue: ClassVar[Queue] = Queue.MAIL
    horizon: ClassVar[timedelta] = timedelta(days=1)

    user_id: str
    paused_at: datetime


class SendRenewalReminder(Job, frozen=True, kw_only=True):
    """Tell a person that their credits do not cover the renewal of that instant."""

    kind: ClassVar[str] = "send_renewal_reminder"
    queue: ClassVar[Queue] = Queue.MAIL
    horizon: ClassVar[timedelta] = timedelta(days=1)

    user_id: str
    due: datetime


class Skip(msgspec.Struct, frozen=True):
    """Nothing is sent, and why."""

    reason: str


NO_NOTIFIER: Final = Skip("MANA_NOTIFY_URL is not set")
SWITCHED_OFF: Final = Skip("switched off")
OVER: Final = Skip("no longer so")


def read_pause(connection: Connection, job: SendPauseNotice, mail: Mail) -> Notification | Skip:
    """What to send about the pause, as things stand now."""
    if mail.notifier is None:
        return NO_NOTIFIER
    if not mail.tells_of_pauses:
        return SWITCHED_OFF
    row = _subscription(connection, job.user_id)
    if row is None or row.active or row.paused_at != job.paused_at:
        return OVER
    interval = Interval(row.billing_interval)
    url = mail.app_url + SETTINGS_PATH
    text = texts.paused(
        mail.language, interval=interval, price=PRICES[interval], url=url, auto_resume=row.auto_resume
    )
    data = {"type": "sync-paused", "resumeUrl": url}
    return _notification(row, text, data, external_id=f"sync-paused:{job.user_id}:{_stamp(job.paused_at)}")


def read_reminder(
    connection: Connection, job: SendRenewalReminder, mail: Mail, now: datetime
) -> Notification | Skip:
    """What to send about the renewal to come, as things stand now."""
    if mail.notifier is None:
        return NO_NOTIFIER
    if not mail.tells_of_renewals:
        return SWITCHED_OFF
    row = _subscription(connection, job.user_id)
    if row is None or not row.active or row.is_gifted or row.next_charge_at != job.due or job.due <= now:
        return OVER
    price = PRICES[Interval(row.billing_interval)]
    balance = ledger.balance_of(connection, job.user_id)
    missing = price - (Decimal(0) if balance is None else balance.balance)
    if missing <= 0:
        return OVER
    url = mail.app_url + SETTINGS_PATH
    text = texts.reminder(mail.language, due=job.due, price=price, missing=missing, url=url)
    data = {"type": "sync-renewal-reminder", "resumeUrl": url}
    return _notification(row, text, data, external_id=f"sync-reminder:{job.user_id}:{_stamp(job.due)}")


def send(plan: Notification | Skip, mail: Mail) -> dict[str, str]:
    """Send it, unless there is nothing to send; what the job's row says of it.  Raises NotifierFailed."""
    if isinstance(plan, Skip) or mail.notifier is None:
        return {"skipped": plan.reason if isinstance(plan, Skip) else NO_NOTIFIER.reason}
    mail.notifier.send(plan)
    return {"sent": plan.external_id}


def _subscription(connection: Connection, user_id: str) -> Row[Any] | None:
    """The person's subscription, with the address where they are reached, if one is known."""
    address = func.coalesce(sync_subscriptions.c.contact_email, stripe_customers.c.email)
    query = (
        select(sync_subscriptions, address.label("recipient"))
        .outerjoin(stripe_customers, stripe_customers.c.user_id == sync_subscriptions.c.user_id)
        .where(sync_subscriptions.c.user_id == user_id)
    )
    return connection.execute(query).one_or_none()


def _notification(row: Row[Any], text: texts.Text, data: dict[str, Any], *, external_id: str) -> Notification:
    return Notification(
        channel="email",
        app_id="sync",
        user_id=row.user_id,
        recipient=row.recipient or None,
        subject=text.subject,
        body=text.body,
        data=data,
        external_id=external_id,
    )


def _stamp(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
