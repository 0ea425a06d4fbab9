"""Who is signed in to /ops: with an operator's login or an administrator's token; a cookie, and a word in forms.

The cookie's token is random and means nothing by itself: the session is a row of PostgreSQL, known to every
web process (domain.operators.sessions).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog
from aiohttp import web
from sqlalchemy import Connection

from domain.errors import NotPermitted
from domain.logins import Role, login_of
from domain.operators import sessions
from domain.operators.audit import Operator
from domain.operators.sessions import Session
from domain.settings import Settings
from web.auth import NotAuthenticated, TokenVerifier
from web.bridge import Bridge
from web.client_address import client_address
from web.deductions import Outage
from web.operators.throttle import SignInThrottle
from web.routing import services_key

VERIFICATIONS_AT_ONCE: Final = 2
"""A password takes 64 MiB and a processor for some fifty milliseconds; the rest of the service needs both."""

REMEMBERED_MAX: Final = 1_000
"""Sessions seen by this process, for the time when PostgreSQL is down."""

log: Final = structlog.get_logger()


class NotSignedIn(Exception):
    """There is no session, or it is forged, over, or idle for too long: sign in."""


class SignInRefused(Exception):
    """Name and password, or the token, sign nobody in.  Which of them was wrong is not said."""


class WrongCsrfToken(Exception):
    """A form came without its session's word: it was not one of our pages that sent it."""


@dataclass(frozen=True)
class SignedIn:
    """A session with what the browser has of it."""

    session: Session
    token: str = field(repr=False)

    @property
    def operator(self) -> Operator:
        """Who it is."""
        return self.session.operator

    @property
    def csrf_token(self) -> str:
        """The word for the page's forms: as a hidden field `csrf`, or the header X-CSRF-Token."""
        return sessions.csrf_token(self.token)

    def check_csrf(self, given: str | None) -> None:
        """Raises WrongCsrfToken."""
        if given is None or not sessions.is_csrf_token(self.token, given):
            raise WrongCsrfToken

    def check_may_act(self) -> None:
        """Raises NotPermitted for a viewer."""
        if not self.operator.may_act:
            raise NotPermitted


