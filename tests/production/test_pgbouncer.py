"""The service behind a real PgBouncer in transaction mode: what goes through it, and what must not.

`./dev pgbouncer` runs this.  Without a pgbouncer on the machine it fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.errors import DuplicatePreparedStatement
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from domain import invariants
from domain.database import SESSION_SETTINGS, BehindPooler, make_async_pool, make_engine, make_pooled_engine
from tests.support.books import Books
from tests.support.forking import start_module
from tests.support.pooler import PgBouncer
from tests.support.process import process_environment
from tests.support.service import environment, serving_in_this_loop
from tests.support.whole import live, whole_service

ONE_SESSION = {"default_pool_size": "1", "query_wait_timeout": "20"}
"""Whoever comes next gets the session that another had: what leaks is seen for sure."""

Pooler = Callable[..., PgBouncer]


@pytest.fixture
def pooler(database_url: str, server_home: Callable[[str], Path]) -> Iterator[Pooler]:
    """Start a PgBouncer in front of the test's database; as many as the test likes."""
    started: list[PgBouncer] = []

    def start(**settings: str) -> PgBouncer:
        made = PgBouncer(server_home(f"pgbouncer-{len(started)}"), database_url, **settings)
        started.append(made)
        made.start()
        return made

    yield start
    for one in started:
        one.stop()


def session(url: str) -> psycopg.Connection:
    return psycopg.connect(url, autocommit=True, prepare_threshold=None)


def test_what_needs_a_session_of_its_own_does_not_work_through_it(pooler: Pooler) -> None:
    """Why the hot paths, jobs, leadership and migrations go past it."""
    url = pooler(**ONE_SESSION).url()
    with session(url) as anna, session(url) as ben:
        lock = "SELECT pg_try_advisory_lock(7)"
        both = [connection.execute(lock).fetchone() for connection in (anna, ben)]
        assert both == [(True,), (True,)], "two hold one lock"

        anna.execute("SET work_mem = '77MB'")
        assert ben.execute("SHOW work_mem").fetchone() == ("77MB",), "a setting is somebody else's"

        anna.execute("LISTEN news")
        ben.execute("NOTIFY news")
        anna.execute("SELECT 1")
        assert list(anna.notifies(timeout=0.2)) == [], "nobody hears"

        anna.execute("PREPARE mine AS SELECT 1")
        with pytest.raises(DuplicatePreparedStatement):
            ben.execute("PREPARE mine AS SELECT 2")

        assert ben.execute("SELECT pg_backend_pid()").fetchone() != (ben.info.backend_pid,)


def test_what_needs_a_transaction_alone_works_through_it(pooler: Pooler) -> None:
    engine = make_pooled_engine(pooler(**ONE_SESSION).url(), pool_size=2)
    names = ", ".join(f"current_setting('{name}')" for name in SESSION_SETTINGS)
    with engine.connect() as one:
        found = one.execute(text(f"SELECT {names}")).one()
        assert tuple(found) == ("30s", "10s", "1min", "UTC")
        one.execute(text("SELECT pg_advisory_xact_lock(7)"))
        one.execute(text("SET LOCAL statement_timeout = 0"))
    with engine.connect() as other:
        for _ in range(10):  # more often than psycopg waits before it prepares
            assert other.execute(text("SELECT :n + 1"), {"n": 1}).scalar_one() == 2
        assert other.execute(text("SHOW statement_timeout")).scalar_one() == "30s"
    with engine.connect().execution_options(stream_results=True, yield_per=10) as reading:
        assert len(reading.execute(text("SELECT generate_series(1, 100)")).all()) == 100
    assert not [finding for finding in invariants.check(engine) if finding.violation_count]
    engine.dispose()


@pytest.mark.parametrize("ignored", ["extra_float_digits", "extra_float_digits,options"])
async def test_a_connection_that_must_be_direct_is_not_made_through_it(pooler: Pooler, ignored: str) -> None:
    url = pooler(ignore_startup_parameters=ignored).url()
    engine = make_engine(url, pool_size=1)
    with pytest.raises(OperationalError) as refused:
        engine.connect()
    assert isinstance(refused.value.orig, BehindPooler)
    engine.dispose()
    pool = make_async_pool(url, size=1)
    await pool.open(wait=False)
    with pytest.raises(psycopg.OperationalError):
        async with pool.connection(timeout=1):
            pass
    await pool.close()


@pytest.mark.parametrize("module", ["web", "workers", "scheduler", "migrations"])
def test_a_process_with_nothing_but_a_pooler_does_not_start_and_says_what_is_missing(
    pooler: Pooler, redis_url: str, tmp_path: Path, module: str
) -> None:
    # The harder case: one that takes what the connection begins with, and keeps it from nobody.
    url = pooler(ignore_startup_parameters="extra_float_digits,options").url()
    variables = environment(database_url=url, redis_url=redis_url, auth_url="http://127.0.0.1:9")
    log = tmp_path / "said.log"
    assert start_module(module, process_environment(variables), log).wait(60) in (1, 2)
    said = log.read_text()
    assert "DATABASE_DIRECT_URL" in said
    assert "Traceback" not in said


async def test_everything_works_with_the_cold_paths_behind_it(
    pooler: Pooler, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    made = pooler(default_pool_size="3")
    behind = {"DATABASE_URL": made.url(), "DATABASE_DIRECT_URL": database_url}
    async with whole_service(database_url, redis_url, tmp_path, behind) as whole:
        await asyncio.gather(*(live(whole, f"person-{number}") for number in range(3)))
        assert (await whole.call("GET", "/ready")).ok()["status"] == "ready"
        sessions = await asyncio.to_thread(through, made)
        assert 0 < sessions["servers"] <= 3, sessions
        assert sessions["names"]
        assert all(name.startswith("mana-web-") for name in sessions["names"])

        await asyncio.to_thread(made.kill)
        (await whole.use("person-0", 1)).ok()
        assert (await whole.reserve("person-0", 1)).status == 503
        await asyncio.to_thread(made.start)
        (await whole.reserve("person-0", 1)).ok()
        whole.books.assert_they_add_up()


def through(made: PgBouncer) -> dict[str, Any]:
    """Who is connected through it, and how many sessions of PostgreSQL it uses for them."""
    with session(made.url("pgbouncer")) as console:
        clients = console.execute("SHOW CLIENTS")
        assert clients.description is not None
        columns = [column.name for column in clients.description]
        rows = [dict(zip(columns, row, strict=True)) for row in clients.fetchall()]
        names = {str(row["application_name"]) for row in rows if row["database"] != "pgbouncer"}
        return {"names": names, "servers": len(console.execute("SHOW SERVERS").fetchall())}


async def test_a_batch_that_spends_is_sent_past_it(pooler: Pooler, database_url: str, redis_url: str) -> None:
    """What became of a lost answer is asked by ending the very session that had it: it has to be known."""
    made = pooler()
    behind = {"DATABASE_URL": made.url(), "DATABASE_DIRECT_URL": database_url}
    async with serving_in_this_loop(database_url, redis_url, more=behind) as service:
        (await service.grant("anna", 10)).ok()
        made.stop()
        (await service.use("anna", 1)).ok()
        assert Books(database_url).one("SELECT balance::int FROM credits.balances") == 9
        service.has_defects = False
