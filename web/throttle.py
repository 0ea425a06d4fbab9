"""How often a client may ask for gift codes: all look-ups generously, unknown codes strictly.

Counted in Redis, so that several processes count together; in this process alone while Redis is down.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import structlog
from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import FixedWindowRateLimiter
from redis import RedisError
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from domain.telemetry.metrics import THROTTLED, THROTTLED_ALONE

ASKED: Final = {
    "address": RateLimitItemPerMinute(600, namespace="asked"),
    "user": RateLimitItemPerMinute(120, namespace="asked"),
}
"""All requests about codes.  Many people share one address (an office, a mobile network): 10 a second of them;
no person reads two gifts a second for a minute."""

MISSES_PER_MINUTE: Final = 20
"""Unknown codes: people mistype a few, more is a program.  Each takes that share of what may be asked."""

MISSED: Final = RateLimitItemPerHour(200, namespace="missed")
"""Unknown codes of an address, and of a user.  Those under way when the minute's are used up are answered,
and counted: so this holds for whoever asks in bursts, and for long."""

REDIS_SECONDS_MAX: Final = 0.25
"""How long one answer of Redis may take; it takes a fifth of a millisecond, far longer on a machine that is
short of processors, and counting alone for that would let a guesser begin anew."""

REQUEST_SECONDS_MAX: Final = 0.5
"""How long all answers may take that one request needs: four, or eight when the code is unknown.  Only those
under way at the moment when Redis falls silent wait for so long."""

REDIS_REST_SECONDS: Final = 5.0
"""How often a Redis that failed is asked, beside the requests, whether it is back."""

REDIS_CONNECTIONS_MAX: Final = 8

DOWN: Final = (RedisError, OSError, RuntimeError)  # a TimeoutError is an OSError
CLOSED: Final = "the handler is closed"
"""What uvloop says, in a RuntimeError, when something is written to a connection that was reset meanwhile.  redis-py
looks before it writes, and does not see a reset that nobody has read of yet (MagicStack/uvloop#506)."""

T = TypeVar("T")

log: Final = structlog.get_logger()


class TooManyRequests(Exception):
    """The client asks too often; asking again makes sense after `retry_after_seconds`."""

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(f"again in {retry_after_seconds} s")
        self.retry_after_seconds = retry_after_seconds


class Client:
    """Who asks: an address, and a user where a token says so.  Both are counted, by digest."""

    def __init__(self, address: str, user_id: str | None = None) -> None:
        given = {"address": address, "user": user_id}
        self.subjects: Final = {kind: _digest(text) for kind, text in given.items() if text}


def _digest(text: str) -> str:
    # Keys of one short length that nobody reads an address or an id off.
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


class _Storage(RedisStorage):
    # The library imports every client of Redis that it knows and finds installed; this service has one.
    DEPENDENCIES = {"redis": RedisStorage.DEPENDENCIES["redis"]}  # noqa: RUF012 - as it is in the library


class Throttle:
    """Counts, and refuses.  `clock` gives seconds that pass, for the rest that Redis is given."""

    def __init__(self, redis_url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._pool: BlockingConnectionPool = BlockingConnectionPool.from_url(
            redis_url,
            max_connections=REDIS_CONNECTIONS_MAX,
            timeout=REQUEST_SECONDS_MAX,
            socket_timeout=REDIS_SECONDS_MAX,
            socket_connect_timeout=REDIS_SECONDS_MAX,
            retry=Retry(NoBackoff(), 0),
        )
        # The pool knows where.  The library's annotation of its options leaves it out.
        options: dict[str, Any] = {"connection_pool": self._pool}
        storage = _Storage("async+redis://", implementation="redispy", key_prefix="mana-throttle", **options)
        self._shared = FixedWindowRateLimiter(storage)
        self._alone = FixedWindowRateLimiter(MemoryStorage())
        self._clock = clock
        self._is_down = False
        self._ask_again_at = 0.0
        self._asking: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Disconnect."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])
        await self._pool.disconnect()

    async def admit(self, client: Client) -> None:
        """Count a request.  Raises TooManyRequests."""
        refused_by = await self._counted(lambda limiter: _admit(limiter, client))
        if refused_by is not None:
            kind, seconds = refused_by
            THROTTLED.labels(kind).inc()
            raise TooManyRequests(seconds)

    async def count_miss(self, client: Client) -> None:
        """Count an unknown code."""
        await self._counted(lambda limiter: _count_miss(limiter, client))

    async def _counted(self, count: Callable[[FixedWindowRateLimiter], Awaitable[T]]) -> T:
        if self._is_down:
            self._ask_now_and_then()
        else:
            try:
                async with asyncio.timeout(REQUEST_SECONDS_MAX):
                    return await count(self._shared)
            except DOWN as error:
                self._rest(_if_down(error))
        THROTTLED_ALONE.inc()
        return await count(self._alone)

    def _rest(self, error: Exception) -> None:
        if not self._is_down:
            log.warning("throttle_counts_alone", error=type(error).__name__)
        self._is_down = True
        self._ask_again_at = self._clock() + REDIS_REST_SECONDS

    def _ask_now_and_then(self) -> None:
        """Ask whether Redis is back, so that no request waits for the answer."""
        now = self._clock()
        if now >= self._ask_again_at and (self._asking is None or self._asking.done()):
            self._ask_again_at = now + REDIS_REST_SECONDS
            self._asking = asyncio.get_running_loop().create_task(self._ask())

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(REQUEST_SECONDS_MAX):
                # Those from before may all be dead, and one after the other would be taken for Redis being down.
                await self._pool.disconnect(inuse_connections=False)
                await Redis(connection_pool=self._pool).ping()
        except DOWN as error:
            _if_down(error)
            return  # it is still down: the log said so
        self._is_down = False
        log.info("throttle_counts_in_redis_again")


def _if_down(error: Exception) -> Exception:
    """The error, when Redis is down.  Raises it when it is one of ours."""
    if isinstance(error, RuntimeError) and CLOSED not in str(error):
        raise error
    return error


async def _admit(limiter: FixedWindowRateLimiter, client: Client) -> tuple[str, int] | None:
    """None, or by what the client is refused and for how many seconds."""
    for kind, subject in client.subjects.items():
        if not await limiter.hit(ASKED[kind], kind, subject):
            return f"{kind}_asked", await _seconds_left(limiter, ASKED[kind], kind, subject)
        if not await limiter.test(MISSED, kind, subject):
            return f"{kind}_missed", await _seconds_left(limiter, MISSED, kind, subject)
    return None


async def _count_miss(limiter: FixedWindowRateLimiter, client: Client) -> None:
    for kind, subject in client.subjects.items():
        asked = ASKED[kind]
        # The request itself was counted as 1.  Counted beyond the limits too.
        await limiter.hit(asked, kind, subject, cost=asked.amount // MISSES_PER_MINUTE - 1)
        await limiter.hit(MISSED, kind, subject)


async def _seconds_left(limiter: FixedWindowRateLimiter, limit: RateLimitItem, *identifiers: str) -> int:
    reset_at, _ = await limiter.get_window_stats(limit, *identifiers)
    return max(1, math.ceil(reset_at - time.time()))
