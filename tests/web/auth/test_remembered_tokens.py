"""A token verified once is known until it expires, its key goes, or others need the room."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tests.web.auth.conftest import House
from web.auth import TokenVerifier, tokens


@pytest.fixture
def signature_checks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tokens whose signatures were checked, in order."""
    checked: list[str] = []
    check = TokenVerifier._signed_payload

    def counted(self: TokenVerifier, token: str, key: Ed25519PublicKey) -> bytes:
        checked.append(token)
        return check(self, token, key)

    monkeypatch.setattr(TokenVerifier, "_signed_payload", counted)
    return checked


async def test_a_token_is_remembered_once_it_is_verified(house: House) -> None:
    header = f"Bearer {house.auth.mint('anna', 'anna@example.com')}"
    assert house.verifier.remembered(header) is None
    caller = await house.verifier.verify(header)
    assert house.verifier.remembered(header) == caller


async def test_a_refused_token_is_not_remembered(house: House) -> None:
    token = house.auth.mint("anna", aud="other")
    await house.refusal(token)
    assert house.verifier.remembered(f"Bearer {token}") is None


async def test_a_remembered_token_ends_at_its_expiry(house: House) -> None:
    token = house.auth.mint("anna", ttl_seconds=60)
    await house.caller(token)
    house.unix.pass_by(59.9)
    assert house.verifier.remembered(f"Bearer {token}")
    house.unix.pass_by(0.1)
    assert house.verifier.remembered(f"Bearer {token}") is None
    assert await house.refusal(token) == "expired"


async def test_a_remembered_token_is_not_checked_again(house: House, signature_checks: list[str]) -> None:
    token = house.auth.mint("anna")
    for _ in range(3):
        await house.caller(token)
    assert signature_checks == [token]


async def test_one_token_takes_one_place_however_it_is_sent(
    house: House, monkeypatch: pytest.MonkeyPatch, signature_checks: list[str]
) -> None:
    monkeypatch.setattr(tokens, "REMEMBERED_TOKENS_MAX", 2)
    other = house.auth.mint("berta")
    await house.caller(other)
    token = house.auth.mint("anna")
    for before in ("Bearer ", "bearer ", "BEARER ", "Bearer  ", "Bearer   "):
        assert (await house.verifier.verify(before + token)).user_id == "anna"
    assert signature_checks == [other, token]
    assert house.verifier.remembered(f"Bearer {other}")


async def test_the_token_unused_for_longest_gives_way(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "REMEMBERED_TOKENS_MAX", 3)
    headers = {name: f"Bearer {house.auth.mint(name)}" for name in ("anna", "berta", "clara", "dora")}
    for name in ("anna", "berta", "clara"):
        await house.verifier.verify(headers[name])
    assert house.verifier.remembered(headers["anna"])
    await house.verifier.verify(headers["dora"])
    kept = [name for name, header in headers.items() if house.verifier.remembered(header)]
    assert kept == ["anna", "clara", "dora"]


async def test_a_remembered_token_ends_when_its_key_leaves_the_jwks(house: House) -> None:
    token = house.auth.mint("anna")
    await house.caller(token)
    house.auth.rotate(keep_old=False)
    house.steady.pass_by(30)
    assert await house.caller(house.auth.mint("berta"))  # the new kid brings the new document
    assert house.verifier.remembered(f"Bearer {token}") is None
    assert await house.refusal(token) == "unknown_key"


async def test_remembered_tokens_alone_still_notice_that_their_key_is_gone(house: House) -> None:
    header = f"Bearer {house.auth.mint('anna')}"
    await house.verifier.verify(header)
    house.auth.rotate(keep_old=False)
    house.steady.pass_by(600)
    assert house.verifier.remembered(header), "the request that finds the keys old does not wait for new ones"
    assert house.jwks._in_flight is not None
    await house.jwks._in_flight
    assert house.auth.jwks_fetches == 2
    assert house.verifier.remembered(header) is None


async def test_a_remembered_token_ends_when_another_key_takes_its_keys_name(house: House) -> None:
    token = house.auth.mint("anna")
    await house.caller(token)
    kid = house.auth.signing_key.kid
    replacement = house.auth.rotate(keep_old=False).public_jwk()
    house.auth.jwks = lambda: {"keys": [{**replacement, "kid": kid}]}  # type: ignore[method-assign]
    house.steady.pass_by(30)
    await house.jwks.find("any")
    assert house.verifier.remembered(f"Bearer {token}") is None
    assert await house.refusal(token) == "bad_signature"


async def test_remembered_tokens_outlive_a_refresh_that_keeps_their_key(
    house: House, signature_checks: list[str]
) -> None:
    token = house.auth.mint("anna")
    await house.caller(token)
    house.auth.rotate()
    house.steady.pass_by(600)
    await house.jwks.find(house.auth.signing_key.kid)
    assert house.auth.jwks_fetches == 2
    assert house.verifier.remembered(f"Bearer {token}")
    assert signature_checks == [token]
