"""Connections to PostgreSQL: the engine for jobs and cold paths, the pool for the front's hot paths."""

from __future__ import annotations

from typing import Any, Final

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool
from sqlalchemy import Engine, create_engine, make_url

STATEMENT_TIMEOUT_SECONDS: Final = 30
"""A statement that runs longer is ended: nothing here needs more, and what hangs would hold locks."""

LOCK_TIMEOUT_SECONDS: Final = 10
"""How long a statement waits for a row that another transaction holds."""

IDLE_IN_TRANSACTION_SECONDS: Final = 60
"""A transaction whose owner went silent (stopped, cut off) is ended, and its locks go."""

CONNECT_TIMEOUT_SECONDS: Final = 5


def _session_options(statement_timeout_seconds: int) -> str:
    lock_seconds = LOCK_TIMEOUT_SECONDS if statement_timeout_seconds else 0
    return (
        f"-c statement_timeout={statement_timeout_seconds}s -c lock_timeout={lock_seconds}s"
        f" -c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_SECONDS}s"
        " -c timezone=UTC"
    )


def make_engine(
    database_url: str,
    *,
    pool_size: int = 8,
    statement_timeout_seconds: int = STATEMENT_TIMEOUT_SECONDS,
    application_name: str = "mana-credits",
) -> Engine:
    """An engine on psycopg for a `postgresql://` URL.  A `statement_timeout_seconds` of 0 means none."""
    url = make_url(database_url).set(drivername="postgresql+psycopg")
    return create_engine(
        url,
        pool_size=pool_size,
        max_overflow=2,
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            "options": _session_options(statement_timeout_seconds),
            "application_name": application_name,
        },
    )


def make_async_pool(
    database_url: str, *, size: int, application_name: str = "mana-credits"
) -> AsyncConnectionPool[AsyncConnection[Any]]:
    """A closed pool of connections in autocommit mode: each statement is its own transaction."""
    return AsyncConnectionPool(
        database_url,
        min_size=size,
        max_size=size,
        open=False,
        timeout=CONNECT_TIMEOUT_SECONDS,
        reconnect_timeout=0,
        kwargs={
            "autocommit": True,
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            "options": _session_options(STATEMENT_TIMEOUT_SECONDS),
            "application_name": application_name,
        },
    )