class Sessions:
    """Signs in and out, and knows who is signed in."""

    def __init__(
        self, settings: Settings, bridge: Bridge, tokens: TokenVerifier, throttle: SignInThrottle
    ) -> None:
        self._settings = settings
        self._bridge = bridge
        self._tokens = tokens
        self._throttle = throttle
        self._logins = settings.ops_users
        self._roles = {f"login:{login.name}": login.role for login in settings.ops_users}
        self._is_secure = not settings.is_development
        # A name that only a secure origin of our own may set (RFC 6265bis, cookie name prefixes).
        self.cookie = "__Host-mana-ops" if self._is_secure else "mana-ops"
        self._verifying = asyncio.Semaphore(VERIFICATIONS_AT_ONCE)
        self._remembered: OrderedDict[str, Session] = OrderedDict()

    async def sign_in(self, request: web.Request, name: str, password: str) -> SignedIn:
        """Sign in with an operator's login.  Raises SignInRefused, TooManyRequests, Outage."""
        await self._admit(request, name)
        async with self._verifying:
            login = await asyncio.to_thread(login_of, self._logins, name, password)
        if login is None:
            log.warning("ops_sign_in_refused", by="login")
            raise SignInRefused
        operator = Operator(name=f"login:{login.name}", role=login.role)
        return await self._open(operator, sessions.LIFETIME)

    async def sign_in_with_token(self, request: web.Request, token: str) -> SignedIn:
        """Sign in with an administrator's signed token.

        Raises SignInRefused, TooManyRequests, Outage, and KeysUnavailable while mana-auth cannot be asked.
        """
        await self._admit(request, "")
        try:
            caller = await self._tokens.verify(f"Bearer {token.strip()}")
        except NotAuthenticated:
            log.warning("ops_sign_in_refused", by="token")
            raise SignInRefused from None
        if not caller.is_admin:
            log.warning("ops_sign_in_refused", by="role")
            raise SignInRefused
        operator = Operator(name=f"admin:{caller.user_id}", role=Role.OPERATOR)
        return await self._open(operator, sessions.TOKEN_LIFETIME)

    async def signed_in(self, request: web.Request) -> SignedIn:
        """Who sent the request.  Raises NotSignedIn, Outage while PostgreSQL is down."""
        token = request.cookies.get(self.cookie, "")
        if not token or len(token) > 256:
            raise NotSignedIn
        session = await self._bridge.run(
            lambda connection, now: sessions.session_of(connection, token, now=now)
        )
        if session is None or not self._is_still_one(session.operator):
            self._remembered.pop(sessions.digest(token), None)
            raise NotSignedIn
        self._remember(token, session)
        return SignedIn(session, token)

    def remembered(self, request: web.Request) -> SignedIn | None:
        """Who sent the request, as far as this process knows: for showing what is wrong while PostgreSQL is down.

        As long as that lasts nobody can act.
        """
        token = request.cookies.get(self.cookie, "")
        session = self._remembered.get(sessions.digest(token))
        if session is None or session.expires_at <= datetime.now(UTC):
            return None
        return SignedIn(session, token)

    async def sign_out(self, request: web.Request) -> None:
        """End the request's session, wherever it is known.  Raises Outage."""
        token = request.cookies.get(self.cookie, "")
        self._remembered.pop(sessions.digest(token), None)

        def close(connection: Connection, _now: datetime) -> None:
            sessions.close_session(connection, token)

        await self._bridge.run(close)

    def set_cookie(self, response: web.StreamResponse, signed_in: SignedIn) -> None:
        """Give the browser its session: no script reads it, no other site sends it."""
        response.set_cookie(
            self.cookie,
            signed_in.token,
            path="/",
            httponly=True,
            secure=self._is_secure,
            samesite="Strict",
        )

    def clear_cookie(self, response: web.StreamResponse) -> None:
        """Take it back."""
        response.del_cookie(self.cookie, path="/", httponly=True, secure=self._is_secure, samesite="Strict")

    async def _admit(self, request: web.Request, name: str) -> None:
        address = client_address(request, forwarded_hops=self._settings.forwarded_hops)
        await self._throttle.admit_try(address, name[:128])

    async def _open(self, operator: Operator, lifetime: timedelta) -> SignedIn:
        def work(connection: Connection, now: datetime) -> SignedIn:
            token = sessions.open_session(connection, operator, lifetime=lifetime, now=now)
            session = sessions.session_of(connection, token, now=now)
            if session is None:
                raise RuntimeError("a session that was just opened is not there")
            return SignedIn(session, token)

        signed_in = await self._bridge.run(work)
        self._remember(signed_in.token, signed_in.session)
        log.info("ops_signed_in", role=operator.role.value)
        return signed_in

    def _is_still_one(self, operator: Operator) -> bool:
        """Whether a login is still listed, in that role: who is taken off the list is out at the next start."""
        is_login = operator.name.startswith("login:")
        return not is_login or self._roles.get(operator.name) == operator.role

    def _remember(self, token: str, session: Session) -> None:
        key = sessions.digest(token)
        self._remembered[key] = session
        self._remembered.move_to_end(key)
        if len(self._remembered) > REMEMBERED_MAX:
            self._remembered.popitem(last=False)


sessions_key: Final = web.AppKey("operator_sessions", Sessions)


async def operator_sessions(app: web.Application) -> AsyncIterator[None]:
    """The application's sessions, from its start to its end; made after its services."""
    services = app[services_key]
    throttle = SignInThrottle(services.settings.redis_url)
    app[sessions_key] = Sessions(services.settings, services.bridge, services.tokens, throttle)
    yield
    await throttle.close()


__all__ = [
    "NotSignedIn",
    "Outage",
    "Sessions",
    "SignInRefused",
    "SignedIn",
    "WrongCsrfToken",
    "operator_sessions",
    "sessions_key",
]
