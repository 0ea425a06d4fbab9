"""aiohttp's server, with the envelope for what no route is asked: bytes that are no HTTP, targets that are no path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final, cast

import structlog
from aiohttp import web

from domain.telemetry.metrics import DEFECTS, REQUESTS
from web.bodies import UnreadableBody
from web.defects import tell_defect
from web.errors import DEFECT, Wrong, wrong_of
from web.frame import Frame, frame_key

log: Final = structlog.get_logger()

SILENCE_SECONDS_MAX: Final = 75.0
"""How long a connection may go without a whole request: one kept open between two, one whose header trickles in.
Longer than proxies keep theirs to us unless told otherwise (nginx and AWS: 60 s), so that they close first."""

LINGER_SECONDS: Final = 3.0
"""How long the rest of a body is read, and dropped, when its request is already refused: whoever is still sending
would else lose the answer with the connection."""

UNREADABLE: Final = UnreadableBody(
    [{"field": "request", "message": "must be HTTP/1.1, with 128 headers at most and no line above 8 KB"}]
)
"""The limits are aiohttp's own."""

NO_ROUTE: Final = "none"
"""In place of route and method, in logs and metrics."""

Handler = Callable[[Any], Awaitable[web.StreamResponse]]


class _Protocol(web.RequestHandler):
    """A connection.  What its parser refuses is answered as bad input is, and told of without a byte of it."""

    def __init__(self, server: _Server, frame: Frame, **options: Any) -> None:
        super().__init__(server, **options)
        self._frame = frame
        self._is_unreadable = False

    def data_received(self, data: bytes) -> None:
        """Called by the loop.  Behind bytes that cannot be read nothing is looked at: each piece would be kept, in
        the traceback of an error of its own.
        """
        if self._is_unreadable:
            return
        super().data_received(data)
        error = getattr(self._messages[-1][0], "exc", None) if self._messages else None
        if error is not None:
            self._is_unreadable = True
            error.__traceback__ = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Called by aiohttp for what its parser refuses (400), and for what escapes the application (500)."""
        if request.writer.output_size > 0:
            raise ConnectionError("half an answer is sent: there can be no other one")
        known = wrong_of(UNREADABLE) if status == HTTPStatus.BAD_REQUEST else None
        if known is None:
            DEFECTS.labels(NO_ROUTE).inc()
            self.log_exception(message, exc_info=exc)
        else:
            log.debug("request", route=NO_ROUTE, status=status, error=type(exc).__name__)
        response = _answer(self._frame, request, known or DEFECT)
        response.force_close()
        return response

    def log_exception(self, *_words: Any, **about: Any) -> None:
        """Called by aiohttp for what ends a connection; its words quote the caller's address and bytes."""
        error = about.get("exc_info")
        if isinstance(error, web.RequestPayloadError):
            log.debug("rest_of_body_unreadable", error=type(error).__name__)
        elif isinstance(error, BaseException):
            tell_defect(error, route=NO_ROUTE)


class _Server(web.Server):
    """Makes a connection's protocol."""

    def __init__(self, made: web.Server, frame: Frame, **options: Any) -> None:
        super().__init__(_framed(made.request_handler, frame), request_factory=made.request_factory)
        self._frame, self._options = frame, options

    def __call__(self) -> web.RequestHandler:
        return _Protocol(self, self._frame, loop=self._loop, **self._options)


class Runner(web.AppRunner):
    """Runs an application of ours."""

    def __init__(self, app: web.Application, *, shutdown_timeout: float) -> None:
        super().__init__(app, shutdown_timeout=shutdown_timeout)

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(
            made,
            self.app[frame_key],
            access_log=None,
            keepalive_timeout=SILENCE_SECONDS_MAX,
            lingering_time=LINGER_SECONDS,
        )


def _framed(handler: Handler, frame: Frame) -> Handler:
    """The application's handler, with the envelope for what aiohttp answers before it looks for a route."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as error:
            return _answer(frame, request, wrong_of(error) or DEFECT)

    return handle


def _answer(frame: Frame, request: web.BaseRequest, wrong: Wrong) -> web.Response:
    REQUESTS.labels(NO_ROUTE, NO_ROUTE, str(wrong.status)).observe(0)
    response = wrong.response()
    frame.add_headers(cast("web.Request", request), response, NO_ROUTE)
    if frame.is_last:
        response.force_close()
    return response
