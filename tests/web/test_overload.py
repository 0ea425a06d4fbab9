"""More than can be done is refused at once, and when there is less again, all is as before."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection

from domain import ledger
from tests.support.client import Reply
from tests.support.service import Service, serving_in_this_loop
from web import bridge


@contextmanager
def locked(service: Service, *user_ids: str) -> Iterator[None]:
    """Somebody else's transaction holds the balances of these people."""
    with psycopg.connect(service.books.url) as connection:
        connection.execute(
            "SELECT FROM credits.balances WHERE user_id = ANY (%s) FOR UPDATE", (list(user_ids),)
        )
        yield
        connection.rollback()


def assert_overloaded(reply: Reply) -> None:
    assert reply.status == 503, reply.brief
    assert reply.json["code"] == "overloaded"
    assert int(reply.headers["Retry-After"]) >= 1


@pytest.fixture
def small_queues(monkeypatch: pytest.MonkeyPatch) -> None:
    """Queues that are full with fewer requests than a test can send, and a wait for locks longer than a test."""
    monkeypatch.setattr(bridge, "LOCK_SECONDS_MAX", 60)
    monkeypatch.setattr(bridge, "DEDUCTIONS_WAITING_MAX", 20)
    monkeypatch.setattr(bridge, "READS_WAITING_MAX", 20)
    monkeypatch.setattr(bridge, "CALLERS_BATCHES_WAITING_MAX", 5)
    monkeypatch.setattr(bridge, "RUNS_WAITING_MAX", 20)


@asynccontextmanager
async def crowd(
    service: Service, count: int, request: Callable[[], Awaitable[Reply]]
) -> AsyncIterator[list[Reply]]:
    """So many requests while `anna` is locked; the answers stand in the list after the block."""
    replies: list[Reply] = []
    with locked(service, "anna"):
        sent = [asyncio.ensure_future(request()) for _ in range(count)]
        done, _ = await asyncio.wait(sent, timeout=30, return_when=asyncio.FIRST_COMPLETED)
        assert done, "nobody was refused while the others wait"
        for task in done:
            assert_overloaded(task.result())
        yield replies
    replies += await asyncio.gather(*sent)


def assert_some_done_some_refused(replies: list[Reply]) -> int:
    """Nothing but successes and refusals for overload; how many succeeded."""
    count = Counter(reply.status for reply in replies)
    assert set(count) == {200, 503}, count
    return count[200]


async def test_uses_beyond_the_queue_are_503_and_the_others_are_done(
    small_queues: None, database_url: str, redis_url: str
) -> None:
    async with serving_in_this_loop(database_url, redis_url) as service:
        await service.grant("anna", 1000)
        async with crowd(service, 400, lambda: service.use("anna", 1)) as replies:
            pass
        done = assert_some_done_some_refused(replies)
        assert await service.figures("anna") == (1000 - done, 1000, done)
        (await service.use("anna", 1)).ok()


async def test_a_crowd_on_a_balance_that_is_held_makes_nobody_else_overloaded(
    small_queues: None, database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bridge, "PERSONS_WAITING_MAX", 40)
    monkeypatch.setattr(bridge, "DEDUCTIONS_WAITING_MAX", bridge.PERSONS_SHARE_MAX + 1)
    async with serving_in_this_loop(database_url, redis_url) as service:
        for user_id in ("anna", "bert"):
            await service.grant(user_id, 1000)
        async with crowd(service, 400, lambda: service.use("anna", 1)) as replies:
            (await service.use("bert", 1)).ok()
        done = assert_some_done_some_refused(replies)
        assert await service.figures("anna") == (1000 - done, 1000, done)


async def test_batches_beyond_the_queue_are_503_and_the_others_are_done(
    small_queues: None, database_url: str, redis_url: str
) -> None:
    body = {"items": [{"userId": "anna", "amount": 1, "appId": "a", "description": "x"}]}
    async with serving_in_this_loop(database_url, redis_url) as service:
        await service.grant("anna", 1000)
        async with crowd(service, 20, lambda: service.internal("POST", "/use/batch", body)) as replies:
            pass
        done = assert_some_done_some_refused(replies)
        assert await service.figures("anna") == (1000 - done, 1000, done)


async def test_cold_requests_beyond_the_queue_are_503_and_the_others_are_done(
    small_queues: None, database_url: str, redis_url: str
) -> None:
    async with serving_in_this_loop(database_url, redis_url) as service:
        await service.grant("anna", 1000)
        async with crowd(service, 60, lambda: service.reserve("anna", 1)) as replies:
            pass
        done = assert_some_done_some_refused(replies)
        assert (await service.figures("anna"))[0] == 1000 - done


