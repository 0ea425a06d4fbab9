"""What the tests of `./dev` share: an environment of their own, and patience."""

import os
import time
from collections.abc import Callable

from devkit import waiting

OUTSIDE = (
    "DATABASE_URL",
    "REDIS_URL",
    "MANA_AUTH_URL",
    "MANA_NOTIFY_URL",
    "STRIPE_SECRET_KEY",
    "MANA_SERVICE_KEY",
)


def unconfigured() -> dict[str, str]:
    """The environment of a person who has configured nothing."""
    return {name: value for name, value in os.environ.items() if name not in OUTSIDE}


def eventually(condition: Callable[[], bool], what: str, seconds: float = 40.0) -> None:
    """Fail unless `condition` becomes true in time."""
    began = time.monotonic()
    assert waiting.wait_until(condition, seconds), f"not {what} after {time.monotonic() - began:.1f} s"
