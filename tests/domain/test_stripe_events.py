"""Events of Stripe's: stored, handled by the state of their purchase, in whatever order they come."""

from __future__ import annotations

import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, select, update

from devkit.waiting import wait_until
from domain import ledger, spending, stripe_events, stripe_inbox, tables
from domain.errors import InsufficientCredits
from domain.jobs import Ending
from simulators.stripe.shapes import shape
from tests.support.ledger import at_once, balance, entries, execute, scalar
from tests.support.payments import Shop
from tests.support.told import Told, again, event


def told_of(row: Any, **more: Any) -> Told:
    return Told(row.stripe_payment_intent_id, row.id, row.price_euro_cents, **more)


def jobs(engine: Engine) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(select(tables.jobs).order_by(tables.jobs.c.id)))


def spend(shop: Shop, user_id: str, amount: int) -> None:
    posting = spending.usage_posting(
        user_id=user_id,
        amount=Decimal(amount),
        app_id="chat",
        description="AI message",
        metadata=None,
        idempotency_key=None,
        now=shop.now,
    )
    shop.in_transaction(lambda c, now: ledger.accepted(ledger.post(c, [posting], now=now)[0]))


# Receiving


def test_an_event_and_its_job_are_one_commit(shop: Shop, engine: Engine) -> None:
    paid = told_of(shop.begun()).succeeded()
    shop.receive(paid)
    [job] = jobs(engine)
    assert (job.kind, job.state, job.payload) == ("handle_stripe_event", "waiting", {"event_id": paid["id"]})
    assert scalar(engine, "SELECT job_id FROM ops.stripe_events") == job.id


def test_a_redelivered_event_is_stored_once_and_done_once(shop: Shop, engine: Engine) -> None:
    row = shop.begun()
    paid = told_of(row).succeeded()
    assert shop.deliver(paid, times=3) == [Ending.DONE]
    assert shop.balance(row.user_id) == 1_000
    assert len(jobs(engine)) == 1


def test_two_deliveries_of_one_event_at_once_are_one_job(shop: Shop, engine: Engine) -> None:
    row = shop.begun()
    paid = told_of(row).succeeded()
    at_once(*[lambda: shop.receive(paid) for _ in range(6)])
    assert len(jobs(engine)) == 1
    shop.work()
    assert shop.balance(row.user_id) == 1_000


def test_different_events_for_one_intent_at_once_credit_once(shop: Shop, engine: Engine) -> None:
    row = shop.begun()
    paid = told_of(row).succeeded()
    events = [again(paid) for _ in range(6)]
    for one in events:
        shop.receive(one)

    def handle(event_id: str) -> Any:
        return shop.in_transaction(lambda c, now: stripe_events.handle(c, event_id, now=now))

    at_once(*[lambda one=one: handle(one["id"]) for one in events])
    assert shop.balance(row.user_id) == 1_000
    assert len(entries(engine, row.user_id)) == 1


def test_a_job_that_failed_is_tried_again_when_a_person_has_the_event_sent_again(
    shop: Shop, engine: Engine
) -> None:
    row = shop.begun()
    paid = told_of(row).succeeded()
    shop.receive(paid)
    execute(engine, "UPDATE ops.jobs SET state = 'failed', finished_at = now()")
    assert shop.work() == []
    assert shop.deliver(paid) == [Ending.DONE]
    assert shop.balance(row.user_id) == 1_000


def test_an_event_whose_job_was_pruned_gets_another(shop: Shop, engine: Engine) -> None:
    row = shop.begun()
    paid = told_of(row).succeeded()
    shop.receive(paid)
    execute(engine, "DELETE FROM ops.jobs")
    assert shop.deliver(paid) == [Ending.DONE]
    assert shop.balance(row.user_id) == 1_000


