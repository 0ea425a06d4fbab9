"""The service with a Stripe beside it: bought over HTTP, told by webhooks, worked on here and now."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine

from domain.stripe_gateway import StripeGateway
from simulators import serving
from simulators.stripe import StripeSimulator, sign
from tests.support.clean_database import CleanDatabase
from tests.support.client import Reply
from tests.support.jobs import run_waiting
from tests.support.service import Service
from workers.actors import payments as payment_actors

SECRET, OLD_SECRET = "whsec_test_new", "whsec_test_old"
WEBHOOKS = "/api/v1/webhooks/stripe"
PACKAGES = "/api/v1/admin/packages"


@dataclass
class Shop:
    """A service, its Stripe, and short ways to both."""

    service: Service
    stripe: StripeSimulator
    engine: Engine

    def admin(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.service.auth.mint('the-admin', role='admin')}"}

    async def package(self, **changes: Any) -> Any:
        body = {"name": "Starter", "credits": 550, "priceEuroCents": 500, **changes}
        reply = await self.service.call("POST", PACKAGES, body, headers=self.admin())
        assert reply.status == 201, reply.brief
        return reply.json

    async def buy(self, package: Any, user_id: str = "anna", **body: Any) -> Reply:
        headers = body.pop("headers", None)
        wanted = {"packageId": package["id"], **body}
        return await self.service.user(user_id, "POST", "/purchase", wanted, headers=headers)

    async def purchase(self, purchase_id: str, user_id: str = "anna") -> Any:
        return (await self.service.user(user_id, "GET", f"/purchase/{purchase_id}")).ok()

    async def post(self, event: Any, *secrets: str, seconds_old: int = 0, raw: bytes | None = None) -> Reply:
        """Deliver an event as Stripe does."""
        body = json.dumps(event).encode() if raw is None else raw
        signature = sign(body, secrets or (SECRET,), int(time.time()) - seconds_old)
        return await self.service.call("POST", WEBHOOKS, raw=body, headers={"Stripe-Signature": signature})

    async def deliver_all(self) -> None:
        """Deliver all that Stripe ever told, then do the jobs."""
        for event in self.stripe.events():
            assert (await self.post(event)).ok() == {"received": True}
        self.work()

    def work(self) -> list[Any]:
        handlers = payment_actors.handlers_with(
            StripeGateway("sk_test_x", api_base=self.stripe.url), self.engine
        )
        return run_waiting(self.engine, handlers, lambda: datetime.now(UTC))


@pytest.fixture(scope="session")
def stripe_listener() -> Iterator[socket.socket]:
    """Where every test's Stripe is found: the service knows one address."""
    with serving.listen() as listener:
        yield listener


@pytest.fixture
def service_variables(stripe_listener: socket.socket) -> dict[str, str]:
    return {
        "STRIPE_SECRET_KEY": "sk_test_shop",
        "STRIPE_API_BASE": serving.url_of(stripe_listener),
        "STRIPE_WEBHOOK_SECRET": f"{SECRET}, {OLD_SECRET}",
    }


@pytest.fixture
def shop(service: Service, lent_database: CleanDatabase, stripe_listener: socket.socket) -> Iterator[Shop]:
    with StripeSimulator().on_a_thread(stripe_listener.dup()) as stripe:
        yield Shop(service, stripe, lent_database.engine)


def no_such_package() -> dict[str, str]:
    return {"id": str(uuid4())}
