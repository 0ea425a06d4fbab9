"""Endpoints of apps over the admin API: secrets, addresses, what a body may hold, what is sent again, the audit."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from domain.webhooks.addresses import AddressRefused, AddressRules, check_reachable
from domain.webhooks.signing import signing_secrets
from tests.support.client import Reply
from tests.support.jobs import engine_on
from tests.support.service import Service
from tests.support.webhooks import Post, fill

PATH = "/api/v1/admin/webhooks"
PUBLIC = "https://8.8.8.8/hooks"
"""An address that no name server need be asked about."""

WANTED: dict[str, Any] = {"appId": "chat", "url": PUBLIC, "events": ["gift.redeemed"]}


async def admin(service: Service, method: str, path: str = "", body: Any = None) -> Reply:
    headers = {"Authorization": f"Bearer {service.auth.mint('boss', role='admin')}"}
    return await service.call(method, PATH + path, body, headers=headers)


async def made(service: Service, **more: Any) -> Any:
    reply = await admin(service, "POST", "?reason=ticket+12", WANTED | more)
    assert reply.status == 201, reply.brief
    return reply.json


def audited(service: Service) -> list[tuple[Any, ...]]:
    return service.books.rows("SELECT action, reason, subject, actor FROM ops.audit ORDER BY at")


def endpoint_row(service: Service) -> tuple[Any, ...]:
    [row] = service.books.rows("SELECT secret, retired_secrets, state FROM ops.webhook_endpoints")
    return row


async def test_the_secret_is_told_once_and_never_again(service: Service) -> None:
    answer = await made(service)
    secret, endpoint_id = answer["secret"], answer["endpoint"]["id"]
    assert secret.startswith("whsec_")
    assert endpoint_row(service)[0] == secret
    later = [
        await admin(service, "GET"),
        await admin(service, "GET", f"/{endpoint_id}"),
        await admin(service, "PATCH", f"/{endpoint_id}", {"description": "production"}),
        await admin(service, "POST", f"/{endpoint_id}/test", {"reason": "does it work"}),
        await admin(service, "GET", f"/{endpoint_id}/deliveries"),
        await service.call("GET", "/api/v1/admin/audit", headers=admin_headers(service)),
        await admin(service, "DELETE", f"/{endpoint_id}"),
    ]
    for reply in later:
        assert reply.status == 200, reply.brief
        assert "whsec_" not in reply.raw.decode()
        assert secret.removeprefix("whsec_") not in reply.raw.decode()
    assert secret not in str(service.books.rows("SELECT * FROM ops.audit"))


def admin_headers(service: Service) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {service.auth.mint('boss', role='admin')}"}


async def test_a_secret_that_was_replaced_signs_for_24_hours_beside_the_new_one(service: Service) -> None:
    answer = await made(service)
    endpoint_id, old = answer["endpoint"]["id"], answer["secret"]
    before = datetime.now(UTC)
    rotated = (await admin(service, "POST", f"/{endpoint_id}/rotate-secret?reason=leaked")).ok()
    after = datetime.now(UTC)
    until = datetime.fromisoformat(rotated["previousSecretUntil"])
    day = timedelta(hours=24)
    moment = timedelta(milliseconds=1)
    assert before + day - moment <= until <= after + day
    secret, retired, _ = endpoint_row(service)
    assert secret == rotated["secret"] != old
    assert signing_secrets(secret, retired, now=before + day - timedelta(seconds=1)) == (secret, old)
    assert signing_secrets(secret, retired, now=after + day) == (secret,)
    seen = await admin(service, "GET", f"/{endpoint_id}")
    assert seen.ok()["previousSecretUntil"] == rotated["previousSecretUntil"]
    assert old not in seen.raw.decode()


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://127.0.0.1/hooks", "not public"),
        ("https://localhost/hooks", "not public"),
        ("https://[::1]/hooks", "not public"),
        ("https://[::ffff:8.8.8.8]/hooks", "not public"),
        ("https://10.1.2.3/hooks", "not public"),
        ("https://192.168.1.1/hooks", "not public"),
        ("https://169.254.169.254/latest/meta-data", "not public"),
        ("https://2130706433/hooks", "not public"),
        ("https://anna:word@8.8.8.8/hooks", "must not hold a name or password"),
        ("ftp://8.8.8.8/hooks", "must begin with https://"),
        ("https:///hooks", "must name a host"),
        ("https://8.8.8.8:0/hooks", "must not have port 0"),
        ("https://8.8.8.8/hooks#part", "must not have a fragment"),
        ("https://8.8.8.8/a b", "must be at most"),
    ],
)
async def test_an_address_that_webhooks_may_not_go_to_is_refused_and_nothing_is_written(
    service: Service, url: str, why: str
) -> None:
    endpoint_id = (await made(service))["endpoint"]["id"]
    before = service.books.everything()
    for reply in (
        await admin(service, "POST", "", WANTED | {"url": url}),
        await admin(service, "PATCH", f"/{endpoint_id}", {"url": url}),
    ):
        assert (reply.status, reply.json["code"]) == (400, "webhook_address_refused"), reply.brief
        assert why in reply.raw.decode()
        assert "word" not in reply.raw.decode().replace("password", "")
    assert service.books.everything() == before


def test_http_is_for_development_alone() -> None:
    with pytest.raises(AddressRefused, match="must begin with https://"):
        check_reachable("http://8.8.8.8/hooks", AddressRules())
    check_reachable("http://8.8.8.8/hooks", AddressRules(allows_http=True))


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"appId": ""}, "appId"),
        ({"appId": "a b"}, "appId"),
        ({"appId": "a" * 65}, "appId"),
        ({"appId": None}, "appId"),
        ({"url": ""}, "url"),
        ({"url": "https://8.8.8.8/" + "a" * 2048}, "url"),
        ({"url": 7}, "url"),
        ({"events": []}, "events"),
        ({"events": ["gift.eaten"]}, "events"),
        ({"events": "gift.redeemed"}, "events"),
        ({"events": ["gift.redeemed"] * 99}, "events"),
        ({"events": ["balance.low"]}, "lowBalanceThreshold"),
        ({"events": ["balance.low"], "lowBalanceThreshold": -1}, "lowBalanceThreshold"),
        ({"events": ["balance.low"], "lowBalanceThreshold": "many"}, "lowBalanceThreshold"),
        ({"description": "a" * 201}, "description"),
    ],
)
async def test_a_body_that_cannot_be_is_refused_by_the_fields_name(
    service: Service, more: dict[str, Any], field: str
) -> None:
    reply = await admin(service, "POST", "", WANTED | more)
    assert (reply.status, reply.json["code"]) == (400, "bad_request"), reply.brief
    assert field in str(reply.json["details"])
    assert service.books.one("SELECT count(*) FROM ops.webhook_endpoints") == 0
    assert audited(service) == []


async def test_an_app_has_an_address_once_and_another_may_have_it_too(service: Service) -> None:
    await made(service)
    reply = await admin(service, "POST", "", WANTED)
    assert (reply.status, reply.json["code"]) == (400, "webhook_url_taken")
    await made(service, appId="dream")


async def test_what_was_removed_is_told_nothing_and_is_found_nowhere(
    service: Service, database_url: str
) -> None:
    endpoint_id = (await made(service))["endpoint"]["id"]
    event = (await admin(service, "POST", f"/{endpoint_id}/test", {"reason": "is it there"})).ok()
    assert event["facts"]["eventId"]
    [delivery] = (await admin(service, "GET", f"/{endpoint_id}/deliveries")).ok()
    was = (await admin(service, "DELETE", f"/{endpoint_id}?reason=closed")).ok()
    assert (was["id"], was["state"]) == (endpoint_id, "active")
    assert (await admin(service, "GET")).ok() == []
    with engine_on(database_url) as engine:
        assert Post(engine, now=datetime.now(UTC) + timedelta(minutes=1)).deliver() == 0
    for method, path, body in (
        ("GET", f"/{endpoint_id}", None),
        ("GET", f"/{endpoint_id}/deliveries", None),
        ("PATCH", f"/{endpoint_id}", {"description": "again"}),
        ("POST", f"/{endpoint_id}/rotate-secret", None),
        ("DELETE", f"/{endpoint_id}", None),
        ("POST", f"/{endpoint_id}/enable", {"reason": "again"}),
    ):
        reply = await admin(service, method, path, body)
        assert (reply.status, reply.json["code"]) == (404, "webhook_endpoint_not_found"), (method, path)
    gone = await admin(service, "GET", f"/deliveries/{delivery['id']}")
    assert (gone.status, gone.json["code"]) == (404, "webhook_delivery_not_found")
    await made(service)


async def test_a_delivery_is_sent_again_and_what_failed_all_at_once(
    service: Service, database_url: str
) -> None:
    with engine_on(database_url) as engine:
        rows = fill(engine)
    for state in ("delivered", "failed"):
        path = f"/deliveries/{rows.deliveries[state]}"
        done = (await admin(service, "POST", f"{path}/redeliver", {"reason": "lost there"})).ok()
        assert done["facts"]["was"] == state
        seen = (await admin(service, "GET", path)).ok()["delivery"]
        assert (seen["state"], seen["eventId"]) == ("waiting", done["facts"]["eventId"])
    since = {"since": "2026-01-01T00:00:00Z", "reason": "mended"}
    done = (await admin(service, "POST", f"/{rows.fails}/redeliver-failed", since)).ok()
    assert (done["facts"]["redelivered"], done["facts"]["left"]) == (1, 0)
    stopped = await admin(service, "POST", f"/{rows.disabled}/redeliver-failed", since)
    assert (stopped.status, stopped.json["code"]) == (400, "webhook_endpoint_not_active")
    zoneless = await admin(
        service, "POST", f"/{rows.fails}/redeliver-failed", since | {"since": "2026-01-01T00:00:00"}
    )
    assert (zoneless.status, "since" in zoneless.raw.decode()) == (400, True)
    blank = await admin(service, "POST", f"/{rows.works}/pause", {"reason": " \x85\x00"})
    assert (blank.status, [wrong["field"] for wrong in blank.json["details"]]) == (400, ["reason"])
    nowhere = await admin(service, "POST", f"/deliveries/{uuid4()}/redeliver", {"reason": "lost there"})
    assert (nowhere.status, nowhere.json["code"]) == (404, "webhook_delivery_not_found")


async def test_each_change_is_in_the_audit_with_who_and_why(service: Service) -> None:
    endpoint_id = (await made(service))["endpoint"]["id"]
    why = "?reason=ticket+12"
    await admin(service, "PATCH", f"/{endpoint_id}{why}", {"events": ["sync.paused"]})
    await admin(service, "POST", f"/{endpoint_id}/rotate-secret{why}")
    for action in ("test", "pause", "enable"):
        (await admin(service, "POST", f"/{endpoint_id}/{action}", {"reason": "ticket 12"})).ok()
    await admin(service, "DELETE", f"/{endpoint_id}{why}")
    found = audited(service)
    assert [row[0] for row in found] == [
        "create_webhook", "change_webhook", "rotate_webhook_secret", "test_webhook", "pause_webhook",
        "enable_webhook", "remove_webhook",
    ]  # fmt: skip
    assert {row[1:] for row in found} == {("ticket 12", endpoint_id, "admin:boss")}


async def test_the_threshold_of_low_balances_is_kept_changed_and_audited_to_the_thousandth(
    service: Service,
) -> None:
    listening = {"events": ["balance.low"], "lowBalanceThreshold": 2.5}
    endpoint = (await made(service, **listening))["endpoint"]
    assert endpoint["lowBalanceThreshold"] == 2.5
    changed = (await admin(service, "PATCH", f"/{endpoint['id']}", {"lowBalanceThreshold": 0.125})).ok()
    assert changed["lowBalanceThreshold"] == 0.125
    facts = [str(row[0]) for row in service.books.rows("SELECT details FROM ops.audit ORDER BY at")]
    assert "2.5" in facts[0]
    assert "0.125" in facts[1]
