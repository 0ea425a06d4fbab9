"""Which jobs to send to the workers now: the relay's questions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, and_, func, not_, select, update

from domain.nudge import AddedJob
from domain.tables import jobs

RESEND_AFTER: Final = timedelta(seconds=10)
"""When a job that was sent and still waits is sent again.

A killed worker's work shall be redone within 20 s (see CRASH_PAUSE_SECONDS for what it had begun).  Sending
in vain is cheap: one look at the row.
"""

CLOCKS_DIFFER_MAX: Final = timedelta(minutes=1)
"""Two machines' clocks are less apart than this: what was written later than so much after now was written before
the clock was set back."""


def claim_due(
    connection: Connection, *, queue: str, kinds: Sequence[str], most: int, now: datetime
) -> list[AddedJob]:
    """The jobs of a queue that nobody was told of lately, longest due first; marked as sent now.

    Several may claim at once: each job goes to one of them.  Rows that a worker has locked are left alone.
    """
    due = (
        select(jobs.c.id)
        .where(
            jobs.c.state == "waiting",
            jobs.c.queue == queue,
            jobs.c.nudge_at <= now,
            jobs.c.kind.in_(kinds),
        )
        .order_by(jobs.c.nudge_at)
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    claimed = connection.execute(
        update(jobs)
        .where(jobs.c.id.in_(due.cte("due").select()))
        .values(sent_at=now, nudge_at=now + RESEND_AFTER)
        .returning(jobs.c.id, jobs.c.kind, jobs.c.queue)
    )
    return [AddedJob(row.id, row.kind, row.queue) for row in claimed]


def bring_forward(connection: Connection, *, now: datetime) -> int:
    """Make due what has times of a clock that was set back since; how many.

    Without this, what waited for a moment would wait until the clock has caught up: an hour, if that was it.  A
    job that was given a time of its own, and was not begun, goes on waiting for that.
    """
    # What was sent or begun since has the times of that moment's clock.  NULLs, of what never happened, do not count.
    written_at = func.coalesce(func.greatest(jobs.c.started_at, jobs.c.sent_at), jobs.c.created_at)
    waits_for_its_time = and_(jobs.c.started_at.is_(None), jobs.c.run_at > jobs.c.created_at)
    return connection.execute(
        update(jobs)
        .where(
            jobs.c.state == "waiting",
            jobs.c.nudge_at > now,
            written_at > now + CLOCKS_DIFFER_MAX,
            not_(waits_for_its_time),
        )
        .values(nudge_at=now, run_at=func.least(jobs.c.run_at, now))
    ).rowcount
