"""Codes cannot be guessed, nobody else is held up, and Redis may be away: contract, section 8."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import uvloop
from redis.asyncio import Redis

from devkit.valkey import Valkey
from domain.gifts.codes import new_code
from tests.faults.rig.proxy import Link
from tests.support.client import Reply
from tests.support.service import Service, serving_in_this_loop
from tests.web.giving import GIFTS, Giving
from web.app import operations
from web.client_address import address_of
from web.throttle import (
    ASKED,
    MISSED,
    MISSES_PER_MINUTE,
    REDIS_REST_SECONDS,
    Client,
    Throttle,
    TooManyRequests,
)

BEHIND_A_PROXY = {"FORWARDED_HOPS": "1"}


def from_address(address: str) -> dict[str, str]:
    """The header that our proxy writes."""
    return {"X-Forwarded-For": address}


def refused_for_now(reply: Reply) -> int:
    """The seconds to wait that a 429 tells."""
    body = reply.refused(429, "Too many requests")
    assert body["code"] == "too_many_requests"
    return int(reply.headers["Retry-After"])


@pytest.fixture
async def proxied(database_url: str, redis_url: str, patient_throttle: None) -> AsyncIterator[Service]:
    async with serving_in_this_loop(database_url, redis_url, more=BEHIND_A_PROXY) as service:
        yield service


async def test_a_guesser_is_stopped_after_twenty_unknown_codes_and_others_are_not(proxied: Service) -> None:
    giving = Giving(proxied)
    (await proxied.grant("anna", 10)).ok()
    gift = await giving.create()
    guesser, other = from_address("203.0.113.9"), from_address("203.0.113.10")
    for _ in range(MISSES_PER_MINUTE):
        reply = await giving.look_up(new_code(), headers=guesser)
        reply.refused(404, "Gift code not found")
    for path in (new_code(), gift["code"]):
        assert 1 <= refused_for_now(await giving.look_up(path, headers=guesser)) <= 60
    page = await proxied.call("GET", f"/g/{gift['code']}", headers=guesser)
    assert (page.status, page.headers["Content-Type"]) == (429, "text/html; charset=utf-8")
    assert int(page.headers["Retry-After"]) >= 1
    (await giving.look_up(gift["code"], headers=other)).ok()
    spoofed = from_address("203.0.113.77, 203.0.113.9")
    refused_for_now(await giving.look_up(gift["code"], headers=spoofed))


async def test_a_guesser_who_changes_addresses_is_stopped_as_a_user(proxied: Service) -> None:
    giving = Giving(proxied)
    for n in range(MISSES_PER_MINUTE):
        reply = await giving.send(
            "eve", "POST", f"/{new_code()}/redeem", headers=from_address(f"192.0.2.{n}")
        )
        reply.refused(404, "Gift code not found")
    home = from_address("192.0.2.200")
    refused_for_now(await giving.send("eve", "POST", f"/{new_code()}/redeem", headers=home))
    other = await giving.send("ben", "POST", f"/{new_code()}/redeem", headers=home)
    other.refused(404, "Gift code not found")


async def test_a_page_counts_as_a_look_up(proxied: Service) -> None:
    guesser = from_address("203.0.113.9")
    for _ in range(MISSES_PER_MINUTE):
        assert (await proxied.call("GET", f"/g/{new_code()}", headers=guesser)).status == 404
    refused_for_now(await Giving(proxied).look_up(new_code(), headers=guesser))


async def test_what_an_outsider_writes_into_the_header_counts_for_nothing(service: Service) -> None:
    giving = Giving(service)
    for n in range(MISSES_PER_MINUTE):
        await giving.look_up(new_code(), headers=from_address(f"192.0.2.{n}"))
    refused_for_now(await giving.look_up(new_code(), headers=from_address("192.0.2.250")))


async def test_a_person_who_asks_all_the_time_is_stopped_and_everybody_else_at_the_address_is_not(
    service: Service,
) -> None:
    giving = Giving(service)
    (await service.grant("anna", 10)).ok()
    gift = await giving.create()
    token, path = giving.token("ben"), f"{GIFTS}/{gift['code']}/redeem"
    statuses: list[int] = []
    for _ in range((ASKED["user"].amount + 10) // 10):
        calls = (service.call("POST", path, {}, headers=token) for _ in range(10))
        statuses += [reply.status for reply in await asyncio.gather(*calls)]
    assert (statuses.count(200), statuses.count(400), statuses.count(429)) == (1, 119, 10)
    (await giving.redeem("cleo", gift["code"])).refused(400, "Gift code is depleted")


async def test_two_processes_count_together(database_url: str, redis_url: str) -> None:
    async with (
        serving_in_this_loop(database_url, redis_url) as one,
        serving_in_this_loop(database_url, redis_url) as other,
    ):
        for n in range(MISSES_PER_MINUTE):
            await Giving((one, other)[n % 2]).look_up(new_code())
        refused_for_now(await Giving(one).look_up(new_code()))
        refused_for_now(await Giving(other).look_up(new_code()))


def test_just_the_routes_that_tell_of_a_code_are_throttled() -> None:
    assert {(one.method, one.path) for one in operations() if one.is_throttled} == {
        ("GET", f"{GIFTS}/{{code}}"),
        ("POST", f"{GIFTS}/{{code}}/redeem"),
    }
    [page] = [one for one in operations() if one.path == "/g/{code}"]
    assert 429 in page.further


# Redis away


async def test_without_redis_look_ups_go_on_and_a_guesser_is_stopped(
    database_url: str, own_valkey: Callable[[], Valkey]
) -> None:
    valkey = own_valkey()
    async with serving_in_this_loop(database_url, valkey.url()) as service:
        giving = Giving(service)
        (await service.grant("anna", 10)).ok()
        gift = await giving.create()
        (await giving.look_up(gift["code"])).ok()
        valkey.kill()
        (await giving.look_up(gift["code"])).ok()
        for _ in range(MISSES_PER_MINUTE):
            (await giving.look_up(new_code())).refused(404, "Gift code not found")
        assert 1 <= refused_for_now(await giving.look_up(gift["code"])) <= 60
        (await giving.redeem("ben", gift["code"])).refused(429, "Too many requests")


@asynccontextmanager
async def silent_redis() -> AsyncIterator[tuple[str, list[object]]]:
    """A Redis that accepts connections and never answers; each connection is listed."""
    seen: list[object] = []

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(writer)
        while await reader.read(1000):
            pass
        writer.close()

    server = await asyncio.start_server(never_answer, "127.0.0.1", 0)
    async with server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0", seen


class Clock:
    """Seconds, turned by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def throttle_on(redis_url: str, clock: Clock | None = None) -> AsyncIterator[Throttle]:
    throttle = Throttle(redis_url, clock=clock or Clock())
    try:
        yield throttle
    finally:
        await throttle.close()


