"""Each fact about purchases is broken once, by hand, and noticed; and the old service's come over as they are."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest
from alembic import command
from sqlalchemy import Engine, text

from domain.database import make_engine
from migrations.config import alembic_config, upgrade_to_head
from tests.support.ledger import broken_facts, execute
from tests.support.payments import Shop, shop_on
from tests.support.told import Told


@pytest.fixture
def spoilt_shop(database_url: str) -> Iterator[Shop]:
    """A shop whose books nobody checks at the end, with one purchase credited and partly taken back."""
    engine = make_engine(database_url)
    with shop_on(engine) as shop:
        row = shop.ordered(amount=1_500)
        told = Told(row.stripe_payment_intent_id, row.id)
        shop.deliver(
            told.succeeded(),
            told.charge_refunded(300),
            told.refund("a", 100, "failed", kind="refund.failed", seconds=50),
            told.dispute("created", "needs_response", cents=200),
        )
        assert shop.row(row.id).credits_taken_back == 600
        assert broken_facts(engine) == set()
        yield shop
    engine.dispose()


@pytest.mark.parametrize(
    ("statement", "broken"),
    [
        ("UPDATE credits.purchases SET status = 'failed'", {"purchases_have_entries"}),
        ("UPDATE credits.purchases SET credits = 1501", {"purchases_have_entries"}),
        ("UPDATE credits.purchases SET user_id = 'somebody'", {"purchases_have_entries"}),
        (
            "INSERT INTO credits.purchases (user_id, credits, price_euro_cents, status)"
            " VALUES ('a', 1, 100, 'completed')",
            {"purchases_have_entries"},
        ),
        ("UPDATE credits.purchases SET take_backs = 4", {"taken_back_is_sum_of_entries"}),
        (
            "UPDATE credits.purchases SET credits_taken_back = 750",
            {"taken_back_is_sum_of_entries", "taken_back_follows_the_money"},
        ),
        ("DELETE FROM credits.purchase_reversals WHERE kind = 'charge'", {"taken_back_follows_the_money"}),
        ("DELETE FROM credits.purchase_reversals WHERE kind = 'refund'", {"taken_back_follows_the_money"}),
        (
            "UPDATE credits.purchase_reversals SET state = 'void' WHERE kind = 'dispute'",
            {"taken_back_follows_the_money"},
        ),
        ("UPDATE credits.purchase_reversals SET amount_cents = 301", {"taken_back_follows_the_money"}),
    ],
)
def test_books_of_purchases_that_do_not_add_up_are_noticed(
    spoilt_shop: Shop, statement: str, broken: set[str]
) -> None:
    execute(spoilt_shop.engine, statement)
    assert broken <= broken_facts(spoilt_shop.engine)


OLD_PURCHASE = (
    "INSERT INTO credits.purchases (id, user_id, credits, price_euro_cents, stripe_payment_intent_id, status)"
    " VALUES (:id, :user_id, 1000, 1000, :intent, :status)"
)
OLD_ENTRY = (
    "INSERT INTO credits.transactions (user_id, type, status, amount, balance_before, balance_after, app_id,"
    " description, metadata) VALUES (:user_id, 'purchase', 'completed', 1000, 0, 1000, 'stripe', 'Credits',"
    " jsonb_build_object('purchaseId', cast(:id AS text)))"
)
OLD_BALANCE = "INSERT INTO credits.balances (user_id, balance, total_earned) VALUES (:user_id, 1000, 1000)"


@pytest.fixture
def old_purchases(empty_database_url: str) -> Iterator[tuple[Engine, dict[str, UUID]]]:
    """A database of the old service, brought over: (name, status, whether it was credited)."""
    config = alembic_config(empty_database_url)
    command.upgrade(config, "0001")
    engine = make_engine(empty_database_url)
    ids: dict[str, UUID] = {}
    with engine.begin() as connection:
        for name, status, is_credited in (
            ("good", "completed", True),
            ("uncredited", "completed", False),
            ("flipped", "failed", True),
            ("open", "pending", False),
        ):
            ids[name] = uuid4()
            facts = {"id": ids[name], "user_id": name, "intent": f"pi_{name}", "status": status}
            connection.execute(text(OLD_PURCHASE), facts)
            if is_credited:
                connection.execute(text(OLD_BALANCE), facts)
                connection.execute(text(OLD_ENTRY), {**facts, "id": str(ids[name])})
    upgrade_to_head(config)
    yield engine, ids
    engine.dispose()


def test_old_purchases_come_over_and_odd_ones_are_marked_not_mended(
    old_purchases: tuple[Engine, dict[str, UUID]],
) -> None:
    engine, ids = old_purchases
    assert broken_facts(engine) == set()
    with shop_on(engine) as shop:
        assert [shop.row(ids[name]).problem for name in ids] == [
            None,
            "taken over: no entry over its credits",
            "taken over: credited and not completed",
            None,
        ]
        # The old service's own story: failed after it was credited, and told of its success again.
        for name in ids:
            shop.deliver(Told(f"pi_{name}", ids[name]).succeeded())
        assert [shop.row(ids[name]).status for name in ids] == ["completed"] * 4
        assert [shop.balance(name) for name in ids] == [1_000, None, 1_000, 1_000]
        assert [shop.row(ids[name]).problem for name in ids][2] is None
        for name in ids:
            shop.deliver(Told(f"pi_{name}", ids[name]).charge_refunded(500))
        assert [shop.balance(name) for name in ids] == [500, None, 500, 500]
    assert broken_facts(engine) == set()


def test_old_open_purchases_are_asked_about(old_purchases: tuple[Engine, dict[str, UUID]]) -> None:
    engine, _ids = old_purchases
    with engine.connect() as connection:
        query = text("SELECT user_id FROM credits.purchases WHERE next_check_at IS NOT NULL ORDER BY 1")
        assert list(connection.execute(query).scalars()) == ["flipped", "open"]
