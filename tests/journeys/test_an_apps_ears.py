"""An app hears by webhooks of everything that it can hear of: through the processes, over HTTP, signed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from domain.webhooks import EventType
from mana_credits_client.webhooks import verify_webhook
from tests.support.client import SERVICE_KEY
from tests.support.endpoints import LocalApp, local_app
from tests.support.whole import Whole, whole_service

SECONDS_MAX = 60.0


@pytest.fixture
def app() -> Iterator[LocalApp]:
    with local_app() as app:
        yield app


async def register(whole: Whole, app: LocalApp) -> str:
    """An endpoint for everything; its secret."""
    wanted = {"appId": "chat", "url": app.url, "events": list(EventType), "lowBalanceThreshold": 10}
    made = await whole.call("POST", "/api/v1/admin/webhooks", wanted, headers=whole.admin())
    assert made.status == 201, made.brief
    return str(made.json["secret"])


async def buy(whole: Whole, who: str) -> str:
    """500 credits; the payment's id at Stripe."""
    package = {"name": who, "credits": 500, "priceEuroCents": 500}
    made = await whole.call("POST", "/api/v1/admin/packages", package, headers=whole.admin())
    bought = (await whole.user(who, "POST", "/purchase", {"packageId": made.json["id"]})).ok()
    intent = str(bought["clientSecret"].partition("_secret")[0])
    await asyncio.to_thread(whole.stripe.pay, intent)
    await balance_becomes(whole, who, 500)
    return intent


async def balance_becomes(whole: Whole, who: str, balance: int) -> None:
    query = "SELECT coalesce(sum(balance), 0)::int FROM credits.balances WHERE user_id = %s"
    await whole.becomes(query, balance, who)


async def buy_and_go_back(whole: Whole) -> None:
    """`purchase.completed`, then `purchase.reversed`."""
    intent = await buy(whole, "anna")
    await asyncio.to_thread(whole.stripe.refund, intent)
    await balance_becomes(whole, "anna", 0)


async def give(whole: Whole) -> None:
    """`gift.redeemed`; `balance.low` of who gave away nearly all."""
    (await whole.grant("ben", 30)).ok()
    headers = whole.as_user("ben")
    gift = await whole.call("POST", "/api/v1/gifts", {"totalCredits": 25}, headers=headers)
    assert gift.status == 201, gift.brief
    redeemed = await whole.call(
        "POST", f"/api/v1/gifts/{gift.json['code']}/redeem", {}, headers=whole.as_user("clara")
    )
    assert redeemed.ok()["creditsReceived"] == 25


async def pay_for_sync(whole: Whole) -> None:
    """`sync.paused` when the balance runs out, `sync.resumed` when there is one again."""
    (await whole.grant("dora", 30)).ok()
    headers = whole.as_user("dora")
    (await whole.call("POST", "/api/v1/sync/activate", {"autoResume": True}, headers=headers)).ok()
    due: Any = "UPDATE credits.sync_subscriptions SET next_charge_at = now() - interval '1 hour'"
    await asyncio.to_thread(whole.books.rows, due)
    path, key = "/api/v1/internal/sync/charge-recurring", {"X-Service-Key": SERVICE_KEY}
    (await whole.call("POST", path, headers=key)).ok()
    await whole.becomes("SELECT count(*) FROM credits.sync_subscriptions WHERE paused_at IS NOT NULL", 1)
    (await whole.grant("dora", 40, "more")).ok()
    await whole.becomes("SELECT count(*) FROM credits.sync_subscriptions WHERE paused_at IS NULL", 1)


async def set_aside(whole: Whole) -> None:
    """`reservation.expired`."""
    (await whole.grant("emil", 30)).ok()
    kept = (await whole.reserve("emil", 10)).ok()["reservationId"]
    late: Any = "UPDATE credits.reservations SET expires_at = now() - interval '1 second'"
    await asyncio.to_thread(whole.books.rows, late)
    assert (await whole.internal("POST", "/commit", {"reservationId": kept})).status == 400


async def test_an_app_hears_of_everything_once_verified_and_each_person_in_order(
    database_url: str, redis_url: str, tmp_path: Path, app: LocalApp
) -> None:
    async with whole_service(database_url, redis_url, tmp_path, {"WEBHOOKS_TO_LOCAL": "on"}) as whole:
        secret = await register(whole, app)
        await asyncio.gather(*(part(whole) for part in (buy_and_go_back, give, pay_for_sync, set_aside)))
        wanted = {
            ("purchase.completed", "anna"),
            ("purchase.reversed", "anna"),
            ("balance.low", "anna"),
            ("gift.redeemed", "clara"),
            ("balance.low", "ben"),
            ("sync.paused", "dora"),
            ("sync.resumed", "dora"),
            ("reservation.expired", "emil"),
        }
        heard: list[dict[str, Any]] = []
        async with asyncio.timeout(SECONDS_MAX):
            while not wanted <= {(event["type"], event["data"]["userId"]) for event in heard}:
                await asyncio.sleep(0.05)
                heard = [verify_webhook(secret, one.headers, one.body) for one in list(app.heard)]
        assert {kind for kind, _ in wanted} == set(EventType)
        assert len({event["id"] for event in heard}) == len(heard)
        for who in ("anna", "dora"):
            sequences = [event["sequence"] for event in heard if event["data"]["userId"] == who]
            assert sequences == sorted(sequences)
        await whole.becomes("SELECT count(*) FROM ops.webhook_deliveries WHERE state <> 'delivered'", 0)
        whole.books.assert_they_add_up()
