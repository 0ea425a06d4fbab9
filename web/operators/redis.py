"""Asking Redis for a page: off the event loop, and not for long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

from aiohttp import web
from redis.exceptions import RedisError

from nudges.queues import Queues
from web.operators.queues import queues_key

SECONDS_MAX: Final = 4.0

T = TypeVar("T")


class RedisDown(Exception):
    """Redis does not answer.  Jobs are rows of PostgreSQL, and safe."""


async def ask_redis(request: web.Request, ask: Callable[[Queues], T]) -> T:
    """What Redis says.  Raises RedisDown."""
    try:
        async with asyncio.timeout(SECONDS_MAX):
            return await asyncio.to_thread(ask, request.app[queues_key])
    except (RedisError, OSError) as error:  # a TimeoutError is an OSError
        raise RedisDown(type(error).__name__) from error
