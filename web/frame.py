"""What surrounds every request: CORS, the error envelope, the request's id, time and log line."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Awaitable, Callable, Container, Iterable
from typing import Final, NamedTuple

import structlog
from aiohttp import web
from prometheus_client import Histogram

from domain.telemetry import traces
from domain.telemetry.metrics import DEFECTS, REFUSED_TOKENS, REQUESTS
from web.auth import NotAuthenticated
from web.defects import tell_defect
from web.errors import DEFECT, wrong_of
from web.metrics import calling_app
from web.sending import SERVER, JsonAnswer, takes_one_piece

log: Final = structlog.get_logger()

ALLOWED_METHODS: Final = "GET,HEAD,PUT,POST,DELETE,PATCH"
REQUEST_ID_CHARACTERS_MAX: Final = 128

request_id_key: Final = web.RequestKey("request_id", str)
user_id_key: Final = web.RequestKey("user_id", str)
"""Who calls, once the token is verified."""

OUTAGE_EVERY_SECONDS: Final = 1.0

_outages_told: Final[dict[str, tuple[float, int]]] = {}
"""When each kind of outage was told last, and how often it was met since."""

_root_logger: Final = logging.getLogger()

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

Buckets = dict[float, float]
"""How many requests were answered within so many seconds."""


class _Counted(NamedTuple):
    """What Prometheus is told of a route's answers of one kind, and what it was told before this process began."""

    histogram: Histogram
    before: Buckets


class Frame:
    """What is put around every handler when its route is added: calls, not signals and middlewares of aiohttp,
    which cost each request a tenth of its time.  Pages of `cors_origins` may read answers.
    """

    def __init__(self, cors_origins: Iterable[str]) -> None:
        self._origins = frozenset(cors_origins)
        self._private: set[str] = set()
        self._counted: dict[str, dict[tuple[str, int], _Counted]] = {}
        self.is_last = False
        """Whether every answer is the last on its connection: the process is about to end."""

    def around(self, handler: Handler, route: str, *, is_shared: bool = True) -> Handler:
        """The handler in its frame; `route` is its path in logs and metrics.

        What is not `is_shared` no other origin's page may read.
        """
        times: dict[tuple[str, int], Histogram] = {}
        if not is_shared:
            self._private.add(route)

        async def framed(request: web.Request) -> web.StreamResponse:
            started = time.perf_counter()
            if traces.are_on():
                response = await _traced(request, handler, route)
            else:
                response = await _answer(request, handler, route)
            if not response.prepared:
                response = self._finished(request, response, route)
            seconds = time.perf_counter() - started
            known = request.method, response.status
            histogram = times.get(known)
            if histogram is None:
                histogram = times[known] = REQUESTS.labels(request.method, route, str(response.status))
                counted = _Counted(histogram, _buckets(histogram))
                self._counted.setdefault(route, {}).setdefault(known, counted)
            histogram.observe(seconds)
            if _root_logger.isEnabledFor(logging.DEBUG):
                who = _who(request, route)
                log.debug("request", method=request.method, status=response.status, seconds=seconds, **who)
            return response

        return framed

    def answered_within(self, route: str, statuses: Container[int]) -> Buckets:
        """How many of its requests were answered so within each bucket's seconds, since this process began.

        Of what Prometheus is told, which goes on where the process before this one ended.
        """
        found: Buckets = {}
        for (_, status), counted in self._counted.get(route, {}).items():
            if status in statuses:
                for bound, number in _buckets(counted.histogram).items():
                    found[bound] = found.get(bound, 0.0) + number - counted.before[bound]
        return found

    def add_to_the_rest(self, app: web.Application) -> None:
        """Answer what no route of the application does: 404, 405, and the browsers' questions before a request."""
        app.router.add_route("*", "/{path:.*}", self.around(_unmatched, "unknown"))

    def add_headers(self, request: web.Request, response: web.StreamResponse, route: str) -> None:
        """Add what every answer has; a handler that sends piece by piece calls it before the first piece."""
        response.headers.update(self._headers_of(request, route))
        response.headers["Server"] = SERVER

    def _headers_of(self, request: web.Request, route: str) -> list[tuple[str, str]]:
        headers = [("Vary", "Origin"), ("X-Request-Id", request_id(request))]
        if route not in self._private:
            headers.append(("Access-Control-Allow-Credentials", "true"))
            origin = request.headers.get("Origin")
            if origin is not None and origin in self._origins:
                headers.append(("Access-Control-Allow-Origin", origin))
        return headers

    def _finished(self, request: web.Request, response: web.StreamResponse, route: str) -> web.StreamResponse:
        """The response as it is sent."""
        if isinstance(response, JsonAnswer):
            if takes_one_piece(request) and not self.is_last:
                return response.quickly(self._headers_of(request, route))
            response = response.as_usual()
        self.add_headers(request, response, route)
        if self.is_last:
            response.force_close()
        return response


