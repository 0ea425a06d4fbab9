"""An answer as JSON, written to the connection in one piece.

aiohttp's `Response` can do anything, and takes a fifth of a deduction's time for it (docs/performance.md).  Nearly all
answers here need none of that: a status, a body whose length is known, a few headers, a connection that stays open.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from email.utils import formatdate
from functools import cache
from http import HTTPStatus
from typing import Final

from aiohttp import ClientConnectionResetError, HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter

SERVER: Final = "mana-credits"
"""What the header `Server` says: not which versions of what run here."""

Headers = Iterable[tuple[str, str]]


class JsonAnswer(web.StreamResponse):
    """A JSON `body`, already encoded.  It is sent either quickly or as usual: the frame says which."""

    def __init__(self, body: bytes, status: int = 200) -> None:
        super().__init__(status=status)
        self.encoded = body
        self._piece = b""

    def quickly(self, headers: Headers) -> JsonAnswer:
        """This answer with these headers, to be written in one piece.  For who `takes_one_piece`."""
        more = "".join([f"{name}: {value}\r\n" for name, value in headers])
        self._piece = (
            f"{_status_line(self.status)}{more}Content-Length: {len(self.encoded)}\r\nDate: {_date()}\r\n\r\n"
        ).encode() + self.encoded
        return self

    def as_usual(self) -> web.Response:
        """The same as a Response of aiohttp's."""
        return web.Response(body=self.encoded, status=self.status, content_type="application/json")

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write all of it."""
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ClientConnectionResetError("Cannot write to closing transport")
        transport.write(self._piece)
        self._writer = request.writer
        self._writer.output_size += len(self._piece)  # which says that an answer is under way
        return self._writer

    async def write_eof(self, data: bytes = b"") -> None:  # noqa: ARG002 - as it is in aiohttp
        """Wait while the caller is slow to read."""
        await self._writer.drain()

    @property
    def keep_alive(self) -> bool | None:
        """The connection stays open: who closes it is answered as usual."""
        return True


def takes_one_piece(request: web.BaseRequest) -> bool:
    """Whether the caller speaks HTTP/1.1, wants a body, and keeps the connection."""
    return request.version == HttpVersion11 and request.method != "HEAD" and request.keep_alive


@cache
def _status_line(status: int) -> str:
    return (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
        f"Content-Type: application/json\r\nServer: {SERVER}\r\n"
    )


_now: tuple[int, str] = (0, "")


def _date() -> str:
    """The time as RFC 9110 (section 5.6.7) wants it; written out once a second."""
    global _now  # noqa: PLW0603 - the last one written out
    second = int(time.time())
    if _now[0] != second:
        _now = second, formatdate(second, usegmt=True)
    return _now[1]
