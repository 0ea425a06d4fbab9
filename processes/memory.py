"""What a process does with its memory once it has started."""

from __future__ import annotations

import ctypes
import gc


def settle_memory() -> None:
    """Keep what is there for good from the garbage collector, and give back to the system what the start has freed.

    The C library keeps freed memory between pieces that are in use: 1.5 MB of a front's after its imports.  Where it
    has no `malloc_trim` (it is glibc's), nothing is given back.
    """
    gc.collect()
    gc.freeze()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
