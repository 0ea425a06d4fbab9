"""A Stripe in one object: its API, its webhooks, its people and banks, and its faults."""

import asyncio
import copy
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Self

from aiohttp import web

from simulators import serving
from simulators.faults import Faults, Handler
from simulators.stripe import commands, disputes, events, prices, refunds, sessions
from simulators.stripe.api import Api
from simulators.stripe.clock import Clock
from simulators.stripe.control import Control
from simulators.stripe.errors import PLANNED_ERRORS
from simulators.stripe.hosted import Hosted
from simulators.stripe.shapes import Object
from simulators.stripe.store import Store
from simulators.stripe.webhooks import Webhooks
from simulators.stripe.world import World

DEFAULT_SECRET = "whsec_simulator"  # noqa: S105 - not a secret of anything but the simulator  # nosec B105

# How often sessions are looked at whose time is over, in real seconds.
TICK_SECONDS = 0.5


class StripeSimulator:
    """One Stripe account for the unmodified SDK: `StripeClient("sk_test_x", base_addresses={"api": url})`.

    `webhook_url` takes the events, signed with each of `webhook_secrets`; further options of deliveries
    are those of `Webhooks`.  `directory` keeps everything between runs.  `public_url` is where people
    reach the hosted pages, by default the simulator's own address.

    Commands return copies of what they changed and may be given from any thread.
    """

    def __init__(
        self,
        *,
        webhook_url: str = "",
        webhook_secrets: tuple[str, ...] = (DEFAULT_SECRET,),
        directory: Path | None = None,
        public_url: str = "",
        clock: Clock | None = None,
        **webhook_options: Any,
    ) -> None:
        self.clock = clock or Clock()
        self.world = World(Store(directory), clock=self.clock, public_url=public_url)
        self.world.webhook_endpoints = 1 if webhook_url else 0
        events.forget_old(self.world)
        self.webhooks = Webhooks(self.world, url=webhook_url, secrets=webhook_secrets, **webhook_options)
        self.api = Api(self.world)
        self.faults = Faults()
        self._given_public_url = public_url
        self._url = ""

    # Where it is

    @property
    def url(self) -> str:
        """The base address while it runs."""
        return self._url

    @url.setter
    def url(self, url: str) -> None:
        self._url = url
        self.world.public_url = self._given_public_url or url

    def send_webhooks_to(self, url: str) -> None:
        """Set or change where events go, once a test knows it."""
        self.webhooks.url = url
        self.world.webhook_endpoints = 1 if url else 0

    # What there is

    def get(self, object_id: str) -> Object:
        """Return an object as it is now.  Raises KeyError where there is none."""
        with self.world.lock:
            found = self.world.store.find_anywhere(object_id)
            if found is None:
                raise KeyError(object_id)
            return copy.deepcopy(found)

    def all(self, resource: str) -> list[Object]:
        """Return all objects of a resource (`payment_intent`, `checkout.session`, …), oldest first."""
        with self.world.lock:
            return copy.deepcopy(self.world.store.all(resource))

    def events(self, event_type: str = "", *, about: str = "") -> list[Object]:
        """Return events, oldest first, of one type or about one object's id."""
        return [
            event
            for event in self.all("event")
            if event_type in ("", event["type"]) and about in ("", event["data"]["object"]["id"])
        ]

    # People, banks and time

    def pay(self, object_id: str, method: str = "pm_card_visa") -> Object:
        """A person confirms an intent, or submits a session's page; a decline is an outcome, no error."""
        return self._do(lambda: commands.pay(self.world, object_id, method=method))

    def authenticate(self, intent_id: str, *, succeeds: bool = True) -> Object:
        """A person finishes or fails 3-D Secure."""
        return self._do(lambda: commands.authenticate(self.world, intent_id, succeeds=succeeds))

    def settle(self, intent_id: str, *, succeeds: bool = True) -> Object:
        """The bank answers a SEPA debit that is processing."""
        return self._do(lambda: commands.settle(self.world, intent_id, succeeds=succeeds))

    def expire(self, session_id: str) -> Object:
        """An open session's time is over."""
        return self._do(lambda: sessions.expire(self.world, session_id, {}))

    def refund(self, object_id: str, amount: int | None = None) -> Object:
        """Refund a charge or intent by `amount` cents, or by all that is left."""
        return self._do(lambda: commands.refund(self.world, object_id, amount=amount))

    def succeed_refund(self, refund_id: str) -> Object:
        """A pending refund arrives."""
        return self._do(lambda: refunds.succeed(self.world, refund_id))

    def fail_refund(self, refund_id: str) -> Object:
        """A refund comes back."""
        return self._do(lambda: refunds.fail(self.world, refund_id))

    def dispute(
        self,
        object_id: str,
        amount: int | None = None,
        *,
        reason: str = "fraudulent",
        inquiry: bool = False,
    ) -> Object:
        """The bank disputes a charge or an intent's charge, by `amount` cents or all not refunded."""
        return self._do(
            lambda: commands.dispute(self.world, object_id, amount=amount, reason=reason, inquiry=inquiry)
        )

    def close_dispute(self, dispute_id: str, *, won: bool) -> Object:
        """The bank decides a dispute."""
        return self._do(lambda: disputes.close(self.world, dispute_id, won=won))

    def duplicate_event(self, event_id: str) -> Object:
        """Make a second event with an id of its own that says the same, as Stripe sometimes does."""

        def emit() -> Object:
            event = self.world.store.get("event", event_id)
            return self.world.emit(event["type"], event["data"]["object"])

        return self._do(emit)

    def add_price(self, price_id: str, unit_amount: int) -> Object:
        """Keep a price of `unit_amount` euro cents under an id that a package names."""
        return self._do(lambda: prices.add(self.world, price_id, unit_amount=unit_amount))

    def advance(self, seconds: float) -> None:
        """Let time pass: sessions expire."""
        self.clock.advance(seconds)
        self._do(self._tick)

    def _do(self, operation: Callable[[], Object]) -> Object:
        with self.world.lock:
            try:
                return copy.deepcopy(operation())
            finally:
                self.world.store.save()

    def _tick(self) -> Object:
        sessions.expire_overdue(self.world)
        return {}

    # HTTP

    def application(self) -> web.Application:
        """Return the HTTP side: the API, the hosted pages, the control API and the index."""
        app = web.Application(middlewares=[self._spoil_when_planned])
        app.add_routes([*Control(self).routes(), *Hosted(self).routes(), *self.api.routes()])
        app.cleanup_ctx.append(self._work)
        return app

    async def _work(self, _: web.Application) -> AsyncIterator[None]:
        """Deliver webhooks and expire sessions while the application runs."""
        tasks = [asyncio.create_task(self.webhooks.run()), asyncio.create_task(self._tick_for_ever())]
        # The deliveries' loop is known from here on, so that `deliver_now` works at once.
        await asyncio.sleep(0)
        yield
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result

    async def _tick_for_ever(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            with self.world.lock:
                overdue = sessions.expire_overdue(self.world)
                if overdue:
                    self.world.store.save()

    @web.middleware
    async def _spoil_when_planned(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not request.path.startswith("/v1/"):
            return await handler(request)
        return await self.faults.apply(request, handler, lambda status: PLANNED_ERRORS[status].body())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Serve in the running loop on a free port, for asynchronous clients; `url` is set meanwhile."""
        async with serving.in_this_loop(self.application()) as self.url:
            yield self

    @contextmanager
    def on_a_thread(self, listener: socket.socket | None = None) -> Iterator[Self]:
        """Serve on a thread of its own, for the blocking SDK; on a free port, or with a listening socket.

        `url` is set meanwhile.
        """
        with serving.on_a_thread(self.application(), listener) as self.url:
            yield self
