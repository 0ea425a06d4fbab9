"""Balances are read many at once, and nobody's reading fails or waits for what is somebody else's trouble."""

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from devkit.waiting import wait_until
from tests.support.service import Service, serving_in_this_loop
from web import bridge

PATIENCE_SECONDS = 30
FRONTS_SESSIONS = (
    "FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'mana-web-%%'"
)


async def test_first_reads_at_once_make_one_balance_each_and_no_error(service: Service) -> None:
    people = [f"user-{number}" for number in range(20)]
    reads = [service.figures(user_id) for user_id in people * 4]
    assert await asyncio.gather(*reads) == [(0, 0, 0)] * len(reads)
    assert service.books.one("SELECT count(*) FROM credits.balances") == len(people)


@pytest.fixture
async def patient(
    monkeypatch: pytest.MonkeyPatch, database_url: str, redis_url: str
) -> AsyncIterator[Service]:
    """A service that waits for locks longer than a test does."""
    monkeypatch.setattr(bridge, "LOCK_SECONDS_MAX", 60)
    monkeypatch.setattr(bridge, "COLD_LOCK_SECONDS_MAX", 60)
    async with serving_in_this_loop(database_url, redis_url) as service:
        yield service


async def test_whose_balance_is_just_being_made_by_somebody_who_stalls_waits_alone(patient: Service) -> None:
    await patient.grant("anna", 10)
    with psycopg.connect(patient.books.url) as stalled:
        stalled.execute("INSERT INTO credits.balances (user_id) VALUES ('clara')")
        waiting = asyncio.ensure_future(patient.figures("clara"))
        others = [patient.figures(user_id) for user_id in ("anna", "anna", "dora")]
        told = await asyncio.wait_for(asyncio.gather(*others), PATIENCE_SECONDS)
        assert told == [(10, 10, 0), (10, 10, 0), (0, 0, 0)]
        # Sure to come after Clara has been asked for.
        stalls = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        assert await asyncio.to_thread(wait_until, lambda: patient.books.one(stalls) > 0, PATIENCE_SECONDS)
        assert await asyncio.wait_for(patient.figures("anna"), PATIENCE_SECONDS) == (10, 10, 0)
        assert not waiting.done()
        stalled.rollback()
    assert await waiting == (0, 0, 0)


async def test_connections_that_the_database_has_ended_are_not_noticed_by_those_who_read(
    own_service: Service,
) -> None:
    await own_service.grant("anna", 10)
    books, many = own_service.books, bridge.BATCHES_IN_FLIGHT_MAX + bridge.CALLERS_BATCHES_IN_FLIGHT_MAX + 1
    are_there = f"SELECT count(*) >= %s {FRONTS_SESSIONS}"
    assert await asyncio.to_thread(wait_until, lambda: books.one(are_there, many), PATIENCE_SECONDS)
    books.rows(f"SELECT pg_terminate_backend(pid, 5000) {FRONTS_SESSIONS}")
    for _ in range(many):
        assert await own_service.figures("anna") == (10, 10, 0)
