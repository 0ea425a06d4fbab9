"""Is it alive, is it ready, what does it count."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Final

from aiohttp import web
from redis.asyncio import Redis
from redis.exceptions import RedisError

from domain.ledger.post import POST_FUNCTION_DIGEST
from domain.telemetry.pages import CONTENT_TYPE
from migrations.revisions import what_is_missing
from web.answers import HealthAnswer, ReadyAnswer, timestamp
from web.deductions import Outage
from web.routing import Access, Call, Routes, json_response
from web.scrape import scrape_key

routes = Routes("", Access.OPEN, "Health")

CHECK_SECONDS_MAX: Final = 3
"""How long one thing may take to show that it works."""

OK: Final = "ok"


@routes.add("GET", "/health", answer=HealthAnswer)
async def health(call: Call) -> HealthAnswer:
    """The process answers.  Nothing else is asked."""
    return HealthAnswer(status="ok", service="mana-credits", timestamp=timestamp(datetime.now(UTC)))


@routes.add("GET", "/ready", answer=ReadyAnswer, further={503: ReadyAnswer})
async def ready(call: Call) -> web.Response:
    """Whether all that the service needs works: 503 when not, with what is wrong."""
    database, redis = await asyncio.gather(_database(call), _redis(call.services.settings.redis_url))
    checks = {**database, "redis": redis}
    is_ready = all(state == OK for state in checks.values())
    answer = ReadyAnswer(status="ready" if is_ready else "not ready", checks=checks)
    return json_response(answer, status=200 if is_ready else 503)


@routes.add("GET", "/metrics", answer=str)
async def metrics(call: Call) -> web.Response:
    """What the front counts and how the service is, in Prometheus' text format (docs/metrics.md).

    404 where WEB_METRICS_PORT gives it a port of its own.
    """
    if call.services.settings.telemetry.web_metrics_port:
        raise web.HTTPNotFound
    page = await call.request.app[scrape_key].page()
    return web.Response(body=page, headers={"Content-Type": CONTENT_TYPE})


async def _database(call: Call) -> dict[str, str]:
    try:
        async with asyncio.timeout(CHECK_SECONDS_MAX):
            missing = await call.services.bridge.run(
                lambda connection, _now: what_is_missing(connection, POST_FUNCTION_DIGEST)
            )
    except (Outage, TimeoutError):
        return {"database": "does not answer", "migrations": "unknown"}
    return {"database": OK, "migrations": missing or OK}


async def _redis(url: str) -> str:
    client = Redis.from_url(
        url, socket_timeout=CHECK_SECONDS_MAX, socket_connect_timeout=CHECK_SECONDS_MAX, retry=None
    )
    try:
        await client.ping()
    except (RedisError, OSError):
        return "does not answer"
    finally:
        await client.aclose()
    return OK
