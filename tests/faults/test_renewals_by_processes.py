"""Real worker processes share a run, and are killed over it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.support.crew import Crew, eventually
from tests.support.ledger import checked_engine, scalar
from tests.support.sync import Sync

DUE = 8_000

CHARGED = "SELECT count(*) FROM credits.transactions WHERE app_id = 'sync'"


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    with checked_engine(database_url) as engine:
        yield engine


@pytest.fixture
def crew(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Crew]:
    """`python -m workers`, with as many processes as the test starts."""
    environment = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "WORKER_THREADS": "2"}
    made = Crew("workers", "worker_ready", environment, tmp_path / "workers.log")
    yield made
    made.kill()


def seed(sync: Sync) -> None:
    """DUE people who are due; every fourth has nothing."""
    sync.sql(
        "INSERT INTO credits.balances (user_id, balance, total_earned) SELECT 'user-' || g, b, b"
        " FROM generate_series(1, :due) g, LATERAL (SELECT CASE WHEN g % 4 = 0 THEN 0 ELSE 100 END AS b) c",
        due=DUE,
    )
    sync.sql(
        "INSERT INTO credits.sync_subscriptions (user_id, active, next_charge_at)"
        " SELECT user_id, true, :due FROM credits.balances",
        due=sync.now - timedelta(hours=1),
    )


def test_a_run_whose_workers_are_killed_charges_everybody_once_and_ends(engine: Engine, crew: Crew) -> None:
    sync = Sync(engine, now=datetime.now(UTC))
    seed(sync)
    crew.start(2)
    run = sync.add_run()
    eventually(lambda: scalar(engine, CHARGED) > 0, "begun", 20)
    crew.kill()
    charged = scalar(engine, CHARGED)
    assert charged < DUE * 3 // 4, "all was done before the kill: seed more"
    crew.start(2)
    eventually(
        lambda: sync.sql("SELECT FROM ops.jobs WHERE queue = 'billing' AND state = 'waiting'") == [],
        "ended",
        60,
    )
    assert scalar(engine, CHARGED) == DUE * 3 // 4
    assert (
        scalar(engine, "SELECT count(DISTINCT user_id) FROM credits.transactions WHERE app_id = 'sync'")
        == DUE * 3 // 4
    )
    assert (
        scalar(engine, "SELECT count(*) FROM credits.sync_subscriptions WHERE paused_at IS NOT NULL")
        == DUE // 4
    )
    assert scalar(engine, "SELECT count(*) FROM ops.jobs WHERE kind = 'send_pause_notice'") == DUE // 4
    tally = sync.tally_of(run)
    print(f"killed after {charged}; the run says {tally}")
    assert tally["errors"] == 0
    assert tally["charged"] + tally["paused"] <= DUE


def test_a_run_is_shared_by_two_processes_and_its_tally_is_whole(engine: Engine, crew: Crew) -> None:
    sync = Sync(engine, now=datetime.now(UTC))
    seed(sync)
    crew.start(2)
    run = sync.add_run()
    eventually(
        lambda: sync.sql("SELECT FROM ops.jobs WHERE id = :id AND state = 'done'", id=run) != [], "done", 60
    )
    assert sync.tally_of(run) == {"charged": DUE * 3 // 4, "paused": DUE // 4, "errors": 0}
