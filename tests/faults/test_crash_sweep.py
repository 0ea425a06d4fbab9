"""Killed at every statement, commit and outside call of the way of money in; then started again.

Each sweep runs the work once to count its points, and then once for each point on a new purchase, dies
there for real (`os._exit` in a process of its own), starts again as the service does (Stripe redelivers,
jobs are taken up again, the caller repeats its key), and demands the books of a run without a crash.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Engine, text

from devkit.paths import ROOT
from devkit.waiting import wait_until
from domain.jobs import add_job
from domain.reconciliation import AskAboutPurchases, FetchMissedEvents
from domain.spending import Grant, Refund, RefundCredits, grant
from tests.faults.crash_child import APPLICATION_NAME, KILLED, handlers_of
from tests.support.jobs import run_waiting
from tests.support.ledger import entries, scalar
from tests.support.payments import SUCCESS_URL, Shop, shop_on
from tests.support.told import Told

DEATH_SECONDS_MAX = 10.0


@pytest.fixture
def shop(engine: Engine) -> Iterator[Shop]:
    with shop_on(engine) as shop:
        yield shop


@dataclass
class Crasher:
    """Gives work to processes that die at a point."""

    process: subprocess.Popen[str]
    engine: Engine
    shop: Shop

    def run(self, what: str, *, die_at: int = 0, **more: Any) -> int | None:
        """How many points the work passed, or None when it died at its point."""
        order = {
            "what": what,
            "die_at": die_at,
            "database_url": self.engine.url.set(drivername="postgresql").render_as_string(False),
            "stripe_url": self.shop.stripe.url,
            "now": self.shop.now.timestamp(),
            **more,
        }
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(order), file=self.process.stdin, flush=True)
        answer = json.loads(self.process.stdout.readline())
        assert answer["status"] in (0, KILLED), answer
        # PostgreSQL notices within milliseconds that the process is gone, and undoes what it left.
        assert wait_until(self._is_gone, DEATH_SECONDS_MAX)
        return int(answer["passed"]) if answer["status"] == 0 else None

    def _is_gone(self) -> bool:
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = :name AND datname = current_database()"
        return bool(scalar(self.engine, query, name=APPLICATION_NAME) == 0)


@pytest.fixture(scope="module")
def process() -> Iterator[subprocess.Popen[str]]:
    """The process whose forks die."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.faults.crash_child"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()
        process.wait(DEATH_SECONDS_MAX)


@pytest.fixture
def crasher(process: subprocess.Popen[str], engine: Engine, shop: Shop) -> Crasher:
    return Crasher(process, engine, shop)


def sweep(name: str, points_min: int, once: Callable[[int], int | None]) -> None:
    """`once(0)` counts the points; `once(n)` dies at point n."""
    points = once(0)
    assert points is not None
    died = sum(once(point) is None for point in range(1, points + 1))
    print(f"{name}: killed at each of {points} points")
    assert died == points >= points_min


def take_up_again(shop: Shop) -> None:
    """What the relay does: a job whose worker died is taken up again, some seconds later."""
    shop.advance(minutes=1)
    run_waiting(shop.engine, handlers_of(shop.engine, shop.gateway), lambda: shop.now)


def amounts(shop: Shop, user_id: str) -> list[int]:
    return [int(entry.amount) for entry in entries(shop.engine, user_id)][::-1]


def test_receiving_an_event(shop: Shop, crasher: Crasher) -> None:
    def once(point: int) -> int | None:
        row = shop.ordered()
        paid = Told(row.stripe_payment_intent_id, row.id).succeeded()
        passed = crasher.run("receive", die_at=point, event=paid)
        shop.deliver(paid)  # what was not answered, Stripe sends again
        assert amounts(shop, row.user_id) == [1_000]
        return passed

    sweep("receive", 3, once)  # one statement stores the event and its job, one commit keeps them


def test_crediting_a_paid_purchase(shop: Shop, crasher: Crasher) -> None:
    def once(point: int) -> int | None:
        row = shop.ordered()
        shop.receive(Told(row.stripe_payment_intent_id, row.id).succeeded())
        passed = crasher.run("work", die_at=point)
        take_up_again(shop)
        assert amounts(shop, row.user_id) == [1_000]
        assert shop.row(row.id).status == "completed"
        return passed

    sweep("credit", 20, once)


def test_crediting_what_was_refunded_before(shop: Shop, crasher: Crasher) -> None:
    def once(point: int) -> int | None:
        row = shop.ordered()
        shop.forget_names(row.id)
        told = Told(row.stripe_payment_intent_id, row.id)
        shop.deliver(told.charge_refunded(300))
        shop.receive(told.succeeded())
        passed = crasher.run("work", die_at=point)
        take_up_again(shop)
        assert amounts(shop, row.user_id) == [1_000, -300]
        return passed

    sweep("credit and take back", 20, once)


def test_taking_back_a_refund(shop: Shop, crasher: Crasher) -> None:
    def once(point: int) -> int | None:
        row = shop.ordered()
        told = Told(row.stripe_payment_intent_id, row.id)
        shop.deliver(told.succeeded(), told.charge_refunded(300))
        shop.receive(told.charge_refunded(500, seconds=50))
        passed = crasher.run("work", die_at=point)
        take_up_again(shop)
        assert amounts(shop, row.user_id) == [1_000, -300, -200]
        return passed

    sweep("take back", 20, once)


