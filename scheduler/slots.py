"""Firing a slot: at most once, whatever clocks, crashes and other schedulers do."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from apscheduler.triggers.cron import CronTrigger  # type: ignore[import-untyped]
from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert

from domain.jobs import add_job
from domain.tables import timetable
from scheduler.timetable import Entry

_LOOK_BACK: Final = (
    timedelta(minutes=2),
    timedelta(hours=2),
    timedelta(days=2),
    timedelta(days=62),
    timedelta(days=800),
)
"""Windows in which the newest slot is sought: a slot a minute is found in the first, a yearly one in the last."""


def latest_slot(when: CronTrigger, now: datetime) -> datetime | None:
    """The newest slot at or before `now`; None when there was none for two years."""
    for window in _LOOK_BACK:
        slot: datetime | None = None
        candidate = when.get_next_fire_time(None, now - window)
        while candidate is not None and candidate <= now:
            slot = candidate
            candidate = when.get_next_fire_time(None, candidate + timedelta(microseconds=1))
        if slot is not None:
            return slot
    return None


def fire(connection: Connection, entry: Entry, slot: datetime, *, now: datetime) -> UUID | None:
    """Add the slot's job, and note the slot; the job's id, or None when the slot was fired before.

    The note outlives the job's row, which is pruned.  A note of a time to come was made by a clock that went
    wrong: it does not stop the timetable, and the job's unique key still makes each slot one job.
    """
    query = select(timetable.c.last_slot).where(timetable.c.name == entry.name).with_for_update()
    last_slot: datetime | None = connection.execute(query).scalar_one_or_none()
    if last_slot is not None and slot <= last_slot <= now:
        return None
    job_id = add_job(
        connection,
        entry.job(slot),
        now=now,
        unique_key=f"{entry.name}@{slot.isoformat()}",
        subject=entry.name,
    )
    note = insert(timetable).values(name=entry.name, last_slot=slot, job_id=job_id)
    changed = {"last_slot": note.excluded.last_slot, "job_id": note.excluded.job_id}
    connection.execute(note.on_conflict_do_update(index_elements=[timetable.c.name], set_=changed))
    return job_id
