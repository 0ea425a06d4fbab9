"""Sending nudges without making anybody wait."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from typing import Final

import structlog
from redis import RedisError

from domain.nudge import AddedJob
from domain.telemetry.metrics import NUDGES_LOST, NUDGES_SENT
from nudges.broker import make_broker, message_for

WAITING_MAX: Final = 10_000
"""Nudges waiting to be sent: a few seconds' worth.  More are dropped: the relay sends them."""

TOGETHER_MAX: Final = 100
"""Nudges sent in one exchange with Redis: beyond it an exchange is no cheaper by the nudge."""

CLOSE_TIMEOUT_SECONDS: Final = 2.0

log = structlog.get_logger(__name__)


class Nudger:
    """Sends nudges on a thread of its own: a call returns in microseconds, whatever Redis does.

    It is a domain.nudge.Nudge: give it to `transaction(engine, nudger)`.  Safe from any thread and from an
    event loop.  Make it after a fork, close it at the end.
    """

    def __init__(self, redis_url: str) -> None:
        self._broker = make_broker(redis_url)
        self._waiting: queue.Queue[AddedJob | None] = queue.Queue(WAITING_MAX)
        self._thread = threading.Thread(target=self._send_all, name="nudger", daemon=True)
        self._is_down = False
        self._thread.start()

    def __call__(self, added: Sequence[AddedJob], /) -> None:
        """Send soon, if it can be.  Never raises, never waits."""
        for job in added:
            try:
                self._waiting.put_nowait(job)
            except queue.Full:
                NUDGES_LOST.inc()

    def close(self) -> None:
        """Send what waits, for CLOSE_TIMEOUT_SECONDS at most, then stop."""
        try:
            self._waiting.put(None, timeout=CLOSE_TIMEOUT_SECONDS)
        except queue.Full:
            log.warning("nudges_left_to_the_relay", count=self._waiting.qsize())
        self._thread.join(CLOSE_TIMEOUT_SECONDS)
        self._broker.close()

    def _send_all(self) -> None:
        is_open = True
        while is_open:
            jobs, is_open = self._take(TOGETHER_MAX)
            try:
                if jobs:
                    self._broker.enqueue_all([message_for(job) for job in jobs])
            except (RedisError, OSError) as error:
                self._lose(jobs, error)
            else:
                NUDGES_SENT.inc(len(jobs))
                self._is_down = False

    def _take(self, most: int) -> tuple[list[AddedJob], bool]:
        """What waits, `most` at most, once something does; and whether more may come."""
        jobs: list[AddedJob] = []
        job = self._waiting.get()
        while job is not None:
            jobs.append(job)
            if len(jobs) == most or self._waiting.empty():
                return jobs, True
            job = self._waiting.get()
        return jobs, False

    def _lose(self, jobs: Sequence[AddedJob], error: Exception) -> None:
        """Redis is down: what waits was meant for now, and the relay sends it when Redis is back."""
        lost = len(jobs)
        while not self._waiting.empty():
            if self._waiting.get_nowait() is None:
                self._waiting.put_nowait(None)
                break
            lost += 1
        NUDGES_LOST.inc(lost)
        if not self._is_down:
            log.warning("nudges_lost", error=type(error).__name__, count=lost)
        self._is_down = True
