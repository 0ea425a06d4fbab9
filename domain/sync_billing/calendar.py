"""When a subscription is charged: pure functions from dates to dates.

A subscription is charged on a grid: the same day of the month and time of day, every so many months, in UTC.
A month too short for the day has its charge on the month's last day, and the next month has the day again.
UTC has no summer time, so that no charge is skipped, doubled or moved when clocks change; on a clock on the
wall in Europe a charge is an hour later in summer than in winter.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple


class Interval(StrEnum):
    """How often a subscription is charged; the database's `sync_billing_interval`."""

    MONTHLY = "monthly"
    QUARTERLY = "quarterly"
    YEARLY = "yearly"


MONTHS: Final = {Interval.MONTHLY: 1, Interval.QUARTERLY: 3, Interval.YEARLY: 12}

TICK: Final = timedelta(minutes=1)


class Period(NamedTuple):
    """What one charge pays for: from `start` up to `end`, where the next one begins."""

    start: datetime
    end: datetime


def first_period(start: datetime, interval: Interval) -> Period:
    """The period of a subscription that begins now: its day of the month becomes the anchor."""
    begin = start.astimezone(UTC)
    return Period(begin, _on_grid(begin, MONTHS[interval], begin.day))


def current_period(due: datetime, interval: Interval, anchor_day: int, now: datetime) -> Period:
    """The period to charge when a charge has come due: the newest one of the grid that has begun.

    `due` is at or before `now`.  Several periods late, those in between are not charged; `end` is the first
    date of the grid after `now`.  Raises ValueError for a `due` to come.
    """
    begin, at = due.astimezone(UTC), now.astimezone(UTC)
    if begin > at:
        raise ValueError("the charge is not due yet")
    step = MONTHS[interval]
    passed = ((at.year - begin.year) * 12 + at.month - begin.month) // step
    if passed and _on_grid(begin, passed * step, anchor_day) > at:
        passed -= 1  # this month's date is still to come
    start = _on_grid(begin, passed * step, anchor_day) if passed else begin
    return Period(start, _on_grid(begin, (passed + 1) * step, anchor_day))


def anchor_day_of(due: datetime, kept: int | None, activated_at: datetime | None) -> int:
    """The day of the month that a subscription keeps, 1 to 31.

    `kept` is the day noted with it.  A row that another service or a person wrote has none, or a date that
    it does not explain: then the day it was activated on, if the date is that day cut short by its month
    (the 28th of February, activated on the 31st); else the date's own day.
    """
    at = due.astimezone(UTC)
    activated_day = None if activated_at is None else activated_at.astimezone(UTC).day
    for day in (kept, activated_day):
        if day is not None and _clipped(at.year, at.month, day) == at.day:
            return day
    return at.day


def moved(due: datetime, began: datetime, ended: datetime) -> datetime:
    """A date that stood still from `began` to `ended`: later by the whole minutes between the two.

    The seconds are left out, so that what is taken back at once leaves the date as it was.
    """
    return due + max((ended - began) // TICK, 0) * TICK


def _on_grid(date: datetime, months: int, anchor_day: int) -> datetime:
    """The anchor's day, or the last, of the month that is `months` after the date's; the same time of day."""
    years, month = divmod(date.month - 1 + months, 12)
    year = date.year + years
    return date.replace(year=year, month=month + 1, day=_clipped(year, month + 1, anchor_day))


def _clipped(year: int, month: int, day: int) -> int:
    return min(day, monthrange(year, month)[1])