def test_personal_data_and_secrets_are_not_kept(shop: Shop, engine: Engine) -> None:
    bought = shop.buy(shop.package(), "anna", checkout=True)
    shop.stripe.pay(shop.row(bought.purchase_id).checkout_session_id)
    shop.stripe.pay(shop.begun(user_id="ben").stripe_payment_intent_id, "pm_card_chargeDeclined")
    shop.deliver_all()
    kept = scalar(engine, "SELECT string_agg(payload::text, ' ') FROM ops.stripe_events")
    assert kept.count('"userId": "anna"') > 0
    for secret in ("@example.com", "_secret_", "4242", "fingerprint", "receipts/"):
        assert secret not in kept


def test_a_nul_in_an_event_is_left_out(shop: Shop) -> None:
    row = shop.begun()
    paid = told_of(row).succeeded(description="a\x00b")
    assert shop.deliver(paid) == [Ending.DONE]
    assert shop.balance(row.user_id) == 1_000


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"7", b'{"id": "evt_1"}', b'{"id": 7, "type": "x"}', b'{"id": "", "type": "x"}'],
)
def test_what_is_no_event_is_malformed(body: bytes) -> None:
    with pytest.raises(stripe_inbox.MalformedEvent):
        stripe_inbox.parse(body)


def test_an_object_in_a_wrong_form_has_no_effect_and_no_retries(shop: Shop) -> None:
    objects: list[Any] = [{}, {"id": None}, {"id": 7, "amount": "x"}, {"id": "x", "metadata": "no"}, [], None]
    for kind in stripe_events.HANDLED_EVENTS:
        for obj in objects:
            odd = {"id": f"evt_{uuid4()}", "type": kind, "data": {"object": obj}, "created": "yesterday"}
            assert shop.deliver(odd) == [Ending.DONE], odd
            assert shop.outcome(odd).startswith("ignored"), odd


def test_types_without_effect_are_kept_without_a_job(shop: Shop, engine: Engine) -> None:
    created = event("customer.created", shape("customer", id="cus_1", object="customer"))
    assert shop.deliver(created) == []
    assert shop.outcome(created) == "ignored: no effect of this type"
    assert jobs(engine) == []


def test_payments_of_others_are_kept_and_ignored(shop: Shop) -> None:
    foreign = Told("pi_foreign", None)
    elsewhere = Told("pi_elsewhere", uuid4())
    for one in (foreign.succeeded(), foreign.failed(), elsewhere.succeeded(), elsewhere.canceled()):
        assert shop.deliver(one) == [Ending.DONE]
        assert shop.outcome(one) == "ignored: not a payment of ours"
    refunded = foreign.charge_refunded(1_000)
    assert shop.deliver(refunded) == [Ending.DONE]
    assert shop.outcome(refunded).startswith("kept: not a payment of ours")


# Crediting


def test_a_purchase_whose_intent_was_never_stored_is_found_by_what_we_wrote_into_it(shop: Shop) -> None:
    row = shop.begun()
    shop.forget_names(row.id)
    shop.deliver(told_of(row).succeeded())
    done = shop.row(row.id)
    assert [done.status, done.stripe_payment_intent_id] == ["completed", row.stripe_payment_intent_id]
    assert shop.balance(row.user_id) == 1_000


def test_money_that_went_back_before_the_intent_was_known_is_taken_back_with_the_credit(
    shop: Shop, engine: Engine
) -> None:
    row = shop.begun()
    shop.forget_names(row.id)
    told = told_of(row)
    shop.deliver(told.charge_refunded(400), told.succeeded())
    assert [entry.amount for entry in entries(engine, row.user_id)] == [-400, 1_000]


def test_payment_failed_after_succeeded_leaves_the_purchase_completed(shop: Shop) -> None:
    row = shop.begun()
    told = told_of(row)
    later = [told.failed(seconds=90), told.processing(seconds=95), told.canceled(seconds=99)]
    for one in (told.succeeded(), *later, again(told.succeeded())):
        shop.deliver(one)
        assert [shop.row(row.id).status, shop.balance(row.user_id)] == ["completed", 1_000], one["type"]


