"""Waiting for a real condition, with a deadline."""

import time
from collections.abc import Callable

POLL_SECONDS = 0.02


def wait_until(condition: Callable[[], bool], timeout_seconds: float) -> bool:
    """Ask `condition` until it is true; False when `timeout_seconds` have passed without that."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True
