"""Something that takes webhooks: verifies them with Stripe's own SDK and answers as a test says."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import stripe
from aiohttp import web

from simulators import serving
from simulators.stripe import DEFAULT_SECRET


class Receiver:
    """Events that arrived with a right signature, in order; `answers` are given first, then 200 for ever."""

    def __init__(self, secret: str = DEFAULT_SECRET) -> None:
        self.secret = secret
        self.events: list[stripe.Event] = []
        self.bodies: list[bytes] = []
        self.answers: list[int] = []
        self.hang_first = False
        self.url = ""

    @property
    def types(self) -> list[str]:
        return [event.type for event in self.events]

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.bodies.append(body)
        self.events.append(
            stripe.Webhook.construct_event(body, request.headers["Stripe-Signature"], self.secret)
        )
        if self.hang_first:
            self.hang_first = False
            await asyncio.Event().wait()
        return web.json_response({"received": True}, status=self.answers.pop(0) if self.answers else 200)

    @contextmanager
    def on_a_thread(self) -> Iterator["Receiver"]:
        app = web.Application()
        app.router.add_post("/webhooks", self._take)
        with serving.on_a_thread(app) as url:
            self.url = f"{url}/webhooks"
            yield self


Json = dict[str, Any]
