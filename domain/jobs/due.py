"""Which jobs to send to the workers now: the relay's question."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, select, update

from domain.nudge import AddedJob
from domain.tables import jobs

RESEND_AFTER: Final = timedelta(seconds=10)
"""When a job that was sent and still waits is sent again.

A killed worker's work shall be redone within 20 s (see CRASH_PAUSE_SECONDS for what it had begun).  Sending
in vain is cheap: one look at the row.
"""


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
