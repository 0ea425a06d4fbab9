"""What a token says of its bearer, once its signature is known to be good."""

import sys
from dataclasses import dataclass, field
from typing import Final

import msgspec

from web.auth.refusals import NotAuthenticated

# What the ledger's columns and indexes are meant for; mana-auth's ids have 32 characters.
USER_ID_CHARACTERS_MAX: Final = 255
# The longest address that mail can carry.
EMAIL_CHARACTERS_MAX: Final = 320

# The clocks of mana-auth and of this host may differ, so a token may be used this much before its `nbf`;
# without it a person who has just signed in could be refused.  There is none for `exp`: the end that
# mana-auth wrote is the end.
NOT_BEFORE_LEEWAY_SECONDS: Final = 5.0

DEFAULT_ROLE: Final = "user"
ADMIN_ROLE: Final = "admin"


@dataclass(frozen=True, slots=True)
class Caller:
    """The person a request acts for.  `email` is '' where mana-auth gave none; it stays out of logs."""

    user_id: str
    email: str = field(repr=False)
    role: str

    @property
    def is_admin(self) -> bool:
        """Whether the admin endpoints are open to this person."""
        return self.role == ADMIN_ROLE


class Claims(msgspec.Struct):
    """The claims this service reads; times are Unix seconds.

    A claim of another type than its own is refused, e-mail and role included: no token of the mana-auth
    we know has one, and what was meant by it would be a guess.  `iat` is not read: it bounds nothing
    (`nbf` does that), and a clock set back must not lock everybody out.
    """

    iss: str
    aud: str | list[str]
    exp: float
    sub: str
    nbf: float | None = None
    email: str | None = None
    role: str | None = None

    def check(self, *, issuers: tuple[str, ...], audience: str, now: float) -> None:
        """Check for whom and when these claims hold.

        Raises NotAuthenticated: wrong_issuer, wrong_audience, expired, not_yet_valid.
        """
        if self.iss not in issuers:
            raise NotAuthenticated("wrong_issuer")
        # Not `in` alone: a text's `in` would find the audience inside of another's name.
        if audience not in ([self.aud] if isinstance(self.aud, str) else self.aud):
            raise NotAuthenticated("wrong_audience")
        if self.exp <= now:
            raise NotAuthenticated("expired")
        if self.nbf is not None and self.nbf > now + NOT_BEFORE_LEEWAY_SECONDS:
            raise NotAuthenticated("not_yet_valid")

    def caller(self) -> Caller:
        """Return the bearer.  Raises NotAuthenticated (malformed_claims) where a text cannot be stored."""
        email = self.email or ""
        for text, characters_max in ((self.sub, USER_ID_CHARACTERS_MAX), (email, EMAIL_CHARACTERS_MAX)):
            # PostgreSQL's text takes no NUL.
            if len(text) > characters_max or "\0" in text:
                raise NotAuthenticated("malformed_claims")
        if not self.sub:
            raise NotAuthenticated("malformed_claims")
        # Thousands of callers are remembered, and have few roles between them.
        return Caller(user_id=self.sub, email=email, role=sys.intern(self.role or DEFAULT_ROLE))


def read_claims(payload: bytes) -> Claims:
    """Read a token's payload.  Raises NotAuthenticated (malformed_claims)."""
    try:
        return msgspec.json.decode(payload, type=Claims)
    except (ValueError, RecursionError):
        raise NotAuthenticated("malformed_claims") from None
