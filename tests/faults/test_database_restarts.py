"""PostgreSQL goes away and comes back while people spend."""

import asyncio
import time
from collections.abc import Callable

from devkit.postgres import Postgres
from tests.faults.conftest import House, Open
from tests.faults.load import SECONDS, Told

OUTAGE_ANSWER_SECONDS_MAX = 12.0
RECOVERY_SECONDS_MAX = 10.0

KILLED_TIMES = 3
"""What a commit does not wait for is in the server's memory for a fifth of a second: each kill would lose it."""


async def test_the_database_restarted_and_killed_under_load_loses_and_invents_nothing(
    open_house: Open, own_postgres: Callable[[], Postgres], redis_url: str
) -> None:
    server = await asyncio.to_thread(own_postgres)
    async with open_house(server.url(), redis_url) as house:
        await house.load.prepare()
        spending = asyncio.ensure_future(house.load.run())
        await asyncio.sleep(SECONDS / 3)
        await asyncio.to_thread(server.restart)
        await asyncio.sleep(SECONDS / 3)
        server.kill()
        await asyncio.to_thread(server.start)
        await spending
        await recovers(house)
        house.load.assert_books_agree(house.books)


async def test_what_was_answered_a_moment_before_the_database_is_killed_is_there_afterwards(
    open_house: Open, own_postgres: Callable[[], Postgres], redis_url: str
) -> None:
    server = await asyncio.to_thread(own_postgres)
    async with open_house(server.url(), redis_url) as house:
        (await house.client.grant("anna", 100)).ok()
        for spent in range(1, KILLED_TIMES + 1):
            answer = (await house.client.use("anna", 1)).ok()
            server.kill()
            await asyncio.to_thread(server.start)
            found = "SELECT balance FROM credits.balances WHERE user_id = 'anna'"
            assert house.books.one(found) == answer["newBalance"]["balance"] == 100 - spent
            await answers_again(house, "anna")
        house.books.assert_they_add_up()


async def test_while_the_database_is_away_requests_are_503_and_afterwards_all_is_as_before(
    open_house: Open, own_postgres: Callable[[], Postgres], redis_url: str
) -> None:
    server = await asyncio.to_thread(own_postgres)
    async with open_house(server.url(), redis_url) as house:
        (await house.client.grant("anna", 100)).ok()
        await asyncio.to_thread(server.stop)
        began = time.monotonic()
        requests = [house.client.use("anna", 1), house.client.user("anna", "GET", "/balance")]
        requests += [house.client.grant("anna", 1, "other"), house.client.reserve("anna", 1)]
        for reply in await asyncio.gather(*requests):
            assert reply.status == 503, reply.brief
            assert int(reply.headers["Retry-After"]) >= 1
        assert time.monotonic() - began < OUTAGE_ANSWER_SECONDS_MAX
        assert house.process.answers()
        await asyncio.to_thread(server.start)
        await recovers(house)
        house.books.assert_they_add_up()
        spent = house.books.one("SELECT total_spent FROM credits.balances WHERE user_id = 'anna'")
        assert spent == 1


async def answers_again(house: House, user_id: str) -> None:
    """Within seconds, without anybody's help."""
    deadline = time.monotonic() + RECOVERY_SECONDS_MAX
    while (await house.client.internal("POST", "/init", {"userId": user_id})).status != 200:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


async def recovers(house: House) -> None:
    """It answers again, and a use succeeds."""
    user_id = "anna"
    await answers_again(house, user_id)
    await house.client.grant(user_id, 1, "recovered")
    (await house.client.use(user_id, 1, description="recovered")).ok()
    house.load.told["recovered"] = Told.UNKNOWN
