"""`python -m web`: serve HTTP until SIGTERM or SIGINT, then end what is under way."""

from __future__ import annotations

import sys

import structlog
import uvloop
from aiohttp import web

from domain.logs import configure_logging
from domain.settings import SettingsError, read_settings
from domain.telemetry.traces import TracesNotInstalled, configure_traces
from web.app import make_app

SHUTDOWN_SECONDS = 20.0
"""How long requests under way may take to end after a signal."""

BACKLOG = 1024
"""Connections that may wait to be accepted."""


def main() -> int:
    """Serve; 2 when the environment does not allow it."""
    try:
        settings = read_settings()
        close_traces = configure_traces(settings, "web")
    except SettingsError as error:
        for problem in error.problems:
            print(f"mana-credits cannot start: {problem}", file=sys.stderr)  # noqa: T201
        return 2
    except TracesNotInstalled as error:
        print(f"mana-credits cannot start: {error}", file=sys.stderr)  # noqa: T201
        return 2
    configure_logging(settings, "web")
    structlog.get_logger().info("web_starts", port=settings.port, env=settings.env)
    web.run_app(
        make_app(settings),
        host=settings.host,
        port=settings.port,
        access_log=None,
        print=None,
        shutdown_timeout=SHUTDOWN_SECONDS,
        backlog=BACKLOG,
        loop=uvloop.new_event_loop(),
    )
    close_traces()
    return 0


if __name__ == "__main__":
    sys.exit(main())
