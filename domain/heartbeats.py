"""Who is alive: each worker and scheduler process says so every few seconds."""

from __future__ import annotations

import os
import socket
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects.postgresql import insert

from domain.tables import heartbeats

BEAT_EVERY: Final = timedelta(seconds=5)

SILENT_AFTER: Final = timedelta(seconds=20)
"""A process that said nothing for so long is dead or stuck: several beats were missed."""

KEPT: Final = timedelta(days=1)


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """One process.  A scheduler's `details` say whether it leads."""

    name: str
    role: str
    started_at: datetime
    seen_at: datetime
    is_alive: bool
    details: dict[str, Any]


def process_name(role: str) -> str:
    """A name for this process: its role, host and process id."""
    return f"{role}:{socket.gethostname()}:{os.getpid()}"


def beat(
    connection: Connection, role: str, *, started_at: datetime, now: datetime, **details: object
) -> None:
    """Say that this process is alive."""
    row = insert(heartbeats).values(
        name=process_name(role), role=role, started_at=started_at, seen_at=now, details=details
    )
    changed = {name: row.excluded[name] for name in ("started_at", "seen_at", "details")}
    connection.execute(row.on_conflict_do_update(index_elements=[heartbeats.c.name], set_=changed))


def leave(connection: Connection, role: str) -> None:
    """Say good-bye: this process ends in good order."""
    connection.execute(delete(heartbeats).where(heartbeats.c.name == process_name(role)))


def processes(connection: Connection, *, now: datetime) -> list[Heartbeat]:
    """The processes that were alive within a day, by role and name."""
    rows = connection.execute(select(heartbeats).order_by(heartbeats.c.role, heartbeats.c.name))
    return [
        Heartbeat(
            name=row.name,
            role=row.role,
            started_at=row.started_at,
            seen_at=row.seen_at,
            is_alive=row.seen_at > now - SILENT_AFTER,
            details=row.details,
        )
        for row in rows
    ]


def prune(connection: Connection, *, now: datetime) -> int:
    """Forget processes not seen for a day; how many."""
    old = delete(heartbeats).where(heartbeats.c.seen_at < now - KEPT)
    return connection.execute(old).rowcount
