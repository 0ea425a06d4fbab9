"""What somebody tries who wants other people's credits: SQL in every text, guessing at speed, split answers."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import Counter
from typing import Any
from urllib.parse import quote

import pytest

from domain.gifts.codes import new_code
from tests.support.client import SERVICE_KEY
from tests.support.service import Service, serving_in_this_loop
from tests.web.test_access_table import every_request

SQL = (
    "'; UPDATE credits.balances SET balance = 999999; --",
    '" OR "1"="1',
    "' OR '1'='1",
    "\\'; SELECT pg_sleep(9); --",
    "%s%(x)s{x}:name$1?",
    "x') ON CONFLICT DO NOTHING; DROP TABLE ops.jobs; --",
    "%_%",
)

GUESSES = 1_000
AT_ONCE = 50
MISSES_BEFORE_THE_STOP = 20


def with_text(value: Any, text: str) -> Any:
    """The value with each text in it replaced."""
    if isinstance(value, str):
        return text
    if isinstance(value, dict):
        return {name: with_text(part, text) for name, part in value.items()}
    if isinstance(value, list):
        return [with_text(part, text) for part in value]
    return value


def one_text_replaced(body: dict[str, Any], text: str) -> list[dict[str, Any]]:
    """The body once for each of its texts, with that one replaced."""
    return [
        {**body, name: with_text(part, text)} for name, part in body.items() if with_text(part, text) != part
    ]


async def test_sql_in_any_text_path_or_query_is_a_text(service: Service) -> None:
    (await service.grant("victim", 100)).ok()
    means = {
        "Authorization": f"Bearer {service.auth.mint('root', role='admin')}",
        "X-Service-Key": SERVICE_KEY,
        "Prefer": "respond-async",
    }
    tables = "SELECT count(*) FROM pg_tables WHERE schemaname IN ('credits', 'gifts', 'ops')"
    before = service.books.one(tables)
    asked = 0
    for request in every_request():
        operation = request.operation
        if operation.path in ("/docs", "/openapi.json", "/metrics"):
            continue
        for text in SQL:
            path = re.sub(r"\{\w+\}", quote(text, safe=""), operation.path)
            query = "&".join(f"{one.name}={quote(text, safe='')}" for one in operation.queries)
            bodies = (
                [None] if request.body is None else one_text_replaced(request.body, text) or [request.body]
            )
            for body in bodies:
                address = f"{path}?{query}" if query else path
                reply = await service.call(
                    operation.method, address, body, headers={**means, "X-App-Id": text}
                )
                asked += 1
                assert reply.status < 500 or reply.status == 503, f"{request.name} {text}: {reply.brief}"
    assert asked > 700
    assert service.books.one(tables) == before
    assert await service.figures("victim") == (100, 100, 0)


async def test_of_a_thousand_guesses_at_once_hardly_any_is_looked_up_and_others_are_served(
    database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A machine that is short of processors must not look like a Redis that is away.
    monkeypatch.setattr("web.throttle.REDIS_SECONDS_MAX", 30)
    monkeypatch.setattr("web.throttle.REQUEST_SECONDS_MAX", 30)
    async with serving_in_this_loop(database_url, redis_url, more={"FORWARDED_HOPS": "1"}) as service:
        turn = asyncio.Semaphore(AT_ONCE)

        async def guess() -> int:
            async with turn:
                headers = {"X-Forwarded-For": "203.0.113.66"}
                return (await service.call("GET", f"/api/v1/gifts/{new_code()}", headers=headers)).status

        began = time.monotonic()
        told = Counter(await asyncio.gather(*(guess() for _ in range(GUESSES))))
        assert set(told) <= {404, 429}
        minutes = 1 + int(time.monotonic() - began) // 60
        assert told[404] <= (MISSES_BEFORE_THE_STOP + AT_ONCE) * minutes
        other = {"X-Forwarded-For": "203.0.113.67"}
        assert (await service.call("GET", f"/api/v1/gifts/{new_code()}", headers=other)).status == 404


@pytest.mark.parametrize("end", ["%0d%0a", "%0a", "%0d", "%e5%98%8d%e5%98%8a", "%00"])
async def test_no_line_that_a_caller_sends_becomes_a_header_of_the_answer(service: Service, end: str) -> None:
    for path in (
        f"/g/AAAA{end}Set-Cookie:%20evil=1",
        f"/api/v1/gifts/AAAA{end}Set-Cookie:%20evil=1",
        f"/api/v1/internal/credits/balance/x{end}Set-Cookie:%20evil=1",
        f"/ops/person?id=x{end}Set-Cookie:%20evil=1",
        f"/ops/sign-in?next=/ops{end}Set-Cookie:%20evil=1",
        f"/nowhere{end}Set-Cookie:%20evil=1",
    ):
        headers = {"X-Service-Key": SERVICE_KEY, "Origin": "https://mana.how"}
        reply = await service.call("GET", path, headers=headers)
        assert "evil" not in reply.headers.get("Set-Cookie", ""), path
        assert not any("evil" in name for name in reply.headers), path
        assert reply.status < 500, path


async def test_a_request_id_that_would_break_a_line_is_replaced(service: Service) -> None:
    for given in ("a\tb", "ü", "x" * 129, ""):
        reply = await service.call("GET", "/health", headers={"X-Request-Id": given})
        assert re.fullmatch(r"[0-9a-f]{16}", reply.headers["X-Request-Id"]), given
    assert (await service.call("GET", "/health", headers={"X-Request-Id": "mine"})).headers[
        "X-Request-Id"
    ] == "mine"


async def test_a_text_comes_back_as_it_was_written_and_never_as_a_page(service: Service) -> None:
    evil = "<script>alert(1)</script>'\"--"
    (await service.grant("anna", 10)).ok()
    (await service.use("anna", 1, description=evil)).ok()
    reply = await service.user("anna", "GET", "/transactions")
    assert json.loads(reply.raw)[0]["description"] == evil
    assert reply.headers["Content-Type"].startswith("application/json")
