"""`python -m scheduler`: one scheduler, in the foreground; SIGTERM and SIGINT end it."""

from __future__ import annotations

import signal
import sys
import threading
from datetime import UTC, datetime

import structlog

from domain.database import check_is_direct, make_engine
from domain.logs import configure_logging
from domain.settings import SettingsError, read_settings
from domain.telemetry.pages import serve
from domain.telemetry.traces import TracesNotInstalled, configure_traces
from nudges import Nudger
from scheduler.clock import Scheduler
from scheduler.timetable import CHORES, TIMETABLE

CONNECTIONS = 2
"""One that holds the leadership, one for the work."""


def main() -> int:
    """Run until a signal comes; the exit code."""
    try:
        settings = read_settings()
        check_is_direct(settings)
        close_traces = configure_traces(settings, "scheduler")
    except (SettingsError, TracesNotInstalled) as error:
        print(f"scheduler: {error}", file=sys.stderr)  # noqa: T201
        return 2
    configure_logging(settings, "scheduler")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    close_metrics = serve(settings.telemetry.scheduler_metrics_port, settings.host)
    engine = make_engine(
        settings.database_url, pool_size=CONNECTIONS, application_name="mana-credits-scheduler"
    )
    nudger = Nudger(settings.redis_url)
    scheduler = Scheduler(engine, TIMETABLE, CHORES, clock=lambda: datetime.now(UTC), nudge=nudger)
    structlog.get_logger(__name__).info("scheduler_ready", lines=len(TIMETABLE) + len(CHORES))
    scheduler.run(stop)
    nudger.close()
    close_metrics()
    close_traces()
    engine.dispose()
    return 0


if __name__ == "__main__":
    sys.exit(main())