async def test_a_silent_redis_holds_up_one_request_and_is_left_alone_then() -> None:
    clock = Clock()
    async with silent_redis() as (url, seen), throttle_on(url, clock) as throttle:
        await throttle.admit(Client("192.0.2.1"))
        asked = len(seen)
        assert asked >= 1
        for _ in range(100):
            await throttle.admit(Client("192.0.2.1"))
        assert len(seen) == asked


async def test_whether_redis_is_back_is_asked_beside_the_requests_and_not_by_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("web.throttle.REQUEST_SECONDS_MAX", 0.1)  # of the first request
    clock = Clock()
    async with silent_redis() as (url, seen), throttle_on(url, clock) as throttle:
        await throttle.admit(Client("192.0.2.1"))
        monkeypatch.setattr("web.throttle.REQUEST_SECONDS_MAX", 3600)
        async with asyncio.timeout(10):
            while not seen:
                await asyncio.sleep(0.01)
        asked = len(seen)
        clock.now += REDIS_REST_SECONDS
        for _ in range(100):
            await throttle.admit(Client("192.0.2.1"))  # would take an hour each if it waited
        async with asyncio.timeout(10):
            while len(seen) == asked:
                await asyncio.sleep(0.01)
        assert len(seen) == asked + 1


async def test_redis_is_used_again_when_it_is_back(own_valkey: Callable[[], Valkey]) -> None:
    valkey, clock = own_valkey(), Clock()
    client = Client("192.0.2.1")
    async with throttle_on(valkey.url(), clock) as throttle:
        await throttle.admit(client)
        assert await count_of_keys(valkey) == 1
        valkey.kill()
        await throttle.admit(client)
        await asyncio.to_thread(valkey.start)
        valkey.ask(f"AUTH {valkey.password}\r\nFLUSHALL\r\n")
        await throttle.admit(client)
        assert await count_of_keys(valkey) == 0
        clock.now += REDIS_REST_SECONDS
        async with asyncio.timeout(10):
            while not await count_of_keys(valkey):
                await throttle.admit(client)


async def count_of_keys(valkey: Valkey) -> int:
    async with Redis.from_url(valkey.url()) as redis:
        return int(await redis.dbsize())


# Counting


async def refused_seconds(throttle: Throttle, client: Client) -> int:
    with pytest.raises(TooManyRequests) as refusal:
        await throttle.admit(client)
    return refusal.value.retry_after_seconds


