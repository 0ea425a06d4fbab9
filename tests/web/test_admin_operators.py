"""The operators' API: who may call it, what it answers, and what it writes into the audit."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import jsonschema_rs
import msgspec
import pytest
from dramatiq import Message

from domain.operators.acting import Command
from nudges.broker import make_broker
from tests.support.clean_database import CleanDatabase
from tests.support.client import SERVICE_KEY, Reply
from tests.support.service import Service
from tests.support.world import World, make_world
from web.app import operations
from web.openapi.document import path_of
from web.operators.actions import ReasonBody
from web.routing import Access

ADMIN = "/api/v1/admin"
OPERATIONS = [one for one in operations() if one.tag == "Operators"]

PARTS = {
    "{userId}": "anna",
    "{jobId}": str(uuid4()),
    "{eventId}": "evt_world",
    "{id}": str(uuid4()),
    "{queue}": "money",
    "{messageId}": str(uuid4()),
}

FORBIDDEN = {"error": "Forbidden", "message": "Admin access required"}


def address(path: str) -> str:
    for part, value in PARTS.items():
        path = path.replace(part, value)
    return path


def as_admin(service: Service) -> dict[str, str]:
    return {"Authorization": f"Bearer {service.auth.mint('boss', role='admin')}"}


async def admin(service: Service, method: str, path: str, body: Any = None, **headers: str) -> Reply:
    return await service.call(method, ADMIN + path, body, headers={**as_admin(service), **headers})


@pytest.fixture
def world(lent_database: CleanDatabase) -> World:
    return make_world(lent_database.engine)


def test_every_operation_for_operators_is_for_administrators() -> None:
    assert len(OPERATIONS) > 40
    assert {one.access for one in OPERATIONS} == {Access.ADMIN}
    prefixed = [one for one in operations() if one.path.startswith("/api/v1/admin")]
    assert all(one.access is Access.ADMIN for one in prefixed)


async def test_each_endpoint_with_each_credential(service: Service) -> None:
    """Generated: every operation under /admin times every kind of caller."""
    credentials: dict[str, tuple[dict[str, str], int]] = {
        "nobody": ({}, 401),
        "user": (service.as_user("anna"), 403),
        "moderator": ({"Authorization": f"Bearer {service.auth.mint('mo', role='moderator')}"}, 403),
        "service key": ({"X-Service-Key": SERVICE_KEY}, 401),
        "forged": ({"Authorization": as_admin(service)["Authorization"][:-6] + "AAAAAA"}, 401),
        "expired": (
            {"Authorization": f"Bearer {service.auth.mint('boss', role='admin', ttl_seconds=-5)}"},
            401,
        ),
        "a cookie": ({"Cookie": "mana-ops=forged"}, 401),
    }
    before = service.books.everything()
    checked = 0
    for one in operations():
        if not one.path.startswith(ADMIN):
            continue
        for who, (headers, status) in credentials.items():
            reply = await service.call(one.method, address(path_of(one)), raw=b"{", headers=headers)
            assert reply.status == status, f"{who}: {one.method} {one.path}: {reply.brief}"
            if status == 403:
                assert reply.json == FORBIDDEN
            checked += 1
    assert checked > 40 * len(credentials)
    assert service.books.everything() == before


def test_what_is_no_reason_is_none_by_its_schema_too() -> None:
    """Of each character alone, whatever engine of regular expressions a caller's tools have."""
    by_schema = jsonschema_rs.validator_for(msgspec.json.schema(ReasonBody))
    refused = 0
    for character in map(chr, [*range(0xD800), *range(0xE000, 0x11000)]):
        try:
            msgspec.convert({"reason": character}, ReasonBody)
        except msgspec.ValidationError:
            refused += 1
            assert not by_schema.is_valid({"reason": character}), ascii(character)
        else:
            assert by_schema.is_valid({"reason": character}), ascii(character)
    assert refused > 70


