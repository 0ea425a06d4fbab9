"""Answers in one piece: they say what the usual ones say, and end when the connection does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import servers
from tests.support.process import WebProcess, running_process
from tests.support.service import environment
from tests.web.raw import HOST, KEY, bodies, exchange, parts, whole

ORIGIN = b"Origin: http://localhost:5173\r\n"
ASKED = b"X-Request-Id: mine\r\n"
PATHS = {
    "an answer": (b"GET", b"/api/v1/internal/credits/balance/anna"),
    "a refusal": (b"GET", b"/api/v1/internal/nowhere"),
    "a list": (b"GET", b"/api/v1/credits/packages"),
}


@pytest.fixture(scope="module")
def web(postgres: servers.SharedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebProcess]:
    """One process for all."""
    name = postgres.create_database()
    variables = environment(
        database_url=postgres.url(name), redis_url="redis://127.0.0.1:1", auth_url="http://127.0.0.1:1"
    )
    with running_process(variables, tmp_path_factory.mktemp("web") / "log") as process:
        yield process
    postgres.drop_database(name)


def request(method: bytes, path: bytes, *more: bytes, version: bytes = b"HTTP/1.1") -> bytes:
    return method + b" " + path + b" " + version + b"\r\n" + HOST + KEY + ASKED + b"".join(more) + b"\r\n"


@pytest.mark.parametrize("what", PATHS)
@pytest.mark.parametrize("origin", [b"", ORIGIN, b"Origin: http://elsewhere.test\r\n"])
def test_an_answer_in_one_piece_has_the_headers_and_the_body_of_the_usual_one(
    web: WebProcess, what: str, origin: bytes
) -> None:
    method, path = PATHS[what]
    last = request(method, path, origin, b"Connection: close\r\n")
    both = exchange(web, request(method, path, origin) + last)
    (quick, usual), (quick_body, usual_body) = parts(both), bodies(both)
    assert quick[0] == usual[0]
    assert quick_body == usual_body
    assert usual[1].pop("connection") == "close"
    for _, headers, _ in (quick, usual):
        assert headers.pop("date").endswith(" GMT")
    assert quick[1] == usual[1]
    assert quick[1]["server"] == "mana-credits", "which versions run here is nobody's business"
    assert quick[1]["x-request-id"] == "mine"


def test_who_speaks_an_older_http_or_wants_no_body_is_answered_as_usual(web: WebProcess) -> None:
    path = PATHS["an answer"][1]
    [(status, headers, body)] = parts(exchange(web, request(b"GET", path, version=b"HTTP/1.0")))
    assert (status, headers["content-length"]) == (200, str(len(body)))
    head = exchange(web, request(b"HEAD", path, b"Connection: close\r\n"))
    lines, _, after = head.partition(b"\r\n\r\n")
    assert lines.startswith(b"HTTP/1.1 200 ")
    assert int(lines.lower().partition(b"content-length: ")[2].split()[0]) > 0
    assert after == b""


def test_answers_to_requests_sent_together_come_in_their_order(web: WebProcess) -> None:
    grants = [
        whole(
            KEY,
            body=b'{"userId":"piped","amount":1,"reason":"r","referenceId":"%d"}' % number,
        )
        for number in range(40)
    ]
    said = exchange(web, b"".join(grants) + request(b"GET", b"/health", b"Connection: close\r\n"))
    assert [body["newBalance"] for body in bodies(said)[:-1]] == list(range(1, 41))
