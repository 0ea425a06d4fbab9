"""A network between two processes that can be made bad, byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from enum import StrEnum

from devkit import ports

CHUNK_BYTES = 64 * 1024
DELAY_SECONDS = 0.15
CONNECT_SECONDS = 3.0

NO_LINGERING = struct.pack("ii", 1, 0)
"""Closing resets: nothing that waits is sent, and no end of the stream either."""

Address = tuple[str, int]
"""Host and port."""


class Trouble(StrEnum):
    """What may be wrong with a network."""

    DELAY = "delay"
    """Everything arrives, late."""
    DROP = "drop"
    """Connections stand, and nothing arrives on either side."""
    HALF_OPEN = "half-open"
    """What is asked arrives, what is answered does not."""
    CUT = "cut mid-answer"
    """Half of the next answer arrives, then the connection breaks."""
    REFUSE = "refuse"
    """Connections break, and no new one is made."""


class Link:
    """A way from one process to a port of another, or to several in turn, as a load balancer has it.

    A connection that lost bytes breaks at the end of its trouble: TCP never delivers a stream with holes.
    """

    def __init__(self, name: str, targets: Sequence[int | Address], *, host: str = ports.LOOPBACK) -> None:
        """A target that is a port is one of this machine's; `host` is where it listens itself."""
        self.name = name
        self.host = host
        self.port = ports.choose()
        self.trouble: Trouble | None = None
        self.answers_lost = 0
        self.targets = [(ports.LOOPBACK, one) if isinstance(one, int) else one for one in targets]
        self._turns = itertools.count()
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._dirty: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Begin to accept."""
        self._server = await asyncio.start_server(self._accept, self.host, self.port)

    async def close(self) -> None:
        """End every connection, and accept no more."""
        if self._server is not None:
            self._server.close()
        self._abort(self._open)
        if self._serving:
            await asyncio.wait(self._serving, timeout=CONNECT_SECONDS)

    def spoil(self, trouble: Trouble) -> None:
        """Make it bad until `heal`."""
        self.trouble = trouble
        if trouble is Trouble.REFUSE:
            self._abort(self._open)

    def heal(self) -> None:
        """Make it good: connections that lost something break."""
        self.trouble = None
        self._abort(self._dirty)

    def reset(self) -> None:
        """Break every connection without a good-bye, as a machine that began anew does when it is spoken to."""
        for writer in self._open:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGERING)
        self._abort(self._open)

    @staticmethod
    def _abort(writers: set[asyncio.StreamWriter]) -> None:
        for writer in list(writers):
            writer.transport.abort()
        writers.clear()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with self._tracked(writer):
            if self.trouble is Trouble.REFUSE:
                return
            found = await self._connect()
            if found is None:
                return
            answers, requests = found
            with self._tracked(requests):
                pumps = (
                    asyncio.ensure_future(self._pump(reader, requests, writer, is_answer=False)),
                    asyncio.ensure_future(self._pump(answers, writer, requests, is_answer=True)),
                )
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        first = next(self._turns)
        for step in range(len(self.targets)):
            host, port = self.targets[(first + step) % len(self.targets)]
            with suppress(OSError):
                async with asyncio.timeout(CONNECT_SECONDS):
                    return await asyncio.open_connection(host, port)
        return None

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        back: asyncio.StreamWriter,
        *,
        is_answer: bool,
    ) -> None:
        # A peer that is killed resets: for us that is the end of its bytes.
        with suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                match self.trouble:
                    case Trouble.DROP:
                        self._dirty |= {writer, back}
                        continue
                    case Trouble.HALF_OPEN if is_answer:
                        self.answers_lost += 1
                        self._dirty |= {writer, back}
                        continue
                    case Trouble.CUT if is_answer:
                        writer.write(data[: len(data) // 2])
                        await writer.drain()
                        self.answers_lost += 1
                        return
                    case Trouble.DELAY:
                        await asyncio.sleep(DELAY_SECONDS)
                    case _:
                        pass
                writer.write(data)
                await writer.drain()

    @contextlib.contextmanager
    def _tracked(self, writer: asyncio.StreamWriter) -> Iterator[None]:
        self._open.add(writer)
        try:
            yield
        finally:
            self._open.discard(writer)
            self._dirty.discard(writer)
            writer.close()
