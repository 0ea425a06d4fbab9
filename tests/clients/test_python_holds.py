"""Blocks of the Python client that end badly: commits without an answer, put-backs that fail, cancellations."""

import asyncio
from collections.abc import Callable

import anyio
import pytest

from mana_credits_client import AsyncCreditsClient, BadRequest, CreditsClient, Patience, Unconfirmed
from tests.clients.test_python_client import client_of
from tests.faults.rig.proxy import Link, Trouble
from tests.support.client import SERVICE_KEY
from tests.support.service import Service

HASTY = Patience(timeout_seconds=1.5, first_pause_seconds=0.02, deadline_seconds=1.5)
"""Time enough for an answer on a good way."""


@pytest.mark.parametrize("is_past_the_hold", [False, True])
async def test_an_unconfirmed_commit_in_a_block_is_not_followed_by_putting_back(
    service: Service, link: Link, *, is_past_the_hold: bool
) -> None:
    (await service.grant("anna", 20)).ok()
    made: list[str] = []

    async def work(client: AsyncCreditsClient) -> None:
        async with client.reserve("anna", 5, "research:run-7") as hold:
            made.append(hold.reservation.id)
            link.spoil(Trouble.DROP)
            try:
                await (client.commit(hold.reservation.id) if is_past_the_hold else hold.commit())
            finally:
                link.heal()

    async with client_of(f"http://127.0.0.1:{link.port}", patience=HASTY) as client:
        with pytest.raises(Unconfirmed) as raised:
            await work(client)
    assert "commit it again" in raised.value.__notes__[0]
    async with client_of(service.url) as client:
        await client.commit(made[0])
    assert await service.figures("anna") == (15, 20, 5)


async def test_the_synchronous_client_does_not_put_back_after_an_unconfirmed_commit_either(
    service: Service, link: Link
) -> None:
    (await service.grant("anna", 20)).ok()
    loop = asyncio.get_running_loop()
    made: list[str] = []

    async def now(step: Callable[[], None]) -> None:
        step()

    def work(client: CreditsClient) -> None:
        with client.reserve("anna", 5, "research:run-7") as hold:
            made.append(hold.reservation.id)
            asyncio.run_coroutine_threadsafe(now(lambda: link.spoil(Trouble.DROP)), loop).result()
            with pytest.raises(Unconfirmed):
                hold.commit()
            asyncio.run_coroutine_threadsafe(now(link.heal), loop).result()
            raise KeyError("what the app does after its commit")

    def run() -> None:
        url = f"http://127.0.0.1:{link.port}"
        with CreditsClient(url, service_key=SERVICE_KEY, app_id="chat", patience=HASTY) as client:
            with pytest.raises(KeyError):
                work(client)
            client.commit(made[0])

    await asyncio.to_thread(run)
    assert await service.figures("anna") == (15, 20, 5)


async def test_a_block_that_goes_on_after_an_unconfirmed_commit_commits_at_its_end(
    service: Service, link: Link
) -> None:
    (await service.grant("anna", 20)).ok()
    async with (
        client_of(f"http://127.0.0.1:{link.port}", patience=HASTY) as client,
        client.reserve("anna", 5, "research:run-7") as hold,
    ):
        link.spoil(Trouble.DROP)
        with pytest.raises(Unconfirmed):
            await hold.commit()
        link.heal()
    assert await service.figures("anna") == (15, 20, 5)


async def test_a_refused_commit_in_a_block_is_followed_by_putting_back(service: Service) -> None:
    (await service.grant("anna", 20)).ok()
    async with client_of(service.url) as client:
        with pytest.raises(BadRequest):
            async with client.reserve("anna", 5, "research:run-7") as hold:
                await hold.commit(description="x" * 2001)
    assert await service.figures("anna") == (20, 20, 0)


async def test_a_put_back_that_fails_in_any_way_leaves_the_blocks_own_exception(service: Service) -> None:
    (await service.grant("anna", 20)).ok()

    async def work(client: AsyncCreditsClient) -> None:
        async with client.reserve("anna", 5, "research:run-7"):
            await client.close()
            raise KeyError

    with pytest.raises(KeyError) as raised:
        await work(client_of(service.url))
    assert "was not put back" in raised.value.__notes__[0]


