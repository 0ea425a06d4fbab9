"""Identifiers that sort by the time they were made, and within a process in the order they were made."""

from __future__ import annotations

import os
import random
from datetime import datetime
from typing import Final
from uuid import UUID


class _Ids:
    """Makes UUIDs version 7 (RFC 9562, section 5.7): 48 bits of Unix milliseconds, then 74 bits.

    Those are random for the first of a millisecond, and grow by a random step from one to the next (section 6.2,
    method 2).  A time before the last one makes ids of its own millisecond, with bits that still grow.
    """

    def __init__(self) -> None:
        self._random = random.Random()  # noqa: S311 - ids are no secrets  # nosec B311
        self._milliseconds = self._bits = 0

    def new_id(self, now: datetime) -> UUID:
        """A new one.  Rows made later have greater ids, so that an index on them grows at its right edge only.

        They name rows and are no secrets: the random bits come from a generator that the system's entropy seeds,
        anew in each process.  Threads at once get different ids, in no order.
        """
        milliseconds = int(now.timestamp() * 1000)
        if milliseconds > self._milliseconds:
            self._milliseconds = milliseconds
            # The first bit is left 0 for growing: it lasts for 2 ** 41 ids.
            bits = self._random.getrandbits(73)
        else:
            bits = self._bits + 1 + self._random.getrandbits(32)
        self._bits = bits
        return UUID(
            int=(milliseconds << 80)
            | (0x7 << 76)
            | ((bits >> 62) << 64)
            | (0b10 << 62)
            | (bits & (1 << 62) - 1)
        )

    def begin_anew(self) -> None:
        """A process that was forked off shall not go on with its parent's."""
        self._random.seed()
        self._milliseconds = 0


_ids: Final = _Ids()
os.register_at_fork(after_in_child=_ids.begin_anew)
new_id: Final = _ids.new_id


def lowest_id(instant: datetime) -> UUID:
    """The least id that `new_id` can give at this instant: rows with greater ones were made then or later."""
    milliseconds = int(instant.timestamp() * 1000)
    return UUID(int=(milliseconds << 80) | (0x7 << 76) | (0b10 << 62))
