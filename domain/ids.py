"""Identifiers that sort by the time they were made."""

from __future__ import annotations

import os
from datetime import datetime
from uuid import UUID


def new_id(now: datetime) -> UUID:
    """A UUID version 7 (RFC 9562, section 5.7): 48 bits of Unix milliseconds, then 74 random bits.

    Rows made later have greater ids, so that an index on them grows at its right edge only.
    """
    milliseconds = int(now.timestamp() * 1000)
    random_bits = int.from_bytes(os.urandom(10))
    return UUID(
        int=(milliseconds << 80)
        | (0x7 << 76)
        | ((random_bits >> 68 & 0xFFF) << 64)
        | (0b10 << 62)
        | (random_bits & (1 << 62) - 1)
    )
