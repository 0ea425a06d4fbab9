"""A nudge tells the workers that a job waits.  It may be lost: the row is the job, and the relay looks again.

A frame (domain.database.transaction, or that of a job) collects what was added on its connection, and nudges
when that is committed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol
from uuid import UUID

import msgspec
from sqlalchemy import Connection

_ADDED: Final = "added_jobs"


class AddedJob(msgspec.Struct, frozen=True):
    """What a nudge has to say about a job."""

    id: UUID
    kind: str
    queue: str
    trace: str | None = None
    """The `traceparent` of what added it, where traces are on."""


class Nudge(Protocol):
    """Tells the workers.  Never raises, never waits: see nudges.Nudger."""

    def __call__(self, added: Sequence[AddedJob], /) -> None: ...


def remember_added(connection: Connection, job: AddedJob) -> None:
    """Keep a job that was added in this transaction, until its frame takes it."""
    _info(connection).setdefault(_ADDED, []).append(job)


def take_added(connection: Connection) -> list[AddedJob]:
    """The jobs added since the last time.  A frame calls this at its beginning too, and forgets them."""
    added: list[AddedJob] = _info(connection).pop(_ADDED, [])
    return added


def _info(connection: Connection) -> dict[Any, Any]:
    # SQLAlchemy keeps it with the driver's connection, which a pool hands to many.
    return connection.info
