"""Gifts over HTTP, word for word: contract, sections 3 and 8."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.client import SERVICE_KEY
from tests.support.service import Service
from tests.support.shapes import is_id, is_timestamp
from tests.web.giving import GIFTS, REDEEM_PENDING, Giving, email_of

needs_workers = pytest.mark.usefixtures("workers")

GIFT_KEYS = {
    *("id", "code", "shortUrl", "creatorId", "creatorName", "totalCredits", "redeemed", "type", "status"),
    *("targetEmail", "message", "expiresAt", "reservationTransactionId", "createdAt", "updatedAt"),
}
FOUND_KEYS = {
    *("code", "type", "status", "totalCredits", "redeemed", "message", "creatorName", "expiresAt"),
    *("isPersonalized", "credits"),
}
RECEIVED_KEYS = {
    *("id", "giftCodeId", "redeemerUserId", "status", "creditsReceived", "creditTransactionId"),
    *("sourceAppId", "createdAt", "credits", "code", "message", "creatorName", "redeemedAt"),
}


@pytest.fixture
async def giving(service: Service) -> Giving:
    """Anna has a hundred credits."""
    (await service.grant("anna", 100)).ok()
    return Giving(service)


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def test_a_gift_is_made_and_paid_for(giving: Giving) -> None:
    gift = await giving.create(message="Enjoy")
    assert set(gift) == GIFT_KEYS | {"url"}
    assert is_id(gift["id"])
    assert is_id(gift["reservationTransactionId"])
    assert all(is_timestamp(gift[name]) for name in ("expiresAt", "createdAt", "updatedAt"))
    assert gift["shortUrl"] == gift["url"] == f"http://localhost:3061/g/{gift['code']}"
    facts = {
        name: gift[name] for name in ("creatorId", "totalCredits", "redeemed", "type", "status", "message")
    }
    assert facts == {
        "creatorId": "anna",
        "totalCredits": 10,
        "redeemed": 0,
        "type": "simple",
        "status": "active",
        "message": "Enjoy",
    }
    assert gift["targetEmail"] is None
    assert instant(gift["expiresAt"]) - instant(gift["createdAt"]) == timedelta(days=90)
    assert await giving.service.figures("anna") == (90, 100, 10)
    [entry, _] = (await giving.service.user("anna", "GET", "/transactions")).ok()
    assert (entry["type"], entry["amount"], entry["appId"]) == ("gift", -10, "gifts")
    assert entry["id"] == gift["reservationTransactionId"]


@pytest.mark.parametrize("path", ["", "/"])
async def test_credits_is_another_name_and_a_slash_at_the_end_makes_no_difference(
    giving: Giving, path: str
) -> None:
    for body in ({"credits": 7}, {"credits": 7, "totalCredits": 7}, {"credits": 7, "totalCredits": None}):
        reply = await giving.send("anna", "POST", path, body)
        assert (reply.status, reply.json["totalCredits"]) == (201, 7)


async def test_the_creators_name_is_never_an_address(giving: Giving) -> None:
    gift = await giving.create()
    assert gift["creatorName"] == "anna"
    nameless = await giving.send("anna", "POST", "", {"credits": 1}, headers=giving.token("anna", ""))
    assert nameless.json["creatorName"] is None
    assert (await giving.look_up(gift["code"])).json["creatorName"] == "anna"
    redeemed = (await giving.redeem("ben", gift["code"])).ok()
    assert redeemed["creatorName"] == "anna"
    for which, user_id in (("created", "anna"), ("received", "ben")):
        assert "@" not in str([one["creatorName"] for one in await giving.listed(user_id, which)])


@pytest.mark.parametrize("user_id", ["anna", "nobody"])
async def test_too_little_or_no_balance_is_400(giving: Giving, user_id: str) -> None:
    reply = await giving.send(user_id, "POST", "", {"totalCredits": 101})
    reply.refused(400, "Insufficient credits to create gift")
    assert giving.service.books.one("SELECT count(*) FROM gifts.gift_codes") == 0


async def test_a_gift_lives_as_long_as_its_creator_says(giving: Giving) -> None:
    gift = await giving.create(expirationDays=3)
    assert instant(gift["expiresAt"]) - instant(gift["createdAt"]) == timedelta(days=3)
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=123_000)
    gift = await giving.create(expiresAt=tomorrow.isoformat())
    assert instant(gift["expiresAt"]) == tomorrow


BAD_GIFTS: tuple[tuple[dict[str, Any], str], ...] = (
    ({}, "totalCredits"),
    ({"totalCredits": 0}, "totalCredits"),
    ({"totalCredits": 10_001}, "totalCredits"),
    ({"totalCredits": 1.5}, "totalCredits"),
    ({"totalCredits": "5"}, "totalCredits"),
    ({"totalCredits": True}, "totalCredits"),
    ({"credits": 10_001}, "credits"),
    ({"totalCredits": 5, "credits": 6}, "credits"),
    ({"totalCredits": 5, "type": "other"}, "type"),
    ({"totalCredits": 5, "type": "personalized"}, "targetEmail"),
    ({"totalCredits": 5, "targetEmail": "ben"}, "targetEmail"),
    ({"totalCredits": 5, "targetEmail": "ben@x"}, "targetEmail"),
    ({"totalCredits": 5, "targetEmail": "ben @x.de"}, "targetEmail"),
    ({"totalCredits": 5, "targetEmail": "ben@x.de\n"}, "targetEmail"),
    ({"totalCredits": 5, "targetEmail": "ben@x.de,cleo@x.de"}, "targetEmail"),
    ({"totalCredits": 5, "targetEmail": "b" * 320 + "@x.de"}, "targetEmail"),
    ({"totalCredits": 5, "message": "x" * 501}, "message"),
    ({"totalCredits": 5, "message": "\0"}, "message"),
    ({"totalCredits": 5, "expirationDays": 0}, "expirationDays"),
    ({"totalCredits": 5, "expirationDays": 3651}, "expirationDays"),
    ({"totalCredits": 5, "expirationDays": 1.5}, "expirationDays"),
    ({"totalCredits": 5, "expiresAt": "tomorrow"}, "expiresAt"),
    ({"totalCredits": 5, "expiresAt": "2030-01-01T00:00:00"}, "expiresAt"),
    ({"totalCredits": 5, "expiresAt": "2020-01-01T00:00:00Z"}, "expiresAt"),
    ({"totalCredits": 5, "expiresAt": "9999-12-31T23:59:59Z"}, "expiresAt"),
    ({"totalCredits": 5, "expiresAt": "2030-01-01T00:00:00Z", "expirationDays": 1}, "expiresAt"),
    ({"totalCredits": 5, "sourceAppId": "x" * 129}, "sourceAppId"),
    ({"totalCredits": 5, "idempotencyKey": ""}, "idempotencyKey"),
)


async def test_a_bad_gift_is_400_naming_the_field_and_writes_nothing(giving: Giving) -> None:
    before = giving.service.books.everything()
    for body, field in BAD_GIFTS:
        reply = await giving.send("anna", "POST", "", body)
        named = [one["field"] for one in reply.refused(400, "Invalid request")["details"]]
        assert named == [field], f"{body}: {reply.brief}"
    assert giving.service.books.everything() == before


async def test_what_is_longest_and_largest_is_taken(giving: Giving) -> None:
    (await giving.service.grant("anna", 10_000, "more")).ok()
    await giving.create(
        total_credits=10_000,
        message="🎁" * 500,
        targetEmail=f"{'b' * 314}@x.com",
        expirationDays=3650,
        sourceAppId="a" * 128,
    )


async def test_anybody_looks_a_gift_up_whatever_the_case_of_the_code(giving: Giving) -> None:
    gift = await giving.create(message="Enjoy", targetEmail="ben@example.com")
    found = (await giving.look_up(gift["code"].lower())).ok()
    assert set(found) == FOUND_KEYS
    assert found == {
        "code": gift["code"],
        "type": "personalized",
        "status": "active",
        "totalCredits": 10,
        "redeemed": False,
        "message": "Enjoy",
        "creatorName": "anna",
        "expiresAt": gift["expiresAt"],
        "isPersonalized": True,
        "credits": 10,
    }
    head = await giving.service.call("HEAD", f"{GIFTS}/{gift['code']}")
    assert (head.status, head.raw) == (200, b"")


async def test_an_unknown_code_is_404_to_all(giving: Giving) -> None:
    for code in ("ABCDEFGHJK", "me", "x", "A" * 33, "%C3%9F", "%25"):
        (await giving.look_up(code)).refused(404, "Gift code not found")
        (await giving.redeem("ben", code)).refused(404, "Gift code not found")
    (await giving.look_up("%00")).refused(400, "Invalid request")
    assert giving.attempts() == []


async def test_a_gift_is_redeemed_once(giving: Giving) -> None:
    gift = await giving.create(message="Enjoy")
    assert (await giving.redeem("ben", gift["code"].lower(), sourceAppId="chat")).ok() == {
        "success": True,
        "creditsReceived": 10,
        "message": "Enjoy",
        "creatorName": "anna",
        "credits": 10,
        "newBalance": 10,
    }
    assert await giving.service.figures("ben") == (10, 10, 0)
    (await giving.redeem("cleo", gift["code"])).refused(400, "Gift code is depleted")
    (await giving.redeem("ben", gift["code"])).refused(400, "Gift already claimed")
    assert giving.attempts() == [
        ("ben", "failed_already_claimed"),
        ("ben", "success"),
        ("cleo", "failed_depleted"),
    ]
    found = (await giving.look_up(gift["code"])).ok()
    assert (found["status"], found["redeemed"]) == ("depleted", True)
    [made] = await giving.listed("anna", "created")
    assert set(made) >= GIFT_KEYS
    assert (made["id"], made["status"], made["redeemed"]) == (gift["id"], "depleted", 1)
    assert await giving.listed("cleo", "received") == []
    [got] = await giving.listed("ben", "received")
    assert set(got) == RECEIVED_KEYS
    assert is_id(got["creditTransactionId"])
    assert got["createdAt"] == got["redeemedAt"]
    facts = {
        name: got[name] for name in ("giftCodeId", "status", "creditsReceived", "credits", "sourceAppId")
    }
    assert facts == {
        "giftCodeId": gift["id"],
        "status": "success",
        "creditsReceived": 10,
        "credits": 10,
        "sourceAppId": "chat",
    }


async def test_redeeming_needs_no_body(giving: Giving) -> None:
    gift = await giving.create()
    reply = await giving.service.call(
        "POST", f"{GIFTS}/{gift['code']}/redeem", raw=b"", headers=giving.token("ben")
    )
    reply.ok()


async def test_fifty_at_once_redeem_one_code_and_one_gets_it(giving: Giving) -> None:
    gift = await giving.create()
    replies = await asyncio.gather(*(giving.redeem(f"user-{n}", gift["code"]) for n in range(50)))
    winners = [reply for reply in replies if reply.status == 200]
    assert len(winners) == 1, {reply.status for reply in replies}
    for reply in replies:
        if reply not in winners:
            reply.refused(400, "Gift code is depleted")
    statuses = [status for _, status in giving.attempts()]
    assert (statuses.count("success"), statuses.count("failed_depleted")) == (1, 49)
    received = giving.service.books.one(
        "SELECT sum(balance) FROM credits.balances WHERE user_id LIKE 'user-%%'"
    )
    assert received == 10


async def test_only_the_named_address_redeems_a_personalized_gift_and_case_does_not_matter(
    giving: Giving,
) -> None:
    gift = await giving.create(type="personalized", targetEmail="Ben@Example.COM")
    assert gift["targetEmail"] == "Ben@Example.COM"
    (await giving.redeem("cleo", gift["code"])).refused(400, "Gift is reserved for another user")
    no_address = await giving.send("x", "POST", f"/{gift['code']}/redeem", headers=giving.token("x", ""))
    no_address.refused(400, "Gift is reserved for another user")
    (await giving.redeem("ben", gift["code"])).ok()
    assert giving.attempts() == [
        ("ben", "success"),
        ("cleo", "failed_wrong_user"),
        ("x", "failed_wrong_user"),
    ]


async def test_a_target_makes_a_gift_personalized_unless_it_is_said_to_be_simple(giving: Giving) -> None:
    assert (await giving.create(targetEmail="ben@example.com"))["type"] == "personalized"
    simple = await giving.create(type="simple", targetEmail="ben@example.com")
    assert (simple["type"], simple["targetEmail"]) == ("simple", "ben@example.com")
    (await giving.redeem("cleo", simple["code"])).ok()


async def test_an_expired_gift_that_is_touched_pays_back_at_once_and_is_recorded(giving: Giving) -> None:
    gift = await giving.create()
    giving.is_over(gift)
    assert (await giving.look_up(gift["code"])).ok()["status"] == "expired"
    (await giving.redeem("ben", gift["code"])).refused(400, "Gift code expired")
    assert await giving.service.figures("anna") == (100, 100, 0)
    (await giving.redeem("ben", gift["code"])).refused(400, "Gift code is expired")
    assert giving.attempts() == [("ben", "failed_expired")] * 2
    (await giving.cancel("anna", gift["id"])).refused(400, "Only active gifts can be cancelled")


async def test_a_cancelled_gift_comes_back_and_earns_nothing(giving: Giving) -> None:
    gift = await giving.create()
    for user_id, gift_id in (("ben", gift["id"]), ("anna", "0198c0de-0000-7000-8000-000000000000")):
        (await giving.cancel(user_id, gift_id)).refused(404, "Gift not found")
    (await giving.cancel("anna", "x")).refused(400, "Invalid request")
    assert (await giving.cancel("anna", gift["id"])).ok() == {"success": True, "refundedCredits": 10}
    assert await giving.service.figures("anna") == (100, 100, 0)
    [entry, *_] = (await giving.service.user("anna", "GET", "/transactions")).ok()
    assert (entry["type"], entry["amount"]) == ("refund", 10)
    (await giving.cancel("anna", gift["id"])).refused(400, "Only active gifts can be cancelled")
    (await giving.redeem("ben", gift["code"])).refused(400, "Gift code is cancelled")
    assert giving.attempts() == [("ben", "failed_depleted")]


async def test_lists_are_newest_first_and_can_be_read_in_pages(giving: Giving) -> None:
    made = [(await giving.create(total_credits=n))["id"] for n in (1, 2, 3)]
    assert [one["id"] for one in await giving.listed("anna", "created")] == made[::-1]
    [middle] = (await giving.send("anna", "GET", "/me/created?limit=1&offset=1")).ok()
    assert middle["id"] == made[1]
    (await giving.send("anna", "GET", "/me/created?limit=-1")).refused(400, "Invalid request")
    assert await giving.listed("ben", "created") == []


async def test_me_is_no_code_and_the_routes_ask_for_a_token(giving: Giving) -> None:
    for method, path in (
        ("GET", "/me/created"),
        ("GET", "/me/received"),
        ("GET", "/me/pending"),
        ("POST", ""),
        ("POST", "/ABCDEFGHJK/redeem"),
        ("DELETE", "/0198c0de-0000-7000-8000-000000000000"),
    ):
        reply = await giving.service.call(method, GIFTS + path, {} if method == "POST" else None)
        reply.refused(401, "Missing or invalid Authorization header")
    reply = await giving.service.call("POST", REDEEM_PENDING, {"userId": "ben", "email": "a@b.de"})
    reply.refused(401, "Invalid or missing service key")


# Keys


async def test_a_key_makes_one_gift_and_one_redemption(giving: Giving) -> None:
    wanted = {"totalCredits": 10, "idempotencyKey": "k", "expiresAt": "2030-01-01T00:00:00Z"}
    first = await giving.send("anna", "POST", "", wanted)
    again = await giving.send("anna", "POST", "", wanted)
    assert (again.status, again.json) == (201, first.json)
    other = await giving.send("anna", "POST", "", {**wanted, "totalCredits": 11})
    other.refused(422, "Idempotency key was used with a different request")
    assert await giving.service.figures("anna") == (90, 100, 10)
    code, key = first.json["code"], {"Idempotency-Key": "k"}
    redeemed = await giving.send("ben", "POST", f"/{code}/redeem", {}, headers=key)
    repeated = await giving.send("ben", "POST", f"/{code.lower()}/redeem", {}, headers=key)
    assert redeemed.ok() == repeated.ok()
    second = await giving.create()
    another_code = await giving.send("ben", "POST", f"/{second['code']}/redeem", {}, headers=key)
    another_code.refused(422, "Idempotency key was used with a different request")
    assert giving.attempts() == [("ben", "success")]


async def test_twenty_equal_keys_at_once_make_one_gift(giving: Giving) -> None:
    wanted = {"totalCredits": 10, "idempotencyKey": "k"}
    replies = await asyncio.gather(*(giving.send("anna", "POST", "", wanted) for _ in range(20)))
    assert {reply.status for reply in replies} == {201}
    assert len({reply.json["id"] for reply in replies}) == 1
    assert await giving.service.figures("anna") == (90, 100, 10)


async def test_a_refusal_leaves_the_key_free_and_is_recorded_all_the_same(giving: Giving) -> None:
    poor = {"totalCredits": 10, "idempotencyKey": "k"}
    (await giving.send("ben", "POST", "", poor)).refused(400, "Insufficient credits to create gift")
    (await giving.service.grant("ben", 10)).ok()
    assert (await giving.send("ben", "POST", "", poor)).status == 201
    gift = await giving.create(targetEmail="cleo@example.com")
    path, key = f"/{gift['code']}/redeem", {"Idempotency-Key": "k"}
    wrong = await giving.send("cleo", "POST", path, headers={**giving.token("cleo", "c@x.de"), **key})
    wrong.refused(400, "Gift is reserved for another user")
    (await giving.send("cleo", "POST", path, headers=key)).ok()
    assert giving.attempts() == [("cleo", "failed_wrong_user"), ("cleo", "success")]


# Gifts that wait for somebody


@needs_workers
async def test_who_registers_gets_all_that_waits_for_the_address(giving: Giving) -> None:
    for total_credits, email in ((3, "Ben@Example.com"), (4, "ben@example.com"), (5, "cleo@example.com")):
        await giving.create(total_credits=total_credits, targetEmail=email)
    simple, over = await giving.create(), await giving.create(targetEmail="ben@example.com")
    giving.is_over(over)
    assert (await giving.redeem_pending("ben", "BEN@example.com")).ok() == {"redeemed": 2, "totalCredits": 7}
    assert (await giving.redeem_pending("ben", "ben@example.com")).ok() == {"redeemed": 0, "totalCredits": 0}
    assert await giving.service.figures("ben") == (7, 7, 0)
    assert (await giving.look_up(simple["code"])).ok()["status"] == "active"


@needs_workers
async def test_registration_opening_the_balance_at_the_same_time_loses_nothing(giving: Giving) -> None:
    for n in range(10):
        user_id = f"new-{n}"
        await giving.create(total_credits=2, targetEmail=email_of(user_id))
        replies = await asyncio.gather(
            giving.service.internal("POST", "/init", {"userId": user_id}),
            giving.redeem_pending(user_id, email_of(user_id)),
            giving.service.internal("POST", "/init", {"userId": user_id}),
            giving.redeem_pending(user_id, email_of(user_id)),
        )
        answers = [reply.ok() for reply in replies]
        assert sum(answer["redeemed"] for answer in (answers[1], answers[3])) == 1
        assert await giving.service.figures(user_id) == (2, 2, 0)


@needs_workers
async def test_a_gift_made_after_the_registration_is_listed_and_redeemed_by_its_code(giving: Giving) -> None:
    assert (await giving.redeem_pending("ben", email_of("ben"))).ok()["redeemed"] == 0
    gift = await giving.create(targetEmail="BEN@example.com", message="Late")
    [waiting] = await giving.listed("ben", "pending")
    assert set(waiting) == FOUND_KEYS | {"id", "url", "createdAt"}
    assert (waiting["id"], waiting["code"], waiting["message"]) == (gift["id"], gift["code"], "Late")
    assert await giving.listed("ben", "pending", headers=giving.token("ben", "other@example.com")) == []
    assert await giving.listed("ben", "pending", headers=giving.token("ben", "")) == []
    (await giving.redeem("ben", waiting["code"])).ok()
    assert await giving.listed("ben", "pending") == []


@needs_workers
async def test_a_repeated_key_of_redeem_pending_is_the_first_job(giving: Giving) -> None:
    await giving.create(targetEmail=email_of("ben"))
    first = (await giving.redeem_pending("ben", email_of("ben"), idempotencyKey="k")).ok()
    assert first == {"redeemed": 1, "totalCredits": 10}
    assert (await giving.redeem_pending("ben", email_of("ben"), idempotencyKey="k")).ok() == first
    other = await giving.redeem_pending("ben", "x@example.com", idempotencyKey="k")
    other.refused(422, "Idempotency key was used with a different request")


async def test_without_workers_redeem_pending_is_accepted_and_durable(giving: Giving) -> None:
    reply = await giving.redeem_pending("ben", email_of("ben"), headers={"Prefer": "respond-async"})
    assert (reply.status, reply.json["status"]) == (202, "pending")
    looked = await giving.service.call(
        "GET", reply.headers["Location"], headers={"X-Service-Key": SERVICE_KEY}
    )
    assert looked.ok()["status"] == "waiting"


BAD_REGISTRATIONS: tuple[tuple[dict[str, Any], str], ...] = (
    ({"email": "a@b.de"}, "userId"),
    ({"userId": "", "email": "a@b.de"}, "userId"),
    ({"userId": "ben"}, "email"),
    ({"userId": "ben", "email": ""}, "email"),
    ({"userId": "ben", "email": "x" * 321}, "email"),
    ({"userId": "ben", "email": "ben"}, "email"),
    ({"userId": "ben", "email": 5}, "email"),
)


async def test_a_bad_redeem_pending_is_400_naming_the_field(giving: Giving) -> None:
    for body, field in BAD_REGISTRATIONS:
        reply = await giving.service.call(
            "POST", REDEEM_PENDING, body, headers={"X-Service-Key": SERVICE_KEY}
        )
        named = [one["field"] for one in reply.refused(400, "Invalid request")["details"]]
        assert named == [field], f"{body}: {reply.brief}"
    assert giving.service.books.one("SELECT count(*) FROM ops.jobs") == 0
