"""A route said once: who may call, what is sent, what is answered.  From it come the checks and the OpenAPI."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, TypeVar

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import PayloadEncodingError

from domain.errors import Refusal
from domain.settings import Settings
from web.answers import encoder
from web.auth import Caller, ServiceKeys, TokenVerifier
from web.bodies import BODY_BYTES_MAX, UnreadableBody, parse
from web.bridge import Bridge
from web.errors import ADMIN_ONLY, WrongServiceKey
from web.frame import Frame, user_id_key
from web.inbox import Inbox
from web.job_waiter import JobWaiter
from web.metrics import count_call_of_app
from web.outside import Outside
from web.sending import JsonAnswer
from web.throttle import Throttle


class Access(StrEnum):
    """Who may call."""

    OPEN = "open"
    USER = "user"
    ADMIN = "admin"
    SERVICE = "service"


@dataclass(frozen=True)
class Services:
    """What handlers work with; one for the application."""

    settings: Settings
    bridge: Bridge
    inbox: Inbox
    job_waiter: JobWaiter
    outside: Outside
    tokens: TokenVerifier
    service_keys: ServiceKeys
    throttle: Throttle


services_key: Final = web.AppKey("services", Services)

BODY_SECONDS_MAX: Final = 30.0
"""How long a body may take to arrive: the largest one at a third of a megabit a second."""


@dataclass(slots=True)
class Call:
    """One request, checked: `caller` is set for user and admin routes, `body` for routes that have one."""

    request: web.Request
    services: Services
    caller: Caller
    body: Any


NOBODY: Final = Caller(user_id="", email="", role="")
"""The caller of a route that asks for no token."""

Handler = Callable[[Call], Awaitable[Any]]
H = TypeVar("H", bound=Handler)


@dataclass(frozen=True)
class Query:
    """A query parameter, for the OpenAPI description."""

    name: str
    description: str
    schema: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Operation:
    """A route: `answer` is the type of what the handler returns, sent as JSON with `status`.

    `further` are the types of answers that it gives with other statuses, beside the refusals.
    `takes_key` says that it reads an idempotency key from the header though its body has no field for one.
    `is_throttled` says that it answers 429 to who asks too often; `alias` is another path that it is served at.
    """

    method: str
    path: str
    handler: Handler
    access: Access
    tag: str
    body: type[msgspec.Struct] | None
    answer: Any
    status: int
    refusals: tuple[type[Refusal], ...]
    queries: tuple[Query, ...]
    body_bytes_max: int
    further: Mapping[int, Any]
    takes_key: bool
    is_throttled: bool
    alias: str | None


@dataclass
class Routes:
    """The routes of one room, with what they share."""

    prefix: str
    access: Access
    tag: str
    operations: list[Operation] = field(default_factory=list)

    def add(
        self,
        method: str,
        path: str,
        *,
        answer: Any,
        body: type[msgspec.Struct] | None = None,
        access: Access | None = None,
        status: int = 200,
        refusals: tuple[type[Refusal], ...] = (),
        queries: tuple[Query, ...] = (),
        body_bytes_max: int = BODY_BYTES_MAX,
        further: Mapping[int, Any] = MappingProxyType({}),
        takes_key: bool = False,
        is_throttled: bool = False,
        alias: str | None = None,
    ) -> Callable[[H], H]:
        """Declare the decorated handler as the route `method` `prefix + path`."""

        def declare(handler: H) -> H:
            self.operations.append(
                Operation(
                    method=method,
                    path=self.prefix + path,
                    handler=handler,
                    access=access or self.access,
                    tag=self.tag,
                    body=body,
                    answer=answer,
                    status=status,
                    refusals=refusals,
                    queries=queries,
                    body_bytes_max=body_bytes_max,
                    further=further,
                    takes_key=takes_key,
                    is_throttled=is_throttled,
                    alias=None if alias is None else self.prefix + alias,
                )
            )
            return handler

        return declare


def register(app: web.Application, operation: Operation, frame: Frame) -> None:
    """Make aiohttp serve the operation, in its frame."""
    for address in (operation.path, operation.alias):
        if address is None:
            continue
        # aiohttp's own pattern for a part of the path leaves out braces; ids are opaque.
        path = address.replace("}", ":[^/]+}")
        handler = frame.around(aiohttp_handler(operation), address)
        app.router.add_route(operation.method, path, handler)
        if operation.method == "GET":
            app.router.add_route("HEAD", path, handler)


def aiohttp_handler(operation: Operation) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """The operation as aiohttp calls it: authenticate, read the body, call, encode."""
    access, body_type, handler, status = (
        operation.access,
        operation.body,
        operation.handler,
        operation.status,
    )

    async def handle(request: web.Request) -> web.StreamResponse:
        services = request.app[services_key]
        caller = NOBODY
        if access is Access.SERVICE:
            if not services.service_keys.accepts(_credential(request, "X-Service-Key")):
                raise WrongServiceKey
            count_call_of_app(request.headers)
        elif access is not Access.OPEN:
            authorization = _credential(request, "Authorization")
            remembered = services.tokens.remembered(authorization or "")
            caller = remembered or await services.tokens.verify(authorization)
            request[user_id_key] = caller.user_id
            if access is Access.ADMIN and not caller.is_admin:
                return json_response(ADMIN_ONLY, status=403)
        body = None
        if body_type is not None:
            body = parse(await read_bytes(request, operation.body_bytes_max), body_type)
        answer = await handler(Call(request, services, caller, body))
        if isinstance(answer, web.StreamResponse):
            return answer
        return JsonAnswer(encoder.encode(answer), status)

    return handle


def _credential(request: web.Request, name: str) -> str | None:
    """The header's value; none where there are several, of which a proxy before us may have read another one."""
    values = request.headers.getall(name, ())
    return values[0] if len(values) == 1 else None


async def read_bytes(request: web.Request, most: int) -> bytes:
    """The body, bounded in size and time.  Raises HTTPRequestEntityTooLarge, UnreadableBody."""
    if request.content_length is not None and request.content_length > most:
        raise web.HTTPRequestEntityTooLarge(max_size=most, actual_size=request.content_length)
    try:
        if request.content.is_eof():  # it came with the head: no timer is needed, and nothing to wait for
            raw = request.content.read_nowait()
        else:
            async with asyncio.timeout(BODY_SECONDS_MAX):
                raw = await request.read()
    except (web.RequestPayloadError, PayloadEncodingError) as error:
        raise _unreadable("must be encoded as Content-Encoding and Transfer-Encoding say") from error
    except TimeoutError:
        raise _unreadable(f"must arrive within {BODY_SECONDS_MAX:.0f} seconds") from None
    except ConnectionError:  # the caller is gone: nobody reads this
        raise _unreadable("broke off") from None
    if len(raw) > most:
        raise web.HTTPRequestEntityTooLarge(max_size=most, actual_size=len(raw))
    return raw


def _unreadable(message: str) -> UnreadableBody:
    return UnreadableBody([{"field": "body", "message": message}])


def json_response(answer: object, *, status: int = 200) -> web.Response:
    """An answer as JSON."""
    return web.Response(body=encoder.encode(answer), status=status, content_type="application/json")


def described(handler: Handler) -> str:
    """The handler's own words about itself."""
    return (handler.__doc__ or "").strip()
