"""Killed at every statement of a run, of an activation, of resuming: the end is that of a life without a crash."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from domain.errors import SyncAlreadyActive
from domain.sync_billing.prices import period_key
from domain.sync_billing.runs import ChargeRecurring
from tests.servers import SharedPostgres
from tests.support.crashes import at_every_statement
from tests.support.jobs import engine_on
from tests.support.ledger import checked_engine
from tests.support.sync import START, Sync

DUE = START + timedelta(days=28)

AFTER_A_CRASH = timedelta(minutes=5)
"""Longer than a job pauses whose worker died."""


Databases = Callable[[Callable[[Sync], None]], Callable[[], str]]


@pytest.fixture
def databases(postgres: SharedPostgres) -> Iterator[Databases]:
    """`databases(seed)` makes databases that are all copies of one with the people of `seed` in it."""
    names: list[str] = []

    def seeded(seed: Callable[[Sync], None]) -> Callable[[], str]:
        original = postgres.create_database()
        names.append(original)
        with engine_on(postgres.url(original)) as engine:
            seed(Sync(engine))

        def copy() -> str:
            names.append(postgres.create_database(like=original))
            return postgres.url(names[-1])

        return copy

    yield seeded
    for name in names:
        postgres.drop_database(name)


def everybody(sync: Sync) -> None:
    """Somebody for each way that a renewal can go, on the day when they are due, and a run that waits."""
    for user_id, had in (("due", 1000), ("short", 59), ("bad", 1000)):
        sync.fund(user_id, had)
        sync.activate(user_id)
    sync.fund("late", 500)
    sync.sql(
        "INSERT INTO credits.sync_subscriptions (user_id, active, billing_interval, next_charge_at)"
        " VALUES ('late', true, 'yearly', '2024-02-29')"
    )
    sync.sql("UPDATE credits.sync_subscriptions SET next_charge_at = '-infinity' WHERE user_id = 'bad'")
    sync.now = DUE
    sync.add(ChargeRecurring())


def run(engine: Engine, now: Any = DUE) -> None:
    """What workers do of sync, until nothing is left; notices are left to them."""
    sync = Sync(engine, now=now)
    sync.work()


def outcome(sync: Sync) -> dict[str, Any]:
    """How everything stands, but for the instants that a crash may move."""
    return {
        "subscriptions": [
            tuple(row)
            for row in sync.sql(
                "SELECT user_id, active, paused_at IS NULL, amount_charged, anchor_day, problem IS NULL,"
                " next_charge_at::text, paid_from::text FROM credits.sync_subscriptions ORDER BY 1"
            )
        ],
        "balances": [
            tuple(row)
            for row in sync.sql("SELECT user_id, balance, total_spent FROM credits.balances ORDER BY 1")
        ],
        "entries": [
            tuple(row)
            for row in sync.sql(
                "SELECT user_id, amount, posting_key FROM credits.transactions ORDER BY 1, version"
            )
        ],
        "notices": sorted(sync.notices()),
        "runs": [
            row.result and row.result["tally"]
            for row in sync.sql("SELECT result FROM ops.jobs WHERE kind = 'charge_recurring_sync'")
        ],
        "waiting": sync.sql("SELECT kind FROM ops.jobs WHERE state <> 'done'"),
    }


def test_a_run_killed_at_every_statement_ends_as_one_that_was_not(
    databases: Databases,
) -> None:
    with checked_engine(databases(everybody)()) as engine:
        run(engine)
        wanted = outcome(Sync(engine))
    assert wanted["runs"] == [{"charged": 2, "paused": 1, "errors": 1}]
    assert wanted["notices"] == [("send_pause_notice", "short")]

    seen = set()

    def recover(url: str) -> None:
        with checked_engine(url) as engine:
            seen.add(effects(outcome(Sync(engine))))
            run(engine, DUE + AFTER_A_CRASH)
            assert outcome(Sync(engine)) == wanted

    deaths = at_every_statement(databases(everybody), run, recover)
    print(f"killed {deaths} times")
    assert deaths > 40
    # A chunk is charged, paused and told of as a whole or not at all.
    assert seen == {(0, 0, 0), (2, 1, 1)}


def effects(state: dict[str, Any]) -> tuple[int, int, int]:
    """How many were renewed and paused, and how many are told."""
    renewed = [key for _, _, key in state["entries"] if key and not key.startswith(period_key(START))]
    paused = [user_id for user_id, _, is_running, *_ in state["subscriptions"] if not is_running]
    return len(renewed), len(paused), len(state["notices"])


@contextmanager
def sync_on(url: str) -> Iterator[Sync]:
    with checked_engine(url) as engine:
        yield Sync(engine)


def test_an_activation_killed_at_every_statement_charges_once_when_it_is_repeated(
    databases: Databases,
) -> None:
    def activate(engine: Engine) -> None:
        Sync(engine).activate("ada", auto_resume=True)

    def repeat(url: str) -> None:
        with sync_on(url) as sync:
            sync.now += timedelta(seconds=1)
            try:
                sync.activate("ada", auto_resume=True)
            except SyncAlreadyActive:
                assert [when for when, _, _ in sync.charges("ada")] == [START]
            assert sync.balance("ada") == 970
            assert sync.status("ada").active

    deaths = at_every_statement(databases(lambda sync: sync.fund("ada")), activate, repeat)
    assert deaths > 4


def test_resuming_killed_at_every_statement_charges_one_period(
    databases: Databases,
) -> None:
    def seed(sync: Sync) -> None:
        for user_id in ("ada", "grace"):
            sync.fund(user_id, 50)
            sync.activate(user_id, auto_resume=True)
        sync.now = DUE
        sync.charge()
        sync.fund("ada", 100)

    def resume(engine: Engine, now: Any = DUE) -> None:
        Sync(engine, now=now).resume()

    def again(url: str) -> None:
        with checked_engine(url) as engine:
            resume(engine, DUE + AFTER_A_CRASH)
            sync = Sync(engine)
            assert [sync.balance("ada"), sync.balance("grace")] == [90, 20]
            assert sync.status("ada").active
            assert not sync.status("grace").active
            assert sync.sql("SELECT FROM ops.jobs WHERE state <> 'done'") == []

    assert at_every_statement(databases(seed), resume, again) > 15
