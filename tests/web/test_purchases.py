"""Buying over HTTP: the contract's answers, whose redirects, whose purchases, and a Stripe that fails."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.service import serving_in_this_loop
from tests.support.shapes import is_id, is_timestamp
from tests.web.shop import Shop, no_such_package, service_variables, shop, stripe_listener
from web.redirects import check_redirect, origin_of

__all__ = ["service_variables", "shop", "stripe_listener"]

BACK = "https://mana.how/credits?session={CHECKOUT_SESSION_ID}"

PURCHASE_KEYS = {
    *("id", "userId", "packageId", "credits", "priceEuroCents", "stripePaymentIntentId", "stripeCustomerId"),
    *("status", "metadata", "createdAt", "completedAt"),
}


async def test_a_purchase_in_the_payers_own_page(shop: Shop) -> None:
    package = await shop.package()
    body = (await shop.buy(package)).ok()
    assert set(body) == {"purchaseId", "clientSecret", "amount", "credits"}
    assert (body["amount"], body["credits"]) == (500, 550)
    purchase = await shop.purchase(body["purchaseId"])
    assert set(purchase) >= PURCHASE_KEYS
    assert body["clientSecret"].startswith(purchase["stripePaymentIntentId"])
    assert is_timestamp(purchase["createdAt"])
    assert (purchase["status"], purchase["completedAt"], purchase["userId"]) == ("pending", None, "anna")
    assert (purchase["packageId"], purchase["credits"], purchase["priceEuroCents"]) == (
        package["id"],
        550,
        500,
    )
    shop.stripe.pay(purchase["stripePaymentIntentId"])
    await shop.deliver_all()
    paid = await shop.purchase(body["purchaseId"])
    assert paid["status"] == "completed"
    assert is_timestamp(paid["completedAt"])
    assert await shop.service.figures("anna") == (550, 550, 0)
    [entry] = (await shop.service.user("anna", "GET", "/transactions")).ok()
    assert (entry["type"], entry["appId"], entry["amount"]) == ("purchase", "stripe", 550)
    assert entry["metadata"] == {
        "purchaseId": body["purchaseId"],
        "paymentIntentId": purchase["stripePaymentIntentId"],
    }


async def test_a_purchase_on_stripes_page(shop: Shop) -> None:
    body = (await shop.buy(await shop.package(), successUrl=BACK, cancelUrl="https://mana.how/")).ok()
    assert set(body) == {"purchaseId", "checkoutUrl", "amount", "credits"}
    [session] = shop.stripe.all("checkout.session")
    assert (session["url"], session["success_url"], session["cancel_url"]) == (
        body["checkoutUrl"],
        BACK,
        "https://mana.how/",
    )
    shop.stripe.pay(session["id"])
    await shop.deliver_all()
    assert await shop.service.figures("anna") == (550, 550, 0)


async def test_a_persons_own_purchases_newest_first(shop: Shop) -> None:
    package = await shop.package()
    ids = [(await shop.buy(package)).ok()["purchaseId"] for _ in range(3)]
    listed = (await shop.service.user("anna", "GET", "/purchases")).ok()
    assert [one["id"] for one in listed] == ids[::-1]
    page = (await shop.service.user("anna", "GET", "/purchases?limit=1&offset=1")).ok()
    assert [one["id"] for one in page] == [ids[1]]
    assert (await shop.service.user("ben", "GET", "/purchases")).ok() == []


async def test_somebody_elses_purchase_is_not_found(shop: Shop) -> None:
    body = (await shop.buy(await shop.package())).ok()
    for user_id, purchase_id in (("ben", body["purchaseId"]), ("anna", no_such_package()["id"])):
        reply = await shop.service.user(user_id, "GET", f"/purchase/{purchase_id}")
        reply.refused(404, "Purchase not found")
    malformed = await shop.service.user("anna", "GET", "/purchase/seven")
    assert malformed.refused(400, "Invalid request")["details"][0]["field"] == "id"


async def test_what_is_not_for_sale_is_not_found_and_leaves_nothing(shop: Shop) -> None:
    (await shop.buy(no_such_package())).refused(404, "Package not found or inactive")
    package = await shop.package()
    await shop.service.call("DELETE", f"/api/v1/admin/packages/{package['id']}", headers=shop.admin())
    (await shop.buy(package)).refused(404, "Package not found or inactive")
    assert shop.service.books.one("SELECT count(*) FROM credits.purchases") == 0
    assert shop.stripe.all("customer") == []


async def test_without_a_key_of_stripes_nothing_can_be_bought(database_url: str, redis_url: str) -> None:
    async with serving_in_this_loop(database_url, redis_url) as service:
        reply = await service.user("anna", "POST", "/purchase", {"packageId": no_such_package()["id"]})
        reply.refused(503, "Payments are not configured")
        assert (await service.user("anna", "GET", "/purchases")).ok() == []


@pytest.mark.parametrize("by_header", [True, False])
async def test_a_key_makes_one_purchase(shop: Shop, by_header: bool) -> None:
    package, other = await shop.package(), await shop.package()
    keyed: dict[str, Any] = {"headers": {"Idempotency-Key": "k"}} if by_header else {"idempotencyKey": "k"}
    replies = await asyncio.gather(*[shop.buy(package, **keyed) for _ in range(4)])
    assert len({reply.raw for reply in replies}) == 1
    assert replies[0].ok()["clientSecret"]
    reused = await shop.buy(other, **keyed)
    reused.refused(422, "Idempotency key was used with a different request")
    assert (await shop.buy(package, successUrl=BACK, **keyed)).status == 422
    assert is_id((await shop.buy(other, "ben", **keyed)).ok()["purchaseId"])
    assert len(shop.stripe.all("payment_intent")) == 2


async def test_a_stripe_that_fails_is_a_502_and_the_same_key_goes_on(shop: Shop) -> None:
    package = await shop.package()
    shop.stripe.faults.add("503", times=None)
    reply = await shop.buy(package, idempotencyKey="k")
    assert reply.status == 502
    assert reply.json["code"] == "payment_provider_failed"
    shop.stripe.faults.clear()
    body = (await shop.buy(package, idempotencyKey="k")).ok()
    assert [one["id"] for one in (await shop.service.user("anna", "GET", "/purchases")).ok()] == [
        body["purchaseId"]
    ]


async def test_a_stripe_that_refuses_us_is_a_502_of_its_own(shop: Shop) -> None:
    package = await shop.package(stripePriceId="price_unknown")
    reply = await shop.buy(package, successUrl=BACK)
    assert (reply.status, reply.json["code"]) == (502, "payment_provider_refused")


async def test_a_slow_stripe_slows_nothing_else(shop: Shop) -> None:
    package = await shop.package()
    shop.stripe.api.processing_seconds = 1.0
    buying = asyncio.gather(*[shop.buy(package, f"user-{n}") for n in range(20)])
    await asyncio.sleep(0.2)
    async with asyncio.timeout(1):
        assert (await shop.service.user("anna", "GET", "/purchases")).ok() == []
        assert (await shop.service.call("GET", "/api/v1/credits/packages")).ok()
    shop.stripe.api.processing_seconds = 0
    assert {reply.status for reply in await buying} == {200}


async def test_more_buyers_than_stripe_can_take_hear_it_at_once(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.outside.WAITING_MAX", 2)
    package = await shop.package()
    shop.stripe.api.processing_seconds = 0.5
    replies = await asyncio.gather(*[shop.buy(package, f"user-{n}") for n in range(5)])
    assert sorted(reply.status for reply in replies) == [200, 200, 503, 503, 503]
    [refused, *_] = [reply for reply in replies if reply.status == 503]
    assert (refused.json["code"], refused.headers["Retry-After"]) == ("overloaded", "1")


REFUSED_URLS = [
    "https://evil.example/",
    "https://mana.how.evil.example/",
    "https://evil.example/https://mana.how",
    "https://mana.how@evil.example/",
    "https://user@mana.how/",
    "https://mana.how:444/",
    "http://mana.how/",
    "//mana.how/",
    "/credits",
    "javascript:alert(1)",
    "data:text/html,x",
    "https:\\\\evil.example",
    "https://mana.how\\@evil.example/",
    "https://evil.example\\.mana.how/",
    "https://mana.how%2eevil.example/",
    "https://mana.how\t.evil.example/",
    "https://mana.how\n/",
    " https://mana.how/",
    "https://mana.hоw/",
    "https://[::1/",
    "https://mana.how:x/",
    "https://",
]


@pytest.mark.parametrize("field", ["successUrl", "cancelUrl"])
async def test_a_redirect_elsewhere_is_refused_by_its_name(shop: Shop, field: str) -> None:
    package = await shop.package()
    for url in REFUSED_URLS:
        body = {"successUrl": BACK, field: url}
        reply = await shop.buy(package, **body)
        assert reply.refused(400, "Invalid request")["details"][0]["field"] == field, url
    too_long = await shop.buy(package, **{"successUrl": BACK, field: "https://mana.how/" + "x" * 2000})
    assert too_long.status == 400
    assert shop.service.books.one("SELECT count(*) FROM credits.purchases") == 0


def test_our_own_origins_are_let_pass_however_they_are_written() -> None:
    allowed = ("https://mana.how", "http://localhost:5173")
    for url in (BACK, "https://mana.how", "HTTPS://Mana.How:443/a?b#c", "http://localhost:5173/x/../y"):
        check_redirect("successUrl", url, allowed)
    assert origin_of("http://localhost") == ("http", "localhost", 80)


@pytest.mark.parametrize(
    ("body", "field"),
    [({}, "packageId"), ({"packageId": "seven"}, "packageId"), ({"packageId": None}, "packageId")],
)
async def test_a_malformed_order_is_refused_by_the_field(
    shop: Shop, body: dict[str, Any], field: str
) -> None:
    reply = await shop.service.user("anna", "POST", "/purchase", body)
    assert reply.refused(400, "Invalid request")["details"][0]["field"] == field
