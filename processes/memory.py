"""What a process does with its memory once it has started."""

from __future__ import annotations

import ctypes
import gc
from typing import Final

_M_ARENA_MAX: Final = -8
"""From glibc's malloc.h."""

ARENAS: Final = 2
"""Of the C library's memory: threads that run Python take turns anyway, and each arena keeps what its own has freed.
With one for each thread a worker had grown by 20 MB after half an hour of load, and had not come to its end."""


def share_memory_among_threads() -> None:
    """Let threads that are started from now on have their memory from the same arenas.

    Where the C library is not glibc, nothing is done.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, ARENAS)


def hold_memory() -> None:
    """Look for no garbage until `settle_memory`: what a start makes stays, and each look at it costs more than the last
    one, together a seventh of the start.
    """
    gc.disable()


def settle_memory() -> None:
    """Keep what is there for good from the garbage collector, and give back to the system what the start has freed.

    The C library keeps freed memory between pieces that are in use: 1.5 MB of a front's after its imports.  Where it
    has no `malloc_trim` (it is glibc's), nothing is given back.
    """
    gc.collect()
    gc.freeze()
    gc.enable()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
