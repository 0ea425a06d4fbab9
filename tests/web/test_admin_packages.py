"""Admins manage packages; what was sold keeps its price and its credits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.client import Reply
from tests.web.shop import PACKAGES, Shop, no_such_package, service_variables, shop, stripe_listener

__all__ = ["service_variables", "shop", "stripe_listener"]


async def change(shop: Shop, package: Any, method: str = "PATCH", **body: Any) -> Reply:
    return await shop.service.call(method, f"{PACKAGES}/{package['id']}", body, headers=shop.admin())


async def for_sale(shop: Shop) -> list[str]:
    listed = (await shop.service.call("GET", "/api/v1/credits/packages")).ok()
    return [one["name"] for one in listed]


async def test_a_package_is_made_listed_and_sold_in_its_order(shop: Shop) -> None:
    made = await shop.package(
        name="Second", sortOrder=2, description="for a month", metadata={"badge": "popular"}
    )
    await shop.package(name="First", sortOrder=1)
    assert (made["active"], made["sortOrder"], made["metadata"]) == (True, 2, {"badge": "popular"})
    assert await for_sale(shop) == ["First", "Second"]
    listed = (await shop.service.call("GET", PACKAGES, headers=shop.admin())).ok()
    assert [one["name"] for one in listed] == ["First", "Second"]


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_a_package_nobody_bought_may_become_another(shop: Shop, method: str) -> None:
    package = await shop.package()
    changed = (await change(shop, package, method, credits=600, priceEuroCents=550, name="New")).ok()
    assert (changed["credits"], changed["priceEuroCents"], changed["name"]) == (600, 550, "New")
    assert changed["description"] is None
    assert changed["updatedAt"] >= package["updatedAt"]


async def test_what_was_sold_keeps_its_price_and_credits_and_may_change_its_name(shop: Shop) -> None:
    package = await shop.package()
    (await shop.buy(package)).ok()
    for body in ({"credits": 1}, {"priceEuroCents": 600}, {"stripePriceId": "price_1"}):
        reply = await change(shop, package, **body)
        assert (
            reply.refused(400, "Package was sold: its price and credits cannot change")["code"]
            == "package_sold"
        )
    same = await change(shop, package, credits=550, priceEuroCents=500, name="Renamed", sortOrder=9)
    assert same.ok()["name"] == "Renamed"


async def test_a_sale_and_a_change_at_once_never_meet_half_way(shop: Shop) -> None:
    for _ in range(8):
        package = await shop.package()
        bought, changed = await asyncio.gather(shop.buy(package), change(shop, package, priceEuroCents=900))
        was_first = changed.status == 200
        assert (bought.ok()["amount"], changed.status) == ((900, 200) if was_first else (500, 400))


@pytest.mark.parametrize(("method", "path"), [("DELETE", ""), ("POST", "/deactivate")])
async def test_a_deactivated_package_is_off_the_shelf_and_may_come_back(
    shop: Shop, method: str, path: str
) -> None:
    package = await shop.package()
    url = f"{PACKAGES}/{package['id']}{path}"
    for _ in range(2):
        assert (await shop.service.call(method, url, headers=shop.admin())).ok()["active"] is False
    assert await for_sale(shop) == []
    assert (await change(shop, package, active=True)).ok()["active"] is True
    assert await for_sale(shop) == ["Starter"]


async def test_a_price_of_stripes_belongs_to_one_package(shop: Shop) -> None:
    first, second = await shop.package(stripePriceId="price_1"), await shop.package()
    taken = "Another package has this Stripe price"
    (await change(shop, second, stripePriceId="price_1")).refused(400, taken)
    assert (await change(shop, first, stripePriceId="price_1")).status == 200
    body = {"name": "x", "credits": 1, "priceEuroCents": 50, "stripePriceId": "price_2"}
    replies = await asyncio.gather(
        *[shop.service.call("POST", PACKAGES, body, headers=shop.admin()) for _ in range(4)]
    )
    assert sorted(reply.status for reply in replies) == [201, 400, 400, 400]


async def test_a_key_makes_one_package(shop: Shop) -> None:
    first, second = await shop.package(idempotencyKey="k"), await shop.package(idempotencyKey="k")
    assert first == second
    assert len(await for_sale(shop)) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("name", value) for value in ("", "x" * 201, 7, None)],
        *[("credits", value) for value in (0, -1, 1.5, "5", True, 100_000_001, 1e30)],
        *[("priceEuroCents", value) for value in (0, 49, 100_000_000, 500.5)],
        *[("sortOrder", value) for value in (1_000_001, -1_000_001, "first")],
        *[("stripePriceId", value) for value in ("", "price 1", "x" * 256)],
        ("description", "x" * 2001),
        ("description", "a\x00b"),
        ("metadata", []),
    ],
)
async def test_what_is_out_of_bounds_is_refused_by_its_name(shop: Shop, field: str, value: Any) -> None:
    body = {"name": "x", "credits": 1, "priceEuroCents": 50, field: value}
    reply = await shop.service.call("POST", PACKAGES, body, headers=shop.admin())
    assert reply.refused(400, "Invalid request")["details"][0]["field"] == field
    package = await shop.package()
    changed = await change(shop, package, **{field: value})
    assert changed.status == (200 if value is None else 400)


async def test_only_admins_may(shop: Shop) -> None:
    package = await shop.package()
    calls = [
        ("GET", PACKAGES),
        ("POST", PACKAGES),
        ("PATCH", f"{PACKAGES}/{package['id']}"),
        ("DELETE", f"{PACKAGES}/{package['id']}"),
    ]
    for method, path in calls:
        reply = await shop.service.call(method, path, {}, headers=shop.service.as_user("anna"))
        assert (reply.status, reply.json) == (
            403,
            {"error": "Forbidden", "message": "Admin access required"},
        )
        assert (await shop.service.call(method, path, {})).status == 401


async def test_no_such_package_is_a_404(shop: Shop) -> None:
    for method in ("PATCH", "DELETE"):
        (await change(shop, no_such_package(), method)).refused(404, "Package not found or inactive")


async def test_each_change_is_in_the_audit_by_whom_and_why(shop: Shop) -> None:
    package = await shop.package(name="Pack")
    path = f"{PACKAGES}/{package['id']}"
    for method, address, body in (
        ("PATCH", f"{path}?reason=ticket%2012", {"sortOrder": 3}),
        ("PUT", path, {"name": "Renamed"}),
        ("POST", f"{path}/deactivate?reason=%20", None),
        ("DELETE", path, None),
    ):
        (await shop.service.call(method, address, body, headers=shop.admin())).ok()
    (await change(shop, package, credits=0)).refused(400, "Invalid request")
    query = "SELECT action, actor, reason, subject FROM ops.audit ORDER BY id"
    assert [tuple(row) for row in shop.service.books.rows(query)] == [
        ("create_package", "admin:the-admin", "none was given", package["id"]),
        ("change_package", "admin:the-admin", "ticket 12", package["id"]),
        ("change_package", "admin:the-admin", "none was given", package["id"]),
        ("deactivate_package", "admin:the-admin", "none was given", package["id"]),
        ("deactivate_package", "admin:the-admin", "none was given", package["id"]),
    ]