def test_a_refund_and_the_event_that_tells_whose_it_is_wait_for_one_another(
    shop: Shop, engine: Engine
) -> None:
    """Neither sees what the other has not committed: without the payment's lock the refund would be lost."""
    row = shop.begun()
    shop.forget_names(row.id)
    told = told_of(row)
    refunded, paid = told.charge_refunded(400), told.succeeded()
    for one in (refunded, paid):
        shop.receive(one)
    with engine.connect() as connection, ThreadPoolExecutor(1) as pool:
        stripe_events.handle(connection, refunded["id"], now=shop.now)
        credited = pool.submit(
            shop.in_transaction, lambda c, now: stripe_events.handle(c, paid["id"], now=now)
        )
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory' AND datname = current_database()"
        try:
            assert wait_until(lambda: scalar(engine, waiting) == 1, 5)
        finally:
            connection.commit()
        credited.result(10)
    assert [entry.amount for entry in entries(engine, row.user_id)] == [-400, 1_000]


def test_a_cancelled_payment_is_cancelled_in_every_order(shop: Shop) -> None:
    for order in itertools.permutations(("failed", "canceled", "processing")):
        row = shop.ordered()
        told = told_of(row)
        shop.deliver(*[getattr(told, name)() for name in order])
        assert shop.row(row.id).status == "cancelled", order
        shop.deliver(told.succeeded())
        assert shop.balance(row.user_id) == 1_000


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"amount_received": 999}, "paid 999 cents of 1000"),
        ({"currency": "usd"}, "paid in usd, not in eur"),
        ({"amount_received": 0}, "paid 0 cents of 1000"),
        ({"amount_received": None, "amount": 999}, "paid 999 cents of 1000"),
        ({"amount_received": "1000"}, "paid 0 cents of 1000"),
        ({"currency": 7}, "paid in 7, not in eur"),
    ],
)
def test_money_that_does_not_fit_is_flagged_and_not_credited(
    shop: Shop, engine: Engine, changes: dict[str, Any], problem: str
) -> None:
    row = shop.begun()
    wrong = told_of(row).succeeded(**changes)
    assert shop.deliver(wrong) == [Ending.REFUSED]
    assert [shop.row(row.id).problem, shop.row(row.id).status] == [problem, "pending"]
    assert shop.balance(row.user_id) is None
    [job] = jobs(engine)
    assert (job.state, job.result["code"]) == ("refused", "payment_does_not_match")
    assert shop.outcome(wrong) == f"flagged: {problem}"


def test_what_an_event_does_not_tell_is_unknown_and_keeps_no_paid_purchase_waiting(shop: Shop) -> None:
    facts = ("amount", "amount_received", "currency")
    for names in [facts[:1], facts[1:2], facts[2:], facts]:
        for is_null in (True, False):
            row = shop.ordered()
            paid = told_of(row).succeeded()
            for name in names:
                paid["data"]["object"][name] = None
                if not is_null:
                    del paid["data"]["object"][name]
            assert shop.deliver(paid) == [Ending.DONE], names
            assert [shop.row(row.id).status, shop.balance(row.user_id)] == ["completed", 1_000], names
    bought = shop.buy(shop.package(), checkout=True)
    session_id = shop.row(bought.purchase_id).checkout_session_id
    session = {"id": session_id, "object": "checkout.session", "payment_status": "paid"}
    shop.deliver(event("checkout.session.completed", session))
    assert [shop.row(bought.purchase_id).status, shop.balance("anna")] == ["completed", 1_000]


def test_a_page_paid_with_less_than_the_price_is_flagged(shop: Shop) -> None:
    bought = shop.buy(shop.package(), checkout=True)
    session_id = shop.row(bought.purchase_id).checkout_session_id
    session = {"id": session_id, "object": "checkout.session", "payment_status": "paid", "currency": "eur"}
    less = event("checkout.session.completed", {**session, "amount_total": 1})
    assert shop.deliver(less) == [Ending.REFUSED]
    assert shop.row(bought.purchase_id).problem == "paid 1 cents of 1000"