def test_giving_back_after_a_dispute_was_won(shop: Shop, crasher: Crasher) -> None:
    def once(point: int) -> int | None:
        row = shop.ordered()
        told = Told(row.stripe_payment_intent_id, row.id)
        shop.deliver(told.succeeded(), told.dispute("created", "needs_response"))
        shop.receive(told.dispute("closed", "won"))
        passed = crasher.run("work", die_at=point)
        take_up_again(shop)
        assert amounts(shop, row.user_id) == [1_000, -1_000, 1_000]
        return passed

    sweep("give back", 20, once)


@pytest.mark.parametrize("checkout", [False, True])
def test_beginning_a_purchase_and_repeating_it(shop: Shop, crasher: Crasher, checkout: bool) -> None:
    package = shop.package()
    users = iter(range(1_000))

    def once(point: int) -> int | None:
        user_id = f"buyer-{next(users)}"
        wanted = {
            "user_id": user_id,
            "email": f"{user_id}@example.com",
            "package_id": str(package.id),
            "success_url": SUCCESS_URL if checkout else None,
            "idempotency_key": "k",
        }
        before = len(shop.stripe.all("customer"))
        passed = crasher.run("buy", die_at=point, wanted=wanted)
        bought = shop.buy(package, user_id, checkout=checkout, key="k")
        row = shop.row(bought.purchase_id)
        payments = [
            one
            for one in shop.stripe.all("checkout.session" if checkout else "payment_intent")
            if one["metadata"].get("purchaseId") == str(row.id)
        ]
        assert (len(payments), len(shop.stripe.all("customer"))) == (1, before + 1)
        shop.stripe.pay(payments[0]["id"])
        shop.deliver(*shop.stripe.events("payment_intent.succeeded")[-1:])
        assert amounts(shop, user_id) == [1_000]
        with shop.engine.connect() as connection:
            query = text("SELECT count(*) FROM credits.purchases WHERE user_id = :user_id")
            assert connection.execute(query, {"user_id": user_id}).scalar_one() == 1
        return passed

    sweep("buy", 20, once)


def test_beginning_a_purchase_that_nobody_repeats(shop: Shop, crasher: Crasher) -> None:
    """What Stripe made is found by asking; what it did not make is given up after a day."""
    package = shop.package()
    made: list[bool] = []

    def once(point: int) -> int | None:
        user_id = f"gone-{point}"
        wanted = {"user_id": user_id, "email": None, "package_id": str(package.id)}
        passed = crasher.run("buy", die_at=point, wanted=wanted)
        intents = [one for one in shop.stripe.all("payment_intent") if one["metadata"]["userId"] == user_id]
        made.append(bool(intents))
        for intent in intents:
            shop.stripe.pay(intent["id"])
        return passed

    sweep("buy and leave", 20, once)
    for _ in range(3):
        shop.advance(hours=13)
        shop.reconcile()
    with shop.engine.connect() as connection:
        rows = connection.execute(text("SELECT user_id, status FROM credits.purchases")).all()
    statuses = [row.status for row in rows]
    print(f"{statuses.count('completed')} were paid, {statuses.count('cancelled')} never reached Stripe")
    assert statuses.count("completed") == sum(made)
    assert set(statuses) == {"completed", "cancelled"}
    for row in rows:
        assert amounts(shop, row.user_id) == ([1_000] if row.status == "completed" else [])


def test_asking_about_a_purchase(shop: Shop, crasher: Crasher) -> None:
    def once(point: int) -> int | None:
        row = shop.begun()
        shop.forget_names(row.id)
        shop.stripe.pay(row.stripe_payment_intent_id)
        shop.stripe.refund(row.stripe_payment_intent_id, 250)
        shop.advance(minutes=16)
        shop.in_transaction(lambda c, now: add_job(c, AskAboutPurchases(), now=now))
        passed = crasher.run("work", die_at=point)
        take_up_again(shop)
        assert sum(amounts(shop, row.user_id)) == 750
        return passed

    sweep("ask", 40, once)


def test_fetching_the_events_that_no_webhook_brought(shop: Shop, crasher: Crasher) -> None:
    def once(point: int) -> int | None:
        row = shop.begun()
        shop.stripe.pay(row.stripe_payment_intent_id)
        # Past the overlap of two readings: each reads the events of its own round.
        shop.advance(hours=3)
        shop.in_transaction(lambda c, now: add_job(c, FetchMissedEvents(), now=now))
        passed = crasher.run("work", die_at=point)
        take_up_again(shop)
        assert amounts(shop, row.user_id) == [1_000]
        return passed

    sweep("fetch", 40, once)


def test_refunding_credits(shop: Shop, crasher: Crasher) -> None:
    """The job of POST /internal/credits/refund: once, though its caller gave no key."""
    people = iter(range(1_000))

    def once(point: int) -> int | None:
        user_id = f"person-{next(people)}"
        given = Grant(user_id=user_id, amount=Decimal(10), reason="welcome", reference_id="1")
        wanted = Refund(user_id=user_id, amount=Decimal(3), description="It failed")
        shop.in_transaction(lambda c, now: grant(c, given, now=now))
        shop.in_transaction(lambda c, now: add_job(c, RefundCredits(refund=wanted), now=now))
        passed = crasher.run("work", die_at=point)
        take_up_again(shop)
        assert amounts(shop, user_id) == [10, 3]
        return passed

    sweep("refund", 15, once)
