"""Buying, from the order to the credits, through the real SDK and Stripe's simulator."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Engine

from domain import idempotency, packages
from domain.database import transaction
from domain.errors import IdempotencyKeyReused, PackageNotFound, PurchaseLapsed
from domain.idempotency import ForgetOldAnswers, Forgotten, Key
from domain.payments import PaymentProviderRefused, PaymentProviderUnavailable
from tests.support.ledger import at_once, balance, entries, scalar
from tests.support.payments import Shop


def test_a_card_pays_and_the_credits_are_there(shop: Shop, engine: Engine) -> None:
    package = shop.package(1_100, cents=1_000)
    bought = shop.buy(package)
    assert (bought.price_euro_cents, bought.credits, bought.checkout_url) == (1_000, 1_100, None)
    row = shop.row(bought.purchase_id)
    assert bought.client_secret is not None
    assert bought.client_secret.startswith(row.stripe_payment_intent_id)
    intent = shop.stripe.get(row.stripe_payment_intent_id)
    assert intent["metadata"] == {
        "userId": "anna",
        "packageId": str(package.id),
        "purchaseId": str(bought.purchase_id),
    }
    assert (intent["amount"], intent["currency"], intent["payment_method_types"]) == (
        1_000,
        "eur",
        ["card", "sepa_debit"],
    )
    assert (row.status, row.stripe_customer_id) == ("pending", intent["customer"])
    shop.stripe.pay(row.stripe_payment_intent_id)
    shop.deliver_all()
    assert shop.row(bought.purchase_id).status == "completed"
    assert shop.row(bought.purchase_id).completed_at == shop.now
    account = balance(engine, "anna")
    assert [account.balance, account.total_earned, account.total_spent] == [1_100, 1_100, 0]
    [entry] = entries(engine, "anna")
    assert [entry.type.value, entry.amount, entry.app_id] == ["purchase", 1_100, "stripe"]
    assert entry.metadata == {"purchaseId": str(bought.purchase_id), "paymentIntentId": intent["id"]}


def test_a_customer_of_stripes_is_made_once_and_has_the_address_and_the_person(shop: Shop) -> None:
    package = shop.package()
    shop.buy(package)
    shop.buy(package)
    [customer] = shop.stripe.all("customer")
    assert (customer["email"], customer["metadata"]) == ("anna@example.com", {"userId": "anna"})


def test_first_purchases_at_once_make_one_customer(shop: Shop, engine: Engine) -> None:
    package = shop.package()
    shop.stripe.api.processing_seconds = 0.05
    bought = at_once(*[lambda: shop.buy(package) for _ in range(4)])
    assert len(shop.stripe.all("customer")) == 1
    assert len({one.purchase_id for one in bought}) == len(shop.stripe.all("payment_intent")) == 4
    assert scalar(engine, "SELECT count(*) FROM credits.stripe_customers") == 1


def test_first_purchases_at_once_with_tokens_of_different_addresses_make_one_customer(
    shop: Shop, engine: Engine
) -> None:
    package = shop.package()
    shop.stripe.api.processing_seconds = 0.05
    emails = ["a@example.com", "b@example.com", None, "c@example.com"]
    at_once(*[lambda email=email: shop.buy(package, email=email) for email in emails])
    [customer] = shop.stripe.all("customer")
    assert customer["email"] in emails
    assert {one["customer"] for one in shop.stripe.all("payment_intent")} == {customer["id"]}
    assert scalar(engine, "SELECT coalesce(email, '') FROM credits.stripe_customers") == (
        customer["email"] or ""
    )


def test_a_customer_whose_making_failed_is_made_when_the_answer_is_long_forgotten(
    shop: Shop, engine: Engine
) -> None:
    package = shop.package()
    key = Key(user_id="anna", operation="new-customer", key="first")
    with transaction(engine) as connection:
        idempotency.once(
            connection, key, None, lambda: {"email": "old@example.com", "key": "k"}, now=shop.now
        )
        later = shop.now + idempotency.ANSWERS_KEPT + timedelta(days=1)
        idempotency.forget(connection, ForgetOldAnswers(), Forgotten(), later)
    shop.buy(package)
    [customer] = shop.stripe.all("customer")
    assert customer["email"] == "anna@example.com"


@pytest.mark.parametrize("key", [None, "k"])
def test_first_purchases_at_once_all_succeed_though_stripe_takes_its_time(
    shop: Shop, key: str | None
) -> None:
    """Stripe tells the later ones that the same call is under way, for longer than three tries last."""
    package = shop.package()
    shop.stripe.api.processing_seconds = 1.5
    bought = at_once(*[lambda: shop.buy(package, key=key) for _ in range(3)])
    assert all(one.client_secret for one in bought)
    payments = 3 if key is None else 1
    assert (len(shop.stripe.all("customer")), len(shop.stripe.all("payment_intent"))) == (1, payments)


def test_a_customer_deleted_at_stripe_is_made_anew(shop: Shop) -> None:
    package = shop.package()
    first = shop.row(shop.buy(package).purchase_id)
    shop.gateway._client.v1.customers.delete(first.stripe_customer_id)
    second = shop.row(shop.buy(package).purchase_id)
    assert second.stripe_customer_id != first.stripe_customer_id
    assert shop.row(shop.buy(package).purchase_id).stripe_customer_id == second.stripe_customer_id


def test_the_same_key_is_the_same_purchase_and_the_same_secret(shop: Shop) -> None:
    package, other = shop.package(), shop.package()
    first, second = shop.buy(package, key="k"), shop.buy(package, key="k")
    assert first == second
    assert len(shop.stripe.all("payment_intent")) == 1
    with pytest.raises(IdempotencyKeyReused):
        shop.buy(other, key="k")
    assert shop.buy(other, "ben", key="k").purchase_id != first.purchase_id


def test_the_same_key_at_once_makes_one_payment(shop: Shop) -> None:
    package = shop.package()
    shop.stripe.api.processing_seconds = 0.05
    bought = at_once(*[lambda: shop.buy(package, key="k", checkout=True) for _ in range(4)])
    assert len({one.purchase_id for one in bought}) == 1
    assert len({one.checkout_url for one in bought}) == len(shop.stripe.all("checkout.session")) == 1


def test_a_key_of_a_refused_order_stays_free(shop: Shop) -> None:
    package = shop.package()
    shop.in_transaction(lambda c, now: packages.deactivate(c, package.id, now=now))
    with pytest.raises(PackageNotFound):
        shop.buy(package, key="k")
    assert shop.buy(shop.package(), key="k").client_secret


@pytest.mark.parametrize("fault", ["cut", "reset", "reset_after", "500", "503", "429", "409", "hang_after"])
@pytest.mark.parametrize("path", ["/customers", "/payment_intents"])
def test_a_lost_answer_is_asked_for_again_with_the_same_key(shop: Shop, fault: str, path: str) -> None:
    shop.gateway._http._timeout = (1.0, 0.3)
    shop.stripe.faults.add(fault, path=path, method="POST")  # type: ignore[arg-type]
    bought = shop.buy(shop.package())
    assert shop.row(bought.purchase_id).stripe_payment_intent_id
    assert (len(shop.stripe.all("customer")), len(shop.stripe.all("payment_intent"))) == (1, 1)


@pytest.mark.parametrize("checkout", [False, True])
def test_a_stripe_that_is_down_leaves_the_purchase_pending_and_a_repeat_goes_on_with_it(
    shop: Shop, checkout: bool
) -> None:
    package = shop.package()
    shop.stripe.faults.add("503", times=None)
    with pytest.raises(PaymentProviderUnavailable):
        shop.buy(package, key="k", checkout=checkout)
    shop.stripe.faults.clear()
    bought = shop.buy(package, key="k", checkout=checkout)
    assert bought.client_secret or bought.checkout_url
    with shop.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM credits.purchases").scalar_one() == 1


def test_a_repeat_after_stripe_forgot_the_key_is_refused_instead_of_paid_twice(shop: Shop) -> None:
    package = shop.package()
    shop.stripe.faults.add("reset_after", path="/payment_intents", times=None)
    with pytest.raises(PaymentProviderUnavailable):
        shop.buy(package, key="k")
    shop.stripe.faults.clear()
    shop.advance(hours=24)
    with pytest.raises(PurchaseLapsed):
        shop.buy(package, key="k")
    assert len(shop.stripe.all("payment_intent")) == 1


def test_a_package_whose_price_at_stripe_is_another_is_not_sold(shop: Shop) -> None:
    shop.stripe.add_price("price_right", 1_000)
    shop.stripe.add_price("price_wrong", 900)
    right = shop.package(stripe_price_id="price_right")
    assert shop.buy(right, checkout=True).checkout_url
    with pytest.raises(PaymentProviderRefused):
        shop.buy(shop.package(stripe_price_id="price_wrong"), checkout=True)
    assert [one["status"] for one in shop.stripe.all("checkout.session")] == ["open", "expired"]


def test_stripes_page_is_paid_and_the_credits_are_there(shop: Shop) -> None:
    bought = shop.buy(shop.package(300, cents=250), checkout=True)
    session_id = shop.row(bought.purchase_id).checkout_session_id
    session = shop.stripe.get(session_id)
    assert (bought.client_secret, bought.checkout_url) == (None, session["url"])
    assert session["client_reference_id"] == str(bought.purchase_id)
    assert "{CHECKOUT_SESSION_ID}" in session["success_url"]
    shop.stripe.pay(session_id)
    shop.deliver_all()
    row = shop.row(bought.purchase_id)
    assert [row.status, shop.balance("anna")] == ["completed", 300]
    assert row.stripe_payment_intent_id == shop.stripe.get(session_id)["payment_intent"]


def test_a_page_that_was_left_expires_and_the_purchase_is_cancelled(shop: Shop) -> None:
    bought = shop.buy(shop.package(), checkout=True)
    shop.advance(hours=25)
    shop.deliver_all()
    assert shop.row(bought.purchase_id).status == "cancelled"
    assert shop.balance("anna") is None


def test_a_bank_debit_is_pending_for_days_then_credited(shop: Shop) -> None:
    bought = shop.buy(shop.package(), checkout=True)
    row = shop.row(bought.purchase_id)
    shop.stripe.pay(row.checkout_session_id, "pm_sepaDebit")
    shop.deliver_all()
    row = shop.row(bought.purchase_id)
    assert (row.status, shop.balance("anna")) == ("pending", None)
    shop.advance(days=6)
    shop.stripe.settle(row.stripe_payment_intent_id)
    shop.deliver_all()
    assert [shop.row(bought.purchase_id).status, shop.balance("anna")] == ["completed", 1_000]


def test_a_bank_debit_that_fails_is_failed_and_a_card_afterwards_still_credits(shop: Shop) -> None:
    row = shop.begun(user_id="anna")
    shop.stripe.pay(row.stripe_payment_intent_id, "pm_sepaDebit")
    shop.advance(days=6)
    shop.stripe.settle(row.stripe_payment_intent_id, succeeds=False)
    shop.deliver_all()
    failed = shop.row(row.id)
    assert (failed.status, failed.failure_code) == ("failed", "payment_intent_payment_attempt_failed")
    shop.stripe.pay(row.stripe_payment_intent_id)
    shop.deliver_all()
    done = shop.row(row.id)
    assert [done.status, done.failure_code, shop.balance("anna")] == ["completed", None, 1_000]


def test_a_declined_card_is_failed_and_a_bank_debit_after_it_is_pending_again(shop: Shop) -> None:
    row = shop.begun()
    shop.stripe.pay(row.stripe_payment_intent_id, "pm_card_chargeDeclined")
    shop.advance(minutes=1)
    shop.stripe.pay(row.stripe_payment_intent_id, "pm_sepaDebit")
    failed = shop.stripe.events("payment_intent.payment_failed")
    processing = shop.stripe.events("payment_intent.processing")
    shop.deliver(*failed)
    assert shop.row(row.id).status == "failed"
    shop.deliver(*processing, *failed)
    assert shop.row(row.id).status == "pending"


def test_a_cancelled_intent_is_cancelled(shop: Shop) -> None:
    row = shop.begun()
    shop.gateway._client.v1.payment_intents.cancel(row.stripe_payment_intent_id)
    shop.deliver_all()
    assert shop.row(row.id).status == "cancelled"
