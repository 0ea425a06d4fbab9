"""The rig's network does what it says, byte by byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress

import pytest

from tests.faults.rig.proxy import DELAY_SECONDS, Link, Trouble

PATIENCE_SECONDS = 0.3


@asynccontextmanager
async def link_to_an_echo() -> AsyncIterator[tuple[Link, list[bytes]]]:
    """A link to a server that answers each line with the same, and remembers it."""
    heard: list[bytes] = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(ConnectionError):
            while line := await reader.readline():
                heard.append(line)
                writer.write(line)

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    link = Link("test", [server.sockets[0].getsockname()[1]])
    await link.open()
    try:
        yield link, heard
    finally:
        await link.close()
        server.close()


@asynccontextmanager
async def connection_to(link: Link) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    writer.write(b"0123456789\n")
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await reader.readline()


async def test_a_good_link_changes_nothing() -> None:
    async with link_to_an_echo() as (link, _), connection_to(link) as (reader, writer):
        assert await ask(reader, writer) == b"0123456789\n"
        link.spoil(Trouble.DELAY)
        began = asyncio.get_running_loop().time()
        writer.write(b"late\n")
        assert await reader.readline() == b"late\n"
        assert asyncio.get_running_loop().time() - began >= DELAY_SECONDS * 2


@pytest.mark.parametrize(("trouble", "is_heard"), [(Trouble.DROP, False), (Trouble.HALF_OPEN, True)])
async def test_a_silent_link_stands_until_it_is_mended_and_then_breaks(
    trouble: Trouble, is_heard: bool
) -> None:
    async with link_to_an_echo() as (link, heard), connection_to(link) as (reader, writer):
        await ask(reader, writer)
        heard.clear()
        link.spoil(trouble)
        with pytest.raises(TimeoutError):
            await ask(reader, writer)
        assert bool(heard) is is_heard
        link.heal()
        with pytest.raises((ConnectionError, EOFError)):
            await reader.readexactly(1)


async def test_an_answer_is_cut_in_the_middle() -> None:
    async with link_to_an_echo() as (link, heard), connection_to(link) as (reader, writer):
        link.spoil(Trouble.CUT)
        writer.write(b"0123456789\n")
        assert await reader.read() == b"01234"
        assert heard == [b"0123456789\n"]


async def test_a_broken_link_ends_connections_and_refuses_new_ones() -> None:
    async with link_to_an_echo() as (link, heard), connection_to(link) as (reader, writer):
        await ask(reader, writer)
        link.spoil(Trouble.REFUSE)
        with pytest.raises((ConnectionError, EOFError)):
            await reader.readexactly(1)
        async with connection_to(link) as (new_reader, _):
            assert await new_reader.read() == b""
        assert len(heard) == 1
