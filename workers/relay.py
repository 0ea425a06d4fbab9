"""The relay: sends what nobody was told of, or was told in vain.

It looks once a second for jobs that wait and are due: whose nudge was lost, whose time has come, whose
message went down with Redis or with a worker.  Every worker process has one, so that there is a relay
wherever there is somebody to do the work; several share the rows (SKIP LOCKED).
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

import structlog
from redis import RedisError
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from domain import heartbeats
from domain.database import connections_in_use, connections_max, transaction
from domain.jobs import Handler, bring_forward, claim_due
from domain.jobs.failing import describe
from domain.telemetry.metrics import CONNECTIONS_IN_USE, CONNECTIONS_MAX, RELAYED
from nudges import NudgeBroker, message_for

SWEEP_EVERY_SECONDS: Final = 1.0

BRING_FORWARD_EVERY_SECONDS: Final = 15.0
"""How long a job may wait in vain after the clock was set back."""

QUEUE_ROOM: Final = 500
"""Messages that the relay lets wait in a queue of Redis: seconds of work.  The rest waits in the table, so
that sending again while workers are down or behind cannot fill Redis."""

TRICKLE: Final = 1
"""What is sent of a full queue, a sweep: a job whose message was lost is never kept back for good."""

log = structlog.get_logger(__name__)


class Relay:
    """Sweeps on a thread of its own, and beats the process's heart."""

    def __init__(
        self,
        engine: Engine,
        broker: NudgeBroker,
        handlers: Sequence[Handler],
        clock: Callable[[], datetime],
    ) -> None:
        self._engine = engine
        self._broker = broker
        self._clock = clock
        self._started_at = clock()
        self._kinds: dict[str, list[str]] = defaultdict(list)
        for handler in handlers:
            # Only what this process can do: a newer version's jobs wait for its workers.
            self._kinds[handler.kind.queue.value].append(handler.kind.kind)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
        # Seconds that passed, not the wall clock, which may be set.
        self._beat_due = self._bring_forward_due = 0.0
        self._is_down = False

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs: the process should end when it does not."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to sweep."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the sweep under way."""
        self._stop.set()
        self._thread.join()

    def sweep(self) -> int:
        """Send what is due now; how many.  Raises what PostgreSQL and Redis raise when they are down."""
        return sum(self._sweep_queue(queue, kinds) for queue, kinds in self._kinds.items())

    def _sweep_queue(self, queue: str, kinds: Sequence[str]) -> int:
        # Redis is asked first: while it is down no row is marked as sent.
        room = max(QUEUE_ROOM - self._broker.waiting(queue), TRICKLE)
        with transaction(self._engine) as connection:
            due = claim_due(connection, queue=queue, kinds=kinds, most=room, now=self._clock())
        if due:
            self._broker.enqueue_all([message_for(job) for job in due])
        RELAYED.inc(len(due))
        return len(due)

    def _run(self) -> None:
        while not self._stop.wait(SWEEP_EVERY_SECONDS):
            CONNECTIONS_IN_USE.labels("worker").set(connections_in_use(self._engine))
            CONNECTIONS_MAX.labels("worker").set(connections_max(self._engine))
            try:
                self._beat()
                self._bring_forward()
                sent = self.sweep()
            except (SQLAlchemyError, RedisError, OSError) as error:
                if not self._is_down:
                    log.warning("relay_waits", error=describe(error))
                self._is_down = True
            else:
                if self._is_down:
                    log.info("relay_goes_on", sent=sent)
                self._is_down = False

    def _beat(self) -> None:
        if time.monotonic() >= self._beat_due:
            with transaction(self._engine) as connection:
                heartbeats.beat(connection, "worker", started_at=self._started_at, now=self._clock())
            self._beat_due = time.monotonic() + heartbeats.BEAT_EVERY.total_seconds()

    def _bring_forward(self) -> None:
        if time.monotonic() >= self._bring_forward_due:
            with transaction(self._engine) as connection:
                brought = bring_forward(connection, now=self._clock())
            if brought:
                log.warning("clock_was_set_back", jobs=brought)
            self._bring_forward_due = time.monotonic() + BRING_FORWARD_EVERY_SECONDS
