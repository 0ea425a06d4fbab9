"""Cloud Sync as its user, other services and administrators see it: contract, section 3, "Sync"."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.client import SERVICE_KEY, Headers, Reply
from tests.support.service import Service
from tests.support.shapes import assert_transaction, is_timestamp

SYNC = "/api/v1/sync"
INTERNAL_SYNC = "/api/v1/internal/sync"
ADMIN_SYNC = "/api/v1/admin/sync"

NEVER = {
    "active": False,
    "interval": "monthly",
    "nextChargeAt": None,
    "pausedAt": None,
    "gifted": False,
    "autoResume": False,
}

needs_workers = pytest.mark.usefixtures("workers")


async def user(
    service: Service, method: str, path: str, body: object = None, *, headers: Headers | None = None
) -> Reply:
    """A call by the user ada."""
    sent = {**service.as_user("ada"), **(headers or {})}
    return await service.call(method, SYNC + path, body, headers=sent)


async def admin(service: Service, method: str, path: str) -> Reply:
    token = service.auth.mint("the-admin", role="admin")
    return await service.call(method, ADMIN_SYNC + path, headers={"Authorization": f"Bearer {token}"})


async def internal(service: Service, method: str, path: str, *, headers: Headers | None = None) -> Reply:
    sent = {"X-Service-Key": SERVICE_KEY, **(headers or {})}
    return await service.call(method, INTERNAL_SYNC + path, headers=sent)


async def status(service: Service) -> dict[str, Any]:
    found: dict[str, Any] = (await user(service, "GET", "/status")).ok()
    return found


def make_due(service: Service, user_id: str = "ada") -> None:
    """Somebody whom the old service left with a charge that has come due."""
    service.books.rows(
        "INSERT INTO credits.sync_subscriptions (user_id, active, next_charge_at)"
        " VALUES (%s, true, now() - interval '1 minute') ON CONFLICT (user_id) DO UPDATE"
        " SET active = true, next_charge_at = excluded.next_charge_at, paid_from = NULL",
        user_id,
    )


async def test_somebody_who_never_had_sync_has_a_status(service: Service) -> None:
    assert await status(service) == NEVER
    assert (await internal(service, "GET", "/status/ada")).ok() == NEVER
    assert (await admin(service, "GET", "/ada")).ok() == NEVER


@pytest.mark.parametrize(
    ("body", "interval", "price", "days"),
    [
        ({}, "monthly", 30, (28, 31)),
        ({"interval": None}, "monthly", 30, (28, 31)),
        ({"interval": "monthly"}, "monthly", 30, (28, 31)),
        ({"interval": "quarterly"}, "quarterly", 90, (89, 92)),
        ({"interval": "yearly", "unknown": "field"}, "yearly", 360, (365, 366)),
        (None, "monthly", 30, (28, 31)),
    ],
)
async def test_activation_charges_now(
    service: Service, body: object, interval: str, price: int, days: tuple[int, int]
) -> None:
    await service.grant("ada", 400)
    activated = (await user(service, "POST", "/activate", body)).ok()
    assert activated == {
        "success": True,
        "active": True,
        "interval": interval,
        "nextChargeAt": activated["nextChargeAt"],
        "amountCharged": price,
        "autoResume": False,
    }
    assert is_timestamp(activated["nextChargeAt"])
    lasts = datetime.fromisoformat(activated["nextChargeAt"]) - datetime.now(UTC)
    assert timedelta(days=days[0], minutes=-1) < lasts < timedelta(days=days[1])
    assert await status(service) == {
        **NEVER,
        "active": True,
        "interval": interval,
        "nextChargeAt": activated["nextChargeAt"],
    }
    [entry, _] = (await service.user("ada", "GET", "/transactions")).ok()
    metadata = {"interval": interval, "type": "sync_subscription"}
    assert_transaction(entry, type="usage", amount=-price, appId="sync", metadata=metadata)
    assert await service.figures("ada") == (400 - price, 400, price)


async def test_what_is_refused_about_activation(service: Service) -> None:
    (await user(service, "POST", "/activate", {})).refused(404, "User balance not found")
    await service.grant("ada", 29)
    poor = (await user(service, "POST", "/activate", {})).refused(402, "Insufficient credits")
    assert poor["details"] == {"required": 30, "available": 29}
    assert await status(service) == NEVER
    await service.grant("ada", 31, "more")
    (await user(service, "POST", "/activate", {})).ok()
    (await user(service, "POST", "/activate", {})).refused(400, "Sync is already active")
    (await admin(service, "POST", "/ada/gift")).ok()
    (await user(service, "POST", "/activate", {})).refused(
        400, "Sync is already gifted — no activation needed"
    )
    (await user(service, "POST", "/deactivate")).refused(400, "Sync is gifted — contact support to revoke")


@pytest.mark.parametrize("body", [{"interval": "weekly"}, {"interval": 1}, {"autoResume": "yes"}, []])
async def test_a_malformed_activation_is_400_and_writes_nothing(service: Service, body: object) -> None:
    await service.grant("ada", 400)
    before = service.books.everything()
    refused = (await user(service, "POST", "/activate", body)).refused(400, "Invalid request")
    assert refused["details"]
    assert service.books.everything() == before


async def test_activating_many_times_at_once_charges_once(service: Service) -> None:
    await service.grant("ada", 400)
    replies = await asyncio.gather(*[user(service, "POST", "/activate", {}) for _ in range(20)])
    assert sorted(reply.status for reply in replies) == [200] + [400] * 19
    assert await service.figures("ada") == (370, 400, 30)


async def test_a_key_makes_activation_happen_once_and_answers_the_same(service: Service) -> None:
    await service.grant("ada", 29)
    keyed = {"interval": "monthly", "idempotencyKey": "k"}
    (await user(service, "POST", "/activate", keyed)).refused(402, "Insufficient credits")
    await service.grant("ada", 400, "more")
    replies = await asyncio.gather(*[user(service, "POST", "/activate", keyed) for _ in range(5)])
    assert len({reply.raw for reply in replies}) == 1
    by_header = await user(
        service, "POST", "/activate", {"interval": "monthly"}, headers={"Idempotency-Key": "k"}
    )
    assert by_header.json == replies[0].ok()
    other = await user(service, "POST", "/activate", {**keyed, "interval": "yearly"})
    other.refused(422, "Idempotency key was used with a different request")
    assert await service.figures("ada") == (399, 429, 30)


async def test_deactivating_pays_nothing_back(service: Service) -> None:
    (await user(service, "POST", "/deactivate")).refused(400, "Sync is not active")
    await service.grant("ada", 400)
    (await user(service, "POST", "/activate", {"interval": "yearly"})).ok()
    assert (await user(service, "POST", "/deactivate")).ok() == {"success": True}
    assert await status(service) == {**NEVER, "interval": "yearly"}
    assert await service.figures("ada") == (40, 400, 360)


async def test_changing_the_interval_is_free_until_the_next_renewal(service: Service) -> None:
    (await user(service, "POST", "/change-interval", {"interval": "yearly"})).refused(
        400, "Sync is not active"
    )
    await service.grant("ada", 400)
    due = (await user(service, "POST", "/activate", {})).ok()["nextChargeAt"]
    changed = (await user(service, "POST", "/change-interval", {"interval": "quarterly"})).ok()
    assert changed == {"success": True, "interval": "quarterly", "amountCharged": 90, "effectiveAt": due}
    assert await service.figures("ada") == (370, 400, 30)
    for body in ({}, {"interval": None}, {"interval": "daily"}):
        (await user(service, "POST", "/change-interval", body)).refused(400, "Invalid request")


async def test_auto_resume_is_kept_and_shown_and_may_be_changed(service: Service) -> None:
    path = "/auto-resume"
    (await user(service, "POST", path, {"autoResume": True})).refused(
        404, "No sync subscription found for user"
    )
    await service.grant("ada", 400)
    assert (await user(service, "POST", "/activate", {"autoResume": True})).ok()["autoResume"] is True
    assert (await status(service))["autoResume"] is True
    assert (await user(service, "POST", path, {"autoResume": False})).ok() == {
        "success": True,
        "autoResume": False,
    }
    assert (await status(service))["autoResume"] is False
    (await user(service, "POST", path, {})).refused(400, "Invalid request")


async def test_a_gift_is_free_repeatable_and_revoked(service: Service) -> None:
    (await admin(service, "DELETE", "/ada/gift")).refused(404, "No sync subscription found for user")
    for _ in range(2):
        gifted = (await admin(service, "POST", "/ada/gift")).ok()
        assert gifted == {
            "success": True,
            "userId": "ada",
            "gifted": True,
            "active": True,
            "nextChargeAt": None,
        }
    assert await status(service) == {**NEVER, "active": True, "gifted": True}
    revoked = (await admin(service, "DELETE", "/ada/gift")).ok()
    assert revoked == {**gifted, "gifted": False, "active": False}
    assert await status(service) == NEVER
    (await admin(service, "DELETE", "/ada/gift")).refused(400, "Sync is not gifted — nothing to revoke")


async def test_gifts_and_revokes_are_in_the_audit_by_whom_and_why_and_refusals_are_not(
    service: Service,
) -> None:
    (await admin(service, "POST", "/ada/gift?reason=ticket%204711")).ok()
    (await admin(service, "DELETE", "/ada/gift")).ok()
    assert (await admin(service, "DELETE", "/ada/gift?reason=again")).status == 400
    query = "SELECT action, actor, user_id, reason FROM ops.audit ORDER BY id"
    assert [tuple(row) for row in service.books.rows(query)] == [
        ("gift_sync", "admin:the-admin", "ada", "ticket 4711"),
        ("revoke_sync", "admin:the-admin", "ada", "none was given"),
    ]


async def test_a_revoke_gives_back_what_was_left_of_a_paid_period(service: Service) -> None:
    await service.grant("ada", 400)
    due = (await user(service, "POST", "/activate", {})).ok()["nextChargeAt"]
    (await admin(service, "POST", "/ada/gift")).ok()
    assert (await status(service))["nextChargeAt"] is None
    revoked = (await admin(service, "DELETE", "/ada/gift")).ok()
    assert (revoked["gifted"], revoked["active"], revoked["nextChargeAt"]) == (False, True, due)
    assert await status(service) == {**NEVER, "active": True, "nextChargeAt": due}
    assert await service.figures("ada") == (370, 400, 30)


@pytest.mark.parametrize("call", [("POST", "/ada/gift"), ("DELETE", "/ada/gift"), ("GET", "/ada")])
async def test_only_administrators_give(service: Service, call: tuple[str, str]) -> None:
    method, path = call
    reply = await service.call(method, ADMIN_SYNC + path, headers=service.as_user("ada"))
    assert reply.status == 403
    assert reply.json == {"error": "Forbidden", "message": "Admin access required"}
    (await service.call(method, ADMIN_SYNC + path)).refused(401, "Missing or invalid Authorization header")


@pytest.mark.parametrize("call", [("GET", "/status/ada"), ("POST", "/charge-recurring")])
async def test_other_services_need_the_key(service: Service, call: tuple[str, str]) -> None:
    method, path = call
    reply = await service.call(method, INTERNAL_SYNC + path)
    reply.refused(401, "Invalid or missing service key")


async def test_an_id_in_a_path_is_opaque_text(service: Service) -> None:
    await service.grant("a/b ö", 50)
    token = service.as_user("a/b ö")
    (await service.call("POST", f"{SYNC}/activate", {}, headers=token)).ok()
    assert (await internal(service, "GET", "/status/a%2Fb%20%C3%B6")).ok()["active"] is True


@needs_workers
async def test_charge_recurring_charges_pauses_and_says_so(service: Service) -> None:
    nothing = {"charged": 0, "paused": 0, "errors": 0, "total": 0}
    assert (await internal(service, "POST", "/charge-recurring")).ok() == nothing
    for user_id, had in (("ada", 30), ("grace", 29), ("later", 60)):
        await service.grant(user_id, had)
    (await service.call("POST", f"{SYNC}/activate", {}, headers=service.as_user("later"))).ok()
    for user_id in ("ada", "grace"):
        make_due(service, user_id)
    done = (await internal(service, "POST", "/charge-recurring")).ok()
    assert done == {"charged": 1, "paused": 1, "errors": 0, "total": 2}
    assert (await internal(service, "POST", "/charge-recurring")).ok() == nothing
    assert (await status(service))["active"] is True
    grace = (await internal(service, "GET", "/status/grace")).ok()
    assert (grace["active"], is_timestamp(grace["pausedAt"]), is_timestamp(grace["nextChargeAt"])) == (
        False,
        True,
        True,
    )
    [entry, *_] = (await service.user("ada", "GET", "/transactions")).ok()
    metadata = {"interval": "monthly", "type": "sync_renewal"}
    assert_transaction(entry, type="usage", amount=-30, appId="sync", metadata=metadata)


@needs_workers
async def test_a_key_of_charge_recurring_gets_the_first_runs_answer(service: Service) -> None:
    await service.grant("ada", 60)
    make_due(service)
    keyed = {"Idempotency-Key": "run-1"}
    first = (await internal(service, "POST", "/charge-recurring", headers=keyed)).ok()
    assert first["charged"] == 1
    assert (await internal(service, "POST", "/charge-recurring", headers=keyed)).ok() == first


async def test_without_workers_charge_recurring_is_accepted_and_durable(service: Service) -> None:
    reply = await internal(service, "POST", "/charge-recurring", headers={"Prefer": "respond-async"})
    assert reply.status == 202
    pending = reply.json
    assert (pending["success"], pending["status"]) == (True, "pending")
    assert reply.headers["Location"] == f"/api/v1/internal/jobs/{pending['jobId']}"
    assert json.loads(reply.raw)["jobId"] == str(service.books.one("SELECT id FROM ops.jobs"))


@needs_workers
async def test_deactivating_and_renewing_at_once_is_never_an_error(service: Service) -> None:
    for round_number in range(8):
        await service.grant("ada", 30, f"round-{round_number}")
        make_due(service)
        replies = await asyncio.gather(
            user(service, "POST", "/deactivate"), internal(service, "POST", "/charge-recurring")
        )
        assert [reply.status for reply in replies] == [200, 200]
        assert (await status(service))["active"] is False
