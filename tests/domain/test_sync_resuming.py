"""Resuming by itself, for those who asked for it: once, within seconds, whatever brought the credits."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from functools import partial
from uuid import uuid4

import pytest
from sqlalchemy import Engine

from domain import jobs, reservations, spending
from domain.database import transaction
from domain.errors import SyncAlreadyActive
from domain.jobs import run_job
from domain.payments import Payment, PaymentState
from domain.settling import settle_payment
from domain.spending import Grant, Refund
from domain.sync_billing import resuming
from domain.sync_billing.calendar import Interval
from domain.sync_billing.resuming import ResumePausedSync
from domain.sync_billing.subscriptions import set_auto_resume
from tests.support.gifts import make as make_gift
from tests.support.gifts import redeem as redeem_gift
from tests.support.ledger import at_once, scalar, take
from tests.support.ledger import post as post_to_ledger
from tests.support.sync import Sync, at


@pytest.fixture
def sync(engine: Engine) -> Sync:
    return Sync(engine)


def paused(sync: Sync, *people: str, auto_resume: bool = True) -> None:
    """People whose credits did not cover their first renewal: 20 are left."""
    for user_id in people:
        sync.fund(user_id, 50)
        sync.activate(user_id, auto_resume=auto_resume)
    sync.wait(days=29)
    assert sync.charge()["paused"] == len(people)


def test_when_credits_arrive_a_new_period_is_charged_once_and_sync_resumes(sync: Sync) -> None:
    paused(sync, "ada")
    sync.wait(days=3)
    sync.resume()
    assert not sync.status("ada").active
    sync.fund("ada", 10)
    for _ in range(3):
        sync.resume()
    status = sync.status("ada")
    assert (status.active, status.paused_at) == (True, None)
    assert status.next_charge_at == at("2026-04-04 15:28:32.039")
    assert sync.balance("ada") == 0
    assert sync.charges("ada")[1:] == [(sync.now, 30, "sync_subscription")]


def test_without_having_asked_for_it_nothing_is_charged(sync: Sync) -> None:
    paused(sync, "ada", auto_resume=False)
    sync.fund("ada", 1000)
    sync.resume()
    assert not sync.status("ada").active
    assert sync.balance("ada") == 1020
    assert scalar(sync.engine, "SELECT count(*) FROM ops.jobs WHERE kind = 'resume_paused_sync'") == 0


def test_whoever_asks_no_longer_is_not_charged(sync: Sync) -> None:
    paused(sync, "ada")
    sync.do(lambda connection: set_auto_resume(connection, "ada", False, now=sync.now))
    sync.fund("ada", 1000)
    sync.resume()
    assert sync.balance("ada") == 1020


def test_credits_come_by_any_door(sync: Sync) -> None:
    paused(sync, "released", "scripted", "granted")
    with transaction(sync.engine) as connection:
        held = reservations.reserve(
            connection, user_id="released", amount=Decimal(20), reason="x", now=sync.now
        )
    sync.fund("released", 20)
    sync.resume()
    assert not sync.status("released").active
    with transaction(sync.engine) as connection:
        reservations.refund(connection, held.reservation_id, now=sync.now)
    sync.sql("UPDATE credits.balances SET balance = 30 WHERE user_id = 'scripted'")
    sync.fund("granted", 10)
    sync.resume()
    assert [sync.status(user_id).active for user_id in ("released", "scripted", "granted")] == [True] * 3


def buy(sync: Sync, user_id: str) -> None:
    """A purchase of 10 credits is paid."""
    purchase_id = uuid4()
    sync.sql(
        "INSERT INTO credits.purchases (id, user_id, credits, price_euro_cents, stripe_payment_intent_id)"
        " VALUES (:id, :user_id, 10, 10, 'pi_1')",
        id=purchase_id,
        user_id=user_id,
    )
    paid = Payment(state=PaymentState.PAID, at=sync.now, payment_intent_id="pi_1", paid_cents=10)
    sync.do(lambda connection: settle_payment(connection, paid, now=sync.now))


def take_a_gift(sync: Sync, user_id: str) -> None:
    """Somebody else's gift of 10 credits is redeemed."""
    sync.fund("giver", 10)
    gift = make_gift(sync.engine, "giver", 10, now=sync.now, expires_at=sync.now + timedelta(days=1))
    redeem_gift(sync.engine, gift.code, user_id, now=sync.now)


