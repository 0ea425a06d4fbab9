"""Notices: read what to say, ask the notifier, keep what came of it."""

from __future__ import annotations

from domain.jobs import Handler, Outside
from domain.notices import kinds
from domain.notices.kinds import Mail, SendPauseNotice, SendRenewalReminder
from workers.notifier import HttpNotifier
from workers.parts import Parts


def handlers(parts: Parts) -> list[Handler]:
    """Each notice has an externalId of its own, which stays the same however often it is tried."""
    mail = _mail(parts)
    return [
        Outside(
            SendPauseNotice,
            read=lambda connection, job, _now: kinds.read_pause(connection, job, mail),
            call=lambda plan, _key: kinds.send(plan, mail),
            record=lambda _connection, _job, outcome, _now: outcome,
        ),
        Outside(
            SendRenewalReminder,
            read=lambda connection, job, now: kinds.read_reminder(connection, job, mail, now),
            call=lambda plan, _key: kinds.send(plan, mail),
            record=lambda _connection, _job, outcome, _now: outcome,
        ),
    ]


def _mail(parts: Parts) -> Mail:
    settings = parts.settings
    notifier = None
    if settings.notify_url is not None:
        notifier = HttpNotifier(settings.notify_url, settings.service_keys[0])
    return Mail(
        notifier=notifier,
        language=settings.notify_language,
        app_url=settings.app_url,
        tells_of_pauses=settings.pause_notice,
        tells_of_renewals=settings.renewal_reminder_days > 0,
    )
