"""Connections to PostgreSQL notice that nobody is there any more."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from psycopg_pool import PoolTimeout
from sqlalchemy import Engine, make_url, text
from sqlalchemy.exc import OperationalError

from domain.database import borrowed, make_async_pool, make_engine, make_pooled_engine, open_all
from tests.faults.rig.proxy import Link, Trouble

NOTICED_WITHIN_SECONDS_MAX = 25


def assert_silence_is_noticed(fd: int) -> None:
    with socket.socket(fileno=os.dup(fd)) as connection:
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        idle, interval, count, unheard_ms = (
            connection.getsockopt(socket.IPPROTO_TCP, option)
            for option in (
                socket.TCP_KEEPIDLE,
                socket.TCP_KEEPINTVL,
                socket.TCP_KEEPCNT,
                socket.TCP_USER_TIMEOUT,
            )
        )
    assert idle + interval * count <= NOTICED_WITHIN_SECONDS_MAX
    assert 0 < unheard_ms <= NOTICED_WITHIN_SECONDS_MAX * 1000


def test_a_server_that_fell_silent_is_noticed_by_jobs_and_cold_paths(database_url: str) -> None:
    engine = make_engine(database_url, pool_size=1)
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        assert_silence_is_noticed(driver.fileno())
    engine.dispose()


def session(engine: Engine) -> int:
    """The server's process behind the connection that the pool hands out."""
    with engine.connect() as connection:
        pid: int = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        return pid


def test_all_that_an_engine_keeps_is_opened_at_once_or_the_database_is_said_to_be_away(
    database_url: str,
) -> None:
    engine, other = (
        make_engine(database_url, pool_size=3, application_name="opened"),
        make_engine(database_url),
    )
    opened = text("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'opened'")
    with other.connect() as connection:
        assert connection.execute(opened).scalar_one() == 0
        open_all(engine)
        connection.rollback()  # what a transaction has seen of the activity, it keeps
        assert connection.execute(opened).scalar_one() == 3
    away = make_engine(
        make_url(database_url).set(host="localhost", port=1).render_as_string(hide_password=False)
    )
    with pytest.raises(OperationalError):
        open_all(away)
    for each in (engine, other, away):
        each.dispose()


def test_connections_that_the_server_has_ended_are_replaced_before_anybody_meets_them(
    database_url: str,
) -> None:
    engine, other = make_engine(database_url, pool_size=2), make_engine(database_url, pool_size=1)
    with engine.connect(), engine.connect():
        pass
    with other.connect() as connection:
        everybody = "datname = current_database() AND pid <> pg_backend_pid()"
        connection.execute(
            text(f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE {everybody}")
        )
    with engine.connect() as first, engine.connect() as second:
        assert [one.execute(text("SELECT 1")).scalar_one() for one in (first, second)] == [1, 1]
    engine.dispose()
    other.dispose()


def end(engine: Engine, pid: int) -> None:
    """Have the server end the process behind a connection."""
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})


def two_sessions(engine: Engine) -> set[int]:
    with engine.connect() as held:
        return {session(engine), held.execute(text("SELECT pg_backend_pid()")).scalar_one()}


@pytest.mark.parametrize("found", ["when it is handed out", "by a statement"])
def test_connections_made_after_one_died_while_the_clock_was_ahead_are_kept(
    database_url: str, found: str
) -> None:
    engine, other = make_engine(database_url, pool_size=2), make_engine(database_url, pool_size=1)
    before = session(engine)
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=1)):
        if found == "by a statement":
            with engine.connect() as connection:
                end(other, before)
                with pytest.raises(OperationalError):
                    connection.execute(text("SELECT 1"))
        else:
            end(other, before)
            assert session(engine) != before
    # The clock is set back, and one more connection made.
    assert two_sessions(engine) == two_sessions(engine)
    engine.dispose()
    other.dispose()


def test_a_connection_on_which_the_server_said_something_is_kept_when_it_lives(database_url: str) -> None:
    engine, other = make_engine(database_url, pool_size=1), make_engine(database_url, pool_size=1)
    before = session(engine)
    with engine.begin() as connection:
        connection.execute(text("LISTEN something"))
    with other.begin() as connection:
        connection.execute(text("NOTIFY something"))
    assert session(engine) == before
    engine.dispose()
    other.dispose()


async def test_a_server_that_fell_silent_is_noticed_by_the_hot_paths(database_url: str) -> None:
    pool = make_async_pool(database_url, size=1)
    await pool.open()
    async with pool.connection() as connection:
        assert_silence_is_noticed(connection.fileno())
    await pool.close()


async def test_who_waits_for_a_database_that_is_away_hears_as_soon_as_it_is_back(database_url: str) -> None:
    url = make_url(database_url)
    assert url.port is not None
    link = Link("pool>postgres", [url.port])
    await link.open()
    link.spoil(Trouble.REFUSE)
    through = url.set(port=link.port).render_as_string(hide_password=False)
    async with make_async_pool(through, size=1) as pool:

        async def has_given_up(tries: int) -> None:
            async with asyncio.timeout(10):
                while (stats := pool.get_stats())["pool_size"] > 0 or stats["connections_errors"] < tries:
                    await asyncio.sleep(0.001)

        async def ask() -> object:
            async with borrowed(pool, timeout_seconds=15) as connection:
                return await (await connection.execute("SELECT 1")).fetchone()

        await has_given_up(2)
        waiting = asyncio.ensure_future(ask())
        await has_given_up(4)
        assert not waiting.done()
        link.heal()
        assert await waiting == (1,)
    await link.close()


async def test_who_waits_for_a_database_that_stays_away_hears_of_it() -> None:
    async with make_async_pool("postgresql://127.0.0.1:1/nowhere", size=1) as pool:
        with pytest.raises(PoolTimeout):
            async with borrowed(pool, timeout_seconds=1.2):
                pass


@pytest.mark.parametrize("make", [make_engine, make_pooled_engine])
def test_how_long_a_lock_is_waited_for_is_the_callers_to_say(
    database_url: str, make: Callable[..., Engine]
) -> None:
    engine = make(database_url, pool_size=1, lock_timeout_seconds=3)
    with engine.connect() as connection:
        assert connection.execute(text("SHOW lock_timeout")).scalar_one() == "3s"
    engine.dispose()


SERVERS_SIDE = """
    SELECT (SELECT setting::int FROM pg_settings WHERE name = 'tcp_keepalives_idle')
           + (SELECT setting::int FROM pg_settings WHERE name = 'tcp_keepalives_interval')
             * (SELECT setting::int FROM pg_settings WHERE name = 'tcp_keepalives_count'),
           (SELECT setting::int FROM pg_settings WHERE name = 'tcp_user_timeout')
"""


@pytest.mark.parametrize("path", ["cold", "hot"])
async def test_the_server_notices_that_we_fell_silent_idle_or_while_it_answers(
    database_url: str, path: str
) -> None:
    """Else a machine that vanished holds its locks, and a scheduler the leadership, for a quarter of an hour."""
    row: Any
    if path == "cold":
        engine = make_engine(database_url, pool_size=1)
        with engine.connect() as connection:
            row = connection.execute(text(SERVERS_SIDE)).one()
        engine.dispose()
    else:
        async with make_async_pool(database_url, size=1) as pool, pool.connection() as asynchronous:
            row = await (await asynchronous.execute(SERVERS_SIDE.encode())).fetchone()
    idle_seconds, unheard_ms = row
    assert 0 < idle_seconds <= NOTICED_WITHIN_SECONDS_MAX
    assert 0 < unheard_ms <= NOTICED_WITHIN_SECONDS_MAX * 1000
