"""A server of any service that says what a test tells it to."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from simulators import serving


@dataclass
class Saying:
    """`answers` are given in order, the last one for ever; `heard` are the requests' bodies."""

    answers: list[tuple[int, str, dict[str, str]]]
    url: str = ""
    heard: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        """The next answer."""
        self.heard.append(await request.text())
        status, text, headers = self.answers[min(len(self.heard), len(self.answers)) - 1]
        return web.Response(status=status, text=text, headers=headers)


@asynccontextmanager
async def saying(*answers: tuple[int, str, dict[str, str]]) -> AsyncIterator[Saying]:
    """Serve the answers in this loop."""
    server = Saying(list(answers))
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    async with serving.in_this_loop(app) as url:
        server.url = url
        yield server