async def test_no_action_without_a_reason_and_nothing_is_written(service: Service, world: World) -> None:
    before = service.books.everything()
    acting = [one for one in OPERATIONS if one.body is not None and "preview" not in one.path]
    for one in acting:
        fields = {"direction": "grant", "amount": 1, "kind": "x", "idempotencyKey": "k"}
        for reason in (
            {},
            {"reason": ""},
            {"reason": None},
            {"reason": 5},
            {"reason": "x" * 501},
            {"reason": " \x1e"},
        ):
            reply = await service.call(
                one.method, address(path_of(one)), {**fields, **reason}, headers=as_admin(service)
            )
            reply.refused(400, "Invalid request")
    assert len(acting) > 10
    assert service.books.everything() == before


async def test_bad_queries_are_400_and_name_the_parameter(service: Service) -> None:
    bad = {
        "since": "yesterday",
        "until": "9999-99-99",
        "before": "x",
        "state": "running",
        "limit": "-1",
        "offset": "x",
        "handled": "maybe",
        "format": "xls",
        "userId": "x%00y",
        "q": "a" * 321,
        "action": "steal",
        "days": "0",
    }
    checked = 0
    for one in OPERATIONS:
        for query in one.queries:
            value = bad.get(query.name)
            if value is None:
                continue
            reply = await service.call(
                one.method, f"{address(path_of(one))}?{query.name}={value}", headers=as_admin(service)
            )
            assert reply.refused(400, "Invalid request")["details"][0]["field"] == query.name
            checked += 1
    assert checked > 30


async def test_the_overview_answers_with_camel_case_amounts_and_times(
    own_service: Service, world: World
) -> None:
    seen = (await admin(own_service, "GET", "/overview")).ok()
    assert (seen["database"], seen["redis"]) == ("ok", "ok")
    assert seen["overview"]["now"]["inGifts"] == 60
    assert seen["overview"]["processes"]["web"] == 1
    assert seen["overview"]["at"].endswith("Z")
    assert b"5.0" not in (await admin(own_service, "GET", "/people/anna")).raw


@pytest.mark.parametrize(
    "path",
    [
        "/figures?days=2",
        "/subscriptions?state=due",
        "/subscriptions/revenue",
        "/ledger-checks",
        "/audit",
        "/jobs?state=failed&userId=anna",
        "/queues",
        "/queues/money/dead",
        "/events?handled=true",
        "/events/evt_world",
        "/purchases?status=completed",
        "/purchases/019aac5e-5d28-7e41-b7f6-2a9c4d80e135",
        "/people?q=anna",
        "/people/anna",
        "/people/anna/entries?limit=2",
    ],
)
async def test_what_there_is_to_see_is_answered(service: Service, world: World, path: str) -> None:
    assert (await admin(service, "GET", path)).ok() or path in ("/audit", "/queues/money/dead")
    assert (await admin(service, "HEAD", path)).status == 200


async def test_an_adjustment_is_previewed_done_once_and_audited(service: Service, world: World) -> None:
    wanted = {"direction": "grant", "amount": 2.5}
    seen = (await admin(service, "POST", "/people/ben/adjust/preview", wanted)).ok()
    assert (seen["before"]["balance"], seen["after"]["balance"]) == (50, pytest.approx(52.5))
    body = {**wanted, "reason": "ticket 4711"}
    missing = await admin(service, "POST", "/people/ben/adjust", body)
    assert missing.refused(400, "Invalid request")["details"][0]["field"] == "idempotencyKey"
    replies = await asyncio.gather(
        *(admin(service, "POST", "/people/ben/adjust", body, **{"Idempotency-Key": "k"}) for _ in range(5))
    )
    assert len({reply.raw for reply in replies}) == 1
    replies[0].ok()
    assert service.books.one("SELECT balance FROM credits.balances WHERE user_id = 'ben'") == 52.5
    [record] = (await admin(service, "GET", "/audit?action=adjust_credits")).ok()
    assert (record["actor"], record["reason"], record["userId"]) == ("admin:boss", "ticket 4711", "ben")
    other = await admin(service, "POST", "/people/anna/adjust", body, **{"Idempotency-Key": "k"})
    assert other.status == 422
    too_much = await admin(
        service, "POST", "/people/ben/adjust", {**body, "amount": 10_001, "idempotencyKey": "k2"}
    )
    too_much.refused(400, "Adjustment is above the ceiling of 10000 credits")


