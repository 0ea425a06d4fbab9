"""Renewals: each period charged once, whoever runs, crashes or writes strange rows."""

import random
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import Engine

from domain.database import make_engine, transaction
from domain.errors import SyncNotActive
from domain.jobs import run_job
from domain.ledger import EntryType
from domain.sync_billing import renewals
from domain.sync_billing.calendar import Interval
from domain.sync_billing.runs import ChargeRecurring
from tests.support.ledger import at_once, broken_facts, entries, execute, give, post, scalar
from tests.support.sync import Sync, at

NOTHING = {"charged": 0, "paused": 0, "errors": 0}


@pytest.fixture
def sync(engine: Engine) -> Sync:
    return Sync(engine)


def subscribe_many(sync: Sync, count: int, had: int = 60) -> list[str]:
    """People with monthly subscriptions and `had` credits before the first charge, in one go."""
    people = [f"user-{number:05}" for number in range(count)]
    for begin in range(0, count, 1000):
        post(
            sync.engine,
            *[give(user_id, had - 30) for user_id in people[begin : begin + 1000]],
            now=sync.now,
        )
    sync.sql(
        "INSERT INTO credits.sync_subscriptions (user_id, active, activated_at, next_charge_at)"
        " SELECT user_id, true, :now, :due FROM credits.balances WHERE user_id LIKE 'user-%'",
        now=sync.now,
        due=sync.now + timedelta(days=28),
    )
    return people


def test_a_renewal_is_a_use_and_the_next_date_counts_from_the_due_date(sync: Sync) -> None:
    sync.fund("ada")
    due = sync.activate("ada").next_charge_at
    sync.now = due - timedelta(microseconds=1)
    assert sync.charge() == NOTHING
    sync.now = due + timedelta(hours=7, seconds=3)
    assert sync.charge() == {"charged": 1, "paused": 0, "errors": 0}
    assert sync.charge() == NOTHING
    entry = entries(sync.engine, "ada")[0]
    assert (entry.type, int(entry.amount), entry.app_id) == (EntryType.USAGE, -30, "sync")
    assert entry.metadata == {"interval": "monthly", "type": "sync_renewal"}
    assert sync.status("ada").next_charge_at == at("2026-03-31 15:28:32.039")


def test_several_periods_late_charges_once_for_the_current_one(sync: Sync) -> None:
    sync.fund("ada")
    sync.activate("ada")
    sync.now = at("2026-07-05 03:00")
    assert sync.charge() == {"charged": 1, "paused": 0, "errors": 0}
    assert sync.balance("ada") == 940
    assert sync.status("ada").next_charge_at == at("2026-07-31 15:28:32.039")
    assert sync.charge() == NOTHING


def test_short_of_credits_it_pauses_keeps_the_date_and_tells_the_person_once(sync: Sync) -> None:
    sync.fund("ada", 59)
    due = sync.activate("ada").next_charge_at
    sync.now = due + timedelta(hours=1)
    assert sync.charge() == {"charged": 0, "paused": 1, "errors": 0}
    status = sync.status("ada")
    assert (status.active, status.paused_at, status.next_charge_at) == (False, sync.now, due)
    assert sync.balance("ada") == 29
    sync.wait(hours=1)
    assert sync.charge() == NOTHING
    assert sync.notices() == [("send_pause_notice", "ada")]


def test_somebody_without_a_balance_is_paused_and_no_error(sync: Sync) -> None:
    sync.sql(
        "INSERT INTO credits.sync_subscriptions (user_id, active, next_charge_at) VALUES ('nobody', true, :due)",
        due=sync.now,
    )
    assert sync.charge() == {"charged": 0, "paused": 1, "errors": 0}
    assert sync.notices() == [("send_pause_notice", "nobody")]


def test_credits_set_aside_are_not_there_for_a_renewal(sync: Sync) -> None:
    sync.fund("ada", 60)
    sync.now = sync.activate("ada").next_charge_at
    sync.sql("UPDATE credits.balances SET balance = 29.999, held = 0.001 WHERE user_id = 'ada'")
    sync.sql(
        "INSERT INTO credits.reservations (user_id, amount, reason, expires_at)"
        " VALUES ('ada', 0.001, 'test', now() + interval '1 day')"
    )
    assert sync.charge() == {"charged": 0, "paused": 1, "errors": 0}


