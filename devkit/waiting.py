"""Waiting for a real condition, with a deadline."""

import time
from collections.abc import Callable

POLL_SECONDS = 0.02
POLL_SECONDS_MAX = 0.2
POLL_SHARE = 0.05
"""A pause is this share of the time that has passed, within the two: who has waited long is told a little later."""


def wait_until(condition: Callable[[], bool], timeout_seconds: float) -> bool:
    """Ask `condition` until it is true; False when `timeout_seconds` have passed without that."""
    began = time.monotonic()
    while not condition():
        passed = time.monotonic() - began
        if passed >= timeout_seconds:
            return False
        time.sleep(min(max(POLL_SECONDS, POLL_SHARE * passed), POLL_SECONDS_MAX))
    return True
