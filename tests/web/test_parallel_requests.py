"""Parallel requests never fail for being parallel: contract, section 8."""

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterable
from typing import Any

import pytest

from tests.support.client import Reply
from tests.support.service import Service


async def at_once(requests: Iterable[Coroutine[Any, Any, Reply]]) -> list[Reply]:
    return await asyncio.gather(*requests)


def statuses(replies: list[Reply]) -> Counter[int]:
    return Counter(reply.status for reply in replies)


@pytest.mark.parametrize("times", range(5))
async def test_eight_first_reads_of_a_new_user_all_see_zeros(service: Service, times: int) -> None:
    reads = [service.user("anna", "GET", "/balance") for _ in range(4)]
    reads += [service.internal("GET", "/balance/anna") for _ in range(4)]
    for reply in await at_once(reads):
        assert reply.ok()["balance"] == 0
    assert service.books.one("SELECT count(*) FROM credits.balances") == 1


async def test_eight_inits_of_a_new_user_get_one_row(service: Service) -> None:
    replies = await at_once(service.internal("POST", "/init", {"userId": "anna"}) for _ in range(8))
    assert len({reply.raw for reply in replies}) == 1
    assert statuses(replies) == {200: 8}


async def test_eight_equal_grants_to_a_new_user_are_one_and_all_say_its_balance(service: Service) -> None:
    replies = await at_once(service.grant("anna", 25, "issue-1") for _ in range(8))
    assert [reply.ok()["newBalance"] for reply in replies] == [25] * 8
    assert Counter(reply.json["alreadyGranted"] for reply in replies) == {False: 1, True: 7}
    assert await service.figures("anna") == (25, 25, 0)


async def test_eight_equal_grants_with_one_key_get_the_same_answer(service: Service) -> None:
    replies = await at_once(service.grant("anna", 25, "issue-1", idempotencyKey="k") for _ in range(8))
    assert len({reply.raw for reply in replies}) == 1
    assert replies[0].ok()["alreadyGranted"] is False


async def test_eight_equal_keys_on_a_new_user_are_refused_alike_and_leave_the_key_free(
    service: Service,
) -> None:
    for reply in await at_once(service.use("anna", 1, idempotencyKey="k") for _ in range(8)):
        reply.refused(404, "User balance not found")
    await service.grant("anna", 5)
    replies = await at_once(service.use("anna", 1, idempotencyKey="k") for _ in range(8))
    assert len({reply.ok()["transaction"]["id"] for reply in replies}) == 1
    assert sum("newBalance" in reply.json for reply in replies) == 1
    assert await service.figures("anna") == (4, 5, 1)


async def test_eight_equal_keys_with_two_requests_take_effect_once(service: Service) -> None:
    await service.grant("anna", 10)
    replies = await at_once(service.use("anna", 1 + n % 2, idempotencyKey="k") for n in range(8))
    assert statuses(replies) == {200: 4, 422: 4}
    assert len({reply.json["transaction"]["id"] for reply in replies if reply.status == 200}) == 1


async def test_parallel_uses_spend_what_is_there_and_no_thousandth_more(service: Service) -> None:
    await service.grant("anna", 10)
    replies = await at_once(service.use("anna", 0.3) for _ in range(64))
    assert statuses(replies) == {200: 33, 402: 31}
    assert [str(figure) for figure in await service.figures("anna")] == ["0.1", "10", "9.9"]
    ids = [reply.json["transaction"]["id"] for reply in replies if reply.status == 200]
    assert (
        service.books.one("SELECT count(*) FROM credits.transactions WHERE id = ANY (%s::uuid[])", ids) == 33
    )


async def test_uses_reservations_and_commits_at_once_never_overspend(service: Service) -> None:
    await service.grant("anna", 50)
    held = [
        reply.ok()["reservationId"] for reply in await at_once(service.reserve("anna", 1) for _ in range(10))
    ]
    replies = await at_once(
        [
            *(service.use("anna", 1) for _ in range(30)),
            *(service.reserve("anna", 1) for _ in range(30)),
            *(service.internal("POST", "/commit", {"reservationId": each}) for each in held),
            *(service.internal("POST", "/refund-reservation", {"reservationId": each}) for each in held),
        ]
    )
    used, reserved, resolved = replies[:30], replies[30:60], replies[60:]
    assert statuses(resolved) == {200: 10, 400: 10}
    assert set(statuses(used)) | set(statuses(reserved)) <= {200, 402}
    balance, _, spent = await service.figures("anna")
    commits = statuses(resolved[:10])[200]
    assert spent == statuses(used)[200] + commits
    assert balance == 50 - spent - statuses(reserved)[200] >= 0


@pytest.mark.parametrize(("path", "figures"), [("/commit", (6, 10, 4)), ("/refund-reservation", (10, 10, 0))])
async def test_a_hundred_callers_resolve_one_reservation_once(
    service: Service, path: str, figures: tuple[int, int, int]
) -> None:
    await service.grant("anna", 10)
    body = {"reservationId": (await service.reserve("anna", 4)).ok()["reservationId"]}
    replies = await at_once(service.internal("POST", path, body) for _ in range(100))
    assert statuses(replies) == {200: 1, 400: 99}
    assert await service.figures("anna") == figures


async def test_two_hundred_uses_of_a_hot_user_do_not_starve_the_others(service: Service) -> None:
    others = [f"user-{n}" for n in range(10)]
    await at_once(service.grant(user_id, 1000) for user_id in ("hot", *others))
    hot = [asyncio.ensure_future(service.use("hot", 1)) for _ in range(200)]
    await asyncio.sleep(0)
    replies = await at_once(service.use(user_id, 1) for user_id in others)
    assert statuses(replies) == {200: 10}
    assert statuses(await asyncio.gather(*hot)) == {200: 200}
    assert await service.figures("hot") == (800, 1000, 200)


async def test_answers_of_parallel_uses_tell_of_different_moments(service: Service) -> None:
    await service.grant("anna", 100)
    replies = await at_once(service.use("anna", 1) for _ in range(50))
    assert sorted(reply.ok()["newBalance"]["balance"] for reply in replies) == list(range(50, 100))
