"""How long an answer takes does not tell what there is.

Two kinds of requests are sent in pairs, in an order that a coin decides, and it is counted how often the one took
longer: half of the times, if nothing tells them apart.  However slow the machine is, it is as slow for both.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from uuid import uuid4

from argon2 import PasswordHasher

from domain.logins import Login, Role, login_of
from tests.support.jobs import engine_on
from tests.support.service import Service, serving_in_this_loop
from tests.support.world import World, make_world

PAIRS = 200
FAR_FROM_HALF = 0.2
"""Of 200 fair coins a share this far from a half is met once in some hundred million tries."""

Ask = Callable[[], Awaitable[object]]


async def share_in_which_the_first_is_slower(first: Ask, second: Ask, *, pairs: int = PAIRS) -> float:
    for ask in (first, second):
        await ask()  # what is made once is made now
    slower = 0.0
    for _ in range(pairs):
        seconds: dict[Ask, float] = {}
        for ask in random.sample((first, second), 2):
            began = time.perf_counter()
            await ask()
            seconds[ask] = time.perf_counter() - began
        slower += seconds[first] > seconds[second]
    return slower / pairs


async def test_the_measure_tells_what_can_be_told() -> None:
    long, short = (lambda: asyncio.sleep(0.025)), (lambda: asyncio.sleep(0.001))
    assert await share_in_which_the_first_is_slower(long, short, pairs=40) > 0.5 + FAR_FROM_HALF
    assert await share_in_which_the_first_is_slower(short, long, pairs=40) < 0.5 - FAR_FROM_HALF


async def test_a_strangers_id_takes_as_long_as_an_id_that_nobody_has(
    database_url: str, redis_url: str
) -> None:
    with engine_on(database_url) as engine:
        world: World = make_world(engine)
    async with serving_in_this_loop(database_url, redis_url, has_books=False) as service:

        def ask(method: str, path: str) -> Ask:
            return lambda: service.call(method, path, headers=service.as_user("mallory"))

        for method, path, known in (
            ("GET", "/api/v1/credits/purchase", world.purchase_id),
            ("DELETE", "/api/v1/gifts", world.open_gift.id),
        ):
            share = await share_in_which_the_first_is_slower(
                ask(method, f"{path}/{known}"), ask(method, f"{path}/{uuid4()}")
            )
            assert abs(share - 0.5) < FAR_FROM_HALF, f"{method} {path}: {share}"


async def test_a_wrong_service_key_takes_as_long_when_nearly_all_of_it_is_right(service: Service) -> None:
    def ask(key: str) -> Ask:
        return lambda: service.call("GET", "/api/v1/internal/jobs/x", headers={"X-Service-Key": key})

    right = "service-key-of-the-test"
    share = await share_in_which_the_first_is_slower(ask(right + "?"), ask("?" * (len(right) + 1)))
    assert abs(share - 0.5) < FAR_FROM_HALF, share


async def test_an_operators_name_that_is_unknown_takes_as_long_as_a_wrong_password() -> None:
    """Whatever the hashes cost that operators have: here next to nothing."""
    cheap = PasswordHasher(time_cost=1, memory_cost=256, parallelism=1)
    logins = (Login("anna", Role.VIEWER, cheap.hash("a password of anna's")),)

    def ask(name: str) -> Ask:
        return lambda: asyncio.sleep(0, login_of(logins, name, "a wrong password"))

    share = await share_in_which_the_first_is_slower(ask("anna"), ask("nobody"))
    assert abs(share - 0.5) < FAR_FROM_HALF, share
