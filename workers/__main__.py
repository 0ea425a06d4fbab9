"""`python -m workers`: WORKER_PROCESSES worker processes, in the foreground.

SIGTERM and SIGINT drain them; SIGHUP replaces several by new ones, one after the other."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Final

from domain.database import check_is_direct
from domain.logs import configure_logging
from domain.settings import SettingsError, read_settings
from domain.telemetry.pages import serve
from domain.telemetry.traces import TracesNotInstalled, configure_traces
from processes.child import CHILD, end_with_the_master, tell_that_nothing_is_replaced
from processes.master import Program, Wishes, run_children
from processes.memory import hold_memory

if TYPE_CHECKING:
    from workers.process import HandlersOf

DRAIN_SECONDS: Final = 12.0
"""How long running jobs may take to end at SIGTERM; those that do not are left waiting, and done elsewhere.
Supervisors kill after 20 s or more."""

END_SECONDS = DRAIN_SECONDS + 5
"""A process that drained longer is killed: its jobs wait, and are done elsewhere."""


def main(
    arguments: list[str], handlers_of: HandlersOf | None = None, drain_seconds: float = DRAIN_SECONDS
) -> int:
    """Run until a signal comes, with the service's handlers or others; the exit code."""
    try:
        settings = read_settings()
        check_is_direct(settings)
        close_traces = configure_traces(settings, "workers")
    except (SettingsError, TracesNotInstalled) as error:
        print(f"workers: {error}", file=sys.stderr)  # noqa: T201
        return 2
    configure_logging(settings, "worker")
    wishes = Wishes()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: wishes.stop.set())
    if settings.worker_processes > 1 and CHILD not in arguments:
        signal.signal(signal.SIGHUP, lambda _number, _frame: wishes.replace.set())
        command = [sys.executable, *sys.orig_argv[1:], CHILD]
        return run_children(
            Program("worker", command, settings.worker_processes, END_SECONDS),
            wishes,
            serve_metrics=lambda directory: serve(
                settings.telemetry.worker_metrics_port, settings.host, directory=directory
            ),
        )
    signal.signal(signal.SIGHUP, lambda _number, _frame: tell_that_nothing_is_replaced())
    end_with_the_master()
    hold_memory()
    # A master has no need of it, which is most of a process's memory and of its start.
    from workers.process import run_process  # noqa: PLC0415

    if handlers_of is None:
        from workers.actors import all_handlers  # noqa: PLC0415

        handlers_of = all_handlers
    # A child's figures are on its master's page.
    close = serve(0 if CHILD in arguments else settings.telemetry.worker_metrics_port, settings.host)
    try:
        return run_process(settings, wishes.stop, handlers_of=handlers_of, drain_seconds=drain_seconds)
    finally:
        close()
        close_traces()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
