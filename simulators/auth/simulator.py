"""A mana-auth in one object: signs tokens, serves its JWKS, and fails on demand."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, Literal, Self

import jwt
from aiohttp import web

from simulators import serving
from simulators.auth.hostile import HOSTILE_JWKS
from simulators.auth.keys import SigningKey, load_or_create_keys, save_keys

DEFAULT_TTL_SECONDS = 3600
DEFAULT_AUDIENCE = "mana"
DEFAULT_ISSUER = "http://localhost:3001"

Outage = Literal["503", "refuse", "hang"]


class _Removed:
    """The type of REMOVED."""

    def __repr__(self) -> str:
        return "REMOVED"


REMOVED: Final = _Removed()
"""Given as a claim's value to `mint`: the token is made without that claim."""


class AuthSimulator:
    """mana-auth's keys, tokens and JWKS.

    `issuer` goes into `iss`; where a test runs the simulator with `running` or `on_a_thread` and gave
    none, it becomes the simulator's own address.  `now` returns seconds since the epoch.
    With `directory` the keys are kept there, else they live as long as the object.
    """

    def __init__(
        self,
        *,
        issuer: str | None = None,
        audience: str | list[str] = DEFAULT_AUDIENCE,
        directory: Path | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._given_issuer = issuer
        self.url = ""
        self.audience = audience
        self.directory = directory
        self.now = now
        self.keys = load_or_create_keys(directory) if directory else [SigningKey.generate()]
        self.jwks_fetches = 0
        self._outage: Outage | None = None
        self._instead: tuple[int, str] | None = None

    # Tokens

    @property
    def issuer(self) -> str:
        """What `iss` says unless a token's claims say otherwise."""
        return self._given_issuer or self.url or DEFAULT_ISSUER

    @property
    def signing_key(self) -> SigningKey:
        """The key that signs now: the newest."""
        return self.keys[-1]

    def mint(
        self,
        sub: str,
        email: str = "",
        role: str = "user",
        *,
        ttl_seconds: float = DEFAULT_TTL_SECONDS,
        key: SigningKey | None = None,
        header: dict[str, Any] | None = None,
        **claims: Any,
    ) -> str:
        """Return a signed token.

        `claims` replace or add to sub, email, role, iss, aud, iat and exp; the value REMOVED takes one
        out.  `key` signs in place of the newest; `header` replaces header fields, such as `kid`.
        """
        issued_at = int(self.now())
        payload = {
            "sub": sub,
            "email": email,
            "role": role,
            "iss": self.issuer,
            "aud": self.audience,
            "iat": issued_at,
            "exp": int(issued_at + ttl_seconds),
            **claims,
        }
        payload = {name: value for name, value in payload.items() if value is not REMOVED}
        key = key or self.signing_key
        headers = {"kid": key.kid, **(header or {})}
        headers = {name: value for name, value in headers.items() if value is not REMOVED}
        # PyJWS and not PyJWT signs: a hostile token's claims (a numeric `iss`, say) are not corrected here.
        signer = jwt.PyJWS()
        return signer.encode(_json_bytes(payload), key.private, algorithm="EdDSA", headers=headers)

    def forge_unsigned(self, sub: str, **claims: Any) -> str:
        """Return a token with `alg` none, which no verifier may accept."""
        payload = {
            "sub": sub,
            "iss": self.issuer,
            "aud": self.audience,
            "exp": int(self.now()) + 3600,
            **claims,
        }
        return jwt.PyJWS().encode(
            _json_bytes(payload), "", algorithm="none", headers={"kid": self.signing_key.kid}
        )

    def forge_with_public_key(self, sub: str, **claims: Any) -> str:
        """Return a token signed with HS256 and the public key as the secret: the classic confusion."""
        payload = {
            "sub": sub,
            "iss": self.issuer,
            "aud": self.audience,
            "exp": int(self.now()) + 3600,
            **claims,
        }
        secret = self.signing_key.private.public_key().public_bytes_raw()
        return jwt.PyJWS().encode(
            _json_bytes(payload), secret, algorithm="HS256", headers={"kid": self.signing_key.kid}
        )

    # Keys and outages

    def rotate(self, *, keep_old: bool = True) -> SigningKey:
        """Make a new signing key; the old ones stay in the JWKS unless `keep_old` is false."""
        self.keys = [*(self.keys if keep_old else []), SigningKey.generate()]
        if self.directory:
            save_keys(self.directory, self.keys)
        return self.signing_key

    def go_down(self, how: Outage = "503") -> None:
        """Stop serving the JWKS: answer 503, close each connection unanswered, or hang."""
        self._outage = how

    def come_back(self) -> None:
        """Serve the honest JWKS again, after `go_down`, `serve_hostile` or `serve_instead`."""
        self._outage = None
        self._instead = None

    def serve_hostile(self, name: str) -> None:
        """Serve the spoiled JWKS of that name; `HOSTILE_JWKS` lists them."""
        self.serve_instead(HOSTILE_JWKS[name](self.jwks()))

    def serve_instead(self, body: str, *, status: int = 200) -> None:
        """Serve `body` with `status` in place of the JWKS."""
        self._instead = (status, body)

    def jwks(self) -> dict[str, Any]:
        """Return the honest JWKS."""
        return {"keys": [key.public_jwk() for key in self.keys]}

    # HTTP

    def application(self) -> web.Application:
        """Return the HTTP side: the JWKS, `POST /token` for developers, and `GET /health`."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/api/auth/jwks", self._answer_jwks),
                web.post("/token", self._answer_token),
                web.get("/health", _answer_health),
            ]
        )
        return app

    async def _answer_jwks(self, request: web.Request) -> web.StreamResponse:
        self.jwks_fetches += 1
        if self._outage == "503":
            return web.json_response({"message": "mana-auth is down"}, status=503)
        if self._outage == "hang":
            await asyncio.Event().wait()
        if self._outage == "refuse":
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=503)
        if self._instead:
            status, body = self._instead
            return web.Response(status=status, text=body, content_type="application/json")
        return web.json_response(self.jwks())

    async def _answer_token(self, request: web.Request) -> web.Response:
        """Sign what is asked for, `{sub, email?, role?, ttlSeconds?}`, on developers' machines alone."""
        body = await request.json()
        token = self.mint(
            str(body["sub"]),
            str(body.get("email", "")),
            str(body.get("role", "user")),
            ttl_seconds=float(body.get("ttlSeconds", DEFAULT_TTL_SECONDS)),
        )
        return web.json_response({"token": token})

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Serve in the running loop on a free port; `url` is set meanwhile."""
        async with serving.in_this_loop(self.application()) as self.url:
            yield self

    @contextmanager
    def on_a_thread(self) -> Iterator[Self]:
        """Serve on a thread of its own on a free port, for tests that block; `url` is set meanwhile."""
        with serving.on_a_thread(self.application()) as self.url:
            yield self


async def _answer_health(_: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


def _json_bytes(payload: dict[str, Any]) -> bytes:
    return json.dumps(payload).encode()
