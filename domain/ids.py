"""Identifiers that sort by the time they were made."""

from __future__ import annotations

import os
import random
from datetime import datetime
from typing import Final
from uuid import UUID

_random: Final = random.Random()  # noqa: S311 - ids are no secrets
os.register_at_fork(after_in_child=_random.seed)


def new_id(now: datetime) -> UUID:
    """A UUID version 7 (RFC 9562, section 5.7): 48 bits of Unix milliseconds, then 74 random bits.

    Rows made later have greater ids, so that an index on them grows at its right edge only.  They name rows and
    are no secrets: the random bits come from a generator that the system's entropy seeds, anew in each process.
    """
    milliseconds = int(now.timestamp() * 1000)
    random_bits = _random.getrandbits(80)
    return UUID(
        int=(milliseconds << 80)
        | (0x7 << 76)
        | ((random_bits >> 68 & 0xFFF) << 64)
        | (0b10 << 62)
        | (random_bits & (1 << 62) - 1)
    )
