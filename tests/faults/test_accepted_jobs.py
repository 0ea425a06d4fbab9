"""Accepted is durable: what a caller asked for is done, though Redis, workers or PostgreSQL were away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from devkit.postgres import Postgres
from devkit.valkey import Valkey
from tests.faults.conftest import House, Open
from tests.support.client import SERVICE_KEY, Reply
from tests.support.crew import Crew

REFUND = {"userId": "anna", "amount": 2, "description": "It failed", "idempotencyKey": "k"}
DONE_WITHIN_SECONDS = 20.0


def workers_on(database_url: str, redis_url: str, directory: Path) -> Crew:
    environment = {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
    return Crew("workers", "worker_ready", environment, directory / "workers.log")


async def refund(house: House, prefer: str) -> Reply:
    return await house.client.internal("POST", "/refund", REFUND, headers={"Prefer": prefer})


async def is_done(house: House, place: str) -> bool:
    reply = await house.client.call("GET", place, headers={"X-Service-Key": SERVICE_KEY})
    return bool(reply.ok()["status"] == "done")


async def test_a_refund_asked_for_without_redis_and_workers_is_accepted_and_done_when_they_are_back(
    open_house: Open, own_valkey: Callable[[], Valkey], database_url: str, tmp_path: Path
) -> None:
    server = await asyncio.to_thread(own_valkey)
    crew = workers_on(database_url, server.url(), tmp_path)
    async with open_house(database_url, server.url()) as house:
        await house.client.grant("anna", 10)
        await asyncio.to_thread(server.stop)
        accepted = await refund(house, "wait=1")
        assert accepted.status == 202
        await asyncio.to_thread(server.start)
        began = time.monotonic()
        try:
            await asyncio.to_thread(crew.start)
            while not await is_done(house, accepted.headers["Location"]):
                assert time.monotonic() - began < DONE_WITHIN_SECONDS
                await asyncio.sleep(0.1)
            print(f"done {time.monotonic() - began:.1f} s after Redis was back")
            again = await refund(house, "wait=20")
        finally:
            await asyncio.to_thread(crew.kill)
        assert again.ok()["newBalance"] == {"balance": 12}
        assert await house.client.figures("anna") == (12, 10, 0)
        house.books.assert_they_add_up()


async def test_a_caller_who_waits_hears_the_result_though_the_database_was_restarted_meanwhile(
    open_house: Open, own_postgres: Callable[[], Postgres], redis_url: str, tmp_path: Path
) -> None:
    server = await asyncio.to_thread(own_postgres)
    crew = workers_on(server.url(), redis_url, tmp_path)
    async with open_house(server.url(), redis_url) as house:
        await house.client.grant("anna", 10)
        waiting = asyncio.ensure_future(refund(house, "wait=40"))
        added = partial(house.books.one, "SELECT count(*) FROM ops.jobs")
        while not await asyncio.to_thread(added):
            await asyncio.sleep(0.05)
        await asyncio.to_thread(server.stop)
        await asyncio.sleep(0.5)  # some looks that find no database
        await asyncio.to_thread(server.start)
        try:
            await asyncio.to_thread(crew.start)
            assert (await waiting).ok()["newBalance"] == {"balance": 12}
        finally:
            await asyncio.to_thread(crew.kill)
        house.books.assert_they_add_up()