async def something_is_held_up(link: Link) -> None:
    async with asyncio.timeout(30):
        while not link._dirty:
            await asyncio.sleep(0.01)


async def cancelled_often(task: asyncio.Task[None]) -> None:
    """Each time, what the task does about it has its turn."""
    for _ in range(5):
        task.cancel()
        await asyncio.sleep(0)


async def test_a_block_that_is_cancelled_again_and_again_puts_back(service: Service, link: Link) -> None:
    (await service.grant("anna", 20)).ok()
    inside = asyncio.Event()

    async def work(client: AsyncCreditsClient) -> None:
        async with client.reserve("anna", 5, "research:run-7"):
            inside.set()
            await asyncio.Event().wait()

    async with client_of(f"http://127.0.0.1:{link.port}") as client:
        task = asyncio.create_task(work(client))
        await inside.wait()
        link.spoil(Trouble.DROP)
        task.cancel()
        await something_is_held_up(link)
        await cancelled_often(task)
        link.heal()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await service.figures("anna") == (20, 20, 0)


async def test_a_block_in_a_scope_that_cancels_every_wait_puts_back(service: Service) -> None:
    (await service.grant("anna", 20)).ok()
    async with client_of(service.url) as client:
        with anyio.CancelScope() as scope:
            async with client.reserve("anna", 5, "research:run-7"):
                scope.cancel()
                await anyio.sleep_forever()
        assert scope.cancelled_caught
    assert await service.figures("anna") == (20, 20, 0)


async def test_who_is_cancelled_while_reserving_leaves_nothing_set_aside(
    service: Service, link: Link
) -> None:
    (await service.grant("anna", 20)).ok()
    link.spoil(Trouble.HALF_OPEN)

    async def work(client: AsyncCreditsClient) -> None:
        async with client.reserve("anna", 5, "research:run-7"):
            raise AssertionError("the block was entered")

    async with client_of(f"http://127.0.0.1:{link.port}") as client:
        task = asyncio.create_task(work(client))
        async with asyncio.timeout(30):
            while not link.answers_lost:
                await asyncio.sleep(0.01)
        await cancelled_often(task)
        link.heal()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert service.books.one("SELECT count(*) FROM credits.reservations") == 1
    assert await service.figures("anna") == (20, 20, 0)


@pytest.mark.parametrize("is_in_the_block", [False, True])
async def test_who_is_cancelled_while_committing_has_paid_for_the_work(
    service: Service, link: Link, *, is_in_the_block: bool
) -> None:
    (await service.grant("anna", 20)).ok()

    async def work(client: AsyncCreditsClient) -> None:
        async with client.reserve("anna", 5, "research:run-7") as hold:
            link.spoil(Trouble.DROP)
            if is_in_the_block:
                await hold.commit()

    async with client_of(f"http://127.0.0.1:{link.port}") as client:
        task = asyncio.create_task(work(client))
        await something_is_held_up(link)
        await cancelled_often(task)
        link.heal()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await service.figures("anna") == (15, 20, 5)


async def test_a_cancellation_says_which_commit_before_it_was_not_answered(
    service: Service, link: Link, caplog: pytest.LogCaptureFixture
) -> None:
    (await service.grant("anna", 20)).ok()

    async def work(client: AsyncCreditsClient) -> None:
        async with client.reserve("anna", 5, "research:run-7"):
            link.spoil(Trouble.DROP)

    async with client_of(f"http://127.0.0.1:{link.port}", patience=HASTY) as client:
        task = asyncio.create_task(work(client))
        await something_is_held_up(link)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as raised:
            await task
    assert isinstance(raised.value.__cause__, Unconfirmed)
    assert str(raised.value.__cause__.key).startswith("commit-")
    assert "whose caller was cancelled failed: commit: no answer" in caplog.text
