"""Cloud Sync: runs of the recurring charge and their helpers, resuming, reminders."""

from __future__ import annotations

from domain.jobs import Handler, Steps
from domain.sync_billing import reminders, resuming, runs
from domain.sync_billing.reminders import Reminded, RemindOfRenewals
from domain.sync_billing.renewals import Tally
from domain.sync_billing.resuming import Resumed, ResumePausedSync
from domain.sync_billing.runs import ChargeRecurring, HelpToCharge, Run
from workers.parts import Parts


def handlers(parts: Parts) -> list[Handler]:
    """All in steps: each commits a chunk."""
    days = parts.settings.renewal_reminder_days
    return [
        Steps(ChargeRecurring, Run(), runs.charge_step),
        Steps(HelpToCharge, Tally(), runs.help_step),
        Steps(ResumePausedSync, Resumed(), resuming.resume_step),
        Steps(
            RemindOfRenewals,
            Reminded(),
            lambda connection, _job, reminded, now: reminders.remind_step(
                connection, reminded, days=days, now=now
            ),
        ),
    ]
