"""The scheduler: once a second, if it leads, it fires the slots that came and does the chores that are due.

APScheduler's triggers say when a slot is; its scheduler is not used.  That one reads the clock by itself (so
that no test can turn it), sleeps through an hour when the wall clock is set back, and does not know which
slots another process has fired.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Final

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from domain import heartbeats
from domain.database import transaction
from domain.jobs.failing import describe
from domain.nudge import Nudge
from domain.telemetry.metrics import LEADS, LINES_FAILED, SLOTS_FIRED
from scheduler.leadership import Leadership
from scheduler.slots import fire, latest_slot
from scheduler.timetable import Chore, Entry

TICK_SECONDS: Final = 1.0

log = structlog.get_logger(__name__)


class Scheduler:
    """One of several; `tick` is what it does once a second."""

    def __init__(
        self,
        engine: Engine,
        entries: Sequence[Entry],
        chores: Sequence[Chore],
        *,
        clock: Callable[[], datetime],
        nudge: Nudge | None = None,
    ) -> None:
        self._engine = engine
        self._entries = entries
        self._chores = chores
        self._clock = clock
        self._nudge = nudge
        self._leadership = Leadership(engine)
        self._started_at = clock()
        self._fired: dict[str, datetime] = {}
        self._chore_due: dict[str, float] = {}
        self._beat_due = 0.0

    def run(self, stop: threading.Event) -> None:
        """Tick until `stop` is set, then let another lead."""
        while not stop.wait(TICK_SECONDS):
            self.tick()
        self.leave()

    def leave(self) -> None:
        """Let another lead, and say good-bye."""
        self._leadership.release()
        try:
            with transaction(self._engine) as connection:
                heartbeats.leave(connection, "scheduler")
        except SQLAlchemyError as error:
            log.warning("no_good_bye", error=describe(error))

    def tick(self) -> bool:
        """Fire and do what is due, if this process leads; whether it leads."""
        leads = self._leadership.hold()
        LEADS.set(leads)
        self._guarded("heartbeat", partial(self._beat, leads))
        if not leads:
            self._fired.clear()
            return False
        for entry in self._entries:
            self._guarded(entry.name, partial(self._fire, entry))
        for chore in self._chores:
            self._guarded(chore.name, partial(self._do, chore))
        return True

    def _guarded(self, name: str, work: Callable[[], None]) -> None:
        """A line that fails is told of, and does not stop the others; the next tick tries it again."""
        try:
            work()
        except DBAPIError as error:
            LINES_FAILED.labels(name).inc()
            log.warning("timetable_line_waits", line=name, error=describe(error))
        except Exception as error:  # noqa: BLE001 - one wrong line must not stop the clock
            LINES_FAILED.labels(name).inc()
            log.error("timetable_line_failed", line=name, error=describe(error))  # noqa: TRY400

    def _fire(self, entry: Entry) -> None:
        now = self._clock()
        slot = latest_slot(entry.when, now)
        if slot is None or self._fired.get(entry.name) == slot:
            return
        with transaction(self._engine, self._nudge) as connection:
            job_id = fire(connection, entry, slot, now=now)
        self._fired[entry.name] = slot
        if job_id is not None:
            SLOTS_FIRED.labels(entry.name).inc()
            log.info("slot_fired", line=entry.name, slot=slot.isoformat(), job_id=str(job_id))

    def _do(self, chore: Chore) -> None:
        # Seconds that passed, not the wall clock, which may jump.
        if time.monotonic() < self._chore_due.get(chore.name, 0.0):
            return
        self._chore_due[chore.name] = time.monotonic() + chore.every.total_seconds()
        with transaction(self._engine, self._nudge) as connection:
            chore.work(connection, self._clock())

    def _beat(self, leads: bool) -> None:
        if time.monotonic() < self._beat_due:
            return
        self._beat_due = time.monotonic() + heartbeats.BEAT_EVERY.total_seconds()
        with transaction(self._engine) as connection:
            heartbeats.beat(
                connection, "scheduler", started_at=self._started_at, now=self._clock(), leads=leads
            )
