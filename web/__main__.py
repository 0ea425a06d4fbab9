"""`python -m web`: WEB_PROCESSES processes serve HTTP until SIGTERM or SIGINT, then end what is under way.

SIGHUP replaces several processes by new ones, one after the other, without refusing a connection.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import sys

import structlog
import uvloop
from aiohttp import web

from domain.database import check_is_direct
from domain.logs import configure_logging
from domain.settings import Settings, SettingsError, read_settings
from domain.telemetry.traces import TracesNotInstalled, configure_traces
from processes.child import (
    CHILD,
    end_with_the_master,
    listening_socket,
    tell_ready,
    tell_that_nothing_is_replaced,
)
from processes.master import BACKLOG, Program, Wishes, listening_sockets, run_children
from processes.memory import settle_memory, share_memory_among_threads
from web.app import make_app
from web.frame import frame_key
from web.scrape import metrics_app, scrape_key
from web.server import Runner

SHUTDOWN_SECONDS = 20.0
"""How long requests under way may take to end after a signal."""

END_SECONDS = SHUTDOWN_SECONDS + 7
"""A process that took longer is killed."""

LEAVE_SECONDS = 2.0
"""How long connections are still answered after a signal, each for the last time: one that a caller opened just now,
or keeps for the next request, is not cut off under that request.  Those that stay silent so long are closed."""

LOOK_SECONDS = 0.02

SWITCH_SECONDS = 0.0005
"""How long a thread that runs Python keeps the others waiting: the event loop, above all."""

GARBAGE_THRESHOLDS = (50_000, 20, 50)
"""New containers before Python looks for cycles among them, and how seldom it looks at older ones: requests leave
hardly any cycles, and looking costs latency."""


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
    share_memory_among_threads()
    structlog.get_logger().info("web_starts", port=settings.port, env=settings.env)
    end_with_the_master()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings))
    close_traces()
    return 0


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, tell_that_nothing_is_replaced)
    app = make_app(settings)
    runner = Runner(app, shutdown_timeout=SHUTDOWN_SECONDS)
    beside: web.AppRunner | None = None
    try:
        await runner.setup()
        shared = listening_socket()
        beside = await _serve_metrics(app, settings, is_one_of_several=shared is not None)
        site: web.BaseSite
        if shared is None:
            site = web.TCPSite(runner, settings.host, settings.port, backlog=BACKLOG)
        else:
            site = web.SockSite(runner, shared, backlog=BACKLOG)
        await site.start()
        settle_memory()
        gc.set_threshold(*GARBAGE_THRESHOLDS)
        sys.setswitchinterval(SWITCH_SECONDS)
        tell_ready()
        await stop.wait()
        await _take_leave(app, runner, site)
    finally:
        if beside is not None:
            await beside.cleanup()
        await runner.cleanup()


async def _serve_metrics(
    app: web.Application, settings: Settings, *, is_one_of_several: bool
) -> web.AppRunner | None:
    """Show the metrics on a port of their own, if they have one: whichever process answers tells for all."""
    port = settings.telemetry.web_metrics_port
    if port == 0:
        return None
    runner = web.AppRunner(metrics_app(app[scrape_key]), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, settings.host, port, reuse_port=is_one_of_several).start()
    return runner


async def _take_leave(app: web.Application, runner: Runner, site: web.BaseSite) -> None:
    """Accept nobody any more, and let connections end by themselves, each with its next answer."""
    app[frame_key].is_last = True
    await site.stop()
    loop = asyncio.get_running_loop()
    deadline = loop.time() + LEAVE_SECONDS
    while runner.server is not None and runner.server.connections and loop.time() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(LOOK_SECONDS)


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