def test_a_second_payment_for_one_purchase_is_flagged_and_not_credited(shop: Shop) -> None:
    row = shop.begun()
    other = Told("pi_other", row.id)
    assert shop.deliver(told_of(row).succeeded(), other.failed()) == [Ending.DONE, Ending.DONE]
    assert shop.deliver(other.succeeded()) == [Ending.REFUSED]
    assert [shop.row(row.id).problem, shop.balance(row.user_id)] == [
        "paid a second time, by another payment",
        1_000,
    ]


def test_a_completed_page_that_is_not_paid_credits_nothing(shop: Shop) -> None:
    bought = shop.buy(shop.package(), checkout=True)
    session = {
        "id": shop.row(bought.purchase_id).checkout_session_id,
        "object": "checkout.session",
        "payment_intent": "pi_page",
        "amount_total": 1_000,
        "currency": "eur",
        "payment_status": "unpaid",
        "status": "complete",
    }
    shop.deliver(event("checkout.session.completed", shape("checkout.session", **session)))
    row = shop.row(bought.purchase_id)
    assert [row.status, row.stripe_payment_intent_id] == ["pending", "pi_page"]
    assert shop.balance("anna") is None
    failed = event("checkout.session.async_payment_failed", shape("checkout.session", **session))
    shop.deliver(failed)
    assert shop.row(bought.purchase_id).status == "failed"
    paid = {**session, "payment_status": "paid"}
    shop.deliver(event("checkout.session.async_payment_succeeded", shape("checkout.session", **paid)))
    assert [shop.row(bought.purchase_id).status, shop.balance("anna")] == ["completed", 1_000]


# Taking back


def test_partial_refunds_add_up_in_credits_and_the_last_takes_the_rest(shop: Shop, engine: Engine) -> None:
    row = shop.begun(amount=1_000, cents=333)
    intent = row.stripe_payment_intent_id
    shop.stripe.pay(intent)
    for cents in (100, 100, 133):
        shop.stripe.refund(intent, cents)
    shop.deliver_all()
    assert [entry.amount for entry in entries(engine, row.user_id)] == [-400, -300, -300, 1_000]
    account = balance(engine, row.user_id)
    assert [account.balance, account.total_earned, account.total_spent] == [0, 0, 0]
    assert shop.row(row.id).status == "completed"


def test_a_refund_that_failed_gives_the_credits_back(shop: Shop, engine: Engine) -> None:
    row = shop.begun()
    intent = row.stripe_payment_intent_id
    shop.stripe.pay(intent)
    refund = shop.stripe.refund(intent, 300)
    shop.deliver_all()
    assert shop.balance(row.user_id) == 700
    shop.advance(days=3)
    shop.stripe.fail_refund(refund["id"])
    shop.stripe.refund(intent, 200)
    shop.deliver_all()
    assert shop.balance(row.user_id) == 800
    # What is left when Stripe tells of refunds by their charge alone.
    only_charges = shop.begun()
    told = told_of(only_charges)
    shop.deliver(
        told.succeeded(),
        told.charge_refunded(300, seconds=40),
        told.refund("a", 300, "failed", kind="refund.updated", seconds=50),
        told.charge_refunded(200, seconds=60),
    )
    assert shop.balance(only_charges.user_id) == 800


@pytest.mark.parametrize("won", [True, False])
def test_a_dispute_takes_the_credits_and_gives_them_back_when_it_is_won(
    shop: Shop, engine: Engine, won: bool
) -> None:
    row = shop.begun()
    shop.stripe.pay(row.stripe_payment_intent_id)
    dispute = shop.stripe.dispute(row.stripe_payment_intent_id)
    shop.deliver_all()
    assert shop.balance(row.user_id) == 0
    shop.advance(days=40)
    shop.stripe.close_dispute(dispute["id"], won=won)
    shop.deliver_all()
    amounts = [entry.amount for entry in entries(engine, row.user_id)]
    assert amounts == ([1_000, -1_000, 1_000] if won else [-1_000, 1_000])


