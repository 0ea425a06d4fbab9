"""An app's endpoint on this machine: takes requests over HTTP and answers, or does not, as a test says."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from simulators import serving

Answering = Callable[[web.Request, bytes], Awaitable[web.StreamResponse]]


@dataclass
class Heard:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        read: dict[str, Any] = json.loads(self.body)
        return read


@dataclass
class LocalApp:
    """`status` is what it answers; `answer` does it in another way; `heard` is all that came, in order."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    text: str = ""
    delay_seconds: float = 0.0
    answer: Answering | None = None
    heard: list[Heard] = field(default_factory=list)
    at_once: int = 0
    at_once_max: int = 0
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    async def take(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        with self.lock:
            self.heard.append(Heard(request.path, dict(request.headers), body))
        self.at_once += 1
        self.at_once_max = max(self.at_once_max, self.at_once)
        try:
            if self.answer is not None:
                return await self.answer(request, body)
            await asyncio.sleep(self.delay_seconds)
            return web.Response(status=self.status, headers=self.headers, text=self.text)
        finally:
            self.at_once -= 1

    @property
    def events(self) -> list[dict[str, Any]]:
        return [one.event for one in self.heard]


@contextmanager
def local_app(**how: Any) -> Iterator[LocalApp]:
    """Serve it on a thread of its own."""
    taking = LocalApp(**how)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", taking.take)
    with serving.on_a_thread(app) as url:
        taking.url = f"{url}/hooks"
        yield taking
