"""One process that serves HTTP: from its start until a signal, and the leave it takes of who is connected."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys

import structlog
import uvloop
from aiohttp import web

from domain.settings import Settings
from processes.child import (
    end_with_the_master,
    listening_socket,
    tell_ready,
    tell_that_nothing_is_replaced,
)
from processes.master import BACKLOG
from processes.memory import settle_memory, share_memory_among_threads
from web.app import make_app
from web.frame import frame_key
from web.scrape import metrics_app, scrape_key
from web.server import Runner

LEAVE_SECONDS = 2.0
"""How long connections are still answered after a signal, each for the last time: one that a caller opened just now,
or keeps for the next request, is not cut off under that request.  Those that stay silent so long are closed."""

LOOK_SECONDS = 0.02

SWITCH_SECONDS = 0.0005
"""How long a thread that runs Python keeps the others waiting: the event loop, above all."""

GARBAGE_THRESHOLDS = (50_000, 20, 50)
"""New containers before Python looks for cycles among them, and how seldom it looks at older ones: requests leave
hardly any cycles, and looking costs latency."""


def serve_until_told(settings: Settings, shutdown_seconds: float) -> None:
    """Serve until SIGTERM or SIGINT; requests under way may take so long to end."""
    share_memory_among_threads()
    structlog.get_logger().info("web_starts", port=settings.port, env=settings.env)
    end_with_the_master()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, shutdown_seconds))


async def _serve(settings: Settings, shutdown_seconds: float) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, tell_that_nothing_is_replaced)
    app = make_app(settings)
    runner = Runner(app, shutdown_timeout=shutdown_seconds)
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
