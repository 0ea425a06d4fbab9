"""Spending needs PostgreSQL alone."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from devkit.valkey import Valkey
from tests.faults.conftest import Open
from tests.support.client import USER, Client
from tests.support.service import serving_in_this_loop


async def spend_in_every_way(client: Client) -> None:
    """Each call on the way of a credit from its grant to its end, refunds aside: those are jobs."""
    (await client.internal("POST", "/init", {"userId": "anna"})).ok()
    (await client.grant("anna", 10)).ok()
    (await client.use("anna", 1, idempotencyKey="k")).ok()
    (await client.use("anna", 1, idempotencyKey="k")).ok()
    item = {"userId": "anna", "amount": 1, "appId": "a", "description": "x"}
    (await client.internal("POST", "/use", item)).ok()
    (await client.internal("POST", "/use/batch", {"items": [item]})).ok()
    for path in ("/commit", "/refund-reservation"):
        reservation = (await client.reserve("anna", 2)).ok()["reservationId"]
        (await client.internal("POST", path, {"reservationId": reservation})).ok()
    (await client.use("anna", 100)).refused(402, "Insufficient credits")
    assert await client.figures("anna") == (5, 10, 5)
    (await client.user("anna", "GET", "/transactions")).ok()
    (await client.call("GET", f"{USER}/packages")).ok()


async def test_spending_works_with_redis_stopped(
    open_house: Open, own_valkey: Callable[[], Valkey], database_url: str
) -> None:
    server = await asyncio.to_thread(own_valkey)
    async with open_house(database_url, server.url()) as house:
        (await house.client.call("GET", "/ready")).ok()
        await asyncio.to_thread(server.stop)
        await asyncio.wait_for(spend_in_every_way(house.client), 10)
        assert (await house.client.call("GET", "/ready")).status == 503
        house.books.assert_they_add_up()


async def test_a_service_that_never_reached_redis_spends(open_house: Open, database_url: str) -> None:
    async with open_house(database_url, "redis://127.0.0.1:9/0") as house:
        await asyncio.wait_for(spend_in_every_way(house.client), 10)
        house.books.assert_they_add_up()


async def test_spending_does_not_as_much_as_connect_to_redis(database_url: str) -> None:
    async with counting_listener() as (url, connections), serving_in_this_loop(database_url, url) as service:
        await spend_in_every_way(service)
        assert connections == []


async def test_a_redis_that_accepts_and_says_nothing_does_not_hold_up_spending(
    open_house: Open, database_url: str
) -> None:
    async with counting_listener() as (url, _), open_house(database_url, url) as house:
        await asyncio.wait_for(spend_in_every_way(house.client), 10)


@asynccontextmanager
async def counting_listener() -> AsyncIterator[tuple[str, list[str]]]:
    """A Redis that accepts, remembers who came, and never answers."""
    connections: list[str] = []
    open_writers: list[asyncio.StreamWriter] = []

    async def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(str(writer.get_extra_info("peername")))
        open_writers.append(writer)

    listener = socket.create_server(("127.0.0.1", 0))
    server = await asyncio.start_server(accept, sock=listener)
    try:
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0", connections
    finally:
        for writer in open_writers:
            writer.close()
        server.close()
        await server.wait_closed()
