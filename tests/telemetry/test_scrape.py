"""/metrics of a running front: complete, true, and up while what it asks is away."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import Connection, text

from devkit.waiting import wait_until
from domain import ledger_checks
from domain.database import transaction
from domain.invariants import Finding
from domain.jobs import Queue
from domain.telemetry import __main__ as document
from domain.telemetry.metrics import CATALOGUE
from tests.support.jobs import engine_on
from tests.support.scraped import Sample, names, parsed, total
from tests.support.service import Service, serving_in_this_loop
from tests.support.world import job_in_state, make_world
from web import scrape as scraping
from web.scrape import KEPT_SECONDS

WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'ops.timetable'::regclass"


async def scrape(service: Service) -> list[Sample]:
    reply = await service.call("GET", "/metrics")
    assert reply.status == 200, reply.brief
    return parsed(reply.raw)


def test_the_document_is_the_list() -> None:
    assert document.main(["--check"]) == 0


def test_every_metric_has_a_unit_or_counts_and_says_what_it_means() -> None:
    for metric in CATALOGUE:
        assert metric.name.startswith("mana_"), metric.name
        assert metric.meaning.endswith("."), metric.name
        assert metric.name.endswith("_total") == (metric.type == "counter"), metric.name
    assert len({metric.name for metric in CATALOGUE}) == len(CATALOGUE)


async def test_the_page_says_how_the_service_is(database_url: str, redis_url: str) -> None:
    async with serving_in_this_loop(database_url, redis_url, has_books=False) as service:
        now = datetime.now(UTC)
        with engine_on(database_url, pool_size=2) as engine:
            make_world(engine)
            finding = Finding(name="chains", says="x", checked=9, violation_count=2, violations=["a", "b"])
            with transaction(engine) as connection:
                connection.execute(text("DELETE FROM ops.jobs"))
                for state in ("failed", "failed", "refused", "waiting"):
                    job_in_state(connection, state, at=now - timedelta(minutes=3))
                late = job_in_state(connection, "waiting", at=now)
                _scheduled(connection, late, now + timedelta(hours=1))
                checked = ledger_checks.Checked(findings=[finding], took_seconds=1.5)
                ledger_checks.record(connection, checked, now=now - timedelta(minutes=10))
        told = await scrape(service)
    assert total(told, "mana_database_up") == 1
    assert total(told, "mana_redis_up") == 1
    for state, count in (("due", 1), ("scheduled", 1), ("failed", 2), ("refused", 1)):
        assert total(told, "mana_jobs", {"queue": "money", "state": state}) == count, state
    assert total(told, "mana_jobs_failed", {"kind": "test_chore"}) == 2
    assert total(told, "mana_jobs_oldest_due_seconds", {"queue": "money"}) == pytest.approx(180, abs=20)
    queues = {labels["queue"] for name, labels, _ in told if name == "mana_jobs_oldest_due_seconds"}
    assert queues == {queue.value for queue in Queue}, (
        "an autoscaler asks for what is there when nothing waits"
    )
    assert total(told, "mana_ledger_violations", {"fact": "chains"}) == 2
    assert total(told, "mana_ledger_check_age_seconds") == pytest.approx(600, abs=20)
    assert total(told, "mana_ledger_check_seconds") == 1.5
    assert total(told, "mana_stripe_event_age_seconds") > 0
    assert total(told, "mana_sync_subscriptions", {"state": "active"}) >= 1
    assert {"mana_queue_messages", "mana_processes", "mana_usage_pending_rows"} <= names(told)


def _scheduled(connection: Connection, job_id: UUID, at: datetime) -> None:
    connection.execute(text("UPDATE ops.jobs SET run_at = :at WHERE id = :id"), {"at": at, "id": job_id})


async def test_redis_away_is_said_and_the_rest_is_there(database_url: str) -> None:
    async with serving_in_this_loop(database_url, "redis://127.0.0.1:9/0") as service:
        told = await scrape(service)
    assert total(told, "mana_redis_up") == 0
    assert total(told, "mana_database_up") == 1
    assert "mana_queue_messages" not in names(told)


async def test_postgresql_away_is_said_and_the_rest_is_there(redis_url: str) -> None:
    nowhere = "postgresql://postgres@127.0.0.1:9/nothing"
    async with serving_in_this_loop(nowhere, redis_url, has_books=False) as service:
        began = time.monotonic()
        told = await scrape(service)
        took = time.monotonic() - began
    assert took < 3
    assert total(told, "mana_database_up") == 0
    assert total(told, "mana_redis_up") == 1
    assert "mana_jobs" not in names(told)
    assert "mana_http_request_seconds_count" in names(told)


async def test_a_database_that_hangs_holds_the_page_for_two_seconds_and_no_thread_for_longer(
    service: Service, database_url: str
) -> None:
    with engine_on(database_url, pool_size=1) as engine, engine.connect() as holder:
        holder.execute(text("LOCK TABLE ops.timetable IN ACCESS EXCLUSIVE MODE"))
        began = time.monotonic()
        told = await scrape(service)
        assert 1.5 < time.monotonic() - began < 4
        assert total(told, "mana_database_up") == 0
        # PostgreSQL gave the question up too, while the lock is still held
        assert await asyncio.to_thread(wait_until, lambda: service.books.one(WAITING) == 0, 2)
        holder.rollback()
    await asyncio.sleep(KEPT_SECONDS)
    assert total(await scrape(service), "mana_database_up") == 1


async def test_many_who_ask_at_once_share_one_reading(
    service: Service, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scraping, "SECONDS_MAX", 20)  # a busy machine's look at the locks may take long
    await asyncio.sleep(KEPT_SECONDS)  # the reading of a test before this one
    waiting: list[int] = []

    def one_waits() -> bool:
        waiting.append(service.books.one(WAITING))
        return waiting[-1] > 0

    with engine_on(database_url, pool_size=1) as engine, engine.connect() as holder:
        holder.execute(text("LOCK TABLE ops.timetable IN ACCESS EXCLUSIVE MODE"))
        asked = [asyncio.ensure_future(service.call("GET", "/metrics")) for _ in range(50)]
        assert await asyncio.to_thread(wait_until, one_waits, 10)
        await asyncio.sleep(1)  # further readings would wait, too
        one_waits()
        holder.rollback()
        pages = await asyncio.gather(*asked)
    assert max(waiting) == 1
    assert [page.raw.count(b"\nmana_database_up 1.0\n") for page in pages] == [1] * 50