async def forget_the_minute(redis_url: str) -> None:
    """What Redis does by itself after a minute."""
    async with Redis.from_url(redis_url) as redis:
        keys = [key async for key in redis.scan_iter("*asked*")]
        assert keys
        await redis.delete(*keys)


async def test_who_guesses_in_bursts_is_stopped_for_the_hour(redis_url: str) -> None:
    client = Client("192.0.2.1", "eve")

    async with throttle_on(redis_url) as throttle:
        guesses = 0
        while guesses < MISSED.amount:
            for _ in range(50):  # all are let in before the first miss is counted
                await throttle.admit(client)
            for _ in range(50):
                await throttle.count_miss(client)
            guesses += 50
            assert 1 <= await refused_seconds(throttle, client) <= 3600
            await forget_the_minute(redis_url)
        assert await refused_seconds(throttle, client) > 60
        await throttle.admit(Client("192.0.2.2"))


@pytest.mark.parametrize("is_up", [True, False])
async def test_the_generous_limits_hold_with_redis_and_without(redis_url: str, is_up: bool) -> None:
    async with throttle_on(redis_url if is_up else "redis://127.0.0.1:1/0") as throttle:
        for n in range(ASKED["user"].amount):
            await throttle.admit(Client(f"192.0.2.{n}", "ben"))
        assert 1 <= await refused_seconds(throttle, Client("198.51.100.1", "ben")) <= 60
        for n in range(ASKED["address"].amount):
            await throttle.admit(Client("198.51.100.2", f"user-{n}"))
        assert 1 <= await refused_seconds(throttle, Client("198.51.100.2")) <= 60


async def test_redis_is_told_neither_addresses_nor_users(redis_url: str) -> None:
    user_id = uuid4().hex
    async with throttle_on(redis_url) as throttle, Redis.from_url(redis_url) as redis:
        client = Client("203.0.113.9", user_id)
        await throttle.admit(client)
        await throttle.count_miss(client)
        keys = [key.decode() async for key in redis.scan_iter()]
        assert len(keys) == 4
        assert not [key for key in keys if "203.0.113.9" in key or user_id in key]
        assert all([await redis.ttl(key) > 0 for key in keys])


@pytest.mark.parametrize(
    ("remote", "forwarded_for", "hops", "address"),
    [
        ("192.0.2.1", [], 0, "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.1"], 0, "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.1"], 1, "198.51.100.1"),
        ("192.0.2.1", ["6.6.6.6, 198.51.100.1"], 1, "198.51.100.1"),
        ("192.0.2.1", ["6.6.6.6", "198.51.100.1"], 1, "198.51.100.1"),
        ("192.0.2.1", ["6.6.6.6, 198.51.100.1, 10.0.0.1"], 2, "198.51.100.1"),
        ("192.0.2.1", [], 1, "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.1"], 2, "192.0.2.1"),
        ("192.0.2.1", ["unknown"], 1, "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.1:4711"], 1, "198.51.100.1"),
        ("192.0.2.1", ["[2001:db8:1:2:3:4:5:6]:4711"], 1, "2001:db8:1:2::/64"),
        ("2001:db8:1:2:3:4:5:6", [], 0, "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", [], 0, "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", [], 0, "192.0.2.1"),
        (None, [], 0, "unknown"),
    ],
)
def test_the_callers_address_is_what_our_own_proxies_say(
    remote: str | None, forwarded_for: list[str], hops: int, address: str
) -> None:
    assert address_of(remote, forwarded_for, forwarded_hops=hops) == address


async def test_codes_and_addresses_stay_out_of_the_log(
    proxied: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    giving, code = Giving(proxied), new_code()
    for _ in range(MISSES_PER_MINUTE + 1):
        await giving.look_up(code, headers=from_address("203.0.113.9"))
    printed = capsys.readouterr()
    assert not re.search(rf"{code}|203\.0\.113\.9", printed.out + printed.err)


def test_a_connection_to_redis_that_was_reset_while_nobody_looked_is_redis_down_and_no_defect(
    redis_url: str,
) -> None:
    """As after a host was cut off for long.  uvloop, on which the service runs, says so by a RuntimeError."""

    async def scenario() -> None:
        redis = urlsplit(redis_url)
        assert redis.port is not None
        link = Link("throttle>redis", [redis.port])
        await link.open()
        throttle = Throttle(redis_url.replace(f":{redis.port}/", f":{link.port}/"))
        client = Client(f"198.51.100.{uuid4().int % 250}")
        await throttle.admit(client)
        [connection] = throttle._pool._available_connections
        assert connection._writer is not None
        transport = connection._writer.transport
        link.reset()
        while not transport.is_closing():
            await asyncio.sleep(0)
        try:
            await throttle.admit(client)
        finally:
            await throttle.close()
            await link.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(scenario(), 20))
