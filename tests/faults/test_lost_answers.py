"""PostgreSQL's answer never arrives: what became of the request is asked, and told as if nothing had happened."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import make_url

from devkit.postgres import Postgres
from devkit.waiting import wait_until
from domain.database import make_engine
from tests.faults.rig.proxy import Link, Trouble
from tests.support.books import Books
from tests.support.ledger import post, take
from tests.support.service import Service, serving_in_this_loop
from web import deductions

CONNECTIONS = 10
"""More than the front has for deductions: each has prepared its statement once there were as many uses."""


@asynccontextmanager
async def service_behind_a_link(database_url: str, redis_url: str) -> AsyncIterator[tuple[Service, Link]]:
    url = make_url(database_url)
    assert url.port is not None
    link = Link("web>postgres", [url.port])
    await link.open()
    through = url.set(port=link.port).render_as_string(hide_password=False)
    try:
        # The link runs in this loop, where the books may not be looked at through it.
        async with serving_in_this_loop(through, redis_url, has_books=False) as service:
            try:
                yield service, link
            finally:
                link.heal()
    finally:
        await link.close()
    Books(database_url).assert_they_add_up()


async def test_a_use_whose_answer_was_lost_is_told_what_it_left_and_not_what_others_left_since(
    database_url: str, redis_url: str
) -> None:
    books = Books(database_url)
    async with service_behind_a_link(database_url, redis_url) as (service, link):
        (await service.grant("anna", 10 + CONNECTIONS)).ok()
        for _ in range(CONNECTIONS + 1):
            (await service.use("anna", 1)).ok()
        link.spoil(Trouble.HALF_OPEN)
        under_way = asyncio.ensure_future(service.use("anna", 2, description="lost"))
        query = "SELECT count(*) FROM credits.transactions WHERE description = 'lost'"
        assert await asyncio.to_thread(wait_until, lambda: books.one(query) == 1, 10)
        engine = make_engine(database_url, pool_size=1)
        await asyncio.to_thread(post, engine, take("anna", 3))
        engine.dispose()
        link.heal()
        told = (await under_way).ok()
        assert told["transaction"]["balanceAfter"] == 7
        assert told["newBalance"] == {"balance": 7, "totalSpent": CONNECTIONS + 3}


async def test_a_use_that_never_arrived_is_sent_again(database_url: str, redis_url: str) -> None:
    books = Books(database_url)
    async with service_behind_a_link(database_url, redis_url) as (service, link):
        (await service.grant("anna", 10)).ok()
        link.spoil(Trouble.DROP)
        under_way = asyncio.ensure_future(service.use("anna", 2, description="once"))
        await asyncio.sleep(0.3)
        link.heal()
        assert (await under_way).ok()["newBalance"]["balance"] == 8
        query = "SELECT count(*) FROM credits.transactions WHERE description = 'once'"
        assert books.one(query) == 1


async def test_a_use_is_not_sent_again_while_the_server_process_that_had_it_does_not_end(
    own_postgres: Callable[[], Postgres], redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deductions, "ASK_SECONDS_MAX", 3.0)
    monkeypatch.setattr(deductions, "ENDING_SECONDS_MAX", 0.2)
    server = await asyncio.to_thread(own_postgres)
    books = Books(server.url())
    async with service_behind_a_link(server.url(), redis_url) as (service, link):
        (await service.grant("anna", 10)).ok()
        ours = "SELECT pid FROM pg_stat_activity WHERE starts_with(application_name, 'mana-web-')"
        processes = [pid for (pid,) in books.rows(ours)]
        for pid in processes:
            os.kill(pid, signal.SIGSTOP)
        try:
            link.reset()
            lost = await service.use("anna", 2)
            assert lost.status == 503, lost.brief
            assert lost.json["code"] == "database_unavailable"
        finally:
            for pid in processes:
                os.kill(pid, signal.SIGCONT)
        assert (await service.use("anna", 3)).ok()["newBalance"]["balance"] == 7