async def test_one_persons_locked_balance_does_not_hold_up_the_next_request_of_another(
    service: Service,
) -> None:
    for user_id in ("anna", "bert"):
        await service.grant(user_id, 10)
    with locked(service, "anna"):
        held_up = asyncio.ensure_future(service.use("anna", 1))
        await asyncio.sleep(0.01)
        (await asyncio.wait_for(service.use("bert", 1), 2)).ok()
        assert not held_up.done()
    (await held_up).ok()


async def test_many_requests_for_a_locked_balance_fail_alone_and_soon(service: Service) -> None:
    for user_id in ("anna", "bert"):
        await service.grant(user_id, 1000)
    with locked(service, "anna"):
        held_up = []
        for _ in range(12):
            held_up.append(asyncio.ensure_future(service.use("anna", 1)))
            await asyncio.sleep(0.06)
        (await asyncio.wait_for(service.use("bert", 1), 5)).ok()
        crowd = [service.use("anna" if n % 2 else "bert", 1) for n in range(40)]
        replies = await asyncio.wait_for(asyncio.gather(*crowd), 8)
        assert [reply.status for reply in replies] == [200, 503] * 20
        for reply in await asyncio.gather(*held_up):
            assert reply.status == 503, reply.brief
            assert int(reply.headers["Retry-After"]) >= 1
    assert await service.figures("anna") == (1000, 1000, 0)
    (await service.use("anna", 1)).ok()


async def test_cold_requests_for_a_locked_balance_leave_their_threads_soon(service: Service) -> None:
    for user_id in ("anna", "bert"):
        await service.grant(user_id, 10)
    with locked(service, "anna"):
        held_up = [asyncio.ensure_future(service.reserve("anna", 1)) for _ in range(bridge.THREADS)]
        (await asyncio.wait_for(service.reserve("bert", 1), 8)).ok()
        for reply in await asyncio.wait_for(asyncio.gather(*held_up), 8):
            assert reply.status == 503, reply.brief
            assert int(reply.headers["Retry-After"]) >= 1
    assert await service.figures("anna") == (10, 10, 0)


async def test_a_batch_with_a_locked_balance_in_it_does_the_rest(service: Service) -> None:
    for user_id in ("anna", "bert"):
        await service.grant(user_id, 10)
    items = [
        {"userId": user_id, "amount": 1, "appId": "a", "description": "x"}
        for user_id in ("bert", "anna", "nobody", "bert")
    ]
    with locked(service, "anna"):
        results = (await service.internal("POST", "/use/batch", {"items": items})).ok()["results"]
    assert [result["statusCode"] for result in results] == [200, 503, 404, 200]


async def test_the_free_in_a_list_wait_no_longer_for_many_who_are_held_than_for_one(service: Service) -> None:
    held = [f"held-{number:02}" for number in range(20)]
    for user_id in ("anna", *held, "zoe"):
        await service.grant(user_id, 10)
    items = [
        {"userId": user_id, "amount": 1, "appId": "a", "description": "x"}
        for user_id in ("zoe", *held, "nobody", "anna")
    ]
    with locked(service, *held):
        sent = service.internal("POST", "/use/batch", {"items": items})
        results = (await asyncio.wait_for(sent, 10)).ok()["results"]  # a second for each would be twenty
    assert [result["statusCode"] for result in results] == [200, *[503] * 20, 404, 200]
    assert await service.figures("anna") == (9, 10, 1)


async def test_who_is_held_at_the_first_look_alone_is_served_at_the_next(
    database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[set[str]] = []
    look = ledger.find_held_async

    async def look_and_release(connection: AsyncConnection[Any], user_ids: Collection[str]) -> set[str]:
        looks.append(await look(connection, user_ids))
        releases.close()
        return looks[-1]

    monkeypatch.setattr(ledger, "find_held_async", look_and_release)
    items = [
        {"userId": user_id, "amount": 1, "appId": "a", "description": "x"} for user_id in ("anna", "bert")
    ]
    async with serving_in_this_loop(database_url, redis_url) as service:
        for user_id in ("anna", "bert"):
            await service.grant(user_id, 10)
        with ExitStack() as releases:
            releases.enter_context(locked(service, "anna"))
            results = (await service.internal("POST", "/use/batch", {"items": items})).ok()["results"]
    assert [result["statusCode"] for result in results] == [200, 200]
    assert looks == [{"anna"}, set()]


async def test_reading_balances_does_not_wait_for_those_who_write_them(service: Service) -> None:
    await service.grant("anna", 10)
    with locked(service, "anna"):
        assert await asyncio.wait_for(service.figures("anna"), 2) == (10, 10, 0)
