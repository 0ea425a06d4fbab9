"""What no event told is asked: purchases and missed events, with the clock moved on by hand."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine

from domain import reconciliation
from domain.database import transaction
from domain.jobs import add_job
from domain.payments import EventList, PaymentProviderUnavailable
from domain.reconciliation import FetchMissedEvents, Window
from tests.support.jobs import run_waiting
from tests.support.ledger import entries, scalar
from tests.support.payments import Shop
from workers.actors import payments as payment_actors


def without_events(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if Stripe listed no events: purchases alone have to do."""
    monkeypatch.setattr(
        shop.gateway, "events", lambda *_types, **_window: EventList(unknown=[], read=0, at=None)
    )


def without_questions(shop: Shop, engine: Engine) -> None:
    """As if no purchase was ever due: the list of events alone has to do."""
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE credits.purchases SET next_check_at = NULL")


def paid_in_many_ways(shop: Shop) -> dict[str, Any]:
    """Purchases that were paid, refunded, disputed, left; no webhook ever told of them."""
    package = shop.package()
    rows: dict[str, Any] = {}
    for name in ("card", "page", "lost id", "lost page", "debit", "refunded", "disputed", "declined", "open"):
        is_page = "page" in name or name == "open"
        rows[name] = shop.row(shop.buy(package, name.replace(" ", "-"), checkout=is_page).purchase_id)
    for name in ("card", "lost id", "refunded", "disputed"):
        shop.stripe.pay(rows[name].stripe_payment_intent_id)
    for name in ("page", "lost page"):
        shop.stripe.pay(rows[name].checkout_session_id)
    for name in ("lost id", "lost page"):
        shop.forget_names(rows[name].id)
    shop.stripe.pay(rows["debit"].stripe_payment_intent_id, "pm_sepaDebit")
    shop.stripe.pay(rows["declined"].stripe_payment_intent_id, "pm_card_chargeDeclined")
    shop.stripe.refund(rows["refunded"].stripe_payment_intent_id, 400)
    shop.stripe.dispute(rows["disputed"].stripe_payment_intent_id)
    return rows


PAID = {"card": 1_000, "page": 1_000, "lost id": 1_000, "lost page": 1_000, "refunded": 600, "disputed": 0}


