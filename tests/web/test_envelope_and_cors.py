"""What every answer has, whatever it says: the envelope of errors, CORS, HEAD.  Contract, section 1."""

import asyncio
from urllib.parse import quote

import pytest

from tests.support.client import INTERNAL, USER, Reply
from tests.support.service import Service

LISTED = ("https://mana.how", "https://app.mana.how")
UNLISTED = (
    "https://evil.example",
    "https://mana.how.evil.example",
    "http://mana.how",
    "https://mana.how/",
    "null",
    "*",
)

ANSWERS = {
    "success": ("GET", "/health", 200),
    "bad request": ("POST", f"{INTERNAL}/grant", 400),
    "not authenticated": ("GET", f"{USER}/balance", 401),
    "not there": ("GET", "/api/v1/nothing", 404),
    "wrong method": ("PUT", f"{USER}/use", 405),
    "too large": ("POST", f"{INTERNAL}/init", 413),
    "head": ("HEAD", "/health", 200),
}


async def ask(service: Service, name: str, origin: str | None = None) -> Reply:
    method, path, status = ANSWERS[name]
    headers = {"X-Service-Key": "service-key-of-the-tests"}
    if origin is not None:
        headers["Origin"] = origin
    raw = b"x" * 70_000 if name == "too large" else b""
    reply = await service.call(method, path, raw=raw, headers=headers)
    assert reply.status == status, reply.brief
    return reply


@pytest.mark.parametrize("name", ANSWERS)
async def test_a_listed_origin_is_echoed_and_no_other(service: Service, name: str) -> None:
    for origin in LISTED:
        reply = await ask(service, name, origin)
        assert reply.headers["Access-Control-Allow-Origin"] == origin
    for stranger in (*UNLISTED, None):
        reply = await ask(service, name, stranger)
        assert "Access-Control-Allow-Origin" not in reply.headers
    assert reply.headers["Access-Control-Allow-Credentials"] == "true"
    assert reply.headers.getall("Vary") == ["Origin"]


@pytest.mark.parametrize("path", [f"{USER}/balance", f"{INTERNAL}/use", "/health", "/api/v1/nothing"])
async def test_a_preflight_is_204_on_every_route(service: Service, path: str) -> None:
    asked = "authorization, content-type, x-anything"
    for origin in (*LISTED, *UNLISTED):
        headers = {
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": asked,
        }
        reply = await service.call("OPTIONS", path, headers=headers)
        assert (reply.status, reply.raw) == (204, b"")
        assert reply.headers.get("Access-Control-Allow-Origin") == (origin if origin in LISTED else None)
        assert reply.headers["Access-Control-Allow-Methods"] == "GET,HEAD,PUT,POST,DELETE,PATCH"
        assert reply.headers["Access-Control-Allow-Headers"] == asked
        assert reply.headers["Access-Control-Allow-Credentials"] == "true"
        assert reply.headers["Vary"] == "Origin"


async def test_an_unknown_route_is_404_in_the_envelope(service: Service) -> None:
    for path in (
        "/",
        "/api",
        "/api/v1/credits",
        f"{USER}/balance/",
        f"{USER}//balance",
        "/%00",
        "/%ff",
        f"{USER}/Use",
    ):
        reply = await service.call("GET", path)
        assert reply.status == 404, path
        assert reply.json["statusCode"] == 404
        assert reply.json["message"]


async def test_a_wrong_method_is_405_in_the_envelope_and_says_which_are_right(service: Service) -> None:
    for method, path, allowed in (
        ("GET", f"{USER}/use", {"POST"}),
        ("HEAD", f"{USER}/use", {"POST"}),
        ("DELETE", f"{USER}/balance", {"GET", "HEAD"}),
        ("PATCH", "/health", {"GET", "HEAD"}),
    ):
        reply = await service.call(method, path)
        assert reply.status == 405
        assert set(reply.headers["Allow"].split(",")) == allowed
        if method != "HEAD":
            assert reply.json["statusCode"] == 405
            assert reply.json["message"]


async def test_head_answers_as_get_without_a_body(service: Service) -> None:
    await service.grant("anna", 5)
    means = {**service.as_user("anna"), "X-Service-Key": "service-key-of-the-tests"}
    for path in (
        *("/health", "/ready", f"{USER}/packages", f"{USER}/balance", f"{USER}/transactions"),
        f"{INTERNAL}/balance/anna",
    ):
        got = await service.call("GET", path, headers=means)
        head = await service.call("HEAD", path, headers=means)
        assert (head.status, head.raw) == (got.status, b""), path
        for name in ("Content-Type", "Content-Length"):
            assert head.headers[name] == got.headers[name], path
    assert (await service.call("HEAD", f"{USER}/balance")).status == 401


async def test_a_request_id_is_echoed_when_it_is_harmless_and_made_when_not(service: Service) -> None:
    for given, is_echoed in (("abc-123", True), ("x" * 200, False), ("ü", False)):
        reply = await service.call("GET", "/health", headers={"X-Request-Id": given})
        assert (reply.headers["X-Request-Id"] == given) is is_echoed
    assert (await service.call("GET", "/health")).headers["X-Request-Id"]


STRANGE_IDS = (
    *("a/b", "ü", "with space", "a%2Fb", "a+b", "a&b=c?d#e", "{x}", "a{b}c", "a:b@c", "a;b,c", "~!$'()*"),
    *(
        "..a",
        "日本",
        "🎁",
        "e\u0301",
        "\u200d",
        "a\u00a0b",
        "a\nb",
        "%",
        "%zz",
        "'; DROP TABLE x; --",
        "x" * 255,
        "ü" * 255,
    ),
)


@pytest.mark.parametrize("user_id", STRANGE_IDS, ids=ascii)
async def test_any_user_id_goes_through_token_body_and_path_unchanged(service: Service, user_id: str) -> None:
    (await service.grant(user_id, 7)).ok()
    (await service.use(user_id, 2)).ok()
    body = (await service.internal("GET", f"/balance/{quote(user_id, safe='')}")).ok()
    assert (body["balance"], body["transactionsCount"]) == (5, 2)
    assert {entry["userId"] for entry in (await service.user(user_id, "GET", "/transactions")).ok()} == {
        user_id
    }
    assert service.books.rows("SELECT user_id FROM credits.balances") == [(user_id,)]


async def test_lower_case_percent_encoding_is_the_same_id(service: Service) -> None:
    await service.grant("a/ü", 7)
    for encoded in ("a%2f%c3%bc", "a%2F%C3%BC", "%61%2F%C3%BC"):
        assert (await service.internal("GET", f"/balance/{encoded}")).ok()["balance"] == 7


async def test_a_caller_who_hangs_up_disturbs_nobody(service: Service) -> None:
    await service.grant("anna", 100)
    for _ in range(20):
        hasty = asyncio.ensure_future(service.use("anna", 1))
        await asyncio.sleep(0.001)
        hasty.cancel()
    await asyncio.gather(*[service.use("anna", 1) for _ in range(20)])
    balance, earned, spent = await service.figures("anna")
    assert balance + spent == earned == 100
    assert 20 <= spent <= 40
