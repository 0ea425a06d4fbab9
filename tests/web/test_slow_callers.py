"""Callers who take their time, or send more than anybody needs: the process stays small and serves the others."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Iterator

import pytest
from aiohttp import web as aiohttp_web

import web.routing
import web.server
from devkit.valkey import Valkey
from devkit.waiting import wait_until
from domain.settings import read_settings
from simulators.serving import listen
from tests import servers
from tests.support.loans import Loans
from tests.support.process import WebProcess, running_process
from tests.support.service import environment
from tests.web.raw import (
    CHUNKED,
    HOST,
    KEY,
    bodies,
    connected,
    exchange,
    get,
    post,
    resident_bytes,
    statuses,
    whole,
)
from web.app import make_app

GROWTH_BYTES_MAX = 40 * 1024 * 1024
"""Far more than one process grows by itself, far less than what is thrown at it here."""

ANSWER_SECONDS_MAX = 20.0
"""It reads to the end what it was sent before, on a machine with much else to do."""

PATIENCE_SECONDS = 0.5
PAUSE_SECONDS = 0.05
TEST_SECONDS_MAX = 20.0

DEEP = b'{"a":' * 12_000 + b"1" + b"}" * 12_000
BOMBS = (
    *(DEEP[:60_000], b"[" * 60_000, b'"' + b"\\ud800" * 9_000 + b'"', b"\xff\xfe" * 30_000),
    *(b"9" * 60_000, b'{"amount":1e' + b"9" * 50_000 + b"}", b"\0" * 60_000),
)

NONSENSE = b"x" * 20_000_000


@pytest.fixture(scope="module")
def process_and_size(
    loans: Loans, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[WebProcess, int]]:
    """A process for all tests, and its size when it had just started."""
    redis_url = Valkey(servers.shared_home() / "valkey").url(0)
    with loans.lent() as database:
        variables = environment(database_url=database.url, redis_url=redis_url, auth_url="http://127.0.0.1:1")
        with running_process(variables, tmp_path_factory.mktemp("slow") / "web.log") as running:
            assert running.answers()
            yield running, resident_bytes(running)


@pytest.fixture
def process(process_and_size: tuple[WebProcess, int]) -> Iterator[WebProcess]:
    """The process, which answers and has not grown when the test is over, nor by all tests before it."""
    process, before = process_and_size
    yield process
    assert wait_until(process.answers, ANSWER_SECONDS_MAX)
    assert resident_bytes(process) - before < GROWTH_BYTES_MAX


def test_slow_and_broken_callers_neither_stop_nor_swell_the_process(process: WebProcess) -> None:
    before = resident_bytes(process)
    slow = [connected(process) for _ in range(200)]
    for number, connection in enumerate(slow):
        half = post(KEY, b"Content-Length: 60000\r\n", body=b'{"userId":') if number % 2 else b"GET /hea"
        connection.sendall(half)
    assert process.answers(), "others are not held up by those who send a byte at a time"
    for connection in slow:
        connection.sendall(b" ")
        connection.close()
    for body in BOMBS:
        said = exchange(process, whole(KEY, body=body), answers=1)
        assert statuses(said) == [400], (body[:20], said[:200])
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    for _ in range(4):
        assert statuses(exchange(process, post(KEY, CHUNKED, body=40 * chunk), answers=1)) == [413]
        exchange(process, get(b"/health") * 20_000, answers=1)
    assert process.answers()
    assert resident_bytes(process) - before < GROWTH_BYTES_MAX


@pytest.mark.parametrize(
    "beginning",
    [
        b"no HTTP\r\n",
        b"GET /health HTTP/1.1\r\n" + HOST + b"X-Big: ",
        get(b"/health", b"Connection: Upgrade\r\n", b"Upgrade: websocket\r\n"),
        post(KEY, CHUNKED, body=b"2\r\n{}nonsense"),
        post(b"Content-Length: 200000000\r\n"),
    ],
    ids=["no HTTP", "a giant header", "behind an upgrade", "behind a chunk", "a giant body of a stranger's"],
)
def test_megabytes_of_nonsense_leave_nothing_behind(process: WebProcess, beginning: bytes) -> None:
    before = resident_bytes(process)
    for _ in range(8):
        exchange(process, beginning, NONSENSE, answers=1)
    assert process.answers()
    assert resident_bytes(process) - before < GROWTH_BYTES_MAX


def test_a_body_that_unpacks_to_half_a_gigabyte_is_too_large_and_is_not_unpacked(process: WebProcess) -> None:
    bomb = gzip.compress(bytes(500_000_000), compresslevel=1)
    before = resident_bytes(process)
    zipped = post(KEY, CHUNKED, b"Content-Encoding: gzip\r\n")
    packed = b"%x\r\n" % len(bomb) + bomb + b"\r\n0\r\n\r\n"
    said = exchange(process, zipped, packed, answers=1)
    assert statuses(said) == [413], said
    assert process.answers()
    assert resident_bytes(process) - before < GROWTH_BYTES_MAX


@pytest.fixture
async def address(
    database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[str, int]]:
    """A server of ours that has hardly any patience, in this loop."""
    monkeypatch.setattr(web.routing, "BODY_SECONDS_MAX", PATIENCE_SECONDS)
    monkeypatch.setattr(web.server, "SILENCE_SECONDS_MAX", PATIENCE_SECONDS)
    monkeypatch.setattr(web.server, "LINGER_SECONDS", PATIENCE_SECONDS)
    variables = environment(database_url=database_url, redis_url=redis_url, auth_url="http://127.0.0.1:1")
    runner = web.server.Runner(make_app(read_settings(variables)), shutdown_timeout=0.2)
    await runner.setup()
    listener = listen()
    await aiohttp_web.SockSite(runner, listener).start()
    host, port = listener.getsockname()
    yield host, port
    await runner.cleanup()


async def trickled(address: tuple[str, int], beginning: bytes, more: bytes) -> bytes:
    """What is answered to bytes that go on and on, until the other side has enough and closes the connection."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(beginning)

    async def go_on() -> None:
        while True:
            await asyncio.sleep(PAUSE_SECONDS)
            writer.write(more)

    going_on = asyncio.create_task(go_on())
    said = b""
    try:
        async with asyncio.timeout(TEST_SECONDS_MAX):
            while data := await reader.read(65536):
                said += data
    except ConnectionResetError:
        pass  # closed while we were still sending
    finally:
        going_on.cancel()
        writer.close()
    return said


@pytest.mark.parametrize(
    ("beginning", "more"),
    [(post(KEY, b"Content-Length: 60000\r\n"), b" "), (post(KEY, CHUNKED), b"1\r\nx\r\n")],
    ids=["by length", "in chunks"],
)
async def test_a_body_that_takes_too_long_is_bad_input(
    address: tuple[str, int], beginning: bytes, more: bytes
) -> None:
    said = await trickled(address, beginning, more)
    assert statuses(said) == [400], said
    assert "must arrive within" in bodies(said)[0]["details"][0]["message"]


@pytest.mark.parametrize(
    ("beginning", "more"),
    [
        (b"", b""),
        (b"GET /health HTTP/1.1\r\n" + HOST + b"X-A: ", b"a"),
        (get(b"/health"), b""),
        (get(b"/health") + b"GET /he", b"a"),
    ],
    ids=["nothing", "half a header", "nothing behind a request", "half a header behind a request"],
)
async def test_a_connection_that_goes_without_a_whole_request_ends(
    address: tuple[str, int], beginning: bytes, more: bytes
) -> None:
    said = await trickled(address, beginning, more)
    assert statuses(said) == [200] * beginning.count(b"\r\n\r\n")