@pytest.mark.parametrize("how", ["questions", "events", "both"])
def test_an_hour_without_webhooks_and_every_paid_purchase_is_settled(
    shop: Shop, engine: Engine, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    rows = paid_in_many_ways(shop)
    if how == "questions":
        without_events(shop, monkeypatch)
    if how == "events":
        without_questions(shop, engine)
    for _ in range(12):
        shop.advance(minutes=5)
        shop.reconcile()
    for name, amount in PAID.items():
        assert [shop.row(rows[name].id).status, shop.balance(rows[name].user_id)] == ["completed", amount], (
            name
        )
    assert [shop.row(rows[name].id).status for name in ("debit", "declined", "open")] == [
        "pending",
        "failed",
        "pending",
    ]
    # Days later: the bank pays, the page expires, the card is tried again.
    shop.stripe.settle(rows["debit"].stripe_payment_intent_id)
    shop.stripe.pay(rows["declined"].stripe_payment_intent_id)
    for _ in range(3):
        shop.advance(hours=25)
        shop.reconcile()
    assert [shop.row(rows[name].id).status for name in ("debit", "declined", "open")] == [
        "completed",
        "completed",
        "cancelled",
    ]
    # And the webhooks come after all.
    shop.deliver_all()
    for name, amount in PAID.items():
        assert shop.balance(rows[name].user_id) == amount, name
        assert sum(entry.amount > 0 for entry in entries(engine, rows[name].user_id)) == 1


@pytest.mark.parametrize("is_told", [True, False])
@pytest.mark.parametrize("knows_page", [True, False])
def test_a_bank_debit_on_stripes_page_that_failed_is_failed_whether_it_was_told_or_asked(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, is_told: bool, knows_page: bool
) -> None:
    """The page itself stays complete and unpaid, as it was while the bank was asked."""
    purchase_id = shop.buy(shop.package(), checkout=True).purchase_id
    shop.stripe.pay(shop.row(purchase_id).checkout_session_id, "pm_sepaDebit")
    if not knows_page:
        shop.forget_names(purchase_id)
    without_events(shop, monkeypatch)
    shop.advance(minutes=16)
    shop.reconcile()
    assert shop.row(purchase_id).status == "pending"
    [intent] = shop.stripe.all("payment_intent")
    shop.advance(days=5)
    shop.stripe.settle(intent["id"], succeeds=False)
    if is_told:
        shop.deliver_all()
        assert shop.row(purchase_id).status == "failed"
    for _ in range(2):
        shop.advance(hours=25)
        shop.reconcile()
    failed = shop.row(purchase_id)
    assert (failed.status, failed.failure_code) == ("failed", "payment_intent_payment_attempt_failed")


def test_stripe_is_not_asked_within_a_quarter_of_an_hour_and_ever_more_rarely(shop: Shop) -> None:
    row = shop.begun()
    asked = []
    for minutes in range(0, 24 * 60, 5):
        shop.stripe.api.calls.clear()
        shop.in_transaction(lambda c, now: reconciliation.add_questions(c, now=now))
        shop.work()
        if f"GET /v1/payment_intents/{row.stripe_payment_intent_id}" in shop.stripe.api.calls:
            asked.append(minutes)
        shop.advance(minutes=5)
    assert asked == [15, 30, 60, 120, 240, 480, 960]


def test_after_a_month_nobody_asks_any_more(shop: Shop) -> None:
    row = shop.begun()
    for _ in range(40):
        shop.advance(days=1)
        shop.in_transaction(lambda c, now: reconciliation.add_questions(c, now=now))
    shop.work()
    assert [shop.row(row.id).next_check_at, shop.row(row.id).status] == [None, "pending"]


def test_a_purchase_that_never_reached_stripe_is_cancelled_after_a_day_and_not_before(shop: Shop) -> None:
    package = shop.package()
    shop.stripe.faults.add("reset", times=None)
    with pytest.raises(PaymentProviderUnavailable):
        shop.buy(package, "nobody")
    shop.stripe.faults.clear()
    shop.stripe.faults.add("reset", path="/payment_intents", times=3)
    with pytest.raises(PaymentProviderUnavailable):
        shop.buy(package, "customer-only")
    with shop.engine.connect() as connection:
        ids = list(connection.exec_driver_sql("SELECT id FROM credits.purchases").scalars())
    shop.advance(hours=24)
    shop.reconcile()
    assert [shop.row(one).status for one in ids] == ["pending", "pending"]
    shop.advance(hours=25)
    shop.reconcile()
    assert [shop.row(one).status for one in ids] == ["cancelled", "cancelled"]


def test_a_stripe_that_is_down_is_asked_again_later(shop: Shop) -> None:
    row = shop.begun()
    shop.stripe.pay(row.stripe_payment_intent_id)
    shop.advance(minutes=16)
    shop.stripe.faults.add("503", times=None)
    shop.reconcile()
    assert shop.row(row.id).status == "pending"
    shop.stripe.faults.clear()
    shop.advance(minutes=5)
    shop.work()
    assert [shop.row(row.id).status, shop.balance(row.user_id)] == ["completed", 1_000]


def test_an_event_lost_between_others_that_arrived_is_fetched(shop: Shop, engine: Engine) -> None:
    rows = [shop.begun() for _ in range(3)]
    for row in rows:
        shop.stripe.pay(row.stripe_payment_intent_id)
        shop.advance(minutes=1)
    first, lost, last = shop.stripe.events("payment_intent.succeeded")
    shop.deliver(first, last)
    assert shop.row(rows[1].id).status == "pending"
    window = Window(since=shop.now - timedelta(hours=1), until=shop.now)
    reading = reconciliation.read_events(shop.gateway, engine, window)
    succeeded = [
        event for event in map(msgspec.json.decode, reading.unknown) if event["type"] == lost["type"]
    ]
    assert [event["id"] for event in succeeded] == [lost["id"]], "what webhooks brought is not kept"
    assert reading.read >= 3
    shop.reconcile()
    assert shop.row(rows[1].id).status == "completed"


def test_more_events_than_can_be_read_at_once_are_read_piece_by_piece(
    shop: Shop, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("domain.stripe_gateway.EVENTS_PER_PAGE", 2)
    monkeypatch.setattr("domain.stripe_gateway.EVENT_PAGES_MAX", 2)
    rows = [shop.begun() for _ in range(12)]
    for row in rows:
        shop.stripe.pay(row.stripe_payment_intent_id)
        shop.advance(minutes=20)
    without_questions(shop, engine)
    shop.reconcile()
    assert {shop.row(row.id).status for row in rows} == {"completed"}
    assert scalar(engine, "SELECT read_until FROM ops.stripe_events_read") == shop.now


def test_reading_begins_again_a_little_before_where_it_ended(shop: Shop) -> None:
    shop.reconcile()
    ended = shop.now
    shop.advance(minutes=5)
    window = shop.in_transaction(lambda c, now: reconciliation.next_window(c, FetchMissedEvents(), now=now))
    assert (window.since, window.until) == (ended - timedelta(hours=1), shop.now)


@pytest.mark.parametrize("ahead", [timedelta(minutes=2), timedelta(hours=2), timedelta(days=1)])
def test_what_is_lost_after_a_clock_of_ours_was_ahead_is_fetched_once_it_is_right(
    shop: Shop, engine: Engine, ahead: timedelta
) -> None:
    """Up to where the list was read is told by Stripe's clock, not by ours."""
    row = shop.begun()
    without_questions(shop, engine)
    shop.stripe.pay(row.stripe_payment_intent_id)
    shop.reconcile()
    with transaction(engine) as connection:
        add_job(connection, FetchMissedEvents(), now=shop.now + ahead)
    run_waiting(engine, shop.handlers, lambda: shop.now + ahead)
    assert scalar(engine, "SELECT read_until FROM ops.stripe_events_read") == shop.now
    # Set right; what comes now is told by no webhook, and its list is not read for as long as the clock was wrong.
    shop.stripe.refund(row.stripe_payment_intent_id)
    shop.advance(seconds=ahead.total_seconds() + 60)
    shop.reconcile()
    assert shop.balance(row.user_id) == 0


def test_without_a_key_of_stripes_there_is_nobody_to_ask(shop: Shop, engine: Engine) -> None:
    shop.begun()
    shop.advance(hours=1)
    shop.in_transaction(lambda c, now: reconciliation.add_questions(c, now=now))
    endings = run_waiting(engine, payment_actors.handlers_with(None, engine), lambda: shop.now)
    assert endings == ["done"]
