"""Bytes that no honest client sends: the process stands, stays small, and answers the next caller."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.client import SERVICE_KEY
from tests.support.process import WebProcess
from tests.support.service import environment

ANSWER_SECONDS = 10.0
SILENCE_SECONDS = 1.5
GROWTH_BYTES_MAX = 40 * 1024 * 1024
"""Far more than one process grows by itself, far less than what is thrown at it here."""

GRANT = b'{"userId":"smuggler","amount":5,"reason":"x","referenceId":"r"}'
PATH = b"/api/v1/internal/credits/grant"
HOST = b"Host: credits\r\n"
KEY = b"X-Service-Key: " + SERVICE_KEY.encode() + b"\r\n"
INNER = b"POST " + PATH + b" HTTP/1.1\r\n" + HOST + KEY + b"Content-Length: %d\r\n\r\n" % len(GRANT) + GRANT
CHUNKED = b"Transfer-Encoding: chunked\r\n"


def post(*headers: bytes, body: bytes = b"", path: bytes = PATH) -> bytes:
    return b"POST " + path + b" HTTP/1.1\r\n" + HOST + b"".join(headers) + b"\r\n" + body


REFUSED = {
    "a length and chunks": post(b"Content-Length: 6\r\n", CHUNKED, body=b"0\r\n\r\n" + INNER),
    "chunks and a length": post(CHUNKED, b"Content-Length: 6\r\n", body=b"0\r\n\r\n" + INNER),
    "two lengths": post(b"Content-Length: 0\r\nContent-Length: 5\r\n", body=INNER),
    "a list of lengths": post(b"Content-Length: 0, 5\r\n", body=INNER),
    "a length with a sign": post(b"Content-Length: +0\r\n", body=INNER),
    "a length below zero": post(b"Content-Length: -1\r\n", body=INNER),
    "a length in hexadecimal": post(b"Content-Length: 0x5\r\n", body=INNER),
    "another transfer encoding": post(b"Transfer-Encoding: xchunked\r\n", body=INNER),
    "a space before the colon": post(b"Transfer-Encoding : chunked\r\n", body=b"0\r\n\r\n" + INNER),
    "a size of a chunk that is none": post(CHUNKED, body=b"zz\r\nx\r\n0\r\n\r\n" + INNER),
    "NUL in a header": post(b"X-Service-Key: a\0b\r\n"),
    "a header's name that is none": post(b"X Y: 1\r\n"),
    "a giant header": post(b"X-Big: " + b"x" * 1_000_000 + b"\r\n"),
    "a giant address": b"GET /" + b"x" * 1_000_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "no HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
}
"""Each begins a request that ends in two places for two readers: nothing behind it may be taken for a request."""


@pytest.fixture
def web(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[WebProcess]:
    variables = environment(database_url=database_url, redis_url=redis_url, auth_url="http://127.0.0.1:1")
    process = WebProcess(variables, tmp_path / "web.log")
    process.start()
    yield process
    process.kill()


def connected(web: WebProcess) -> socket.socket:
    return socket.create_connection(("127.0.0.1", web.port), timeout=ANSWER_SECONDS)


def exchange(web: WebProcess, *pieces: bytes) -> bytes:
    """Send the pieces and read until the other side closes or has nothing more to say; what was said."""
    said = b""
    with connected(web) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
            # Our side stays open: a half-closed connection is one that nobody reads from.
            connection.settimeout(SILENCE_SECONDS)
            while data := connection.recv(65536):
                said += data
        except (ConnectionResetError, BrokenPipeError, TimeoutError):
            pass  # closed while we were still sending, or kept open for the next request
    return said


def statuses(said: bytes) -> list[int]:
    return [int(part[:3]) for part in said.split(b"HTTP/1.1 ")[1:]]


def resident_bytes(web: WebProcess) -> int:
    status = Path(f"/proc/{web.pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) * 1024


def test_a_request_that_two_readers_end_in_two_places_is_refused_and_nothing_behind_it_is_done(
    web: WebProcess,
) -> None:
    wrong = []
    for name, raw in REFUSED.items():
        said = statuses(exchange(web, raw))
        if not (len(said) <= 1 and all(400 <= status < 500 for status in said)):
            wrong.append(f"{name}: {said}")
    assert not wrong, wrong
    balance = b"GET /api/v1/internal/credits/balance/smuggler HTTP/1.1\r\n" + HOST + KEY + b"\r\n"
    assert b'"balance":0' in exchange(web, balance)
    assert web.answers()


def test_requests_sent_one_behind_the_other_are_answered_in_order(web: WebProcess) -> None:
    one = b"GET /health HTTP/1.1\r\n" + HOST + b"X-Request-Id: r%d\r\n\r\n"
    said = exchange(web, b"".join(one % number for number in range(300)))
    assert statuses(said) == [200] * 300
    places = [said.index(b"X-Request-Id: r%d\r\n" % number) for number in range(300)]
    assert places == sorted(places)


def test_what_comes_in_chunks_with_extensions_is_read_as_what_it_is(web: WebProcess) -> None:
    body = b"%x;name=value\r\n" % len(GRANT) + GRANT + b"\r\n0;last\r\n\r\n"
    said = exchange(web, post(KEY, CHUNKED, body=body))
    assert statuses(said) == [200], said
    assert b'"newBalance":5' in said


def test_slow_and_broken_callers_neither_stop_nor_swell_the_process(web: WebProcess) -> None:
    assert web.answers()
    before = resident_bytes(web)
    slow = [connected(web) for _ in range(200)]
    for number, connection in enumerate(slow):
        half = post(KEY, b"Content-Length: 60000\r\n", body=b'{"userId":') if number % 2 else b"GET /hea"
        connection.sendall(half)
    assert web.answers(), "others are not held up by those who send a byte at a time"
    for connection in slow:
        connection.sendall(b" ")
        connection.close()
    deep = b'{"a":' * 12_000 + b"1" + b"}" * 12_000
    bombs = [
        *(deep[:60_000], b"[" * 60_000, b'"' + b"\\ud800" * 9_000 + b'"', b"\xff\xfe" * 30_000),
        *(b"9" * 60_000, b'{"amount":1e' + b"9" * 50_000 + b"}", b"\0" * 60_000),
    ]
    for body in bombs:
        said = exchange(web, post(KEY, b"Content-Length: %d\r\n" % len(body), body=body))
        assert statuses(said) == [400], (body[:20], said[:200])
    for _ in range(4):
        exchange(web, REFUSED["a giant header"])
        exchange(
            web, post(KEY, CHUNKED, body=b"10000\r\n" + b"x" * 65536 + b"\r\n" + b"10000\r\n" + b"x" * 65536)
        )
        exchange(web, b"GET /health HTTP/1.1\r\n" + HOST + b"".join(b"X-%d: y\r\n" % n for n in range(5000)))
    assert web.answers()
    assert resident_bytes(web) - before < GROWTH_BYTES_MAX


@pytest.mark.parametrize(
    "body",
    [
        b'{"userId":"anna","userId":"ben","amount":5,"reason":"x","referenceId":"r"}',
        b'{"amount":1,"userId":"ben","amount":5,"reason":"x","referenceId":"r"}',
    ],
)
def test_of_two_values_for_one_name_the_last_counts_for_checking_and_for_doing(
    web: WebProcess, body: bytes
) -> None:
    said = exchange(web, post(KEY, b"Content-Length: %d\r\n" % len(body), body=body))
    assert statuses(said) == [200], said
    balance = b"GET /api/v1/internal/credits/balance/ben HTTP/1.1\r\n" + HOST + KEY + b"\r\n"
    assert b'"balance":5' in exchange(web, balance)
