"""Runs a simulator's application: in a test's own loop, on a thread of its own, or as a process.

Tests that call a simulator with a blocking client need `on_a_thread`: in their own loop the client
would wait for an answer that the loop it blocks has to give.
"""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager

from aiohttp import web

LOOPBACK = "127.0.0.1"

# A handler told to hang never ends by itself; closing a simulator does not wait longer than this for it.
SHUTDOWN_TIMEOUT_SECONDS = 0.2

# accept → task → transport → handler, and one to spare.
LOOP_TURNS_TO_ACCEPT = 4


def listen(port: int = 0, host: str = LOOPBACK) -> socket.socket:
    """Return a listening socket; port 0 takes a free one.  Raises OSError where the port is taken."""
    return socket.create_server((host, port), backlog=512)


def url_of(listener: socket.socket, *, host: str = LOOPBACK) -> str:
    """Return the base address of a listening socket, without a slash at its end."""
    return f"http://{host}:{listener.getsockname()[1]}"


@asynccontextmanager
async def in_this_loop(
    app: web.Application, listener: socket.socket | None = None, *, linger_seconds: float = 10.0
) -> AsyncIterator[str]:
    """Serve `app` in the running loop and yield its base address.

    Who is refused half-way is listened to for `linger_seconds`, also when gone.
    """
    listener = listener or listen()
    runner = web.AppRunner(
        app, access_log=None, shutdown_timeout=SHUTDOWN_TIMEOUT_SECONDS, lingering_time=linger_seconds
    )
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        yield url_of(listener)
    finally:
        # Python 3.11 leaks a connection that was accepted when its server closes: accept no more, let
        # those accepted become connections that cleanup knows, and close only then.
        asyncio.get_running_loop().remove_reader(listener)
        for _ in range(LOOP_TURNS_TO_ACCEPT):
            await asyncio.sleep(0)
        await runner.cleanup()
        listener.close()


@contextmanager
def on_a_thread(app: web.Application, listener: socket.socket | None = None) -> Iterator[str]:
    """Serve `app` in a loop on a thread of its own and yield its base address."""
    started: Future[str] = Future()
    stopping: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        stop = asyncio.Event()
        stopping.append((asyncio.get_running_loop(), stop))
        async with in_this_loop(app, listener) as url:
            started.set_result(url)
            await stop.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    thread = threading.Thread(target=run, name="simulator", daemon=True)
    thread.start()
    url = started.result()
    try:
        yield url
    finally:
        loop, stop = stopping[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join()


def serve_until_stopped(app: web.Application, listener: socket.socket, *, name: str) -> None:
    """Serve `app` as this process's only task until SIGINT or SIGTERM."""
    print(f"{name} ready {url_of(listener)}", flush=True)
    web.run_app(
        app,
        sock=listener,
        print=None,
        access_log=None,
        shutdown_timeout=SHUTDOWN_TIMEOUT_SECONDS,
        handle_signals=True,
    )
