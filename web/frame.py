"""What surrounds every request: CORS, the error envelope, the request's id, time and log line."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Final

import structlog
from aiohttp import web
from prometheus_client import Histogram

from domain.telemetry import traces
from domain.telemetry.metrics import DEFECTS, REFUSED_TOKENS, REQUESTS
from web.auth import NotAuthenticated
from web.defects import tell_defect
from web.errors import DEFECT, wrong_of
from web.metrics import calling_app

log: Final = structlog.get_logger()

ALLOWED_METHODS: Final = "GET,HEAD,PUT,POST,DELETE,PATCH"
REQUEST_ID_CHARACTERS_MAX: Final = 128

request_id_key: Final = web.RequestKey("request_id", str)
user_id_key: Final = web.RequestKey("user_id", str)
"""Who calls, once the token is verified."""

_root_logger: Final = logging.getLogger()

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def frame(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The middleware around every handler."""
    started = time.perf_counter()
    if request.method == "OPTIONS":
        response: web.StreamResponse = _preflight(request)
    elif traces.are_on():
        response = await _traced(request, handler)
    else:
        response = await _answer(request, handler)
    seconds = time.perf_counter() - started
    _histogram(request.method, _route(request), response.status).observe(seconds)
    if _root_logger.isEnabledFor(logging.DEBUG):
        log.debug("request", method=request.method, status=response.status, seconds=seconds, **_who(request))
    return response


def add_headers(
    cors_origins: tuple[str, ...],
) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """The signal that adds to every answer.  Pages of `cors_origins` may read them."""
    origins = frozenset(cors_origins)

    async def on_prepare(request: web.Request, response: web.StreamResponse) -> None:
        headers = response.headers
        origin = request.headers.get("Origin")
        if origin is not None and origin in origins:
            headers["Access-Control-Allow-Origin"] = origin
        headers["Access-Control-Allow-Credentials"] = "true"
        headers["Vary"] = "Origin"
        headers["X-Request-Id"] = _request_id(request)

    return on_prepare


async def _traced(request: web.Request, handler: Handler) -> web.StreamResponse:
    name, parent = f"{request.method} {_route(request)}", request.headers.get(traces.TRACEPARENT)
    with traces.span(name, parent=parent, request_id=_request_id(request)):
        return await _answer(request, handler)


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            return error
        wrong = wrong_of(error) or DEFECT
    except Exception as error:  # noqa: BLE001 - told below
        known = wrong_of(error)
        if isinstance(error, NotAuthenticated):
            REFUSED_TOKENS.labels(error.reason).inc()
        if known is None:
            DEFECTS.labels(_route(request)).inc()
            tell_defect(error, **_who(request))
        elif known.status >= 500:
            log.warning("outage", code=known.code, error=str(error), **_who(request))
        wrong = known or DEFECT
    return wrong.response()


def _preflight(request: web.Request) -> web.Response:
    headers = {"Access-Control-Allow-Methods": ALLOWED_METHODS}
    requested = request.headers.get("Access-Control-Request-Headers")
    if requested is not None:
        headers["Access-Control-Allow-Headers"] = requested
    return web.Response(status=204, headers=headers)


def _who(request: web.Request) -> dict[str, str | None]:
    """What a log line says of the request."""
    return {
        "route": _route(request),
        "request_id": _request_id(request),
        "app": calling_app(request.headers),
        "user_id": request.get(user_id_key) or request.match_info.get("userId"),
    }


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return "unknown" if resource is None else resource.canonical


def _request_id(request: web.Request) -> str:
    """The caller's `X-Request-Id` when it is a short printable one, else a new one."""
    known: str | None = request.get(request_id_key)
    if known is None:
        given = request.headers.get("X-Request-Id", "")
        is_usable = 0 < len(given) <= REQUEST_ID_CHARACTERS_MAX and given.isascii() and given.isprintable()
        known = given if is_usable else os.urandom(8).hex()
        request[request_id_key] = known
    return known


@lru_cache(maxsize=4096)
def _histogram(method: str, route: str, status: int) -> Histogram:
    return REQUESTS.labels(method, route, str(status))