def test_rows_that_the_old_service_wrote_renew_on_the_day_they_show(sync: Sync) -> None:
    for user_id, activated, due in (
        ("cut", "2025-12-31", "2026-02-28"),
        ("drifted", "2025-12-15", "2026-02-17"),
        ("bare", None, "2026-02-28"),
    ):
        sync.fund(user_id)
        sync.sql(
            "INSERT INTO credits.sync_subscriptions (user_id, active, activated_at, next_charge_at)"
            " VALUES (:user_id, true, :activated, :due)",
            user_id=user_id,
            activated=None if activated is None else at(activated),
            due=at(due),
        )
    sync.now = at("2026-03-01")
    assert sync.charge() == {"charged": 3, "paused": 0, "errors": 0}
    found = {user_id: sync.status(user_id).next_charge_at for user_id in ("cut", "drifted", "bare")}
    assert found == {"cut": at("2026-03-31"), "drifted": at("2026-03-17"), "bare": at("2026-03-28")}


def test_a_date_set_back_by_hand_to_a_period_that_was_paid_is_moved_on_without_a_charge(sync: Sync) -> None:
    sync.fund("ada")
    due = sync.now = sync.activate("ada").next_charge_at
    sync.charge()
    sync.sql("UPDATE credits.sync_subscriptions SET next_charge_at = :due", due=due)
    assert sync.charge()["errors"] == 0
    assert sync.balance("ada") == 940
    assert sync.status("ada").next_charge_at == at("2026-03-31 15:28:32.039")


def test_one_bad_row_is_reported_and_stops_neither_the_run_nor_the_others(sync: Sync) -> None:
    subscribe_many(sync, 50)
    sync.wait(days=28)
    sync.sql(
        "UPDATE credits.sync_subscriptions SET next_charge_at = '-infinity' WHERE user_id = 'user-00007'"
    )
    assert sync.charge() == {"charged": 49, "paused": 0, "errors": 1}
    [row] = sync.sql(
        "SELECT user_id, problem, problem_at FROM credits.sync_subscriptions WHERE problem IS NOT NULL"
    )
    assert (row.user_id, row.problem_at) == ("user-00007", sync.now)
    assert "DataError" in row.problem
    sync.wait(hours=1)
    assert sync.charge() == {"charged": 0, "paused": 0, "errors": 1}  # tried again, reported again
    sync.sql(
        "UPDATE credits.sync_subscriptions SET next_charge_at = :now WHERE problem IS NOT NULL", now=sync.now
    )
    sync.wait(hours=1)
    assert sync.charge() == {"charged": 1, "paused": 0, "errors": 0}
    assert sync.sql("SELECT FROM credits.sync_subscriptions WHERE problem IS NOT NULL") == []


def test_many_rows_that_the_ledger_cannot_take_are_isolated_too(sync: Sync) -> None:
    subscribe_many(sync, 64)
    sync.wait(days=28)
    bad = ["user-00000", "user-00031", "user-00032", "user-00063"]
    sync.sql(
        "ALTER TABLE credits.transactions ADD CONSTRAINT made_to_fail CHECK (user_id <> ALL (CAST("
        "'{user-00000,user-00031,user-00032,user-00063}' AS text[])) OR app_id <> 'sync') NOT VALID"
    )
    assert sync.charge() == {"charged": 60, "paused": 0, "errors": 4}
    found = sync.sql("SELECT user_id FROM credits.sync_subscriptions WHERE problem IS NOT NULL ORDER BY 1")
    assert [row.user_id for row in found] == bad
    assert scalar(sync.engine, "SELECT count(*) FROM credits.transactions WHERE app_id = 'sync'") == 60


def test_runs_at_once_share_the_chunks_and_their_tallies_add_up(
    sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewals, "CHUNK", 20)
    subscribe_many(sync, 300)
    sync.wait(days=28)
    by_kind = {handler.kind: handler for handler in sync.handlers()}
    runs = [sync.add(ChargeRecurring()) for _ in range(4)]
    at_once(
        *[
            partial(run_job, sync.engine, by_kind[ChargeRecurring], run, clock=lambda: sync.now)
            for run in runs
        ]
    )
    tallies = [sync.tally_of(run) for run in runs]
    assert sum(tally["charged"] for tally in tallies) == 300
    assert scalar(sync.engine, "SELECT count(*) FROM credits.transactions WHERE app_id = 'sync'") == 300
    assert (
        scalar(sync.engine, "SELECT count(DISTINCT user_id) FROM credits.transactions WHERE app_id = 'sync'")
        == 300
    )


def test_a_run_is_helped_by_other_workers_and_answers_for_all_of_them(sync: Sync) -> None:
    subscribe_many(sync, 3500)
    subscribe_poor = "UPDATE credits.balances SET balance = 29 WHERE user_id LIKE 'user-0333_'"
    sync.sql(subscribe_poor)
    sync.wait(days=28)
    run = sync.add(ChargeRecurring())

    def worker() -> None:
        sync.work()

    at_once(worker, worker, worker)
    assert sync.tally_of(run) == {"charged": 3490, "paused": 10, "errors": 0}
    helpers = sync.sql("SELECT state, result FROM ops.jobs WHERE kind = 'help_to_charge_sync'")
    assert [row.state for row in helpers] == ["done"] * 3
    assert len(sync.notices()) == 10


