"""Jobs for tests: kinds that do as they are told, and workers without Redis."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final
from uuid import UUID

import msgspec
from sqlalchemy import Connection, Engine, select, text

from domain import tables
from domain.database import make_engine, transaction
from domain.jobs import Ending, Handler, Job, Once, Queue, Steps, add_job, run_job

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class Write(Job, frozen=True, kw_only=True):
    """Write `key` into the table `testing.effects`; take `seconds` for it."""

    kind: ClassVar[str] = "test_write"
    queue: ClassVar[Queue] = Queue.MONEY
    key: str
    seconds: float = 0.0


class WriteMail(Job, frozen=True, kw_only=True):
    """The same, in the queue that comes last."""

    kind: ClassVar[str] = "test_write_mail"
    queue: ClassVar[Queue] = Queue.MAIL
    key: str
    seconds: float = 0.0


class Poison(Job, frozen=True, kw_only=True):
    """Fails however often it is tried; with `kills`, takes its worker along."""

    kind: ClassVar[str] = "test_poison"
    queue: ClassVar[Queue] = Queue.MONEY
    horizon: ClassVar[timedelta] = timedelta(minutes=10)
    kills: bool = False


class Endless(Job, frozen=True, kw_only=True):
    """Never ends by itself."""

    kind: ClassVar[str] = "test_endless"
    queue: ClassVar[Queue] = Queue.MONEY
    time_limit: ClassVar[timedelta] = timedelta(seconds=1)


def write(connection: Connection, job: Write | WriteMail, _now: datetime) -> dict[str, str]:
    """The effect whose repetition would be seen: `effects` has no key."""
    connection.execute(text("INSERT INTO testing.effects VALUES (:key)"), {"key": job.key})
    if job.seconds:
        connection.execute(text("SELECT pg_sleep(:seconds)"), {"seconds": job.seconds})
    return {"key": job.key}


def fail(_connection: Connection, job: Poison, _now: datetime) -> None:
    if job.kills:
        os.kill(os.getpid(), signal.SIGKILL)
    raise RuntimeError("poison")


def never_end(_connection: Connection, _job: Endless, _now: datetime) -> None:
    while True:
        time.sleep(0.05)


WRITES: Final = Once(Write, write)
POISONS: Final = Once(Poison, fail)

HANDLERS: tuple[Handler, ...] = (WRITES, Once(WriteMail, write), POISONS, Once(Endless, never_end))


class Counted(msgspec.Struct, frozen=True):
    """How many steps a job of several has made."""

    count: int = 0


def steps_of(total: int, before: Callable[[int], None] = lambda _count: None) -> Steps[Write, Counted]:
    """A job of `total` steps, each of which writes its number; `before` its commit `before(number)` is called."""

    def step(connection: Connection, job: Write, made: Counted, now: datetime) -> tuple[Counted, bool]:
        write(connection, Write(key=f"{job.key}{made.count}"), now)
        before(made.count)
        return Counted(made.count + 1), made.count + 1 < total

    return Steps(Write, Counted(), step)


@contextlib.contextmanager
def engine_on(database_url: str, *, pool_size: int = 8) -> Iterator[Engine]:
    """An engine, disposed at the end."""
    engine = make_engine(database_url, pool_size=pool_size)
    yield engine
    engine.dispose()


def make_effects(engine: Engine) -> None:
    """The table that Write writes into, on a server of the test's own: clean databases have it."""
    with transaction(engine) as connection:
        connection.execute(text("CREATE SCHEMA testing; CREATE TABLE testing.effects (key text NOT NULL)"))


def effects(engine: Engine) -> list[str]:
    """What was written, in order of the keys, repetitions included."""
    with transaction(engine) as connection:
        return list(connection.execute(text("SELECT key FROM testing.effects ORDER BY key")).scalars())


def add(engine: Engine, job: Job, *, now: datetime = NOW, **options: Any) -> UUID:
    """Add one job and commit."""
    with transaction(engine) as connection:
        return add_job(connection, job, now=now, **options)


def row_of(engine: Engine, job_id: UUID) -> Any:
    """The job's row, as it stands."""
    with transaction(engine) as connection:
        return connection.execute(select(tables.jobs).where(tables.jobs.c.id == job_id)).one()


def run(engine: Engine, handler: Handler, job_id: UUID, now: datetime = NOW) -> Ending:
    """Attempt it once, here, at a moment."""
    return run_job(engine, handler, job_id, clock=lambda: now)


def crash(engine: Engine, job_id: UUID) -> None:
    """Begin an attempt and lose its worker, as `kill -9` does: the claim stays, the session goes."""
    with transaction(engine) as connection:
        connection.execute(text("UPDATE ops.jobs SET attempts = attempts + 1 WHERE id = :id"), {"id": job_id})


def states(engine: Engine) -> dict[str, int]:
    """How many jobs there are in each state."""
    with transaction(engine) as connection:
        rows = connection.execute(text("SELECT state, count(*) FROM ops.jobs GROUP BY 1"))
        return {row.state: row[1] for row in rows}


def run_waiting(
    engine: Engine, handlers: Sequence[Handler], clock: Callable[[], datetime], *, rounds_max: int = 100
) -> list[Ending]:
    """Work, here and now, on the jobs due at `clock()`, and on those that they add: workers without Redis.

    A job that fails waits for its next time, which is when the clock says so.
    """
    by_kind = {handler.kind.kind: handler for handler in handlers}
    endings: list[Ending] = []
    for _ in range(rounds_max):
        with transaction(engine) as connection:
            due = connection.execute(
                select(tables.jobs.c.id, tables.jobs.c.kind)
                .where(
                    tables.jobs.c.state == "waiting",
                    tables.jobs.c.run_at <= clock(),
                    tables.jobs.c.kind.in_(by_kind),
                )
                .order_by(tables.jobs.c.run_at, tables.jobs.c.id)
            ).all()
        if not due:
            return endings
        endings += [run_job(engine, by_kind[row.kind], row.id, clock=clock) for row in due]
    raise AssertionError(f"jobs are still due after {rounds_max} rounds: {endings[-5:]}")