async def test_a_failed_job_is_retried_over_the_api(service: Service, world: World) -> None:
    path = f"/jobs/{world.failed_id}"
    assert (await admin(service, "GET", path)).ok()["mayRetry"] is True
    assert (await admin(service, "POST", f"{path}/retry/preview")).ok()["after"]["state"] == "waiting"
    assert service.books.one("SELECT state FROM ops.jobs WHERE id = %s", world.failed_id) == "failed"
    (await admin(service, "POST", f"{path}/retry", {"reason": "again"})).ok()
    assert service.books.one("SELECT state FROM ops.jobs WHERE id = %s", world.failed_id) == "waiting"


async def test_dead_letters_are_seen_requeued_and_dropped_once_and_audited(
    service: Service, redis_url: str
) -> None:
    ids = await asyncio.to_thread(_make_dead_letters, redis_url, 2)
    [money, *_] = (await admin(service, "GET", "/queues")).ok()
    assert (money["name"], money["dead"], money["ready"], money["unacked"]) == ("money", 2, 0, 0)
    letters = (await admin(service, "GET", "/queues/money/dead")).ok()
    assert {one["messageId"] for one in letters} == set(ids)
    assert letters[0]["actor"] == "test_kind"
    why = {"reason": "redis was emptied"}
    requeued = await asyncio.gather(
        *(admin(service, "POST", f"/queues/money/dead/{ids[0]}/requeue", why) for _ in range(3))
    )
    assert sorted(reply.status for reply in requeued) == [200, 404, 404]
    (await admin(service, "POST", f"/queues/money/dead/{ids[1]}/drop", why)).ok()
    [money, *_] = (await admin(service, "GET", "/queues")).ok()
    assert (money["dead"], money["ready"]) == (0, 1)
    outcomes = [record["outcome"] for record in (await admin(service, "GET", "/audit")).ok()]
    assert sum(outcome.startswith("requeued") for outcome in outcomes) == 1
    assert sum(outcome.startswith("dropped") for outcome in outcomes) == 1
    assert outcomes.count("not there any more") == 2
    assert (await admin(service, "GET", "/queues/other/dead")).status == 400


def _make_dead_letters(redis_url: str, count: int) -> list[str]:
    """Messages that a worker took and gave back as failed."""
    broker = make_broker(redis_url)
    broker.declare_queue("money")
    ids = []
    for _ in range(count):
        broker.enqueue(
            Message(queue_name="money", actor_name="test_kind", args=(str(uuid4()),), kwargs={}, options={})
        )
        consumer = broker.consume("money", timeout=100)
        message = next(consumer)
        assert message is not None
        ids.append(message.options["redis_message_id"])
        consumer.nack(message)
    broker.close()
    return ids


def test_each_command_has_a_route_and_a_preview_of_its_own() -> None:
    posts = {one.path for one in operations() if one.method == "POST" and one.access is Access.ADMIN}
    previewed = {path.removesuffix("/preview") for path in posts if path.endswith("/preview")}
    assert previewed <= posts
    assert len(previewed) == len(commands_below(Command))
    acting = {one.path for one in OPERATIONS if one.method == "POST" and "/dead/" not in one.path}
    assert {path.removesuffix("/preview") for path in acting} <= previewed


def commands_below(kind: type[Command]) -> list[type[Command]]:
    """The commands themselves, without what several of them share."""
    below = kind.__subclasses__()
    return [command for each in below for command in commands_below(each)] if below else [kind]
