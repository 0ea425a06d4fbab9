"""Stripe's webhooks over HTTP: what is let in, and that nothing else does anything."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from simulators.stripe import sign
from tests.support.told import Told
from tests.web.shop import OLD_SECRET, SECRET, WEBHOOKS, Shop, service_variables, shop, stripe_listener
from web.routes.stripe_webhooks import EVENT_BYTES_MAX

__all__ = ["service_variables", "shop", "stripe_listener"]

INVALID = {"error": "Invalid signature"}


async def paid_event(shop: Shop) -> Any:
    body = (await shop.buy(await shop.package())).ok()
    purchase = await shop.purchase(body["purchaseId"])
    shop.stripe.pay(purchase["stripePaymentIntentId"])
    [event] = shop.stripe.events("payment_intent.succeeded")
    return event


def events_stored(shop: Shop) -> int:
    stored: int = shop.service.books.one("SELECT count(*) FROM ops.stripe_events")
    return stored


@pytest.mark.parametrize("secret", [SECRET, OLD_SECRET])
async def test_an_event_is_stored_with_its_job_and_credited_by_it(shop: Shop, secret: str) -> None:
    event = await paid_event(shop)
    assert (await shop.post(event, secret)).ok() == {"received": True}
    assert await shop.service.figures("anna") == (0, 0, 0)
    shop.work()
    assert await shop.service.figures("anna") == (550, 550, 0)


async def test_a_redelivered_event_is_answered_and_does_nothing_more(shop: Shop) -> None:
    event = await paid_event(shop)
    replies = await asyncio.gather(*[shop.post(event) for _ in range(5)])
    shop.work()
    replies.append(await shop.post(event))
    shop.work()
    assert [reply.ok() for reply in replies] == [{"received": True}] * 6
    assert (events_stored(shop), await shop.service.figures("anna")) == (1, (550, 550, 0))


async def test_a_signature_over_anything_else_is_invalid_and_does_nothing(shop: Shop) -> None:
    event = await paid_event(shop)
    books = shop.service.books.everything()
    body = json.dumps(event).encode()
    now = int(time.time())
    right = sign(body, (SECRET,), now)
    forged = {
        "another secret": sign(body, ("whsec_forged",), now),
        "no secret": sign(body, ("",), now),
        "another body": sign(body + b" ", (SECRET,), now),
        "a recording": sign(body, (SECRET,), now - 301),
        "another time": right.replace(str(now), str(now + 5)),
        "another scheme": right.replace("v1=", "v0="),
        "nothing": "nothing",
        "latin": "t=1,v1=\xe9",
    }
    for what, signature in forged.items():
        reply = await shop.service.call("POST", WEBHOOKS, raw=body, headers={"Stripe-Signature": signature})
        assert (reply.status, reply.json) == (400, INVALID), what
    assert shop.service.books.everything() == books
    assert shop.work() == []


@pytest.mark.parametrize("headers", [{}, {"Stripe-Signature": ""}])
async def test_a_missing_signature_is_said(shop: Shop, headers: dict[str, str]) -> None:
    reply = await shop.service.call("POST", WEBHOOKS, raw=b"{}", headers=headers)
    assert (reply.status, reply.json) == (400, {"error": "Missing signature"})


async def test_a_replayed_webhook_is_stale_after_five_minutes(shop: Shop) -> None:
    event = await paid_event(shop)
    assert (await shop.post(event, seconds_old=290)).status == 200
    assert (await shop.post(event, seconds_old=310)).json == INVALID


async def test_a_body_over_the_limit_is_refused_unread(shop: Shop) -> None:
    for raw in (b"x" * (EVENT_BYTES_MAX + 1), b"x" * (2 * EVENT_BYTES_MAX - 1)):
        assert (await shop.post(None, raw=raw)).status == 413
        unsigned = {"Stripe-Signature": "t=1,v1=00"}
        assert (await shop.service.call("POST", WEBHOOKS, raw=raw, headers=unsigned)).status == 413
    assert events_stored(shop) == 0
    assert shop.work() == []
    just_fits = json.dumps({"id": "evt_big", "type": "x.y", "data": {}}).encode()
    just_fits += b" " * (EVENT_BYTES_MAX - len(just_fits))
    assert (await shop.post(None, raw=just_fits)).ok() == {"received": True}


@pytest.mark.parametrize(
    "raw", [b"{", b"[]", b"null", b"\xff", b'{"id": "evt_1"}', b'{"id":"e\\u0000","type":"x"}']
)
async def test_what_is_signed_and_no_event_is_malformed(shop: Shop, raw: bytes) -> None:
    reply = await shop.post(None, raw=raw)
    assert reply.refused(400, "Invalid request")["details"][0]["field"] == "body"
    assert events_stored(shop) == 0


async def test_unknown_types_and_payments_of_others_are_taken_and_kept(shop: Shop) -> None:
    foreign = Told("pi_foreign", None)
    unknown = {"id": "evt_new", "object": "event", "type": "new.thing", "data": {"object": {"id": "x_1"}}}
    for event in (foreign.succeeded(), foreign.charge_refunded(500), unknown):
        assert (await shop.post(event)).ok() == {"received": True}
    shop.work()
    assert events_stored(shop) == 3
    outcomes = shop.service.books.rows("SELECT count(*) FROM ops.stripe_events WHERE handled_at IS NULL")
    assert outcomes == [(0,)]
    assert shop.service.books.one("SELECT count(*) FROM ops.jobs WHERE state <> 'done'") == 0


async def test_no_payload_of_stripes_is_logged(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    event = await paid_event(shop)
    await shop.post(event)
    await shop.post(event, "whsec_forged")
    shop.work()
    told = "".join(capsys.readouterr())
    assert "whsec" not in told
    assert "_secret_" not in told
    assert "@" not in told
