"""One worker process: Dramatiq's threads, the relay, and an end in good order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import dramatiq
import structlog
from dramatiq import Worker
from dramatiq.middleware import TimeLimit
from redis import RedisError
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from domain import heartbeats
from domain.database import make_engine, open_all, transaction
from domain.jobs import Handler, Queue, run_job
from domain.jobs.failing import describe
from domain.nudge import Nudge
from domain.settings import Settings
from domain.telemetry import traces
from domain.webhooks.addresses import AddressRules
from nudges import NudgeBroker, Nudger, make_broker
from processes.child import tell_ready
from processes.memory import settle_memory, share_memory_among_threads
from workers.deliverer import CONNECTIONS, Deliverer
from workers.parts import Parts
from workers.relay import Relay
from workers.webhook_door import WebhookDoor

POLL_MS: Final = 100
"""How often an idle worker asks Redis: a nudge waits half of it, on average."""

CONNECTIONS_BESIDE_THREADS: Final = 3 + CONNECTIONS
"""For the relay, the ledger check, the reading of Stripe's list, and the deliverer's."""

CHECK_EVERY_SECONDS: Final = 0.5

SHARES: Final = {Queue.BILLING: 2, Queue.UPKEEP: 4, Queue.MAIL: 2}
"""The part of the threads (a half, a quarter, a half) that a queue may hold, so that a slow notifier or a
long sweep leaves room for money, which may have all."""

log = structlog.get_logger(__name__)

HandlersOf = Callable[[Parts], Sequence[Handler]]


def utc_now() -> datetime:
    """The clock of the worker: frames read it, the domain never does."""
    return datetime.now(UTC)


def run_process(
    settings: Settings,
    stop: threading.Event,
    *,
    handlers_of: HandlersOf,
    drain_seconds: float,
) -> int:
    """Work until `stop` is set, then drain: running jobs may take so long to end.  The exit code.

    It is 1 when a part of the process died, so that the supervisor starts a new one.
    """
    share_memory_among_threads()
    process = _Process(settings, handlers_of)
    process.start()
    code = process.wait(stop)
    process.drain(drain_seconds)
    return code


class _Process:
    def __init__(self, settings: Settings, handlers_of: HandlersOf) -> None:
        self._threads = settings.worker_threads
        self._engine = make_engine(
            settings.database_url,
            pool_size=self._threads + CONNECTIONS_BESIDE_THREADS,
            application_name="mana-credits-worker",
        )
        self._nudger = Nudger(settings.redis_url)
        self._broker = make_broker(settings.redis_url, [TimeLimit()], _shares(self._threads))
        self._handlers = handlers_of(Parts(settings, self._engine))
        for handler in self._handlers:
            declare_actor(self._broker, self._engine, handler, self._nudger)
        self._worker = Worker(self._broker, worker_timeout=POLL_MS, worker_threads=self._threads)
        self._relay = Relay(self._engine, self._broker, self._handlers, utc_now)
        self._deliverer = Deliverer(self._engine, WebhookDoor(AddressRules.of(settings)), utc_now)

    def start(self) -> None:
        try:
            open_all(self._engine)
        except OperationalError as error:
            log.warning("worker_starts_without_database", error=describe(error))
        self._broker.emit_after("process_boot")  # starts the thread that watches time limits
        self._worker.start()
        self._relay.start()
        self._deliverer.start()
        settle_memory()
        tell_ready()
        log.info("worker_ready", threads=self._threads, kinds=len(self._handlers))

    def wait(self, stop: threading.Event) -> int:
        while not stop.wait(CHECK_EVERY_SECONDS):
            threads = (*self._worker.workers, *self._worker.consumers.values())
            ours = self._relay.is_alive and self._deliverer.is_alive
            if not (ours and all(thread.is_alive() for thread in threads)):
                log.critical("worker_thread_died")
                return 1
        return 0

    def drain(self, seconds: float) -> None:
        log.info("worker_drains")
        self._relay.stop()
        self._deliverer.end_soon()
        try:
            self._worker.stop(timeout=int(seconds * 1000))
        except RedisError as error:
            # What it had fetched stays with it in Redis until its heartbeat is old, or the relay sends it again.
            log.warning("messages_not_returned", error=type(error).__name__)
        self._deliverer.stop()
        self._nudger.close()
        self._broker.close()
        try:
            with transaction(self._engine) as connection:
                heartbeats.leave(connection, "worker")
        except SQLAlchemyError as error:
            log.warning("no_good_bye", error=describe(error))
        self._engine.dispose()
        log.info("worker_ended")


def declare_actor(broker: NudgeBroker, engine: Engine, handler: Handler, nudge: Nudge) -> None:
    """Let the broker's workers do this kind of job when they are nudged."""
    kind = handler.kind

    def work(job_id: str, trace: str | None = None) -> None:
        try:
            with traces.span(f"job {kind.kind}", parent=trace, job_id=job_id):
                run_job(engine, handler, UUID(job_id), clock=utc_now, nudge=nudge)
        except SQLAlchemyError as error:
            # PostgreSQL is down: the row waits as it was, and the relay sends it again.
            log.warning("job_left_waiting", kind=kind.kind, job_id=job_id, error=describe(error))

    declare = dramatiq.actor(
        actor_name=kind.kind,
        queue_name=kind.queue.value,
        priority=kind.queue.priority,
        time_limit=kind.time_limit.total_seconds() * 1000,
        broker=broker,
    )
    declare(work)


def _shares(threads: int) -> dict[str, int]:
    return {queue.value: max(1, threads // part) for queue, part in SHARES.items()}
