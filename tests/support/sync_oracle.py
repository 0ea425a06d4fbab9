"""What sync must come to, told by a simple account of each person: the oracle of the year of sync.

It knows nothing of the service's calendar: it steps from date to date, a month or several at a time.
"""

from __future__ import annotations

import calendar
from dataclasses import dataclass, field
from datetime import datetime

PRICES = {"monthly": 30, "quarterly": 90, "yearly": 360}
MONTHS = {"monthly": 1, "quarterly": 3, "yearly": 12}

Charge = tuple[datetime, int, str]


class Refused(Exception):
    """What the service must refuse too."""


def later(date: datetime, interval: str, anchor: int) -> datetime:
    """The next date after one: month by month, on the anchor's day or the month's last."""
    for _ in range(MONTHS[interval]):
        year, month = (date.year + 1, 1) if date.month == 12 else (date.year, date.month + 1)
        last = calendar.monthrange(year, month)[1]
        date = date.replace(year=year, month=month, day=min(anchor, last))
    return date


@dataclass
class Person:
    """Somebody with credits, and with sync or without."""

    credits: int | None = None
    active: bool = False
    interval: str = "monthly"
    due: datetime | None = None
    anchor: int = 0
    paused: bool = False
    gifted_at: datetime | None = None
    kept: datetime | None = None
    auto_resume: bool = False
    known: bool = False
    charges: list[Charge] = field(default_factory=list)
    pauses: int = 0

    def top_up(self, amount: int) -> None:
        self.credits = (self.credits or 0) + amount

    def spend(self, amount: int) -> None:
        if self.credits is None or self.credits < amount:
            raise Refused
        self.credits -= amount

    def _begin(self, now: datetime) -> None:
        self.spend(PRICES[self.interval])
        self.charges.append((now, PRICES[self.interval], "sync_subscription"))
        self.active, self.paused, self.anchor = True, False, now.day
        self.due = later(now, self.interval, self.anchor)

    def activate(self, interval: str, auto_resume: bool, now: datetime) -> None:
        if self.gifted_at or self.active or (self.credits or 0) < PRICES[interval] or self.credits is None:
            raise Refused
        self.interval, self.auto_resume, self.known = interval, auto_resume, True
        self._begin(now)

    def deactivate(self) -> None:
        if not self.active or self.gifted_at:
            raise Refused
        self.active, self.due = False, None

    def change(self, interval: str) -> None:
        if not self.active:
            raise Refused
        self.interval = interval

    def gift(self, now: datetime) -> None:
        self.known = True
        if self.gifted_at:
            return
        self.kept = self.due if self.active and self.due is not None and self.due > now else None
        self.active, self.gifted_at, self.due, self.paused = True, now, None, False

    def revoke(self, now: datetime) -> None:
        if self.gifted_at is None:
            raise Refused
        stood = now - self.gifted_at
        self.due, self.active = None, False
        if self.kept is not None:
            self.due, self.active = self.kept + stood, True
            if self.due.date() != self.kept.date():
                self.anchor = self.due.day
        self.gifted_at = self.kept = None

    def resume_if_it_can(self, now: datetime) -> bool:
        """The sweep of every few seconds."""
        waits = self.paused and self.auto_resume and not self.active
        if not waits or (self.credits or 0) < PRICES[self.interval]:
            return False
        self._begin(now)
        return True

    def charge_if_due(self, now: datetime) -> None:
        """The run of every hour."""
        if not self.active or self.due is None or self.due > now:
            return
        start = self.due
        while (following := later(start, self.interval, self.anchor)) <= now:
            start = following
        if (self.credits or 0) < PRICES[self.interval]:
            self.active, self.paused = False, True
            self.pauses += 1
            return
        self.spend(PRICES[self.interval])
        self.charges.append((start, PRICES[self.interval], "sync_renewal"))
        self.due = following
