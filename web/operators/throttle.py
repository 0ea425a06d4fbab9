"""How often somebody may try to sign in: few times, by address and by name."""

from __future__ import annotations

import math
import time
from typing import Final

from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute
from limits.aio.strategies import FixedWindowRateLimiter

from domain.telemetry.metrics import THROTTLED
from web.throttle import Client, Throttle, TooManyRequests

TRIES: Final[dict[str, RateLimitItem]] = {
    "address": RateLimitItemPerMinute(10, 5, namespace="sign-in"),
    "user": RateLimitItemPerHour(30, namespace="sign-in"),
}
"""Ten in five minutes from an address, thirty in an hour for a name from wherever: a person mistypes a few
times.  A name can be locked by others for an hour so; a token signs in all the same."""


class SignInThrottle(Throttle):
    """Counts tries to sign in, those that succeed too: so that many at once cannot slip through."""

    async def admit_try(self, address: str, name: str) -> None:
        """Count a try.  Raises TooManyRequests, before any password is looked at."""
        client = Client(address, name)
        refused_by = await self._counted(lambda limiter: _hit(limiter, client))
        if refused_by is not None:
            kind, seconds = refused_by
            THROTTLED.labels(f"{kind}_sign_in").inc()
            raise TooManyRequests(seconds)


async def _hit(limiter: FixedWindowRateLimiter, client: Client) -> tuple[str, int] | None:
    for kind, subject in client.subjects.items():
        if not await limiter.hit(TRIES[kind], kind, subject):
            reset_at, _ = await limiter.get_window_stats(TRIES[kind], kind, subject)
            return kind, max(1, math.ceil(reset_at - time.time()))
    return None
