"""A shop for tests: the Stripe simulator, the real gateway to it, packages, and jobs run here and now."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Engine, select, update

from domain import buying, ledger, packages, reconciliation, stripe_inbox, tables
from domain.buying import Bought
from domain.database import transaction
from domain.jobs import Ending, Handler, add_job
from domain.packages import NewPackage, Package
from domain.purchases import Wanted
from domain.stripe_gateway import StripeGateway
from simulators.stripe import Clock, StripeSimulator
from tests.support.jobs import run_waiting
from workers.actors import payments as payment_actors

Object = dict[str, Any]

START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
"""When the clock of a test's shop begins: Stripe's and ours are the same one."""

SUCCESS_URL = "https://mana.how/credits?session={CHECKOUT_SESSION_ID}"


@dataclass
class Shop:
    """The service's side of buying, without HTTP; time stands still until a test moves it."""

    engine: Engine
    stripe: StripeSimulator
    gateway: StripeGateway
    numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self.stripe.clock(), UTC)

    @property
    def handlers(self) -> list[Handler]:
        return payment_actors.handlers_with(self.gateway, self.engine)

    def in_transaction(self, work: Any) -> Any:
        with transaction(self.engine) as connection:
            return work(connection, self.now)

    def package(self, amount: int = 1_000, cents: int = 1_000, **more: Any) -> Package:
        new = NewPackage(name="Pack", credits=amount, price_euro_cents=cents, **more)
        created: Package = self.in_transaction(lambda c, now: packages.create(c, new, now=now))
        return created

    def buy(
        self,
        package: Package,
        user_id: str = "anna",
        *,
        checkout: bool = False,
        key: str | None = None,
        **more: Any,
    ) -> Bought:
        """Begin a purchase, for Stripe's page or for the payer's own."""
        wanted = Wanted(
            user_id=user_id,
            email=more.pop("email", f"{user_id}@example.com"),
            package_id=package.id,
            success_url=SUCCESS_URL if checkout else None,
            idempotency_key=key,
        )
        return buying.buy(self.in_transaction, self.gateway, wanted)

    def begun(self, amount: int = 1_000, cents: int = 1_000, user_id: str | None = None) -> Any:
        """A new person's purchase, in the payer's page; its row."""
        user_id = user_id or f"user-{next(self.numbers)}"
        return self.row(self.buy(self.package(amount, cents), user_id).purchase_id)

    def ordered(self, amount: int = 1_000, cents: int = 1_000) -> Any:
        """The same without asking Stripe, for events that a test tells itself; its row."""
        purchase_id = uuid4()
        values = {
            "id": purchase_id,
            "user_id": f"user-{next(self.numbers)}",
            "credits": amount,
            "price_euro_cents": cents,
            "stripe_payment_intent_id": f"pi_{purchase_id.hex}",
        }
        with transaction(self.engine) as connection:
            connection.execute(tables.purchases.insert().values(values))
        return self.row(purchase_id)

    def row(self, purchase_id: UUID) -> Any:
        with self.engine.connect() as connection:
            query = select(tables.purchases).where(tables.purchases.c.id == purchase_id)
            return connection.execute(query).one()

    def balance(self, user_id: str) -> Decimal | None:
        with self.engine.connect() as connection:
            found = ledger.balance_of(connection, user_id)
        return None if found is None else found.balance

    def deliver(self, *events: Object, times: int = 1) -> list[Ending]:
        """Receive each event so many times and do its job, one after the other."""
        endings: list[Ending] = []
        for event in events:
            for _ in range(times):
                self.receive(event)
                endings += self.work()
        return endings

    def receive(self, event: Object) -> None:
        arrived = stripe_inbox.arrival(stripe_inbox.parse(json.dumps(event).encode()), now=self.now)
        self.in_transaction(lambda c, now: stripe_inbox.receive(c, arrived, now=now))

    def deliver_all(self) -> list[Ending]:
        """Deliver everything that Stripe has ever told, in its order."""
        return self.deliver(*self.stripe.events())

    def work(self) -> list[Ending]:
        """Do the jobs that are due."""
        return run_waiting(self.engine, self.handlers, lambda: self.now)

    def advance(self, **time: float) -> None:
        self.stripe.advance(timedelta(**time).total_seconds())

    def reconcile(self) -> None:
        """What the timetable adds every five minutes, done."""

        def add(connection: Connection, now: datetime) -> None:
            add_job(connection, reconciliation.AskAboutPurchases(), now=now)
            add_job(connection, reconciliation.FetchMissedEvents(), now=now)

        self.in_transaction(add)
        self.work()

    def outcome(self, event: Object) -> str:
        with self.engine.connect() as connection:
            query = select(tables.stripe_events.c.outcome).where(tables.stripe_events.c.id == event["id"])
            found: str = connection.execute(query).scalar_one()
            return found

    def forget_names(self, purchase_id: UUID) -> None:
        """As if the process had died before it kept what Stripe calls the payment."""
        nothing = {"stripe_payment_intent_id": None, "checkout_session_id": None, "checkout_url": None}
        statement = update(tables.purchases).where(tables.purchases.c.id == purchase_id).values(nothing)
        with transaction(self.engine) as connection:
            connection.execute(statement)


@contextmanager
def shop_on(engine: Engine, *, read_seconds_max: float = 5.0) -> Iterator[Shop]:
    """A shop on a database, with a Stripe of its own."""
    with StripeSimulator(clock=Clock(START.timestamp())).on_a_thread() as stripe:
        gateway = StripeGateway("sk_test_shop", api_base=stripe.url, read_seconds_max=read_seconds_max)
        try:
            yield Shop(engine, stripe, gateway)
        finally:
            gateway.close()


@pytest.fixture
def shop(engine: Engine) -> Iterator[Shop]:
    """A shop on the test's own database, whose books must add up at the end."""
    with shop_on(engine) as shop:
        yield shop