def test_an_inquiry_takes_nothing_until_it_becomes_a_dispute(shop: Shop) -> None:
    row, other = shop.begun(), shop.begun()
    for one in (row, other):
        shop.stripe.pay(one.stripe_payment_intent_id)
    inquiries = [shop.stripe.dispute(one.stripe_payment_intent_id, inquiry=True) for one in (row, other)]
    shop.deliver_all()
    assert [shop.balance(one.user_id) for one in (row, other)] == [1_000, 1_000]
    shop.stripe.close_dispute(inquiries[0]["id"], won=False)
    shop.stripe.close_dispute(inquiries[1]["id"], won=True)
    shop.deliver_all()
    assert [shop.balance(one.user_id) for one in (row, other)] == [0, 1_000]


def test_a_refund_and_a_dispute_of_one_charge_take_no_more_than_was_bought(shop: Shop) -> None:
    row = shop.begun()
    told = told_of(row)
    shop.deliver(told.succeeded(), told.charge_refunded(400), told.dispute("created", "needs_response"))
    assert shop.balance(row.user_id) == 0
    shop.deliver(told.dispute("closed", "won"))
    assert shop.balance(row.user_id) == 600


def test_a_dispute_in_another_currency_takes_all(shop: Shop) -> None:
    row = shop.begun()
    told = told_of(row)
    dispute = told.dispute("funds_withdrawn", "needs_response", cents=200)
    dispute["data"]["object"]["currency"] = "usd"
    shop.deliver(told.succeeded(), dispute)
    assert shop.balance(row.user_id) == 0


def test_a_refund_of_spent_credits_is_a_debt_that_the_next_credits_pay_first(
    shop: Shop, engine: Engine
) -> None:
    row = shop.begun(user_id="anna")
    shop.deliver(told_of(row).succeeded())
    spend(shop, "anna", 900)
    shop.deliver(told_of(row).charge_refunded(1_000))
    assert shop.balance("anna") == -900
    with pytest.raises(InsufficientCredits):
        spend(shop, "anna", 1)
    second = shop.begun(user_id="anna")
    shop.deliver(told_of(second).succeeded())
    assert shop.balance("anna") == 100
    spend(shop, "anna", 100)
    account = balance(engine, "anna")
    assert [account.balance, account.total_earned, account.total_spent] == [0, 1_000, 1_000]


def test_an_old_purchase_that_was_never_credited_is_not_taken_back_but_flagged(
    shop: Shop, engine: Engine
) -> None:
    row = shop.begun()
    with engine.begin() as connection:
        values = {"status": "completed", "problem": "taken over: no entry over its credits"}
        connection.execute(update(tables.purchases).where(tables.purchases.c.id == row.id).values(values))
    assert shop.deliver(told_of(row).charge_refunded(500)) == [Ending.REFUSED]
    assert shop.balance(row.user_id) is None


def test_events_are_kept_for_a_quarter(shop: Shop, engine: Engine) -> None:
    shop.deliver(told_of(shop.begun()).succeeded())
    shop.receive(told_of(shop.begun()).succeeded())  # not handled: kept for ever
    shop.advance(days=91)
    assert shop.in_transaction(lambda c, now: stripe_inbox.prune(c, now=now)) == 1
    assert scalar(engine, "SELECT count(*) FROM ops.stripe_events") == 1


def test_an_event_without_a_row_is_an_outage_not_a_success(shop: Shop) -> None:
    with pytest.raises(LookupError):
        shop.in_transaction(lambda c, now: stripe_events.handle(c, "evt_none", now=now))


def test_a_stored_event_is_what_stripe_sent(shop: Shop, engine: Engine) -> None:
    paid = told_of(shop.begun()).succeeded()
    shop.receive(paid)
    kept = json.loads(scalar(engine, "SELECT payload::text FROM ops.stripe_events"))
    assert (kept["id"], kept["type"], kept["data"]["object"]["id"]) == (
        paid["id"],
        paid["type"],
        paid["data"]["object"]["id"],
    )
