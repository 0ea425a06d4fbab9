"""The door to apps' endpoints: one request, to a public address, bounded in every way."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from domain.webhooks import signing
from domain.webhooks.addresses import AddressRules
from domain.webhooks.lanes import ANSWER_CHARACTERS_MAX, Attempt, Sending
from tests.support.endpoints import LocalApp, local_app
from tests.support.ledger import NOW
from tests.support.webhooks import right_signature
from workers.webhook_door import WebhookDoor, seconds_of

LOCAL = AddressRules(allows_http=True, allows_local=True)
SECRET = signing.new_secret()


def sending(url: str) -> Sending:
    return Sending(
        endpoint_id=uuid4(),
        user_id="anna",
        claim=uuid4(),
        delivery_id=uuid4(),
        event_id=UUID(int=7),
        url=url,
        body=b'{"type":"sync.paused"}',
        secrets=(SECRET,),
        created_at=NOW,
    )


def post(url: str, rules: AddressRules = LOCAL, **options: Any) -> Attempt:
    """One attempt, in a loop of its own."""

    async def attempt() -> Attempt:
        async with WebhookDoor(rules, **options) as door:
            return await door.post(sending(url), now=NOW)

    return asyncio.run(attempt())


@pytest.fixture
def app() -> Iterator[LocalApp]:
    with local_app() as app:
        yield app


def test_an_event_is_posted_signed_and_as_it_is(app: LocalApp) -> None:
    attempt = post(app.url)
    assert (attempt.is_success, attempt.status, attempt.error, attempt.answer) == (True, 200, None, None)
    [heard] = app.heard
    headers = {name.lower(): value for name, value in heard.headers.items()}
    assert heard.body == b'{"type":"sync.paused"}'
    assert headers["content-type"] == "application/json"
    assert headers["webhook-id"] == str(UUID(int=7))
    assert headers["webhook-timestamp"] == str(int(NOW.timestamp()))
    expected = right_signature(SECRET, headers["webhook-id"], headers["webhook-timestamp"], heard.body)
    assert headers["webhook-signature"] == expected
    assert headers["user-agent"].startswith("mana-credits")
    assert not {"cookie", "authorization", "x-service-key"} & set(headers)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_success_is_one(app: LocalApp, status: int) -> None:
    app.status = status
    assert post(app.url).is_success


@pytest.mark.parametrize("status", [300, 400, 401, 404, 410, 429, 500, 502, 503])
def test_any_other_answer_is_none_and_its_first_words_are_kept(app: LocalApp, status: int) -> None:
    app.status, app.text = status, "no\x00 such\r\nroute " + "x" * 5_000
    attempt = post(app.url)
    assert (attempt.is_success, attempt.status, attempt.problem) == (False, status, f"answered {status}")
    assert attempt.answer is not None
    assert attempt.answer.startswith("no  such  route xxx")
    assert len(attempt.answer) <= ANSWER_CHARACTERS_MAX


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(app: LocalApp, status: int) -> None:
    with local_app() as other:
        app.status, app.headers = status, {"Location": other.url}
        assert post(app.url).problem == f"answered {status}"
        assert other.heard == []


@contextmanager
def raw_server(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """Talks to whoever connects, byte by byte."""
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def serve() -> None:
        listener.settimeout(0.1)
        while not stop.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            with connection:
                try:
                    talk(connection)
                except OSError:
                    continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    stop.set()
    thread.join()
    listener.close()


def say_nothing(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def drip(connection: socket.socket) -> None:
    """A byte of a header that never ends, again and again: no single silence is long."""
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while True:
        connection.sendall(b"x")
        time.sleep(0.05)


@pytest.mark.parametrize("talk", [say_nothing, drip])
def test_who_does_not_come_to_the_point_is_left_in_time(talk: Callable[[socket.socket], None]) -> None:
    with raw_server(talk) as url:
        began = time.monotonic()
        attempt = post(url, attempt_seconds_max=0.5)
        took = time.monotonic() - began
    assert attempt.problem == "no answer within 0.5 s"
    assert took < 5


def flood(connection: socket.socket) -> None:
    """A success, and then a body without end."""
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
    while True:
        connection.sendall(b"x" * 65536)


def hold(connection: socket.socket) -> None:
    """A success, and then a body that never comes."""
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 1000\r\n\r\n")
    say_nothing(connection)


@pytest.mark.parametrize("talk", [flood, hold])
def test_a_success_counts_whatever_comes_behind_it(talk: Callable[[socket.socket], None]) -> None:
    with raw_server(talk) as url:
        began = time.monotonic()
        assert post(url).is_success
        assert time.monotonic() - began < 10


def hang_up(connection: socket.socket) -> None:
    connection.recv(65536)


def babble(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"\x16\x03\x01 what?\r\n\r\n")


def long_header(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 100_000 + b"\r\n\r\n")


@pytest.mark.parametrize("talk", [hang_up, babble, long_header])
def test_what_is_no_answer_is_none(talk: Callable[[socket.socket], None]) -> None:
    with raw_server(talk) as url:
        attempt = post(url)
    assert attempt.status is None
    assert (attempt.problem or "").startswith("no answer: ")


def test_a_bomb_is_not_expanded(app: LocalApp) -> None:
    async def bomb(_request: web.Request, _body: bytes) -> web.StreamResponse:
        return web.Response(status=500, body=b"\x1f\x8b" + b"0" * 4096, headers={"Content-Encoding": "gzip"})

    app.answer = bomb
    assert post(app.url).status == 500


def test_nobody_listening_is_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert post(f"http://127.0.0.1:{port}/").problem == "no answer: ClientConnectorError"


STRICT_HTTP = AddressRules(allows_http=True)


def test_a_host_that_stands_for_this_network_is_not_connected_to(app: LocalApp) -> None:
    """Whatever it stood for when it was registered: it is looked up and checked for each attempt."""
    port = app.url.rpartition(":")[2]
    for found in (["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["::ffff:127.0.0.1"], ["169.254.169.254"]):
        attempt = post(f"http://rebound.example:{port}", STRICT_HTTP, lookup=lambda _h, _p, f=found: f)
        assert attempt.problem == "not allowed: the address names a host that is not public"
    assert app.heard == []


def test_the_address_that_was_checked_is_the_one_that_is_connected_to(app: LocalApp) -> None:
    """The second look-up of a rebinding name server never happens: the connection has the first one's answer."""
    looked: list[str] = []

    def lookup(host: str, _port: int) -> list[str]:
        looked.append(host)
        return ["127.0.0.1"] if len(looked) == 1 else ["127.0.0.2"]

    path = app.url.rpartition(":")[2]
    attempt = post(f"http://once.example:{path}", LOCAL, lookup=lookup)
    assert attempt.is_success
    assert looked == ["once.example"]
    assert app.heard[0].headers["Host"] == f"once.example:{path.partition('/')[0]}"


