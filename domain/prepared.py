"""One statement asked again and again by the front: prepared once on each connection, sent and read as bare bytes.

psycopg's cursor does for a statement what any statement may need, and takes 70 µs of Python for it; this takes 15
(docs/performance.md).  It keeps to what psycopg offers for it: `psycopg.pq`, libpq's own functions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final
from weakref import WeakSet

from psycopg import AsyncConnection
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult

_GOOD: Final = (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK)


class Prepared:
    """The statement `sql`, with parameters `$1`, `$2`, … as text, under a `name` of its own on each connection."""

    def __init__(self, name: str, sql: str) -> None:
        self._name = name.encode()
        self._sql = sql.encode()
        self._ready: WeakSet[AsyncConnection[Any]] = WeakSet()

    async def ask(self, connection: AsyncConnection[Any], parameters: Sequence[bytes | None]) -> PGresult:
        """Its rows, as text.

        `connection` is in autocommit mode and nobody else's meanwhile: the statement is its own transaction, and
        a return means committed.  Raises psycopg's errors as a cursor does; a connection that broke says so in
        `broken`.  One whose answer was not waited for is closed.
        """
        server = connection.pgconn
        try:
            if connection not in self._ready:
                server.send_prepare(self._name, self._sql)
                await _result(server)
                self._ready.add(connection)
            server.send_query_prepared(self._name, parameters)
            return await _result(server)
        finally:
            if server.transaction_status == TransactionStatus.ACTIVE:
                server.finish()


async def _result(server: PGconn) -> PGresult:
    """What the server answers to what was sent."""
    while (
        server.flush()
    ):  # what is longer than the socket's buffer; the server may have to be heard meanwhile
        await _until(server, writable=True)
        server.consume_input()
    results: list[PGresult] = []
    while (result := await _next(server)) is not None:
        results.append(result)  # the commit comes after the rows, and may fail
    for result in results:
        if result.status not in _GOOD:
            raise error_from_result(result)
    return results[0]


async def _next(server: PGconn) -> PGresult | None:
    while server.is_busy():
        await _until(server, writable=False)
        server.consume_input()
    return server.get_result()


async def _until(server: PGconn, *, writable: bool) -> None:
    """Wait until there is something to read, or room to write."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    socket = server.socket

    def tell() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(socket, tell)
    if writable:
        loop.add_writer(socket, tell)
    try:
        await ready
    finally:
        loop.remove_reader(socket)
        if writable:
            loop.remove_writer(socket)
