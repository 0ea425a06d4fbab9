"""`python -m tests.telemetry.leaking main|workers|scheduler`: processes that say what no log may hold.

What they say is in the variable LEAKED.
"""

import asyncio
import logging
import os
import sys
import threading
import warnings
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import structlog
from sqlalchemy import Connection

from domain.database import make_engine
from domain.jobs import Handler, Job, Once, Queue
from domain.logs import configure_logging
from domain.settings import read_settings
from scheduler.clock import Scheduler
from scheduler.timetable import Chore
from workers.__main__ import main as workers

LEAKED = os.environ.get("LEAKED", "")


class Leak(Job, frozen=True, kw_only=True):
    """Fails, and its error says it all."""

    kind: ClassVar[str] = "test_leak"
    queue: ClassVar[Queue] = Queue.MONEY


def leak(_connection: Connection, _job: Leak, _now: datetime) -> None:
    structlog.get_logger("tests").warning("inside_of_a_job", text=LEAKED)
    raise RuntimeError(LEAKED)


HANDLERS: tuple[Handler, ...] = (Once(Leak, leak),)


def main() -> None:
    """Every way to a log that this program has; at last an error that nobody catches."""
    configure_logging(read_settings(), "leaking")
    log, plain = structlog.get_logger("tests"), logging.getLogger("library")
    log.info("members", text=LEAKED, nested={"deep": [LEAKED]}, error=ValueError(LEAKED))
    log.info(LEAKED)
    plain.warning("with arguments: %s", LEAKED)
    try:
        _raise_with_a_cause()
    except RuntimeError:
        log.exception("with_traceback")
        plain.exception("with traceback")
    plain.info("wrong arguments %d %d", LEAKED)
    warnings.warn(LEAKED, stacklevel=1)
    thread = threading.Thread(target=_raise_with_a_cause)
    thread.start()
    thread.join()
    asyncio.run(_forget_a_task())
    print("all said", file=sys.stderr)
    _raise_with_a_cause()


def _raise_with_a_cause() -> None:
    try:
        dict[str, str]()[LEAKED]  # a KeyError
    except KeyError as error:
        raise RuntimeError(f"because of {LEAKED}") from error


async def _forget_a_task() -> None:
    async def fail() -> None:
        raise RuntimeError(LEAKED)

    task: Any = asyncio.get_running_loop().create_task(fail())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    del task


def schedule() -> None:
    """A scheduler with a chore that fails."""

    def chore(_connection: Connection, _now: datetime) -> None:
        raise RuntimeError(LEAKED)

    settings = read_settings()
    configure_logging(settings, "scheduler")
    engine = make_engine(settings.database_url, pool_size=2)
    chores = [Chore("leak", timedelta(seconds=1), chore)]
    scheduler = Scheduler(engine, (), chores, clock=lambda: datetime.now(UTC))
    assert scheduler.tick()
    scheduler.leave()
    print("all said", file=sys.stderr)


if __name__ == "__main__":
    if "workers" in sys.argv:
        sys.exit(workers(sys.argv[2:], lambda _parts: HANDLERS, 12))
    elif "scheduler" in sys.argv:
        schedule()
    else:
        main()
