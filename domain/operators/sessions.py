"""Operators who are signed in: kept in PostgreSQL, so that every web process knows them.

The browser has a random token; here is its digest alone, so that reading the table signs nobody in.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import datetime, timedelta
from typing import Final

import msgspec
from sqlalchemy import ColumnElement, Connection, delete, or_, select, update

from domain.operators.audit import Operator, Role
from domain.tables import operator_sessions

LIFETIME: Final = timedelta(hours=8)
"""A shift: then one signs in again."""

TOKEN_LIFETIME: Final = timedelta(hours=1)
"""Of a session that a signed token began: whether its bearer is still an administrator, it does not say later."""

IDLE_MAX: Final = timedelta(minutes=30)
"""A browser left alone is signed out."""

SEEN_EVERY: Final = timedelta(minutes=1)
"""How often the time a session was seen is written: a page that lives asks every few seconds."""

TOKEN_BYTES: Final = 32


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who is signed in, until `expires_at` at the latest."""

    operator: Operator
    created_at: datetime
    expires_at: datetime


def open_session(
    connection: Connection, operator: Operator, *, lifetime: timedelta = LIFETIME, now: datetime
) -> str:
    """Sign an operator in: the token for the browser.  Sessions that are over go on this occasion."""
    connection.execute(delete(operator_sessions).where(_is_over(now)))
    token = secrets.token_urlsafe(TOKEN_BYTES)
    connection.execute(
        operator_sessions.insert().values(
            token_digest=digest(token),
            actor=operator.name,
            role=operator.role.value,
            created_at=now,
            seen_at=now,
            expires_at=now + lifetime,
        )
    )
    return token


def session_of(connection: Connection, token: str, *, now: datetime) -> Session | None:
    """Who is signed in with the token; None for one that is forged, over, idle for too long, or signed out."""
    columns = operator_sessions.c
    query = select(operator_sessions).where(columns.token_digest == digest(token), ~_is_over(now))
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    if row.seen_at <= now - SEEN_EVERY:
        connection.execute(
            update(operator_sessions).where(columns.token_digest == row.token_digest).values(seen_at=now)
        )
    return Session(
        operator=Operator(name=row.actor, role=Role(row.role)),
        created_at=row.created_at,
        expires_at=row.expires_at,
    )


def close_session(connection: Connection, token: str) -> None:
    """Sign out."""
    connection.execute(delete(operator_sessions).where(operator_sessions.c.token_digest == digest(token)))


def digest(token: str) -> str:
    """What is kept of a token: it has 256 random bits, so that a fast digest does."""
    return hashlib.sha256(token.encode()).hexdigest()


def csrf_token(token: str) -> str:
    """The word that a session's forms carry: only who has the session's token can make it."""
    return hmac.new(token.encode(), b"csrf", hashlib.sha256).hexdigest()


def is_csrf_token(token: str, given: str) -> bool:
    """Whether `given` is the session's word; takes as long for one that is nearly right."""
    return hmac.compare_digest(csrf_token(token).encode(), given.encode())


def _is_over(now: datetime) -> ColumnElement[bool]:
    columns = operator_sessions.c
    return or_(columns.expires_at <= now, columns.seen_at <= now - IDLE_MAX)
