"""`python -m web`: WEB_PROCESSES processes serve HTTP until SIGTERM or SIGINT, then end what is under way.

SIGHUP replaces several processes by new ones, one after the other, without refusing a connection.  A master of several
imports little: where packages are missing it is the children that cannot start, and that say so in the log.
"""

from __future__ import annotations

import signal
import sys

from domain.database import check_is_direct
from domain.logs import configure_logging
from domain.settings import Settings, SettingsError, read_settings
from domain.telemetry.traces import TracesNotInstalled, configure_traces
from processes.child import CHILD
from processes.master import Program, Wishes, listening_sockets, run_children
from processes.memory import hold_memory

SHUTDOWN_SECONDS = 20.0
"""How long requests under way may take to end after a signal."""

END_SECONDS = SHUTDOWN_SECONDS + 7
"""A process that took longer is killed."""


def main(arguments: list[str]) -> int:
    """Serve; 2 when the environment does not allow it."""
    try:
        settings = read_settings()
        check_is_direct(settings)
        close_traces = configure_traces(settings, "web")
    except SettingsError as error:
        for problem in error.problems:
            print(f"mana-credits cannot start: {problem}", file=sys.stderr)  # noqa: T201
        return 2
    except TracesNotInstalled as error:
        print(f"mana-credits cannot start: {error}", file=sys.stderr)  # noqa: T201
        return 2
    configure_logging(settings, "web")
    if settings.web_processes > 1 and CHILD not in arguments:
        return _serve_together(settings)
    hold_memory()
    # A master has no need of it, which is most of a process's memory and of its start.
    from web.serving import serve_until_told  # noqa: PLC0415

    serve_until_told(settings, SHUTDOWN_SECONDS)
    close_traces()
    return 0


def _serve_together(settings: Settings) -> int:
    wishes = Wishes()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: wishes.stop.set())
    signal.signal(signal.SIGHUP, lambda _number, _frame: wishes.replace.set())
    sockets = listening_sockets(settings.host, settings.port, settings.web_processes)
    command = [sys.executable, *sys.orig_argv[1:], CHILD]
    return run_children(Program("web", command, settings.web_processes, END_SECONDS), wishes, sockets=sockets)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
