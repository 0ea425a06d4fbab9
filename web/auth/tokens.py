"""Verifies mana-auth's tokens, and remembers those it has verified.

Remembered tokens are found by the whole header, `Bearer <token>`: a digest of it as the key would double
the time of every request.  Python's seeded hash keeps a guesser from learning anything by how long it takes.
"""

import base64
import re
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from domain.settings import Settings
from web.auth.claims import Caller, read_claims
from web.auth.jwks import KID_CHARACTERS_MAX
from web.auth.keys import JwksCache
from web.auth.refusals import NotAuthenticated

ALGORITHM: Final = "EdDSA"

# What aiohttp lets through as one header's value; mana-auth's tokens have some 400 characters.
AUTHORIZATION_CHARACTERS_MAX: Final = 8190

# Measured at 840 bytes each with tokens of 400 characters: 17 MB in each web process, for more people than
# one process serves within a token's life.
REMEMBERED_TOKENS_MAX: Final = 20_000

# RFC 8725, 3.11: a token made for something else must not pass here.  mana-auth writes none or JWT.
_TYPES: Final = frozenset({"jwt", "at+jwt"})

# Three segments of base64url without padding, so that one token has one spelling.
_COMPACT: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


class _Header(msgspec.Struct):
    """The header fields that are read; `jku`, `jwk`, `x5u` and the like name keys of the token's own."""

    alg: str
    kid: str
    typ: str = "JWT"
    crit: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Remembered(NamedTuple):
    caller: Caller
    expires_at: float
    kid: str
    key: Ed25519PublicKey


class TokenVerifier:
    """Tells who bears a token.  `clock` returns Unix seconds.

    A verified token is remembered until it expires or its key leaves mana-auth's JWKS; the least recently
    used gives way when there are too many.  One object serves one event loop.
    """

    def __init__(self, settings: Settings, jwks: JwksCache, clock: Callable[[], float] = time.time) -> None:
        self._issuers = settings.jwt_issuers
        self._audience = settings.jwt_audience
        self._jwks = jwks
        self._clock = clock
        self._signatures = jwt.PyJWS(algorithms=[ALGORITHM])
        self._remembered: OrderedDict[str, _Remembered] = OrderedDict()

    def remembered(self, authorization: str) -> Caller | None:
        """Return the bearer of a header verified before and still good, else None: then `verify` it.

        Known is the spelling `Bearer <token>` alone.
        """
        entry = self._remembered.get(authorization)
        if entry is None:
            return None
        # Here too: where every token is remembered, nobody else would notice that the keys are old.
        self._jwks.refresh_if_due()
        if entry.expires_at <= self._clock() or self._jwks.known(entry.kid) is not entry.key:
            del self._remembered[authorization]
            return None
        self._remembered.move_to_end(authorization)
        return entry.caller

    async def verify(self, authorization: str | None) -> Caller:
        """Return the bearer of the token in an Authorization header; None is a request without one.

        Raises NotAuthenticated with the first fault found, and KeysUnavailable where the token's key is
        not known and mana-auth cannot be asked.
        """
        token = _bearer_token(authorization)
        # The scheme's case and the spaces are the sender's choice.  One spelling is remembered, or a single
        # token could push out everybody else's.
        spelling = f"Bearer {token}"
        caller = self.remembered(spelling)
        if caller is not None:
            return caller
        header = _read_header(token)
        key = await self._jwks.find(header.kid) if 0 < len(header.kid) <= KID_CHARACTERS_MAX else None
        if key is None:
            raise NotAuthenticated("unknown_key")
        claims = read_claims(self._signed_payload(token, key))
        claims.check(issuers=self._issuers, audience=self._audience, now=self._clock())
        caller = claims.caller()
        self._remember(spelling, _Remembered(caller, claims.exp, sys.intern(header.kid), key))
        return caller

    def _signed_payload(self, token: str, key: Ed25519PublicKey) -> bytes:
        try:
            payload: Any = self._signatures.decode(token, key, algorithms=[ALGORITHM])
        except jwt.InvalidSignatureError:
            raise NotAuthenticated("bad_signature") from None
        except jwt.PyJWTError:
            raise NotAuthenticated("malformed_token") from None
        return bytes(payload)

    def _remember(self, spelling: str, entry: _Remembered) -> None:
        self._remembered[spelling] = entry
        if len(self._remembered) > REMEMBERED_TOKENS_MAX:
            self._remembered.popitem(last=False)


def _bearer_token(authorization: str | None) -> str:
    """Return what follows the scheme `Bearer`, whatever the scheme's case (RFC 7235)."""
    if authorization is None:
        raise NotAuthenticated("missing_header")
    if len(authorization) > AUTHORIZATION_CHARACTERS_MAX:
        raise NotAuthenticated("too_large")
    scheme, _, token = authorization.strip(" ").partition(" ")
    token = token.lstrip(" ")
    if scheme.lower() != "bearer" or not token:
        raise NotAuthenticated("malformed_header")
    return token


def _read_header(token: str) -> _Header:
    """Read the token's own header, which nothing vouches for yet: it may choose a key, and no more."""
    if _COMPACT.fullmatch(token) is None:
        raise NotAuthenticated("malformed_token")
    segment = token.partition(".")[0]
    try:
        header = msgspec.json.decode(base64.urlsafe_b64decode(segment + "=="), type=_Header)
    except (ValueError, RecursionError):
        raise NotAuthenticated("malformed_token") from None
    if header.alg != ALGORITHM:
        raise NotAuthenticated("wrong_algorithm")
    # `crit` lists what a reader must understand, and nothing of the kind is understood here.
    if header.crit is not msgspec.UNSET or header.typ.lower() not in _TYPES:
        raise NotAuthenticated("unsupported_header")
    return header
