"""Many uses in one request: an outcome for each, in order, and none fails for its neighbours."""

import asyncio
from typing import Any

import psycopg

from tests.support.service import Service, serving_in_this_loop
from tests.support.shapes import assert_transaction

FULL = 999_999_999_999_999

BREAKS_OFF = """
    CREATE FUNCTION breaks_off() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'a deadlock' USING ERRCODE = 'deadlock_detected'; END $$"""
"""As PostgreSQL does with one of two who wait for each other."""


def item(user_id: str = "anna", amount: float = 1, **body: Any) -> dict[str, Any]:
    return {"userId": user_id, "amount": amount, "appId": "chat", "description": "x", **body}


async def send(service: Service, *items: dict[str, Any]) -> list[dict[str, Any]]:
    body = (await service.internal("POST", "/use/batch", {"items": list(items)})).ok()
    assert set(body) == {"results"}
    assert len(body["results"]) == len(items)
    results: list[dict[str, Any]] = body["results"]
    return results


async def test_outcomes_come_in_the_order_of_the_items(service: Service) -> None:
    for user_id, amount in (("anna", 10), ("bert", 1), ("zoe", 5)):
        await service.grant(user_id, amount)
    results = await send(
        service,
        item("zoe", 2),
        item("nobody"),
        item("anna", 0.5),
        item("bert", 3),
        item("anna", 4),
        item("bert", 1),
    )
    assert [result["statusCode"] for result in results] == [200, 404, 200, 402, 200, 200]
    assert [result["success"] for result in results] == [True, False, True, False, True, True]
    assert results[1]["message"] == "User balance not found"
    assert results[3]["message"] == "Insufficient credits"
    assert results[3]["details"] == {"required": 3, "available": 1}
    assert_transaction(results[4]["transaction"], userId="anna", type="usage", amount=-4)
    assert [str(result["newBalance"]["balance"]) for result in (results[2], results[4])] == ["9.5", "5.5"]


async def test_items_of_one_user_are_done_in_their_order(service: Service) -> None:
    await service.grant("anna", 10)
    results = await send(service, item(amount=8), item(amount=3), item(amount=2), item(amount=1))
    assert [result["statusCode"] for result in results] == [200, 402, 200, 402]


async def test_a_key_that_stands_twice_in_a_batch_takes_effect_once(service: Service) -> None:
    await service.grant("anna", 10)
    await service.grant("bert", 10)
    twice = item(amount=2, idempotencyKey="k")
    first, other_user, again, reused = await send(
        service, twice, item("bert", 2, idempotencyKey="k"), twice, item(amount=3, idempotencyKey="k")
    )
    assert first["transaction"] == again["transaction"] != other_user["transaction"]
    assert again["message"] == "Transaction already processed"
    assert (reused["statusCode"], reused["message"]) == (
        422,
        "Idempotency key was used with a different request",
    )
    assert await service.figures("anna") == (8, 10, 2)
    assert await service.figures("bert") == (8, 10, 2)


async def test_two_equal_items_without_a_key_are_two_uses(service: Service) -> None:
    await service.grant("anna", 10)
    results = await send(service, item(amount=2), item(amount=2))
    assert results[0]["transaction"]["id"] != results[1]["transaction"]["id"]
    assert await service.figures("anna") == (6, 10, 4)


async def test_a_key_refused_for_want_of_credits_is_free_for_a_later_item(service: Service) -> None:
    await service.grant("anna", 2)
    results = await send(service, item(amount=3, idempotencyKey="k"), item(amount=2, idempotencyKey="k"))
    assert [result["statusCode"] for result in results] == [402, 200]


async def test_a_repeated_batch_does_nothing_more(service: Service) -> None:
    await service.grant("anna", 10)
    items = [item(amount=1, idempotencyKey=f"k-{n}") for n in range(5)]
    first = await send(service, *items)
    second = await send(service, *items)
    assert [result["transaction"] for result in second] == [result["transaction"] for result in first]
    assert await service.figures("anna") == (5, 10, 5)


async def test_an_item_that_the_database_refuses_fails_alone(service: Service) -> None:
    service.has_defects = True
    await service.grant("anna", 10)
    _fill(service, "full")
    results = await send(service, item(amount=1), item("full", 5), item(amount=2))
    assert [result["statusCode"] for result in results] == [200, 500, 200]
    assert results[1] == {
        "statusCode": 500,
        "success": False,
        "message": "Internal server error",
        "code": "internal_error",
    }
    assert await service.figures("anna") == (7, 10, 3)


async def test_a_use_that_the_database_refuses_does_not_fail_those_of_its_batch(service: Service) -> None:
    service.has_defects = True
    await service.grant("anna", 100)
    _fill(service, "full")
    users = ["anna", "full"] * 20
    replies = await asyncio.gather(*[service.use(user_id, 1) for user_id in users])
    assert [reply.status for reply in replies] == [200, 500] * 20
    assert await service.figures("anna") == (80, 100, 20)


async def test_five_hundred_items_are_one_request(service: Service) -> None:
    users = [f"user-{n}" for n in range(50)]
    await asyncio.gather(*[service.grant(user_id, 9) for user_id in users])
    results = await send(service, *[item(users[n % 50]) for n in range(500)])
    assert [result["statusCode"] for result in results] == [200] * 450 + [402] * 50


async def test_the_header_names_the_batch_so_that_a_repeat_does_nothing_more(service: Service) -> None:
    await service.grant("anna", 10)
    body = {"items": [item(amount=1), item(amount=1), item(amount=2, idempotencyKey="own")]}
    headers = {"Idempotency-Key": "batch-1"}
    first = (await service.internal("POST", "/use/batch", body, headers=headers)).ok()["results"]
    assert await service.figures("anna") == (6, 10, 4)
    second = (await service.internal("POST", "/use/batch", body, headers=headers)).ok()["results"]
    assert [each["transaction"] for each in second] == [each["transaction"] for each in first]
    assert await service.figures("anna") == (6, 10, 4)


def _fill(service: Service, user_id: str) -> None:
    """Somebody who has spent so much that the column takes no more: the database itself refuses."""
    service.books.rows(
        "INSERT INTO credits.balances (user_id, balance, total_spent) VALUES (%s, 10, %s)", user_id, FULL
    )


async def test_an_item_that_the_database_breaks_off_again_and_again_is_an_outage_and_no_defect(
    database_url: str, redis_url: str
) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(BREAKS_OFF)
        connection.execute(
            "CREATE TRIGGER breaks_off BEFORE INSERT ON credits.transactions"
            " FOR EACH ROW WHEN (NEW.user_id = 'anna' AND NEW.type = 'usage') EXECUTE FUNCTION breaks_off()"
        )
    async with serving_in_this_loop(database_url, redis_url) as service:
        for user_id in ("anna", "bert"):
            await service.grant(user_id, 10)
        broken_off, done = await send(service, item("anna"), item("bert"))
    assert (broken_off["statusCode"], broken_off["code"]) == (503, "database_unavailable")
    assert done["statusCode"] == 200
