"""`python -m workers`: WORKER_PROCESSES worker processes, in the foreground; SIGTERM and SIGINT drain them."""

from __future__ import annotations

import signal
import sys
import threading

from domain.logs import configure_logging
from domain.settings import SettingsError, read_settings
from domain.telemetry.pages import serve
from domain.telemetry.traces import TracesNotInstalled, configure_traces
from workers.actors import all_handlers
from workers.master import run_children
from workers.process import DRAIN_SECONDS, HandlersOf, run_process

CHILD = "--child"


def main(
    arguments: list[str], handlers_of: HandlersOf = all_handlers, drain_seconds: float = DRAIN_SECONDS
) -> int:
    """Run until a signal comes; the exit code."""
    try:
        settings = read_settings()
        close_traces = configure_traces(settings, "workers")
    except (SettingsError, TracesNotInstalled) as error:
        print(f"workers: {error}", file=sys.stderr)  # noqa: T201
        return 2
    configure_logging(settings, "worker")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    if settings.worker_processes > 1 and CHILD not in arguments:
        command = [sys.executable, *sys.orig_argv[1:], CHILD]
        return run_children(
            command,
            settings.worker_processes,
            stop,
            lambda directory: serve(
                settings.telemetry.worker_metrics_port, settings.host, directory=directory
            ),
        )
    # A child's figures are on its master's page.
    close = serve(0 if CHILD in arguments else settings.telemetry.worker_metrics_port, settings.host)
    try:
        return run_process(settings, stop, handlers_of=handlers_of, drain_seconds=drain_seconds)
    finally:
        close()
        close_traces()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
