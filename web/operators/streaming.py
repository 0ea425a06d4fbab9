"""Long answers, read from the database as fast as the client takes them, and never in memory as a whole."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final

from aiohttp import web
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection

from domain.database import transaction
from web.batches import Overloaded
from web.deductions import Outage
from web.frame import frame_key
from web.routing import Call

STREAMS_AT_ONCE_MAX: Final = 2
"""Each holds one of the front's connections for as long as its client takes; the rest serve everybody else."""

CHUNKS_WAITING_MAX: Final = 4
"""Chunks between the database and the client: some megabyte."""

CLIENT_SECONDS_MAX: Final = 60
"""A client that takes nothing for so long is given up."""

Produce = Callable[[Connection, datetime], Iterator[bytes]]

_slots: Final = threading.BoundedSemaphore(STREAMS_AT_ONCE_MAX)


class _ClientLeft(Exception):
    """Nobody reads any more."""


async def stream(call: Call, produce: Produce, *, content_type: str, filename: str) -> web.StreamResponse:
    """Send what `produce` yields, in one transaction on a thread of its own, as a file to save.

    Raises Outage, and Overloaded when STREAMS_AT_ONCE_MAX are under way; not after the first byte, then the
    answer breaks off, so that half a file is not taken for a whole one.
    """
    if not _slots.acquire(blocking=False):
        raise Overloaded
    chunks: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue(CHUNKS_WAITING_MAX)
    has_left = threading.Event()
    loop = asyncio.get_running_loop()
    engine = call.services.bridge.engine
    pump = loop.run_in_executor(None, _pump, engine, produce, chunks, loop, has_left)
    try:
        return await _send(call, chunks, content_type=content_type, filename=filename)
    finally:
        has_left.set()
        while not pump.done():
            # A producer that waits for room finds it, and then that nobody reads.
            with contextlib.suppress(asyncio.QueueEmpty):
                chunks.get_nowait()
            await asyncio.wait([pump], timeout=0.05)
        _slots.release()


async def _send(
    call: Call, chunks: asyncio.Queue[bytes | BaseException | None], *, content_type: str, filename: str
) -> web.StreamResponse:
    chunk = await chunks.get()
    if isinstance(chunk, BaseException):
        raise chunk
    response = web.StreamResponse(
        headers={
            "Content-Type": f"{content_type}; charset=utf-8",
            "Content-Disposition": f'attachment; filename="{filename}"',
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        }
    )
    resource = call.request.match_info.route.resource
    call.request.app[frame_key].add_headers(call.request, response, resource.canonical if resource else "")
    await response.prepare(call.request)
    while chunk is not None:
        if isinstance(chunk, BaseException):
            _break_off(call.request)
            raise chunk
        try:
            async with asyncio.timeout(CLIENT_SECONDS_MAX):
                await response.write(chunk)
        except (TimeoutError, ConnectionError):  # the client is gone, or takes nothing
            _break_off(call.request)
            return response
        chunk = await chunks.get()
    await response.write_eof()
    return response


def _break_off(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def _pump(
    engine: Engine,
    produce: Produce,
    chunks: asyncio.Queue[bytes | BaseException | None],
    loop: asyncio.AbstractEventLoop,
    has_left: threading.Event,
) -> None:
    """Runs on the thread: from the database into the queue."""

    def put(item: bytes | BaseException | None) -> None:
        if has_left.is_set():
            raise _ClientLeft
        asyncio.run_coroutine_threadsafe(chunks.put(item), loop).result()

    try:
        with transaction(engine) as connection:
            for chunk in produce(connection, datetime.now(UTC)):
                put(chunk)
        put(None)
    except _ClientLeft:
        pass
    except (OperationalError, NoConnection) as error:
        with contextlib.suppress(_ClientLeft):
            put(Outage(type(error).__name__))
    except Exception as error:  # noqa: BLE001 - told to the one who waits for it
        with contextlib.suppress(_ClientLeft):
            put(error)
