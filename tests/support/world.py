"""A small world for operators, made by hand: what everybody has and did is written here, to be found again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import ClassVar
from uuid import UUID

from sqlalchemy import Connection, Engine, text

from domain import gifts, heartbeats, ledger_checks, reservations, spending
from domain.database import transaction
from domain.gifts import Gift, GiftType, Redeemer, WantedGift
from domain.jobs import Job, Queue, add_job
from domain.ledger import EntryType
from domain.operators import Operator, Role
from domain.spending import Refund
from domain.sync_billing import gifting, subscriptions
from tests.support.ledger import give, post, take

NOW = datetime(2026, 11, 22, 15, 28, 32, 39_000, tzinfo=UTC)
YESTERDAY = NOW - timedelta(days=1)

OPERATOR = Operator(name="login:otto", role=Role.OPERATOR)
VIEWER = Operator(name="login:vera", role=Role.VIEWER)

WHY = "ticket 4711"


class Chore(Job, frozen=True, kw_only=True):
    """Work that nobody does."""

    kind: ClassVar[str] = "test_chore"
    queue: ClassVar[Queue] = Queue.MONEY


@dataclass
class World:
    """What there is: anna bought, spent and gave; ben received; carla pays for sync; dora's is due."""

    engine: Engine
    purchase_id: UUID
    entry_id: UUID
    reservation_id: UUID
    gift: Gift
    open_gift: Gift
    waiting_id: UUID
    failed_id: UUID
    event_id: str = "evt_world"
    intent_id: str = "pi_world"


def job_in_state(
    connection: Connection,
    state: str,
    *,
    at: datetime = NOW,
    user_id: str | None = None,
    kind: str = "test_chore",
) -> UUID:
    """A job that ended so."""
    job_id = add_job(connection, Chore(), now=at, user_id=user_id)
    connection.execute(
        text(
            "UPDATE ops.jobs SET kind = :kind, state = :state, finished_at = :at, last_error = :error WHERE id = :id"
        ),
        {
            "kind": kind,
            "state": state,
            "at": None if state == "waiting" else at,
            "error": "RuntimeError: poison" if state == "failed" else None,
            "id": job_id,
        },
    )
    return job_id


def make_world(engine: Engine) -> World:
    """Make it."""
    post(engine, give("anna", 500), give("ben", 10), give("carla", 100), give("dora", 100), now=YESTERDAY)
    [spent] = post(engine, take("anna", 20), now=YESTERDAY)
    post(engine, take("anna", "7.5"), now=NOW - timedelta(minutes=1))
    assert spent.entry is not None  # type: ignore[union-attr]
    with transaction(engine) as connection:
        refund = Refund(user_id="anna", amount=Decimal(5), description="failed")
        spending.refund(connection, refund, now=NOW)
    with transaction(engine) as connection:
        reserved = reservations.reserve(
            connection, user_id="anna", amount=Decimal(30), reason="research:run", now=NOW
        )
    with transaction(engine) as connection:
        gift = _gift(connection, 40, "Ben@Example.org")
    with transaction(engine) as connection:
        gifts.redeem(connection, gift.code, Redeemer(user_id="ben", email="ben@example.org"), now=NOW)
    with transaction(engine) as connection:
        open_gift = _gift(connection, 60, None)
    purchase_id = _purchase(engine)
    _subscriptions(engine)
    with transaction(engine) as connection:
        waiting_id = job_in_state(connection, "waiting", at=NOW - timedelta(minutes=2), user_id="anna")
        failed_id = job_in_state(connection, "failed", at=NOW - timedelta(hours=1), user_id="anna")
        job_in_state(connection, "done", at=NOW - timedelta(hours=1))
        heartbeats.beat(connection, "worker", started_at=YESTERDAY, now=NOW)
        heartbeats.beat(connection, "scheduler", started_at=YESTERDAY, now=NOW, leads=True)
        ledger_checks.record(
            connection, ledger_checks.Checked(findings=[], took_seconds=0.5), now=NOW - timedelta(minutes=30)
        )
    return World(
        engine=engine,
        purchase_id=purchase_id,
        entry_id=spent.entry.id,  # type: ignore[union-attr]
        reservation_id=reserved.reservation_id,
        gift=gift,
        open_gift=open_gift,
        waiting_id=waiting_id,
        failed_id=failed_id,
    )


def _gift(connection: Connection, amount: int, email: str | None) -> Gift:
    wanted = WantedGift(
        creator_id="anna",
        creator_name="Anna",
        total_credits=amount,
        type=GiftType.SIMPLE if email is None else GiftType.PERSONALIZED,
        target_email=email,
        message="<script>alert(1)</script>",
        expires_at=NOW + timedelta(days=30),
    )
    return gifts.create(connection, wanted, base_url="https://credits.example", now=NOW)


def _purchase(engine: Engine) -> UUID:
    """Paid for and credited, as settling leaves it."""
    purchase_id = UUID("019aac5e-5d28-7e41-b7f6-2a9c4d80e135")
    with transaction(engine) as connection:
        for statement in (
            """INSERT INTO credits.purchases (id, user_id, credits, price_euro_cents, status, completed_at, created_at,
                   stripe_payment_intent_id, stripe_customer_id)
               VALUES (:id, 'anna', 1000, 1000, 'completed', :now, :before, 'pi_world', 'cus_world')""",
            """INSERT INTO credits.stripe_customers (user_id, stripe_customer_id, email)
               VALUES ('anna', 'cus_world', 'Anna@Example.org')""",
            """INSERT INTO ops.stripe_events (id, type, stripe_created, livemode, payload, payment_intent_id,
                   purchase_id, source, received_at, handled_at, outcome)
               VALUES ('evt_world', 'payment_intent.succeeded', :now, false, '{"id": "evt_world"}', 'pi_world', :id,
                   'webhook', :now, :now, 'completed, credited')""",
        ):
            parameters = {"id": purchase_id, "now": NOW, "before": NOW - timedelta(minutes=3)}
            used = {name: value for name, value in parameters.items() if f":{name}" in statement}
            connection.execute(text(statement), used)
    bought = give(
        "anna",
        1000,
        type=EntryType.PURCHASE,
        app_id="stripe",
        posting_key=f"purchase:{purchase_id}",
        metadata={"purchaseId": str(purchase_id), "paymentIntentId": "pi_world"},
    )
    post(engine, bought, now=NOW)
    return purchase_id


def _subscriptions(engine: Engine) -> None:
    long_ago = NOW - timedelta(days=40)
    with transaction(engine) as connection:
        subscriptions.activate(connection, "carla", contact_email="carla@example.org", now=NOW)
    with transaction(engine) as connection:
        subscriptions.activate(connection, "dora", now=long_ago)
    with transaction(engine) as connection:
        gifting.gift(connection, "ben", by="admin", now=NOW)
