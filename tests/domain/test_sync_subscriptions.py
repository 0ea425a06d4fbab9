"""One person's subscription, by the domain's own words."""

from decimal import Decimal

import pytest
from sqlalchemy import Engine

from domain.errors import (
    BalanceNotFound,
    InsufficientCredits,
    Refusal,
    SyncAlreadyActive,
    SyncAlreadyGifted,
    SyncIsGifted,
    SyncNotActive,
    SyncNotFound,
    SyncNotGifted,
)
from domain.ledger import EntryType
from domain.sync_billing.calendar import Interval
from domain.sync_billing.subscriptions import Changed, Status
from tests.support.ledger import at_once, entries, scalar
from tests.support.sync import START, Sync, at

DEVELOPERS_SCRIPT = """
    INSERT INTO credits.sync_subscriptions (
        user_id, active, billing_interval, amount_charged, activated_at, is_gifted, gifted_by, gifted_at)
    VALUES ('dev', true, 'yearly', 0, now(), true, 'script', now())
    ON CONFLICT (user_id) DO UPDATE
    SET active = true, amount_charged = 0, is_gifted = true, updated_at = now()
"""


@pytest.fixture
def sync(engine: Engine) -> Sync:
    return Sync(engine)


@pytest.mark.parametrize(
    ("interval", "price", "next_charge"),
    [
        (Interval.MONTHLY, 30, "2026-02-28 15:28:32.039"),
        (Interval.QUARTERLY, 90, "2026-04-30 15:28:32.039"),
        (Interval.YEARLY, 360, "2027-01-31 15:28:32.039"),
    ],
)
def test_activation_charges_the_first_period_as_a_use(
    sync: Sync, interval: Interval, price: int, next_charge: str
) -> None:
    sync.fund("ada", 400)
    activated = sync.activate("ada", interval)
    assert (int(activated.amount_charged), activated.next_charge_at) == (price, at(next_charge))
    entry = entries(sync.engine, "ada")[0]
    assert (entry.type, int(entry.amount), entry.app_id) == (EntryType.USAGE, -price, "sync")
    assert entry.metadata == {"interval": interval.value, "type": "sync_subscription"}
    assert sync.status("ada") == Status(active=True, interval=interval, next_charge_at=at(next_charge))


def test_somebody_who_never_had_sync_has_the_status_of_the_defaults(sync: Sync) -> None:
    assert sync.status("nobody") == Status(
        active=False,
        interval=Interval.MONTHLY,
        next_charge_at=None,
        paused_at=None,
        gifted=False,
        auto_resume=False,
    )


def test_a_refused_activation_leaves_nothing_behind(sync: Sync) -> None:
    with pytest.raises(BalanceNotFound):
        sync.activate("nobody")
    sync.fund("poor", 29)
    with pytest.raises(InsufficientCredits) as refused:
        sync.activate("poor")
    assert (refused.value.required, refused.value.available) == (Decimal(30), Decimal(29))
    assert scalar(sync.engine, "SELECT count(*) FROM credits.sync_subscriptions") == 0


def test_an_active_subscription_is_not_activated_again(sync: Sync) -> None:
    sync.fund("ada")
    sync.activate("ada")
    with pytest.raises(SyncAlreadyActive):
        sync.activate("ada", Interval.YEARLY)
    assert sync.balance("ada") == 970


def test_activating_many_times_at_once_charges_once(sync: Sync) -> None:
    for round_number in range(5):
        user_id = f"ada-{round_number}"
        sync.fund(user_id)

        def activate(user_id: str = user_id) -> str:
            try:
                sync.activate(user_id)
            except SyncAlreadyActive:
                return "refused"
            return "activated"

        assert sorted(at_once(*[activate] * 8)) == ["activated", *["refused"] * 7]
        assert sync.charges(user_id) == [(START, 30, "sync_subscription")]


def test_deactivating_pays_nothing_back_and_clears_the_date(sync: Sync) -> None:
    sync.fund("ada")
    sync.activate("ada", Interval.YEARLY)
    sync.deactivate("ada")
    assert sync.status("ada") == Status(interval=Interval.YEARLY)
    assert sync.balance("ada") == 640
    with pytest.raises(SyncNotActive):
        sync.deactivate("ada")


def test_ended_and_begun_again_at_the_same_instant_two_periods_are_paid(sync: Sync) -> None:
    sync.fund("ada")
    for _ in range(4):
        sync.activate("ada")
        sync.deactivate("ada")
    assert sync.balance("ada") == 1000 - 4 * 30


def test_another_interval_is_free_now_and_charged_at_the_next_renewal(sync: Sync) -> None:
    sync.fund("ada")
    due = sync.activate("ada").next_charge_at
    changed = sync.change("ada", Interval.QUARTERLY)
    assert changed == Changed(interval=Interval.QUARTERLY, amount_charged=Decimal(90), effective_at=due)
    assert sync.balance("ada") == 970
    sync.now = due
    assert sync.charge() == {"charged": 1, "paused": 0, "errors": 0}
    assert sync.charges("ada")[1:] == [(due, 90, "sync_renewal")]
    assert sync.status("ada").next_charge_at == at("2026-05-31 15:28:32.039")


def test_changing_the_interval_of_what_is_not_active_is_refused(sync: Sync) -> None:
    with pytest.raises(SyncNotActive):
        sync.change("nobody", Interval.YEARLY)


