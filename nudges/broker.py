"""The Dramatiq broker on Redis, as this service uses it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import uuid4

import redis
from dramatiq import Message, Middleware
from dramatiq.broker import Consumer
from dramatiq.brokers.redis import RedisBroker
from redis.backoff import NoBackoff
from redis.retry import Retry

from domain.nudge import AddedJob

HEARTBEAT_TIMEOUT_MS: Final = 15_000
"""A worker silent for so long is dead, and its messages go back to the queue.  It beats at every poll."""

MAINTENANCE_CHANCE_PER_MILLION: Final = 100_000
"""One command in ten looks for dead workers: several a second, where Dramatiq's default is one in minutes."""

DEAD_MESSAGE_TTL_MS: Final = 3_600_000
"""Dramatiq's dead letters are of no use here (the row is the job): they go after an hour."""

CONNECT_TIMEOUT_SECONDS: Final = 1.0
SOCKET_TIMEOUT_SECONDS: Final = 3.0
"""A Redis that is silent for so long counts as down: what is asked of it takes under a millisecond."""


class NudgeBroker(RedisBroker):
    """A Redis broker without delayed messages (rows wait, messages do not), and with a share for each queue."""

    def __init__(
        self, redis_url: str, middleware: Sequence[Middleware] = (), shares: Mapping[str, int] | None = None
    ) -> None:
        """`shares` says how many messages of a queue one process may hold, waiting and being worked on."""
        # Each caller has its own way of trying again; here it would only hold a thread.
        client = redis.Redis.from_url(
            redis_url,
            socket_connect_timeout=CONNECT_TIMEOUT_SECONDS,
            socket_timeout=SOCKET_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        super().__init__(  # type: ignore[no-untyped-call]
            client=client,
            middleware=list(middleware),
            namespace="jobs",
            heartbeat_timeout=HEARTBEAT_TIMEOUT_MS,
            maintenance_chance=MAINTENANCE_CHANCE_PER_MILLION,
            dead_message_ttl=DEAD_MESSAGE_TTL_MS,
        )
        self._shares = shares or {}

    def declare_queue(self, queue_name: str) -> None:
        """Declare a queue, without the one for delayed messages that Dramatiq would poll beside it."""
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues.add(queue_name)
            self.emit_after("declare_queue", queue_name)

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Consumer:
        """Consume a queue, within its share."""
        return super().consume(queue_name, min(prefetch, self._shares.get(queue_name, prefetch)), timeout)

    def enqueue_all(self, messages: Sequence[Message[Any]]) -> None:
        """Enqueue messages, all in one exchange with Redis.  Raises redis.RedisError, OSError.

        It does what Dramatiq's dispatch.lua does for each: the message is there before its id is in the queue.
        """
        with self.client.pipeline(transaction=True) as pipeline:
            for queue_name, of_queue in _by_queue(messages).items():
                key = f"{self.namespace}:{queue_name}"
                pipeline.hset(f"{key}.msgs", mapping=of_queue)
                pipeline.rpush(key, *of_queue)
            pipeline.execute()

    def waiting(self, queue_name: str) -> int:
        """How many messages of a queue no worker has taken yet.  Raises redis.RedisError."""
        length: Any = self.client.llen(f"{self.namespace}:{queue_name}")
        return int(length)

    def close(self) -> None:
        """Disconnect."""
        self.client.close()


def _by_queue(messages: Sequence[Message[Any]]) -> dict[str, dict[Any, Any]]:
    """The encoded messages of each queue, by an id of their own in Redis: one job may be told of several times."""
    found: dict[str, dict[Any, Any]] = defaultdict(dict)
    for message in messages:
        redis_id = str(uuid4())
        found[message.queue_name][redis_id] = message.copy(options={"redis_message_id": redis_id}).encode()
    return found


def make_broker(
    redis_url: str, middleware: Sequence[Middleware] = (), shares: Mapping[str, int] | None = None
) -> NudgeBroker:
    """A broker.  It connects when it is first used; a Redis that is down now may come later."""
    return NudgeBroker(redis_url, middleware, shares)


def message_for(job: AddedJob) -> Message[None]:
    """The nudge: to the actor of the job's kind, with its id; and with the trace that it is a part of, if any."""
    kwargs = {} if job.trace is None else {"trace": job.trace}
    return Message(queue_name=job.queue, actor_name=job.kind, args=(str(job.id),), kwargs=kwargs, options={})
