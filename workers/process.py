"""One worker process: Dramatiq's threads, the relay, and an end in good order."""

from __future__ import annotations

import os
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
from sqlalchemy.exc import SQLAlchemyError

from domain import heartbeats
from domain.database import make_engine, transaction
from domain.jobs import Handler, Queue, run_job
from domain.jobs.failing import describe
from domain.nudge import Nudge
from domain.settings import Settings
from nudges import NudgeBroker, Nudger, make_broker
from workers.actors import all_handlers
from workers.parts import Parts
from workers.relay import Relay

POLL_MS: Final = 100
"""How often an idle worker asks Redis: a nudge waits half of it, on average."""

DRAIN_SECONDS: Final = 12.0
"""How long running jobs may take to end at SIGTERM; those that do not are left waiting, and done elsewhere.
Supervisors kill after 20 s or more."""

CONNECTIONS_BESIDE_THREADS: Final = 3
"""For the relay, the ledger check, and one more."""

CHECK_EVERY_SECONDS: Final = 0.5

SHARES: Final = {Queue.BILLING: 2, Queue.UPKEEP: 4, Queue.MAIL: 2}
"""The part of the threads (a half, a quarter, a half) that a queue may hold, so that a slow notifier or a
long sweep leaves room for money, which may have all."""

log = structlog.get_logger(__name__)

HandlersOf = Callable[[Parts], Sequence[Handler]]


def utc_now() -> datetime:
    """The clock of the worker: frames read it, the domain never does."""
    return datetime.now(UTC)


def run_process(settings: Settings, stop: threading.Event, *, handlers_of: HandlersOf = all_handlers) -> int:
    """Work until `stop` is set, then drain; the exit code.

    It is 1 when a part of the process died, so that the supervisor starts a new one.
    """
    threads = settings.worker_threads
    engine = make_engine(
        settings.database_url,
        pool_size=threads + CONNECTIONS_BESIDE_THREADS,
        application_name="mana-credits-worker",
    )
    nudger = Nudger(settings.redis_url)
    handlers = handlers_of(Parts(settings, engine))
    broker = make_broker(settings.redis_url, [TimeLimit()], _shares(threads))
    for handler in handlers:
        declare_actor(broker, engine, handler, nudger)
    broker.emit_after("process_boot")
    worker = Worker(broker, worker_timeout=POLL_MS, worker_threads=threads)
    relay = Relay(engine, broker, handlers, utc_now)
    worker.start()
    relay.start()
    log.info("worker_ready", threads=threads, kinds=len(handlers))
    code = _wait(stop, worker, relay)
    _drain(worker, relay, nudger, broker, engine)
    return code


def declare_actor(broker: NudgeBroker, engine: Engine, handler: Handler, nudge: Nudge) -> None:
    """Let the broker's workers do this kind of job when they are nudged."""
    kind = handler.kind

    def work(job_id: str) -> None:
        try:
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


def _wait(stop: threading.Event, worker: Worker, relay: Relay) -> int:
    parent = os.getppid()
    while not stop.wait(CHECK_EVERY_SECONDS):
        if os.getppid() != parent:
            log.warning("worker_orphaned")
            return 1
        if not (relay.is_alive and all(t.is_alive() for t in (*worker.workers, *worker.consumers.values()))):
            log.critical("worker_thread_died")
            return 1
    return 0


def _drain(worker: Worker, relay: Relay, nudger: Nudger, broker: NudgeBroker, engine: Engine) -> None:
    log.info("worker_drains")
    relay.stop()
    try:
        worker.stop(timeout=int(DRAIN_SECONDS * 1000))
    except RedisError as error:
        # What it had fetched stays with it in Redis until its heartbeat is old, or the relay sends it again.
        log.warning("messages_not_returned", error=type(error).__name__)
    nudger.close()
    broker.close()
    try:
        with transaction(engine) as connection:
            heartbeats.leave(connection, "worker")
    except SQLAlchemyError as error:
        log.warning("no_good_bye", error=describe(error))
    engine.dispose()
    log.info("worker_ended")
