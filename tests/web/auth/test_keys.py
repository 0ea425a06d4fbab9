"""When mana-auth is asked for its keys, and what its outages and lies do: nothing to those who are known."""

import asyncio
import json
import zlib
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from simulators import serving
from simulators.auth import HOSTILE_JWKS, AuthSimulator
from simulators.auth.simulator import Outage
from tests.web.auth.conftest import House
from web.auth import KeysUnavailable, NotAuthenticated, keys

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
OUTAGES: list[Outage] = ["503", "refuse", "hang"]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up a fetch after half a second, for the tests whose host never answers."""
    monkeypatch.setattr(keys, "FETCH_TIMEOUT_SECONDS", 0.5)


async def refresh(house: House) -> None:
    """Let the known keys grow old, and wait for the refresh that the next request starts."""
    house.steady.pass_by(600)
    house.jwks.refresh_if_due()
    assert house.jwks._in_flight is not None
    await house.jwks._in_flight


# When it asks


async def test_nothing_is_asked_before_the_first_token(house: House) -> None:
    assert house.auth.jwks_fetches == 0


async def test_concurrent_first_requests_share_one_fetch(house: House) -> None:
    callers = await asyncio.gather(*(house.caller(house.auth.mint(f"user-{n}")) for n in range(100)))
    assert [caller.user_id for caller in callers] == [f"user-{n}" for n in range(100)]
    assert house.auth.jwks_fetches == 1


async def test_keys_are_fetched_again_after_ten_minutes_and_not_before(house: House) -> None:
    await house.caller(house.auth.mint("anna"))
    house.steady.pass_by(599)
    await house.caller(house.auth.mint("berta"))
    assert house.jwks._in_flight is not None
    assert house.jwks._in_flight.done()
    house.steady.pass_by(1)
    await house.caller(house.auth.mint("clara"))
    await house.jwks._in_flight
    assert house.auth.jwks_fetches == 2


async def test_a_request_with_a_known_key_does_not_wait_for_the_refresh(house: House) -> None:
    await house.caller(house.auth.mint("anna"))
    house.auth.go_down("hang")
    house.steady.pass_by(600)
    assert await house.caller(house.auth.mint("berta"))
    assert house.jwks._in_flight is not None
    assert not house.jwks._in_flight.done()


async def test_after_a_rotation_the_new_key_is_fetched_and_the_old_tokens_go_on(house: House) -> None:
    old = house.auth.mint("anna")
    await house.caller(old)
    house.auth.rotate()
    house.steady.pass_by(30)
    assert await house.caller(house.auth.mint("berta"))
    assert await house.caller(house.auth.mint("clara"))
    assert await house.caller(old)
    assert house.auth.jwks_fetches == 2


async def test_a_hundred_unknown_kids_cause_one_fetch_in_each_cool_down(house: House) -> None:
    await house.caller(house.auth.mint("anna"))

    async def bring_unknown_kids() -> set[str]:
        tokens = [house.auth.mint("anna", header={"kid": f"unknown-{n}"}) for n in range(100)]
        return set(await asyncio.gather(*(house.refusal(token) for token in tokens)))

    assert await bring_unknown_kids() == {"unknown_key"}
    assert house.auth.jwks_fetches == 1, "the first fetch has just been made"
    house.steady.pass_by(29.9)
    await bring_unknown_kids()
    assert house.auth.jwks_fetches == 1
    house.steady.pass_by(0.1)
    assert await bring_unknown_kids() == {"unknown_key"}
    assert house.auth.jwks_fetches == 2
    house.steady.pass_by(29.9)
    await bring_unknown_kids()
    assert house.auth.jwks_fetches == 2
    house.steady.pass_by(0.1)
    await bring_unknown_kids()
    assert house.auth.jwks_fetches == 3


async def test_a_waiter_that_hangs_up_does_not_end_the_fetch_for_the_others(house: House) -> None:
    first = asyncio.create_task(house.caller(house.auth.mint("anna")))
    second = asyncio.create_task(house.caller(house.auth.mint("berta")))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).user_id == "berta"
    assert first.cancelled()
    assert house.auth.jwks_fetches == 1


async def test_closing_ends_a_fetch_under_way(house: House) -> None:
    house.auth.go_down("hang")
    house.jwks.refresh_if_due()
    await asyncio.sleep(0.05)
    await asyncio.wait_for(house.jwks.close(), 0.2)


# Outages


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("how", OUTAGES)
async def test_without_any_key_an_outage_is_an_outage_and_no_refusal(house: House, how: Outage) -> None:
    house.auth.go_down(how)
    with pytest.raises(KeysUnavailable) as outage:
        await house.caller(house.auth.mint("anna"))
    assert outage.value.retry_after_seconds == 2


async def test_without_any_key_the_fetch_is_repeated_after_two_seconds(house: House) -> None:
    token = house.auth.mint("anna")
    house.auth.go_down()
    for _ in range(3):
        with pytest.raises(KeysUnavailable):
            await house.caller(token)
    assert house.auth.jwks_fetches == 1
    house.auth.come_back()
    house.steady.pass_by(1.9)
    with pytest.raises(KeysUnavailable) as outage:
        await house.caller(token)
    assert outage.value.retry_after_seconds == 1
    house.steady.pass_by(0.2)
    assert await house.caller(token)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("how", OUTAGES)
async def test_known_keys_go_on_working_through_an_outage_of_days(house: House, how: Outage) -> None:
    await house.caller(house.auth.mint("anna"))
    house.auth.go_down(how)
    await refresh(house)
    await refresh(house)
    house.steady.pass_by(3 * 86_400)
    assert await house.caller(house.auth.mint("berta"))


async def test_in_an_outage_a_token_with_an_unknown_key_is_not_refused_but_put_off(house: House) -> None:
    await house.caller(house.auth.mint("anna"))
    house.auth.rotate()
    house.auth.go_down()
    house.steady.pass_by(30)
    with pytest.raises(KeysUnavailable) as outage:
        await house.caller(house.auth.mint("berta"))
    assert outage.value.retry_after_seconds == 30
    house.auth.come_back()
    house.steady.pass_by(10)
    with pytest.raises(KeysUnavailable) as outage:
        await house.caller(house.auth.mint("berta"))
    assert outage.value.retry_after_seconds == 20
    house.steady.pass_by(20)
    assert await house.caller(house.auth.mint("berta"))


async def test_a_failed_refresh_is_tried_again_at_the_cool_down_and_not_at_every_request(
    house: House,
) -> None:
    await house.caller(house.auth.mint("anna"))
    house.auth.go_down()
    await refresh(house)
    for _ in range(5):
        await house.caller(house.auth.mint("berta"))
        await asyncio.sleep(0.01)
    assert house.auth.jwks_fetches == 2
    house.steady.pass_by(30)
    await house.caller(house.auth.mint("clara"))
    assert house.jwks._in_flight is not None
    await house.jwks._in_flight
    assert house.auth.jwks_fetches == 3


async def test_when_mana_auth_is_back_an_unknown_kid_is_a_refusal_again(house: House) -> None:
    await house.caller(house.auth.mint("anna"))
    house.auth.go_down()
    await refresh(house)
    house.auth.come_back()
    house.steady.pass_by(30)
    assert await house.refusal(house.auth.mint("anna", header={"kid": "other"})) == "unknown_key"


async def test_a_host_that_is_not_there_is_an_outage(house: House) -> None:
    with serving.listen() as unused:
        address = serving.url_of(unused)
    house.open(address)
    with pytest.raises(KeysUnavailable):
        await house.caller(house.auth.mint("anna"))


# Lies

HARMLESS = {"bad_key_beside_the_good"}


@pytest.mark.parametrize("name", sorted(set(HOSTILE_JWKS) - HARMLESS))
async def test_a_hostile_jwks_brings_no_key(house: House, name: str) -> None:
    house.auth.serve_hostile(name)
    with pytest.raises(KeysUnavailable):
        await house.caller(house.auth.mint("anna"))


@pytest.mark.parametrize("name", sorted(HOSTILE_JWKS))
async def test_a_hostile_jwks_takes_no_key_away(house: House, name: str) -> None:
    await house.caller(house.auth.mint("anna"))
    house.auth.serve_hostile(name)
    await refresh(house)
    assert house.auth.jwks_fetches == 2
    assert await house.caller(house.auth.mint("berta"))


async def test_good_keys_beside_bad_ones_are_taken(house: House) -> None:
    house.auth.serve_hostile("bad_key_beside_the_good")
    assert await house.caller(house.auth.mint("anna"))


async def test_a_shared_secret_in_the_jwks_lets_nobody_sign_with_it(house: House) -> None:
    house.auth.serve_hostile("symmetric")
    with pytest.raises(NotAuthenticated) as refused:
        await house.caller(house.auth.forge_with_public_key("anna"))
    assert refused.value.reason == "wrong_algorithm"


async def answered_by(house: House, answer: Handler) -> None:
    """Take the keys from a host that answers so, and demand that none is found."""
    app = web.Application()
    app.router.add_get("/api/auth/jwks", answer)
    async with serving.in_this_loop(app) as address:
        house.open(address)
        with pytest.raises(KeysUnavailable):
            await house.caller(house.auth.mint("anna"))


async def test_a_redirect_is_not_followed(house: House) -> None:
    async def redirect(_: web.Request) -> web.StreamResponse:
        raise web.HTTPFound(f"{house.auth.url}/api/auth/jwks")

    await answered_by(house, redirect)
    assert house.auth.jwks_fetches == 0


async def test_a_document_under_an_error_status_is_not_taken(house: House) -> None:
    house.auth.serve_instead(json.dumps(house.auth.jwks()), status=500)
    with pytest.raises(KeysUnavailable):
        await house.caller(house.auth.mint("anna"))


@pytest.mark.usefixtures("impatient")
async def test_a_body_that_drips_is_given_up_at_the_time_out(house: House) -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(json.dumps(house.auth.jwks()).encode()[:-1])
        for _ in range(100):
            await asyncio.sleep(0.05)
            await answer.write(b" ")
        return answer

    async with asyncio.timeout(2):
        await answered_by(house, drip)


async def test_an_endless_body_is_read_up_to_the_limit(house: House) -> None:
    written_bytes = 0

    async def flood(request: web.Request) -> web.StreamResponse:
        nonlocal written_bytes
        answer = web.StreamResponse()
        await answer.prepare(request)
        # The honest keys come first: only the limit stands between this document and being taken.
        await answer.write(json.dumps(house.auth.jwks()).encode())
        while written_bytes < 50_000_000:
            await answer.write(b" " * 10_000)
            written_bytes += 10_000
        return answer

    await answered_by(house, flood)
    assert written_bytes < 20_000_000, "the rest was not read: what was written is in the sockets' buffers"


async def test_a_document_at_the_limit_is_taken_and_one_byte_more_is_not(house: House) -> None:
    document = json.dumps(house.auth.jwks())
    house.auth.serve_instead(document.ljust(64 * 1024 + 1))
    with pytest.raises(KeysUnavailable):
        await house.caller(house.auth.mint("anna"))
    house.auth.serve_instead(document.ljust(64 * 1024))
    house.steady.pass_by(2)
    assert await house.caller(house.auth.mint("anna"))


async def test_a_compressed_body_is_not_expanded(house: House) -> None:
    async def bomb(_: web.Request) -> web.StreamResponse:
        body = zlib.compress(json.dumps(house.auth.jwks()).encode())
        return web.Response(body=body, headers={"Content-Encoding": "deflate"})

    await answered_by(house, bomb)


async def test_a_body_cut_off_in_the_middle_is_not_taken(house: House) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        body = json.dumps(house.auth.jwks()).encode()
        answer = web.StreamResponse(headers={"Content-Length": str(len(body) + 10)})
        await answer.prepare(request)
        await answer.write(body)
        assert request.transport is not None
        request.transport.close()
        return answer

    await answered_by(house, cut)


@pytest.mark.parametrize(
    "garbage",
    [b"", b"\0" * 100, b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n{}"],
)
async def test_a_host_that_does_not_speak_http_is_an_outage(house: House, garbage: bytes) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(garbage)
        writer.close()

    server = await asyncio.start_server(speak, sock=serving.listen())
    async with server:
        house.open(serving.url_of(server.sockets[0]))
        with pytest.raises(KeysUnavailable):
            await house.caller(house.auth.mint("anna"))


async def test_a_failed_fetch_is_logged_without_the_address_or_what_was_answered() -> None:
    async with AuthSimulator().running() as auth, aiohttp.ClientSession() as session:
        house = House(auth, session)
        house.open(auth.url.replace("http://", "http://user:s3cret@"))
        with capture_logs() as logs:
            auth.serve_instead('{"keys": "s3cret"}')
            with pytest.raises(KeysUnavailable) as by_document:
                await house.caller(auth.mint("anna"))
            auth.go_down("refuse")
            house.steady.pass_by(2)
            with pytest.raises(KeysUnavailable) as by_outage:
                await house.caller(auth.mint("anna"))
    assert [entry["event"] for entry in logs] == ["jwks_fetch_failed"] * 2
    assert "s3cret" not in repr(logs) + repr(by_document.value) + repr(by_outage.value)