def test_deactivating_while_renewals_run_ends_charged_and_ended_or_ended_uncharged(sync: Sync) -> None:
    ends: list[tuple[int, bool]] = []
    order = random.Random(4711)
    for number in range(40):
        user_id = f"ada-{number}"
        sync.fund(user_id, 1000)
        sync.activate(user_id)
    sync.wait(days=28)
    people = [f"ada-{number}" for number in range(40)]

    def charge() -> None:
        while renewals_left():
            with transaction(sync.engine) as connection:
                renewals.charge_chunk(connection, began_at=sync.now, now=sync.now)

    def renewals_left() -> int:
        with transaction(sync.engine) as connection:
            return renewals.count_due(connection, now=sync.now, most=1)

    def deactivate(shuffled: list[str]) -> None:
        for user_id in shuffled:
            try:
                sync.deactivate(user_id)
            except SyncNotActive:
                ends.append((-1, False))

    work: list[Callable[[], None]] = [charge, charge, partial(deactivate, order.sample(people, 40))]
    at_once(*work)
    for user_id in people:
        status = sync.status(user_id)
        assert (status.active, status.next_charge_at, status.paused_at) == (False, None, None)
        assert len(sync.charges(user_id)) in (1, 2)
    assert ends == []


def test_renewals_beside_uses_of_the_same_people_neither_deadlock_nor_overspend(sync: Sync) -> None:
    people = subscribe_many(sync, 60, had=65)  # 35 left: enough for the renewal, or for uses
    sync.wait(days=28)

    def use(seed: int) -> None:
        order = random.Random(seed)
        for _ in range(20):
            chosen = sorted(order.sample(people, 10))
            post(sync.engine, *[give(user_id, -1, counts_as="earned") for user_id in chosen], now=sync.now)

    at_once(partial(use, 1), partial(use, 2), sync.charge)
    tallies = sync.sql("SELECT active, count(*) FROM credits.sync_subscriptions GROUP BY 1")
    assert sum(row[1] for row in tallies) == 60
    assert scalar(sync.engine, "SELECT min(balance) FROM credits.balances") >= 0


def test_a_year_charged_on_time_is_twelve_renewals_on_the_anchors_days(sync: Sync) -> None:
    sync.fund("ada")
    due = sync.activate("ada").next_charge_at
    days = [due]
    for _ in range(11):
        sync.now = due
        sync.charge()
        due = sync.status("ada").next_charge_at or due
        days.append(due)
    assert [f"{day:%m-%d}" for day in days] == (
        [
            "02-28",
            "03-31",
            "04-30",
            "05-31",
            "06-30",
            "07-31",
            "08-31",
            "09-30",
            "10-31",
            "11-30",
            "12-31",
            "01-31",
        ]
    )
    assert sync.balance("ada") == 1000 - 12 * 30
    assert sync.change("ada", Interval.QUARTERLY).effective_at == at("2027-01-31 15:28:32.039")


@pytest.mark.parametrize(
    ("spoil", "broken"),
    [
        ("UPDATE credits.sync_subscriptions SET next_charge_at = NULL", {"sync_is_charged_next"}),
        (
            "UPDATE credits.sync_subscriptions SET paid_from = paid_from + interval '1 microsecond'",
            {"sync_is_paid"},
        ),
        (
            "SET credits.posting = 'on'; ALTER TABLE credits.transactions DISABLE TRIGGER USER;"
            "UPDATE credits.transactions SET posting_key = 'sync:2026-02-28T15:28:32.038999Z'"
            " WHERE metadata ->> 'type' = 'sync_renewal';"
            "UPDATE credits.sync_subscriptions SET paid_from = '2026-02-28T15:28:32.038999Z'",
            {"sync_periods_are_paid_once"},
        ),
        (
            "ALTER TABLE credits.transactions DISABLE TRIGGER USER;"
            "UPDATE credits.transactions SET type = 'refund' WHERE metadata ->> 'type' = 'sync_renewal'",
            {"sync_periods_are_paid_once", "usage_is_sum_of_entries"},
        ),
    ],
)
def test_the_facts_notice_what_must_not_be(database_url: str, spoil: str, broken: set[str]) -> None:
    engine = make_engine(database_url, pool_size=2)
    sync = Sync(engine)
    sync.fund("ada")
    sync.now = sync.activate("ada").next_charge_at
    sync.charge()
    assert broken_facts(engine) == set()
    execute(engine, *spoil.split(";"))
    assert broken_facts(engine) == broken
    engine.dispose()
