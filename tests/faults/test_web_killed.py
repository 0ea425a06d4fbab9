"""The web process dies while people spend."""

import asyncio

import psycopg

from tests.faults.conftest import Open
from tests.faults.load import SECONDS


async def test_the_web_process_killed_twice_under_load_loses_and_invents_nothing(
    open_house: Open, database_url: str, redis_url: str
) -> None:
    async with open_house(database_url, redis_url) as house:
        await house.load.prepare()
        spending = asyncio.ensure_future(house.load.run())
        for _ in range(2):
            await asyncio.sleep(SECONDS / 3)
            house.process.kill()
            await asyncio.to_thread(house.process.start)
        await spending
        house.load.assert_books_agree(house.books)
        assert sum(count for what, count in house.load.statuses.items() if isinstance(what, str)) > 0


async def test_a_request_under_way_when_a_deployment_ends_the_process_is_answered(
    open_house: Open, database_url: str, redis_url: str
) -> None:
    async with open_house(database_url, redis_url) as house:
        (await house.client.grant("anna", 10)).ok()
        with psycopg.connect(database_url) as connection:
            connection.execute("SELECT FROM credits.balances FOR UPDATE")
            under_way = asyncio.ensure_future(house.client.use("anna", 1))
            await asyncio.sleep(0.3)
            stopping = asyncio.ensure_future(asyncio.to_thread(house.process.stop))
            await asyncio.sleep(0.3)
            connection.rollback()
        assert (await under_way).ok()["newBalance"]["balance"] == 9
        assert await stopping == 0


async def test_a_deployment_under_load_ends_what_is_under_way_and_loses_nothing(
    open_house: Open, database_url: str, redis_url: str
) -> None:
    async with open_house(database_url, redis_url) as house:
        await house.load.prepare()
        spending = asyncio.ensure_future(house.load.run(3))
        await asyncio.sleep(1.5)
        assert await asyncio.to_thread(house.process.stop) == 0
        await asyncio.to_thread(house.process.start)
        await spending
        house.load.assert_books_agree(house.books)