def test_a_gift_is_free_and_repeatable_and_never_charged(sync: Sync) -> None:
    sync.gift("grace")
    sync.gift("grace", by="another admin")
    assert sync.status("grace") == Status(active=True, gifted=True)
    assert scalar(sync.engine, "SELECT gifted_by FROM credits.sync_subscriptions") == "admin"
    sync.wait(days=400)
    assert sync.charge() == {"charged": 0, "paused": 0, "errors": 0}
    with pytest.raises(SyncAlreadyGifted):
        sync.activate("grace")
    with pytest.raises(SyncIsGifted):
        sync.deactivate("grace")


def test_a_revoke_of_a_plain_gift_leaves_sync_inactive(sync: Sync) -> None:
    sync.gift("grace")
    assert sync.revoke("grace") == Status()
    with pytest.raises(SyncNotGifted):
        sync.revoke("grace")
    with pytest.raises(SyncNotFound):
        sync.revoke("nobody")


def test_a_gift_over_a_paid_period_lets_it_stand_still_and_the_revoke_gives_back_what_was_left(
    sync: Sync,
) -> None:
    sync.fund("ada")
    due = sync.activate("ada").next_charge_at  # 28 days
    sync.wait(days=10)
    sync.gift("ada")
    assert sync.status("ada") == Status(active=True, gifted=True)
    sync.wait(days=100, seconds=59)
    left = sync.revoke("ada")
    assert left.active
    assert left.next_charge_at == at("2026-06-08 15:28:32.039")  # 18 days were left
    assert (left.next_charge_at - sync.now).days == (due - at("2026-02-10 15:28:32.039")).days - 1
    sync.now = left.next_charge_at
    assert sync.charge()["charged"] == 1
    assert sync.status("ada").next_charge_at == at("2026-07-08 15:28:32.039")


def test_a_gift_taken_back_at_once_leaves_the_date_and_its_day_of_the_month_as_they_were(sync: Sync) -> None:
    sync.fund("ada")
    due = sync.activate("ada").next_charge_at
    sync.gift("ada")
    sync.wait(seconds=20)
    assert sync.revoke("ada").next_charge_at == due
    sync.now = due
    sync.charge()
    assert sync.status("ada").next_charge_at == at("2026-03-31 15:28:32.039")


def test_a_repeated_gift_keeps_what_was_left_under_the_first(sync: Sync) -> None:
    sync.fund("ada")
    due = sync.activate("ada").next_charge_at
    sync.gift("ada")
    sync.wait(days=1)
    sync.gift("ada")
    sync.wait(days=1)
    assert sync.revoke("ada").next_charge_at == at("2026-03-02 15:28:32.039")
    assert due == at("2026-02-28 15:28:32.039")


def test_a_gift_over_a_period_that_was_over_or_paused_or_ended_keeps_nothing(sync: Sync) -> None:
    for user_id in ("late", "ended", "short"):
        sync.fund(user_id, 31)
        sync.activate(user_id)
    sync.deactivate("ended")
    sync.wait(days=28)
    sync.gift("late")
    sync.charge()
    assert sync.status("short").paused_at == sync.now
    for user_id in ("ended", "short"):
        sync.gift(user_id)
        assert sync.status(user_id) == Status(active=True, gifted=True)
    for user_id in ("late", "ended", "short"):
        assert sync.revoke(user_id) == Status()


def test_an_interval_may_change_under_a_gift_and_counts_after_it(sync: Sync) -> None:
    sync.fund("ada")
    sync.activate("ada")
    sync.gift("ada")
    assert sync.change("ada", Interval.YEARLY).effective_at is None
    left = sync.revoke("ada").next_charge_at
    assert left is not None
    sync.now = left
    sync.charge()
    assert sync.charges("ada")[-1][1] == 360


def test_the_developers_script_still_writes_a_gifted_row_and_it_is_never_charged(sync: Sync) -> None:
    sync.sql(DEVELOPERS_SCRIPT)
    sync.sql(DEVELOPERS_SCRIPT)
    assert sync.status("dev") == Status(active=True, interval=Interval.YEARLY, gifted=True)
    sync.wait(days=1000)
    assert sync.charge() == {"charged": 0, "paused": 0, "errors": 0}
    assert sync.revoke("dev") == Status(interval=Interval.YEARLY)


def test_the_script_over_a_paid_subscription_is_never_charged_either(sync: Sync) -> None:
    sync.fund("dev")
    sync.activate("dev")
    sync.sql(DEVELOPERS_SCRIPT)
    assert sync.status("dev").next_charge_at is None
    sync.wait(days=40)
    assert sync.charge()["charged"] == 0


def test_activation_ends_a_pause_and_begins_a_period_of_its_own(sync: Sync) -> None:
    sync.fund("ada", 40)
    sync.activate("ada")
    sync.wait(days=29)
    assert sync.charge() == {"charged": 0, "paused": 1, "errors": 0}
    sync.wait(days=3)
    sync.fund("ada", 100)
    activated = sync.activate("ada")
    assert activated.next_charge_at == at("2026-04-04 15:28:32.039")
    assert sync.status("ada").paused_at is None


@pytest.mark.parametrize("work", ["deactivate", "revoke"])
def test_a_refusal_writes_nothing(sync: Sync, work: str) -> None:
    sync.fund("ada")
    before = sync.sql("SELECT * FROM credits.sync_subscriptions")
    with pytest.raises(Refusal):
        getattr(sync, work)("ada")
    assert sync.sql("SELECT * FROM credits.sync_subscriptions") == before
