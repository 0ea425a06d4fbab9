"""The mana-auth simulator, checked with the verifier that real services use: pyjwt over the served JWKS."""

import asyncio
import stat
import sys
from pathlib import Path

import aiohttp
import jwt
import pytest

from simulators.auth import HOSTILE_JWKS, REMOVED, AuthSimulator


async def fetch_jwks(auth: AuthSimulator) -> jwt.PyJWKSet:
    async with aiohttp.ClientSession() as session, session.get(f"{auth.url}/api/auth/jwks") as answer:
        answer.raise_for_status()
        return jwt.PyJWKSet.from_dict(await answer.json())


async def verify(auth: AuthSimulator, token: str) -> dict[str, object]:
    keys = await fetch_jwks(auth)
    key = keys[jwt.get_unverified_header(token)["kid"]]
    return jwt.decode(token, key, algorithms=["EdDSA"], audience="mana", issuer=auth.issuer)


async def test_a_minted_token_verifies_against_the_served_jwks() -> None:
    async with AuthSimulator().running() as auth:
        claims = await verify(auth, auth.mint("user-1", "anna@example.com", role="admin"))
    assert (claims["sub"], claims["email"], claims["role"]) == ("user-1", "anna@example.com", "admin")
    assert claims["iss"] == auth.issuer


async def test_a_claim_can_be_replaced_and_removed() -> None:
    auth = AuthSimulator()
    token = auth.mint("user-1", aud=["mana", "other"], exp=REMOVED, extra=1)
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["aud"] == ["mana", "other"]
    assert claims["extra"] == 1
    assert "exp" not in claims


async def test_rotation_keeps_the_old_key_or_drops_it() -> None:
    async with AuthSimulator().running() as auth:
        old = auth.mint("user-1")
        auth.rotate()
        assert await verify(auth, old)
        assert await verify(auth, auth.mint("user-1"))
        auth.rotate(keep_old=False)
        with pytest.raises(KeyError):
            await verify(auth, old)


async def test_an_outage_answers_503_or_nothing_until_it_comes_back() -> None:
    async with AuthSimulator().running() as auth:
        auth.go_down()
        with pytest.raises(aiohttp.ClientResponseError) as refused:
            await fetch_jwks(auth)
        assert refused.value.status == 503
        auth.go_down("refuse")
        with pytest.raises(aiohttp.ClientConnectionError):
            await fetch_jwks(auth)
        auth.go_down("hang")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(fetch_jwks(auth), 0.2)
        auth.come_back()
        assert len((await fetch_jwks(auth)).keys) == 1


async def test_fetches_are_counted() -> None:
    async with AuthSimulator().running() as auth:
        assert auth.jwks_fetches == 0
        await fetch_jwks(auth)
        await fetch_jwks(auth)
        assert auth.jwks_fetches == 2


@pytest.mark.parametrize("name", HOSTILE_JWKS)
async def test_every_hostile_jwks_is_served_and_ends(name: str) -> None:
    async with AuthSimulator().running() as auth, aiohttp.ClientSession() as session:
        honest = str(auth.jwks())
        auth.serve_hostile(name)
        async with session.get(f"{auth.url}/api/auth/jwks") as answer:
            assert await answer.text() != honest
        auth.come_back()
        assert await fetch_jwks(auth)


async def test_forged_tokens_do_not_verify() -> None:
    async with AuthSimulator().running() as auth:
        for forged in (auth.forge_unsigned("user-1"), auth.forge_with_public_key("user-1")):
            with pytest.raises(jwt.InvalidTokenError):
                await verify(auth, forged)


def test_the_key_is_kept_between_runs_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    first = AuthSimulator(directory=tmp_path)
    again = AuthSimulator(directory=tmp_path)
    assert again.jwks() == first.jwks()
    assert stat.S_IMODE((tmp_path / "auth-keys.json").stat().st_mode) == 0o600
    rotated = again.rotate()
    assert AuthSimulator(directory=tmp_path).signing_key.kid == rotated.kid


async def test_the_commands_serve_and_print_a_token_that_verifies(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "simulators.auth"]
    server = await asyncio.create_subprocess_exec(
        *command, "serve", "--port", "0", "--data", str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert server.stdout is not None
        url = (await server.stdout.readline()).decode().split()[-1]
        printer = await asyncio.create_subprocess_exec(
            *command, "token", "--data", str(tmp_path), "--sub", "user-1", stdout=asyncio.subprocess.PIPE
        )
        printed, _ = await printer.communicate()
        auth = AuthSimulator(issuer=url)
        auth.url = url
        assert (await verify(auth, printed.decode().strip()))["sub"] == "user-1"
        async with aiohttp.ClientSession() as session:
            answer = await session.post(f"{url}/token", json={"sub": "user-2"})
            assert (await verify(auth, (await answer.json())["token"]))["sub"] == "user-2"
    finally:
        server.terminate()
        assert await server.wait() == 0