def test_an_address_that_is_one_already_is_checked_too(app: LocalApp) -> None:
    assert post(app.url, STRICT_HTTP).problem == "not allowed: the address names a host that is not public"
    assert post(app.url, AddressRules()).problem == "not allowed: the address must begin with https://"
    assert app.heard == []


def test_a_name_that_is_looked_up_for_long_holds_nobody_else_up(app: LocalApp) -> None:
    slow = threading.Event()
    looked: list[str] = []

    def lookup(host: str, _port: int) -> list[str]:
        looked.append(host)
        if host == "slow.example":
            slow.wait(20)
        return ["127.0.0.1"]

    async def attempts() -> tuple[list[Attempt], Attempt, float]:
        async with WebhookDoor(LOCAL, lookup=lookup, attempt_seconds_max=1.0) as door:
            port = app.url.rpartition(":")[2]
            slow_ones = [door.post(sending(f"http://slow.example:{port}"), now=NOW) for _ in range(100)]
            waiting = asyncio.gather(*slow_ones)
            await asyncio.sleep(0.1)
            began = time.monotonic()
            quick = await door.post(sending(f"http://quick.example:{port}"), now=NOW)
            took = time.monotonic() - began
            return await waiting, quick, took

    slow_attempts, quick, took = asyncio.run(attempts())
    slow.set()
    assert quick.is_success
    assert took < 1
    assert {one.problem for one in slow_attempts} == {"no answer within 1 s"}
    assert looked.count("slow.example") == 1, "one thread for a host, however many wait"


def test_a_certificate_that_nobody_vouches_for_gets_nothing(tmp_path: Path) -> None:
    heard: list[bytes] = []
    context = self_signed(tmp_path, "127.0.0.1")

    def talk(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            heard.append(secure.recv(65536))

    with raw_server(talk) as url:
        attempt = post(url.replace("http://", "https://"))
    assert (attempt.problem or "").startswith("no answer: its certificate is not good")
    assert heard == []


def self_signed(tmp_path: Path, host: str) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "cert.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (None, None),
        ("120", 120),
        ("0", 0),
        ("9" * 40, 999_999_999),
        ("Sun, 22 Nov 2026 15:30:32 GMT", 119),
        ("Sun, 22 Nov 2020 15:30:32 GMT", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("²", None),
        ("Sun, 99 Nov 2026 15:30:32 GMT", None),
        ("Fri, 31 Dec 9999999999999999999 23:59:59 GMT", None),
        ("Fri, 31 Dec 2026 23:59:59 +99999999999999999999", None),
    ],
)
def test_retry_after_is_read_in_both_of_its_forms(said: str | None, seconds: int | None) -> None:
    assert seconds_of(said, NOW) == seconds


def test_retry_after_comes_with_the_attempt(app: LocalApp) -> None:
    app.status, app.headers = 429, {"Retry-After": "77"}
    assert post(app.url).retry_after_seconds == 77
    app.headers = {"Retry-After": "Fri, 31 Dec 9999999999999999999 23:59:59 GMT"}
    assert (post(app.url).status, post(app.url).retry_after_seconds) == (429, None)
    app.status, app.headers = 200, {"Retry-After": "77"}
    assert post(app.url).retry_after_seconds is None
