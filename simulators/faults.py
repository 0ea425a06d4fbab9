"""What goes wrong between two services, on demand: hanging, cutting off, resetting, refusing, slowness."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from aiohttp import web

Kind = Literal[
    "hang", "hang_after", "cut", "reset", "reset_after", "402", "409", "429", "500", "503", "500_kept"
]
"""hang: no answer, no effect · hang_after: the effect, no answer · cut: the effect, half the answer ·
reset: the connection breaks before any effect · reset_after: it breaks after the effect, no answer ·
a number: that status is answered and there is no effect · 500_kept: a 500 that a Stripe keeps under the
request's idempotency key, so that a repeat with the key gets it again."""

KINDS: tuple[str, ...] = get_args(Kind)

# What a handler finds on a request that is to fail with this status as its own outcome.
KEPT_FAILURE = web.RequestKey("kept_failure", int)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Fault:
    """One planned fault.

    It hits the next `times` requests (None: all until cleared) whose method is `method` (empty: any)
    and whose path contains `path` (empty: any), after letting `skip` matching requests pass.
    """

    kind: Kind
    times: int | None = 1
    path: str = ""
    method: str = ""
    skip: int = 0
    hits: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown fault {self.kind!r}; there are {', '.join(KINDS)}")

    def takes(self, request: web.Request) -> bool:
        """Tell whether this request is hit, and count it."""
        if self.path not in request.path or self.method.upper() not in ("", request.method):
            return False
        if self.times is not None and self.hits >= self.times:
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.hits += 1
        return True


@dataclass
class Faults:
    """The planned faults of one simulator, and the network's delay in seconds before each request."""

    planned: list[Fault] = field(default_factory=list)
    delay_seconds: float = 0.0

    def add(
        self, kind: Kind, *, times: int | None = 1, path: str = "", method: str = "", skip: int = 0
    ) -> Fault:
        """Plan a fault; the returned object counts its hits.  Raises ValueError for an unknown kind."""
        fault = Fault(kind, times=times, path=path, method=method, skip=skip)
        self.planned.append(fault)
        return fault

    def clear(self) -> None:
        """Forget all planned faults and the delay; requests already hanging go on hanging."""
        self.planned.clear()
        self.delay_seconds = 0.0

    async def apply(
        self, request: web.Request, handler: Handler, error: Callable[[int], dict[str, Any]]
    ) -> web.StreamResponse:
        """Answer `request` through `handler`, or spoil it as planned; `error` makes a status's body."""
        if self.delay_seconds:
            await asyncio.sleep(self.delay_seconds)
        fault = next((fault for fault in self.planned if fault.takes(request)), None)
        if fault is None:
            return await handler(request)
        if fault.kind.isdigit():
            status = int(fault.kind)
            return web.json_response(error(status), status=status)
        if fault.kind == "500_kept":
            request[KEPT_FAILURE] = 500
            return await handler(request)
        return await _spoil(fault.kind, request, handler)


async def _spoil(kind: Kind, request: web.Request, handler: Handler) -> web.StreamResponse:
    if kind == "hang":
        await asyncio.Event().wait()
    if kind == "reset":
        return _reset(request)
    answer = await handler(request)
    if kind == "hang_after":
        await asyncio.Event().wait()
    if kind == "reset_after":
        return _reset(request)
    return await _cut(request, answer)


def _reset(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=503)


async def _cut(request: web.Request, answer: web.StreamResponse) -> web.StreamResponse:
    """Announce the whole body, send half of it and close."""
    body = answer.body if isinstance(answer, web.Response) and isinstance(answer.body, bytes) else b"{}"
    cut = web.StreamResponse(
        status=answer.status, headers={**answer.headers, "Content-Length": str(len(body))}
    )
    await cut.prepare(request)
    await cut.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()
    return cut
