"""What a kind of job is: a frozen class whose fields are its payload."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import ClassVar, Final

import msgspec

HORIZON_MIN: Final = timedelta(minutes=1)
HORIZON_MAX: Final = timedelta(days=1)
"""Nobody waits longer than a day for a machine to try again: after that a person should look."""


class Queue(StrEnum):
    """Where jobs wait for a worker.  The order is their priority: money first, mail last."""

    MONEY = "money"
    BILLING = "billing"
    UPKEEP = "upkeep"
    MAIL = "mail"

    @property
    def priority(self) -> int:
        """0 is served first."""
        return list(Queue).index(self)


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of job: subclass it, frozen and kw_only, and write into fields what the handler must know.

    Fields are stored as JSON: text, whole numbers, Decimal, UUID, aware datetimes, lists, objects.
    """

    kind: ClassVar[str]
    """Its stable name, in rows, messages and metrics."""

    queue: ClassVar[Queue]

    horizon: ClassVar[timedelta] = timedelta(hours=1)
    """How long a failing job is tried again, counted from its first failure; then it is `failed`."""

    time_limit: ClassVar[timedelta] = timedelta(minutes=1)
    """How long one attempt may take before it is broken off."""
