"""What a user's calls answer and do: contract, section 3, "Credits (user)"."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from tests.support.client import USER
from tests.support.service import Service
from tests.support.shapes import BALANCE_KEYS, assert_transaction, is_id, is_timestamp

PACKAGE_KEYS = {
    *("id", "name", "description", "credits", "priceEuroCents", "stripePriceId", "active"),
    *("sortOrder", "metadata", "createdAt", "updatedAt"),
}


async def test_a_user_never_seen_has_zeros_and_the_row_comes_into_being(service: Service) -> None:
    reply = await service.user("anna", "GET", "/balance")
    assert reply.status == 200
    assert reply.json == {"balance": 0, "totalEarned": 0, "totalSpent": 0}
    assert b".0" not in reply.raw
    assert service.books.rows("SELECT user_id, balance, version FROM credits.balances") == [("anna", 0, 0)]


async def test_a_use_takes_the_credits_and_writes_one_entry(service: Service) -> None:
    await service.grant("anna", 30)
    body = (
        await service.use("anna", 5, idempotencyKey="k-1", metadata={"model": "small", "tokens": 12})
    ).ok()
    assert set(body) == {"success", "transaction", "newBalance"}
    assert body["success"] is True
    assert body["newBalance"] == {"balance": 25, "totalSpent": 5}
    assert_transaction(
        body["transaction"],
        userId="anna",
        type="usage",
        amount=-5,
        balanceBefore=30,
        balanceAfter=25,
        appId="chat",
        description="AI message",
        metadata={"model": "small", "tokens": 12},
        idempotencyKey="k-1",
    )
    assert service.books.rows(
        "SELECT balance, total_earned, total_spent, version FROM credits.balances WHERE user_id = 'anna'"
    ) == [(25, 30, 5, 2)]
    assert service.books.one("SELECT count(*) FROM credits.transactions WHERE type = 'usage'") == 1


async def test_absent_and_null_options_are_the_same_and_are_sent_as_null(service: Service) -> None:
    await service.grant("anna", 10)
    for options in ({}, {"idempotencyKey": None, "metadata": None}):
        transaction = (await service.use("anna", 1, **options)).ok()["transaction"]
        assert (transaction["metadata"], transaction["idempotencyKey"]) == (None, None)


async def test_amounts_have_at_most_three_decimals_and_whole_ones_none(service: Service) -> None:
    await service.grant("anna", 10)
    for amount, written in (
        (0.1, b"-0.1,"),
        (0.125, b"-0.125,"),
        (1.775, b"-1.775,"),
        (3, b"-3,"),
        (5.0, b"-5,"),
    ):
        reply = await service.use("anna", amount)
        assert b'"amount":' + written in reply.raw, reply.brief
    assert (await service.user("anna", "GET", "/balance")).raw.count(b".") == 0
    assert await service.figures("anna") == (0, 10, 10)


@pytest.mark.parametrize("written", [b"1e1", b"1E+1", b"10.0", b"10.000", b"1000e-2", b"0.01e3"])
async def test_a_whole_amount_written_in_another_way_is_answered_as_an_integer(
    service: Service, written: bytes
) -> None:
    await service.grant("anna", 10)
    raw = b'{"amount": %s, "appId": "chat", "description": "x"}' % written
    reply = await service.call("POST", f"{USER}/use", raw=raw, headers=service.as_user("anna"))
    assert reply.status == 200
    assert b'"amount":-10,' in reply.raw


async def test_too_few_credits_are_402_with_what_is_required_and_available(service: Service) -> None:
    await service.grant("anna", 2)
    await service.use("anna", 0.5)
    before = service.books.everything()
    reply = await service.use("anna", 1.75)
    body = reply.refused(402, "Insufficient credits")
    assert body["details"] == {"required": Decimal("1.75"), "available": Decimal("1.5")}
    reply = await service.use("anna", 7)
    assert b'"required":7,"available":1.5' in reply.raw
    assert service.books.everything() == before


async def test_the_last_credit_can_be_spent_and_not_one_thousandth_more(service: Service) -> None:
    await service.grant("anna", 1)
    (await service.use("anna", 1)).ok()
    (await service.use("anna", 0.001)).refused(402, "Insufficient credits")


async def test_a_user_without_a_balance_cannot_spend(service: Service) -> None:
    (await service.use("nobody", 1)).refused(404, "User balance not found")
    assert service.books.one("SELECT count(*) FROM credits.balances") == 0


async def test_a_use_is_in_the_usage_statistics_of_its_app_and_day(service: Service) -> None:
    await service.grant("anna", 10)
    for amount, app in ((0.1, "chat"), (0.2, "chat"), (3, "image")):
        (await service.use("anna", amount, appId=app)).ok()
    # The scheduler's job moves what waits into `usage_stats`; the sum is right at any moment.
    assert service.books.rows(
        "SELECT app_id, sum(credits_used), min(day) FROM ops.usage_pending WHERE user_id = 'anna'"
        " GROUP BY app_id ORDER BY app_id"
    ) == [("chat", Decimal("0.300"), datetime.now(UTC).date()), ("image", 3, datetime.now(UTC).date())]


async def _spend_one_by_one(service: Service, count: int) -> list[dict[str, Any]]:
    """Grant and spend; the entries, newest first, as the answers gave them."""
    await service.grant("anna", 1000)
    spent = [(await service.use("anna", 1, description=f"#{n}")).ok()["transaction"] for n in range(count)]
    return spent[::-1]


async def test_transactions_come_newest_first_in_the_contracts_form(service: Service) -> None:
    spent = await _spend_one_by_one(service, 3)
    page = (await service.user("anna", "GET", "/transactions")).ok()
    assert page[:3] == spent
    for transaction in page:
        assert_transaction(transaction, userId="anna")
    assert_transaction(
        page[3],
        type="grant",
        amount=1000,
        appId="community",
        description="Reward: test",
        metadata={"reason": "test", "referenceId": "welcome"},
        idempotencyKey=None,
    )


async def test_limit_offset_and_cursor_walk_the_same_list(service: Service) -> None:
    await _spend_one_by_one(service, 7)
    whole = (await service.user("anna", "GET", "/transactions?limit=100")).ok()
    assert len(whole) == 8
    by_offset = [
        (await service.user("anna", "GET", f"/transactions?limit=3&offset={n}")).ok() for n in (0, 3, 6, 9)
    ]
    assert [len(page) for page in by_offset] == [3, 3, 2, 0]
    assert [entry for page in by_offset for entry in page] == whole
    by_cursor, cursor = [], ""
    while page := (await service.user("anna", "GET", f"/transactions?limit=3{cursor}")).ok():
        by_cursor += page
        cursor = f"&cursor={page[-1]['cursor']}"
        (await service.use("anna", 1)).ok()  # something new at the top does not shift the pages
    assert by_cursor == whole


async def test_fifty_transactions_are_the_default_and_five_hundred_the_most(service: Service) -> None:
    await service.grant("anna", 1000)
    items = [{"userId": "anna", "amount": 1, "appId": "chat", "description": "x"}] * 500
    for _ in range(2):
        (await service.internal("POST", "/use/batch", {"items": items[:260]})).ok()
    for query, count in (
        ("", 50),
        ("?limit=", 50),
        ("?limit=0", 0),
        ("?limit=500", 500),
        ("?limit=100000", 500),
    ):
        assert len((await service.user("anna", "GET", f"/transactions{query}")).ok()) == count, query


async def test_transactions_of_others_are_not_shown(service: Service) -> None:
    await _spend_one_by_one(service, 1)
    assert (await service.user("bert", "GET", "/transactions")).ok() == []


async def test_packages_are_open_active_ones_only_and_in_their_order(service: Service) -> None:
    service.books.rows("""
        INSERT INTO credits.packages (name, description, credits, price_euro_cents, active, sort_order, metadata)
        VALUES ('Large', NULL, 1000, 900, true, 2, NULL), ('Small', 'A few', 100, 100, true, 1, '{"tag": "new"}'),
               ('Gone', NULL, 1, 1, false, 0, NULL)
    """)
    reply = await service.call("GET", f"{USER}/packages")
    packages = reply.ok()
    assert [package["name"] for package in packages] == ["Small", "Large"]
    for package in packages:
        assert set(package) == PACKAGE_KEYS
        assert is_id(package["id"])
        assert is_timestamp(package["createdAt"])
        assert is_timestamp(package["updatedAt"])
    small, large = packages
    assert (small["description"], small["metadata"]) == ("A few", {"tag": "new"})
    assert (large["description"], large["metadata"], large["stripePriceId"]) == (None, None, None)
    assert (large["credits"], large["priceEuroCents"], large["active"], large["sortOrder"]) == (
        1000,
        900,
        True,
        2,
    )
    assert b'"credits":1000,' in reply.raw


USER_ROUTES = [("GET", "/balance"), ("POST", "/use"), ("GET", "/transactions")]


@pytest.mark.parametrize(("method", "path"), USER_ROUTES)
async def test_a_user_route_asks_for_a_token(service: Service, method: str, path: str) -> None:
    missing = await service.call(method, USER + path)
    missing.refused(401, "Missing or invalid Authorization header")
    for header in ("", "Basic YTpi", "Bearer"):
        reply = await service.call(method, USER + path, headers={"Authorization": header})
        reply.refused(401, "Missing or invalid Authorization header")
    expired = service.auth.mint("anna", ttl_seconds=-1)
    for token in (
        expired,
        "a.b.c",
        service.auth.forge_unsigned("anna"),
        service.auth.forge_with_public_key("anna"),
    ):
        reply = await service.call(method, USER + path, headers={"Authorization": f"Bearer {token}"})
        reply.refused(401, "Invalid or expired token")
    assert service.books.one("SELECT count(*) FROM credits.balances") == 0


async def test_the_service_key_is_no_token(service: Service) -> None:
    reply = await service.internal("GET", "/../../credits/balance")
    assert reply.status in (401, 404)


async def test_the_balance_has_the_contracts_fields(service: Service) -> None:
    assert set((await service.user("anna", "GET", "/balance")).ok()) == BALANCE_KEYS
