"""A mana-auth, a verifier that trusts it, and clocks that stand still until told."""

import base64
import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from domain.settings import read_settings
from simulators.auth import AuthSimulator, SigningKey
from web.auth import Caller, JwksCache, NotAuthenticated, TokenVerifier

START = 1_800_000_000.0


@dataclass
class Clock:
    """Seconds that pass only when a test says so."""

    seconds: float = START

    def __call__(self) -> float:
        return self.seconds

    def pass_by(self, seconds: float) -> None:
        self.seconds += seconds


@dataclass
class House:
    """One web process's view: `auth` signs, `verifier` tells who calls."""

    auth: AuthSimulator
    session: aiohttp.ClientSession
    unix: Clock = field(default_factory=Clock)
    steady: Clock = field(default_factory=lambda: Clock(1000.0))
    jwks: JwksCache = field(init=False)
    verifier: TokenVerifier = field(init=False)

    def __post_init__(self) -> None:
        self.auth.now = self.unix
        self.open(self.auth.url)

    def open(self, auth_url: str, **environment: str) -> None:
        """Start again with nothing known, with keys from `auth_url`."""
        settings = read_settings({"ENV": "development", "MANA_AUTH_URL": self.auth.url, **environment})
        self.jwks = JwksCache(auth_url, self.session, self.steady)
        self.verifier = TokenVerifier(settings, self.jwks, self.unix)

    def signed(self, payload: bytes | dict[str, Any], **header: Any) -> str:
        """Sign any bytes or claims with the honest key; `header` adds to or replaces its fields."""
        key = self.auth.signing_key
        return sign_raw(key, {"alg": "EdDSA", "kid": key.kid, **header}, payload)

    async def caller(self, token: str) -> Caller:
        return await self.verifier.verify(f"Bearer {token}")

    async def refusal(self, token: str) -> str:
        """Return the reason for which the token is refused, which the test demands that it is."""
        with pytest.raises(NotAuthenticated) as refused:
            await self.caller(token)
        assert refused.value.message == "Invalid or expired token"
        return refused.value.reason

    async def reasons(self, tokens: Iterable[str]) -> list[str]:
        return [await self.refusal(token) for token in tokens]


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with AuthSimulator().running() as auth, aiohttp.ClientSession() as session:
        house = House(auth, session)
        yield house
        await house.jwks.close()


def claims_of(auth: AuthSimulator, **changes: Any) -> dict[str, Any]:
    """Return the claims of a good token with changes."""
    return {"sub": "anna", "iss": auth.issuer, "aud": "mana", "exp": auth.now() + 3600, **changes}


def sign_raw(key: SigningKey, header: bytes | dict[str, Any], payload: bytes | dict[str, Any]) -> str:
    """Sign any bytes as header and payload, as no library would."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload)]
    signing_input = b".".join(base64url(part) for part in parts)
    return b".".join([signing_input, base64url(key.private.sign(signing_input))]).decode()


def base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
