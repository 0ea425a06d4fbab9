"""What the old service's wounds mean for money, once its database is adopted: kept, found, and never given twice."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import Engine

from domain import spending
from domain.database import make_engine, transaction
from domain.spending import Grant
from migrations.adoption.running import adopt, adoption_engine
from tests.support.gifts import expire_due
from tests.support.ledger import NOW, balance, checked_engine, entries, execute, scalar
from tests.support.payments import Shop, shop_on


def adopted(url: str) -> None:
    engine = adoption_engine(url)
    assert adopt(engine, url).holds
    engine.dispose()


@pytest.fixture
def old(old_database_url: str) -> Iterator[Engine]:
    engine = make_engine(old_database_url, pool_size=1)
    yield engine
    engine.dispose()


@pytest.fixture
def paying(database_url: str) -> Iterator[Shop]:
    """Another database of ours, where purchases are begun at a Stripe that both know."""
    with checked_engine(database_url) as engine, shop_on(engine) as shop:
        yield shop


PURCHASE = """
    INSERT INTO credits.purchases (id, user_id, credits, price_euro_cents, stripe_payment_intent_id,
                                   stripe_customer_id, status, created_at)
    VALUES ('{0.id}', '{0.user_id}', {0.credits}, {0.price_euro_cents}, '{0.stripe_payment_intent_id}',
            '{0.stripe_customer_id}', '{1}', '2026-09-01')
"""
CREDITED = """
    INSERT INTO credits.transactions (user_id, type, status, amount, balance_before, balance_after, app_id,
                                      description, metadata)
    VALUES ('{0.user_id}', 'purchase', 'completed', {0.credits}, 0, {0.credits}, 'stripe', 'Pack',
            jsonb_build_object('purchaseId', '{0.id}', 'paymentIntentId', '{0.stripe_payment_intent_id}') - '{1}');
    INSERT INTO credits.balances (user_id, balance, total_earned) VALUES ('{0.user_id}', {0.credits}, {0.credits})
"""


@pytest.mark.parametrize("status", ["pending", "failed"])
@pytest.mark.parametrize("was_credited", [None, "purchaseId", "paymentIntentId"])
def test_what_was_paid_is_credited_once_because_stripe_is_asked(
    old: Engine, old_database_url: str, paying: Shop, status: str, was_credited: str | None
) -> None:
    """Months ago: no event tells of it any more."""
    bought = paying.begun(user_id="payer")
    paying.stripe.pay(bought.stripe_payment_intent_id)
    left = paying.begun(user_id="left-it")
    execute(old, PURCHASE.format(bought, status), PURCHASE.format(left, "pending"))
    if was_credited:
        # Its entry names the purchase, or the payment alone.
        unnamed = "purchaseId" if was_credited == "paymentIntentId" else "paymentIntentId"
        execute(old, CREDITED.format(bought, unnamed))
    adopted(old_database_url)
    with checked_engine(old_database_url) as engine:
        shop = Shop(engine, paying.stripe, paying.gateway)
        shop.advance(minutes=1)
        for _ in range(3):
            shop.reconcile()
            shop.advance(hours=25)
        shop.deliver_all()
        assert shop.row(bought.id).status == "completed"
        assert shop.balance("payer") == 1_000
        assert sum(entry.amount > 0 for entry in entries(engine, "payer")) == 1
        assert shop.balance("left-it") is None


def test_completed_and_never_credited_is_marked_for_a_person(old: Engine, old_database_url: str) -> None:
    execute(
        old,
        """INSERT INTO credits.purchases (id, user_id, credits, price_euro_cents, status)
           VALUES ('00000000-0000-4000-8000-0000000000aa', 'uncredited', 100, 100, 'completed')""",
    )
    adopted(old_database_url)
    problem = scalar(old, "SELECT problem FROM credits.purchases WHERE user_id = 'uncredited'")
    assert problem == "taken over: no entry over its credits"


def test_a_purchase_credited_to_somebody_else_is_still_its_buyers(
    old: Engine, old_database_url: str, paying: Shop
) -> None:
    bought = paying.begun(user_id="buyer-2")
    paying.stripe.pay(bought.stripe_payment_intent_id)
    execute(
        old,
        PURCHASE.format(bought, "pending"),
        CREDITED.format(bought, "").replace("'buyer-2'", "'stranger'"),
    )
    adopted(old_database_url)
    with checked_engine(old_database_url) as engine:
        shop = Shop(engine, paying.stripe, paying.gateway)
        shop.advance(minutes=1)
        shop.reconcile()
        assert shop.balance("buyer-2") == 1_000
        assert shop.balance("stranger") == 1_000


def test_a_grant_given_twice_is_kept_and_not_given_again(old_database_url: str) -> None:
    adopted(old_database_url)
    with checked_engine(old_database_url) as engine:
        had = balance(engine, "grants").balance
        wanted = Grant(user_id="grants", amount=Decimal(10), reason="review", reference_id="review-1")
        with transaction(engine) as connection:
            assert spending.grant(connection, wanted, now=NOW).already
        assert balance(engine, "grants").balance == had


def test_an_expired_gift_still_active_goes_back_to_its_creator_once(
    old: Engine, old_database_url: str
) -> None:
    execute(
        old,
        """INSERT INTO gifts.gift_codes (code, creator_id, total_credits, status, expires_at)
           VALUES ('OVER22', 'giver', 15, 'active', '2025-03-01')""",
    )
    adopted(old_database_url)
    with checked_engine(old_database_url) as engine:
        had = balance(engine, "giver")
        assert expire_due(engine) >= 1
        assert expire_due(engine) == 0
        assert balance(engine, "giver").balance == had.balance + 15
        assert balance(engine, "giver").total_earned == had.total_earned


@pytest.mark.parametrize(
    ("activated", "interval", "months"),
    [("2025-01-31 10:00+00", "monthly", 1), ("2024-05-10 00:00+00", "quarterly", 3), (None, "yearly", 12)],
)
def test_an_active_subscription_without_a_date_is_charged_from_its_next_anniversary_on(
    old: Engine, old_database_url: str, activated: str | None, interval: str, months: int
) -> None:
    began = f"'{activated}'" if activated else "NULL"
    execute(
        old,
        f"""INSERT INTO credits.sync_subscriptions (user_id, active, billing_interval, activated_at)
            VALUES ('undated', true, '{interval}', {began})""",
    )
    adopted(old_database_url)
    due: datetime = scalar(
        old, "SELECT next_charge_at FROM credits.sync_subscriptions WHERE user_id = 'undated'"
    )
    now: datetime = scalar(old, "SELECT now()")
    assert now < due <= now + timedelta(days=31 * months)
    if activated:
        start = datetime.fromisoformat(activated).astimezone(UTC)
        assert (due.year * 12 + due.month - start.year * 12 - start.month) % months == 0
        assert due.time() == start.time()
        assert due.day == start.day or (due + timedelta(days=1)).month != due.month