def be_rewarded(sync: Sync, user_id: str) -> None:
    """A grant of 10 credits."""
    wanted = Grant(user_id=user_id, amount=Decimal(10), reason="feedback", reference_id="f-1")
    sync.do(lambda connection: spending.grant(connection, wanted, now=sync.now))


def get_a_refund(sync: Sync, user_id: str) -> None:
    """An app gives 10 credits back."""
    wanted = Refund(user_id=user_id, amount=Decimal(10), description="it failed")
    sync.do(lambda connection: spending.refund(connection, wanted, now=sync.now))


@pytest.mark.parametrize("door", [buy, take_a_gift, be_rewarded, get_a_refund])
def test_a_purchase_a_gift_a_reward_and_a_refund_each_bring_it_back_for_one_charge(
    sync: Sync, door: Callable[[Sync, str], None]
) -> None:
    paused(sync, "ada")
    door(sync, "ada")
    assert sync.balance("ada") == 30
    for _ in range(2):
        sync.resume()
    assert sync.status("ada").active
    assert (int(sync.balance("ada")), len(sync.charges("ada"))) == (0, 2)


def test_two_schedulers_and_two_workers_charge_once(sync: Sync) -> None:
    people = [f"ada-{number}" for number in range(30)]
    paused(sync, *people)
    for user_id in people:
        sync.fund(user_id, 100)
    handler = next(handler for handler in sync.handlers() if handler.kind is ResumePausedSync)

    def scheduler() -> None:
        sync.do(lambda connection: resuming.look(connection, sync.now))

    at_once(scheduler, scheduler)
    added = [sync.add(ResumePausedSync()), sync.add(ResumePausedSync())]
    at_once(*[partial(run_job, sync.engine, handler, job_id, clock=lambda: sync.now) for job_id in added])
    sync.work()
    for user_id in people:
        assert len(sync.charges(user_id)) == 2
        assert sync.balance(user_id) == 90


def test_resuming_and_activating_at_once_charge_one_period(sync: Sync) -> None:
    people = [f"ada-{number}" for number in range(20)]
    paused(sync, *people)
    for user_id in people:
        sync.fund(user_id, 100)

    def activate() -> None:
        for user_id in people:
            try:
                sync.activate(user_id, Interval.MONTHLY)
            except SyncAlreadyActive:
                continue

    at_once(activate, sync.resume)
    for user_id in people:
        assert sync.balance(user_id) == 90
        assert sync.status(user_id).active


def test_credits_spent_again_before_the_charge_leave_it_paused(sync: Sync) -> None:
    paused(sync, "ada")
    sync.fund("ada", 10)
    sync.do(lambda connection: resuming.look(connection, sync.now))
    post_to_ledger(sync.engine, take("ada", 1), now=sync.now)
    sync.work()
    assert sync.status("ada").paused_at is not None
    assert sync.balance("ada") == 29


def test_one_bad_row_does_not_keep_the_others_paused(sync: Sync) -> None:
    paused(sync, "ada", "bad", "cleo")
    sync.sql(
        "ALTER TABLE credits.transactions ADD CONSTRAINT made_to_fail"
        " CHECK (user_id <> 'bad' OR app_id <> 'sync') NOT VALID"
    )
    for user_id in ("ada", "bad", "cleo"):
        sync.fund(user_id, 10)
    sync.resume()
    assert [sync.status(user_id).active for user_id in ("ada", "bad", "cleo")] == [True, False, True]
    sync.resume()
    added = scalar(sync.engine, "SELECT count(*) FROM ops.jobs WHERE kind = 'resume_paused_sync'")
    assert added == 1  # it is tried again in an hour, not every few seconds
    sync.sql("ALTER TABLE credits.transactions DROP CONSTRAINT made_to_fail")
    sync.wait(hours=1, seconds=1)
    sync.resume()
    assert sync.status("bad").active


def test_a_job_is_added_only_while_none_waits(sync: Sync) -> None:
    paused(sync, "ada")
    sync.fund("ada", 10)
    for _ in range(5):
        sync.do(lambda connection: resuming.look(connection, sync.now))
    assert len(sync.do(lambda connection: jobs.list_jobs(connection, kind=ResumePausedSync.kind))) == 1
