"""From Stripe's event to credits."""

from __future__ import annotations

import http.client
import json
import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID, uuid4

import psycopg

from bench.load import percentile
from bench.measure import Figure, Pace, in_turns
from bench.plan import Plan, Prepared
from bench.rig import WEBHOOK_SECRET, Front, Rig
from devkit.waiting import wait_until
from simulators.stripe import sign
from simulators.stripe.shapes import shape

PATH = "/api/v1/webhooks/stripe"
EVENTS_PER_SECOND = 200
CONNECTIONS = 16
CREDITS, CENTS = 1_000, 1_000
HANDLED_SECONDS_MAX = 300.0
ASK_EVERY_SECONDS = 0.001
PAUSES_SECONDS = (0.02, 0.12)
"""Between two events: of differing length, so that no poll of anybody's falls into step with them."""


@dataclass(frozen=True)
class Order:
    """A purchase that waits for its payment."""

    user_id: str
    purchase_id: UUID

    @property
    def intent_id(self) -> str:
        """Its PaymentIntent."""
        return f"pi_{self.purchase_id.hex}"

    def paid(self) -> Prepared:
        """Stripe's event that it is paid, signed now."""
        intent = shape(
            "payment_intent",
            id=self.intent_id,
            object="payment_intent",
            amount=CENTS,
            amount_received=CENTS,
            currency="eur",
            metadata={"purchaseId": str(self.purchase_id)},
            status="succeeded",
        )
        now = int(datetime.now(UTC).timestamp())
        event = shape(
            "event",
            id=f"evt_{self.purchase_id.hex}",
            object="event",
            created=now,
            data={"object": intent},
            livemode=False,
            type="payment_intent.succeeded",
        )
        body = json.dumps(event)
        return Prepared(headers={"Stripe-Signature": sign(body.encode(), [WEBHOOK_SECRET], now)}, body=body)


def ordered(rig: Rig, count: int) -> list[Order]:
    """So many people who have each begun to buy."""
    orders = [Order(f"buyer-{uuid4().hex}", uuid4()) for _ in range(count)]
    with (
        psycopg.connect(rig.url) as connection,
        connection.cursor().copy(
            "COPY credits.purchases (id, user_id, credits, price_euro_cents, stripe_payment_intent_id) FROM STDIN"
        ) as copy,
    ):
        for order in orders:
            copy.write_row((order.purchase_id, order.user_id, CREDITS, CENTS, order.intent_id))
    rig.sql("ANALYZE credits.purchases")
    return orders


def plan_of(front: Front, events: list[Prepared], *, connections: int, rate: float) -> Plan:
    """Deliver the events."""
    return Plan(
        port=front.port,
        method="POST",
        path=PATH,
        headers={"Content-Type": "application/json"},
        connections=connections,
        seconds=len(events) / rate + 1 if rate else 60,
        rate=rate,
        prepared=events,
    )


def webhook_accepted(rig: Rig, pace: Pace) -> list[Figure]:
    """Signed events, stored and durable; handled by a worker meanwhile."""
    statuses: dict[str, int] = {}
    offered = [0]
    with rig.crew(1) as (front, _):

        def p99() -> float:
            events = [order.paid() for order in ordered(rig, round(pace.seconds * EVENTS_PER_SECOND))]
            offered[0] += len(events)
            report = rig.send(plan_of(front, events, connections=CONNECTIONS, rate=EVENTS_PER_SECOND))
            for status, count in report.statuses.items():
                statuses[status] = statuses.get(status, 0) + count
            return report.p99

        return [
            in_turns(
                rig,
                "webhook_accepted",
                f"p99 of webhooks, {EVENTS_PER_SECOND} signed events/s, one worker handling them beside",
                ours=("p99", "ms", p99),
                other=None,
                turns=pace.turns,
                must=25.0,
                aim=10.0,
                higher_is_better=False,
                checks=lambda: [
                    *payment_checks(rig, statuses),
                    f"{sum(statuses.values()):,} answered of {offered[0]:,} offered",
                ],
            )
        ]


def payment_checks(rig: Rig, statuses: dict[str, int]) -> list[str]:
    """Every accepted event is stored, and credited its buyer once."""
    accepted = statuses.get("200", 0)
    wait_until(lambda: rig.count("ops.stripe_events WHERE handled_at IS NULL") == 0, HANDLED_SECONDS_MAX)
    stored = rig.count("ops.stripe_events")
    completed = rig.count("credits.purchases WHERE status = 'completed'")
    entries = rig.count("credits.transactions WHERE type = 'purchase'")
    bought = rig.count(f"credits.balances WHERE user_id LIKE 'buyer-%' AND balance = {CREDITS}")
    is_right = stored == completed == entries == bought >= accepted and statuses.keys() == {"200"}
    return [
        f"answers {statuses}; {stored:,} events stored, {completed:,} purchases completed, {entries:,} entries,"
        f" {bought:,} balances: {'right' if is_right else 'WRONG'}"
    ]


def event_to_credits(rig: Rig, pace: Pace) -> list[Figure]:
    """From a paid event's delivery to the credits on the balance, idle."""
    before = rig.count("ops.stripe_events")
    statuses = {"200": before} if before else {}
    with rig.crew(1) as (front, _), psycopg.connect(rig.url, autocommit=True) as watching:

        def p99() -> float:
            times = []
            for order in ordered(rig, pace.of(100, 15)):
                time.sleep(random.uniform(*PAUSES_SECONDS))
                began = time.perf_counter()
                status = deliver(front, order)
                statuses[status] = statuses.get(status, 0) + 1
                wait_for_credits(watching, order.user_id)
                times.append(time.perf_counter() - began)
            return percentile(sorted(times), 0.99) * 1e3

        return [
            in_turns(
                rig,
                "event_to_credits",
                "p99 from a paid event's delivery to its credits on the balance, idle, one worker",
                ours=("p99", "ms", p99),
                other=None,
                turns=pace.turns,
                must=300.0,
                aim=100.0,
                higher_is_better=False,
                checks=lambda: payment_checks(rig, statuses),
            )
        ]


def deliver(front: Front, order: Order) -> str:
    """Deliver its event as Stripe does, on a connection of its own; the status of the answer."""
    event = order.paid()
    connection = http.client.HTTPConnection("127.0.0.1", front.port, timeout=30)
    connection.request("POST", PATH, event.body, {**event.headers, "Content-Type": "application/json"})
    status = connection.getresponse().status
    connection.close()
    return str(status)


def wait_for_credits(watching: psycopg.Connection, user_id: str) -> None:
    """Ask the database until the credits are there.  Raises RuntimeError when they never come."""
    deadline = time.monotonic() + HANDLED_SECONDS_MAX
    query = "SELECT FROM credits.balances WHERE user_id = %s AND balance > 0"
    while watching.execute(query, (user_id,)).fetchone() is None:
        if time.monotonic() > deadline:
            raise RuntimeError("a paid event was not credited")
        time.sleep(ASK_EVERY_SECONDS)
