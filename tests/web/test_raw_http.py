"""Bytes that no honest client sends: refused in the envelope, read in one way, and nothing of them in the log."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import servers
from tests.support.client import SERVICE_KEY
from tests.support.process import WebProcess, running_process
from tests.support.scraped import fetched, total
from tests.support.service import environment
from tests.web.raw import (
    ANSWER_SECONDS,
    CHUNKED,
    HOST,
    KEY,
    balance,
    bodies,
    connected,
    exchange,
    get,
    grant,
    parts,
    post,
    statuses,
    whole,
)

INNER = whole(KEY, body=grant("smuggler"))
EMPTY = b"0\r\n\r\n"

REFUSED = {
    # Lengths
    "a length and chunks": post(b"Content-Length: 6\r\n", CHUNKED, body=EMPTY + INNER),
    "chunks and a length": post(CHUNKED, b"Content-Length: 6\r\n", body=EMPTY + INNER),
    "two lengths": post(b"Content-Length: 0\r\nContent-Length: 5\r\n", body=INNER),
    "one length twice": post(b"Content-Length: 0\r\nContent-Length: 0\r\n", body=INNER),
    "a list of lengths": post(b"Content-Length: 0, 5\r\n", body=INNER),
    "an empty length": post(b"Content-Length: \r\n", body=INNER),
    "a length with a sign": post(b"Content-Length: +0\r\n", body=INNER),
    "a length below zero": post(b"Content-Length: -1\r\n", body=INNER),
    "a length in hexadecimal": post(b"Content-Length: 0x5\r\n", body=INNER),
    "a length with a gap": post(b"Content-Length: 1 0\r\n", body=INNER),
    "a length with an underscore": post(b"Content-Length: 1_0\r\n", body=INNER),
    "a length beyond all bounds": post(b"Content-Length: 99999999999999999999999\r\n", body=INNER),
    "a length's name with more behind it": post(b"Content-Length\x0b: 0\r\n", body=INNER),
    # Transfer encodings
    "another transfer encoding": post(b"Transfer-Encoding: xchunked\r\n", body=INNER),
    "chunks inside of something else": post(b"Transfer-Encoding: chunked, identity\r\n", body=EMPTY + INNER),
    "two transfer encodings": post(CHUNKED, b"Transfer-Encoding: identity\r\n", body=EMPTY + INNER),
    "a transfer encoding behind a tab of another kind": post(
        b"Transfer-Encoding: \x0bchunked\r\n", body=EMPTY + INNER
    ),
    "a space before the colon": post(b"Transfer-Encoding : chunked\r\n", body=EMPTY + INNER),
    # Chunks
    "a size of a chunk that is none": post(CHUNKED, body=b"zz\r\nx\r\n" + EMPTY + INNER),
    "a size with a sign": post(CHUNKED, body=b"+2\r\nxx\r\n" + EMPTY + INNER),
    "a size with a prefix": post(CHUNKED, body=b"0x2\r\nxx\r\n" + EMPTY + INNER),
    "a size with a space": post(CHUNKED, body=b"2 \r\nxx\r\n" + EMPTY + INNER),
    "a size beyond all bounds": post(CHUNKED, body=b"f" * 17 + b"\r\nxx\r\n" + EMPTY + INNER),
    "an extension that ends in a bare line feed": post(CHUNKED, body=b"2;\nxx\r\n" + EMPTY + INNER),
    "chunks with bare line feeds": post(CHUNKED, body=b"2\nxx\n0\n\n" + INNER),
    "a chunk longer than its size": post(CHUNKED, body=b"2\r\n{}xx\r\n" + EMPTY + INNER),
    # Lines
    "bare line feeds": b"GET /health HTTP/1.1\nHost: x\n\n" + INNER,
    "a header that ends in a bare line feed": post(b"X-A: b\nContent-Length: 0\r\n", body=INNER),
    "a header that ends in a bare carriage return": post(b"X-A: b\rContent-Length: 0\r\n", body=INNER),
    "a header folded into two lines": post(b"X-A: b\r\n c\r\n", body=INNER),
    "NUL in a header": post(b"X-Service-Key: a\0" + SERVICE_KEY.encode() + b"\r\n"),
    "a header's name that is none": post(b"X Y: 1\r\n"),
    "no host": b"GET /health HTTP/1.1\r\n\r\n" + INNER,
    "two hosts": b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" + INNER,
    # Sizes and nonsense
    "a giant header": post(b"X-Big: " + b"x" * 1_000_000 + b"\r\n"),
    "thousands of headers": post(*(b"X-%d: y\r\n" % number for number in range(5000))),
    "a giant address": b"GET /" + b"x" * 1_000_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "bytes in the address": b"GET /api/v1/gifts/\xff\xfe HTTP/1.1\r\n" + HOST + b"\r\n",
    "a method that is none": b"get /health HTTP/1.1\r\n" + HOST + b"\r\n",
    "an encoding of the body that nobody has": post(KEY, b"Content-Encoding: br\r\nContent-Length: 0\r\n"),
    "no HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
}
"""Most begin a request that ends in two places for two readers: nothing behind it may be taken for a request."""


@pytest.fixture(scope="module")
def web(postgres: servers.SharedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebProcess]:
    """One process for all: whatever was sent to it before, it answers the next one."""
    name = postgres.create_database()
    variables = environment(
        database_url=postgres.url(name),
        redis_url="redis://127.0.0.1:1",
        auth_url="http://127.0.0.1:1",
    )
    with running_process(
        {**variables, "LOG_LEVEL": "DEBUG"}, tmp_path_factory.mktemp("web") / "log"
    ) as process:
        yield process
    postgres.drop_database(name)


@pytest.mark.parametrize("name", REFUSED)
def test_what_two_readers_could_read_in_two_ways_is_bad_input_and_ends_the_connection(
    web: WebProcess, name: str
) -> None:
    said = exchange(web, REFUSED[name])
    answers = parts(said)
    # A giant is refused while it is still being sent: then the answer may be lost with the connection.
    assert len(answers) == 1 or (not said and len(REFUSED[name]) > 100_000), said
    for (status, headers, _), body in zip(answers, bodies(said), strict=True):
        assert (status, body["statusCode"], body["message"]) == (400, 400, "Invalid request")
        assert body["details"]
        assert headers["connection"] == "close"
        assert headers["access-control-allow-credentials"] == "true"
    assert balance(web, "smuggler") == 0, "nothing behind it was done"


def test_no_byte_of_what_cannot_be_read_is_in_the_log_and_none_of_it_counts_as_a_defect(
    web: WebProcess,
) -> None:
    secret = b"a-secret-of-somebodys"
    for raw in (
        get(b"/health", b"X-Service-Key: " + secret + b"\0\r\n"),
        b"GET /\xff" + secret + b" HTTP/1.1\r\n" + HOST + b"\r\n",
        whole(KEY, b"Content-Encoding: deflate\r\n", body=b"x" + secret),
        post(KEY, CHUNKED, body=b"2;" + secret + b"\0\r\nxx\r\n"),
    ):
        assert statuses(exchange(web, raw)) == [400], raw
    log = web.log.read_bytes()
    assert secret not in log
    assert b"127.0.0.1" not in log.partition(b"web_starts")[2]
    assert b"Traceback" not in log
    assert total(fetched(f"{web.url}/metrics"), "mana_http_defects_total") == 0


def test_targets_and_expectations_that_no_route_is_asked_for_are_answered_in_the_envelope(
    web: WebProcess,
) -> None:
    for raw, status in (
        (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", 404),
        (b"CONNECT example.com:443 HTTP/1.1\r\n" + HOST + b"\r\n", 404),
        (get(b"//example.com/health"), 404),
        (whole(KEY, b"Expect: a-miracle\r\n", body=grant("expecting")), 417),
    ):
        said = exchange(web, raw, answers=1)
        [(_, headers, _)], [body] = parts(said), bodies(said)
        assert body["statusCode"] == status, said
        assert headers["vary"] == "Origin"
        assert headers["x-request-id"]
    assert balance(web, "expecting") == 0


def test_a_caller_who_goes_away_in_the_middle_of_a_body_is_no_defect(web: WebProcess) -> None:
    for half in (post(KEY, b"Content-Length: 100\r\n", body=b"{"), post(KEY, CHUNKED, body=b"50\r\n{")):
        with connected(web) as connection:
            connection.sendall(half)
            # An answer to another request says that ours was begun.
            assert web.answers()
    assert total(fetched(f"{web.url}/metrics"), "mana_http_defects_total") == 0
    assert b"Traceback" not in web.log.read_bytes()


def test_requests_sent_one_behind_the_other_are_answered_in_order(web: WebProcess) -> None:
    one = get(b"/health", b"X-Request-Id: r%d\r\n")
    said = exchange(web, b"".join(one % number for number in range(300)), answers=300)
    answers = parts(said)
    assert [status for status, _, _ in answers] == [200] * 300
    assert [headers["x-request-id"] for _, headers, _ in answers] == [f"r{number}" for number in range(300)]


def test_what_comes_in_chunks_with_extensions_is_read_as_what_it_is(web: WebProcess) -> None:
    body = grant("chunks")
    said = exchange(
        web,
        post(KEY, CHUNKED, body=b"%x;name=value\r\n" % len(body) + body + b"\r\n0;last\r\n\r\n"),
        answers=1,
    )
    assert statuses(said) == [200], said
    assert balance(web, "chunks") == 5


def test_a_body_where_none_belongs_is_no_request(web: WebProcess) -> None:
    inner = whole(KEY, body=grant("inside"))
    lengths = get(b"/health", b"Content-Length: %d\r\n" % len(inner)) + inner
    chunks = get(b"/health", CHUNKED) + b"%x\r\n" % len(inner) + inner + b"\r\n" + EMPTY
    for raw in (lengths, chunks):
        said = exchange(web, raw + get(b"/nowhere"), answers=2)
        assert statuses(said) == [200, 404]
    assert balance(web, "inside") == 0


def test_what_stands_behind_the_chunks_is_no_header(web: WebProcess) -> None:
    body = grant("trailer")
    raw = post(CHUNKED, body=b"%x\r\n" % len(body) + body + b"\r\n0\r\n" + KEY + b"\r\n")
    assert statuses(exchange(web, raw, answers=1)) == [401]


def test_a_header_is_found_by_its_own_name_alone(web: WebProcess) -> None:
    key = SERVICE_KEY.encode()
    for name in (b"X_Service_Key", b"X-Service-Keys", b"HTTP_X_SERVICE_KEY", b"X-Service-Key-"):
        said = exchange(web, whole(name + b": " + key + b"\r\n", body=grant("underscore")), answers=1)
        assert statuses(said) == [401], name


@pytest.mark.parametrize("upgrade", [b"h2c", b"websocket", b"TLS/1.0"])
def test_an_upgrade_that_is_offered_is_passed_over(web: WebProcess, upgrade: bytes) -> None:
    offered = (b"Connection: Upgrade\r\n", b"Upgrade: " + upgrade + b"\r\n")
    with connected(web) as connection:
        connection.settimeout(ANSWER_SECONDS)
        for raw in (get(b"/health", *offered), whole(KEY, *offered, body=grant("upgrade")), get(b"/health")):
            connection.sendall(raw)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize(
    "body",
    [
        b'{"userId":"anna","userId":"ben","amount":5,"reason":"x","referenceId":"r"}',
        b'{"amount":1,"userId":"ben","amount":5,"reason":"x","referenceId":"s"}',
        b'{"amount":1,"userId":"ben","amo\\u0075nt":5,"reason":"x","referenceId":"t"}',
    ],
)
def test_of_two_values_for_one_name_the_last_counts_for_checking_and_for_doing(
    web: WebProcess, body: bytes
) -> None:
    before = balance(web, "ben")
    said = exchange(web, whole(KEY, body=body), answers=1)
    assert statuses(said) == [200], said
    assert balance(web, "ben") == before + 5
    assert balance(web, "anna") == 0