frame_key: Final = web.AppKey("frame", Frame)


def _buckets(histogram: Histogram) -> Buckets:
    samples = (sample for metric in histogram.collect() for sample in metric.samples)
    return {float(each.labels["le"]): each.value for each in samples if each.name.endswith("_bucket")}


async def _unmatched(request: web.Request) -> web.StreamResponse:
    if request.method == "OPTIONS":
        return _preflight(request)
    resource_here = request.match_info.route.resource
    allowed: set[str] = set()
    for resource in request.app.router.resources():
        if resource is not resource_here:
            allowed |= (await resource.resolve(request))[1]
    if allowed:
        raise web.HTTPMethodNotAllowed(request.method, sorted(allowed))
    raise web.HTTPNotFound


async def _traced(request: web.Request, handler: Handler, route: str) -> web.StreamResponse:
    name, parent = f"{request.method} {route}", request.headers.get(traces.TRACEPARENT)
    with traces.span(name, parent=parent, request_id=request_id(request)):
        return await _answer(request, handler, route)


async def _answer(request: web.Request, handler: Handler, route: str) -> web.StreamResponse:
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
            DEFECTS.labels(route).inc()
            tell_defect(error, **_who(request, route))
        elif known.status >= 500:
            _tell_outage(known.code, error, _who(request, route))
        wrong = known or DEFECT
    return wrong.response()


def _tell_outage(code: str, error: Exception, who: dict[str, str | None]) -> None:
    """One line a second for each kind, with the number of those that had none: an outage meets every request."""
    now = time.monotonic()
    last, untold = _outages_told.get(code, (-OUTAGE_EVERY_SECONDS, 0))
    if now - last < OUTAGE_EVERY_SECONDS:
        _outages_told[code] = (last, untold + 1)
        return
    _outages_told[code] = (now, 0)
    log.warning("outage", code=code, error=str(error), untold=untold, **who)


def _preflight(request: web.Request) -> web.Response:
    headers = {"Access-Control-Allow-Methods": ALLOWED_METHODS}
    requested = request.headers.get("Access-Control-Request-Headers")
    if requested is not None:
        headers["Access-Control-Allow-Headers"] = requested
    return web.Response(status=204, headers=headers)


def _who(request: web.Request, route: str) -> dict[str, str | None]:
    """What a log line says of the request."""
    return {
        "route": route,
        "request_id": request_id(request),
        "app": calling_app(request.headers),
        "user_id": request.get(user_id_key) or request.match_info.get("userId"),
    }


def request_id(request: web.Request) -> str:
    """The caller's `X-Request-Id` when it is a short printable one, else a new one."""
    known: str | None = request[request_id_key] if request_id_key in request else None  # noqa: SIM401 - slow
    if known is None:
        given = request.headers.get("X-Request-Id", "")
        is_usable = 0 < len(given) <= REQUEST_ID_CHARACTERS_MAX and given.isascii() and given.isprintable()
        known = given if is_usable else f"{random.getrandbits(64):016x}"  # a name, no secret  # nosec B311
        request[request_id_key] = known
    return known
