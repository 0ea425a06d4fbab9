"""Dramatiq's own queues as operators see them: how many messages are where, and the dead letters.

The keys are those of Dramatiq's Redis broker (its dispatch.lua).  A message is a nudge and nothing else: the job's
row tells whether there is anything to do, so that a letter requeued or dropped can do no harm.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from dramatiq import Message

from domain.errors import DeadLetterNotFound
from nudges.broker import NudgeBroker, make_broker

DEAD_LETTERS_SHOWN_MAX: Final = 500

UNACKED_KEYS_MAX: Final = 10_000
"""Keys looked at for those who hold messages: one for each worker process and queue."""


class QueueSeen(msgspec.Struct, frozen=True, kw_only=True):
    """How many messages of one queue are where."""

    name: str
    ready: int
    delayed: int
    unacked: int
    dead: int


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A message whose actor failed; None for what it does not say."""

    message_id: str
    queue: str
    actor: str
    job_id: str | None
    dead_at: datetime
    failure: str | None


class Queues:
    """Reads and handles queues.  Everything raises redis.RedisError or OSError while Redis is down."""

    def __init__(self, redis_url: str) -> None:
        self._broker: NudgeBroker = make_broker(redis_url)
        self._redis: Any = self._broker.client

    def close(self) -> None:
        """Disconnect."""
        self._broker.close()

    def ping(self) -> None:
        """Whether Redis answers."""
        self._redis.ping()

    def seen(self, names: list[str]) -> list[QueueSeen]:
        """The queues of these names."""
        return [self._seen(name) for name in names]

    def _seen(self, name: str) -> QueueSeen:
        key = self._key(name)
        with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.llen(key).llen(f"{key}.DQ").zcard(f"{key}.XQ")
            ready, delayed, dead = pipeline.execute()
        return QueueSeen(name=name, ready=ready, delayed=delayed, unacked=self._unacked(name), dead=dead)

    def _unacked(self, name: str) -> int:
        pattern = f"{self._broker.namespace}:__acks__.*.{name}"
        keys = []
        for key in self._redis.scan_iter(match=pattern, count=1_000):
            keys.append(key)
            if len(keys) == UNACKED_KEYS_MAX:
                break
        return sum(self._redis.scard(key) for key in keys)

    def dead_letters(self, name: str, *, limit: int = 50, offset: int = 0) -> list[DeadLetter]:
        """A page of a queue's dead letters, the newest first."""
        key = self._key(name)
        last = offset + min(limit, DEAD_LETTERS_SHOWN_MAX) - 1
        found = self._redis.zrevrange(f"{key}.XQ", offset, last, withscores=True)
        if not found:
            return []
        raw = self._redis.hmget(f"{key}.XQ.msgs", [message_id for message_id, _ in found])
        return [
            _letter(name, Message.decode(data), at)
            for (_, at), data in zip(found, raw, strict=True)
            if data is not None
        ]

    def dead_letter(self, name: str, message_id: str) -> DeadLetter:
        """One dead letter.  Raises DeadLetterNotFound."""
        key = self._key(name)
        with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.zscore(f"{key}.XQ", message_id).hget(f"{key}.XQ.msgs", message_id)
            at, data = pipeline.execute()
        if at is None or data is None:
            raise DeadLetterNotFound
        return _letter(name, Message.decode(data), at)

    def requeue(self, name: str, message_id: str) -> DeadLetter:
        """Put a dead letter back into its queue.  Raises DeadLetterNotFound.

        It is taken away before it is sent again: one of two who try gets it.
        """
        letter, message = self._take(name, message_id)
        self._broker.enqueue(message.copy(options={}))
        return letter

    def drop(self, name: str, message_id: str) -> DeadLetter:
        """Throw a dead letter away.  Raises DeadLetterNotFound."""
        return self._take(name, message_id)[0]

    def _take(self, name: str, message_id: str) -> tuple[DeadLetter, Message[Any]]:
        key = self._key(name)
        with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.zscore(f"{key}.XQ", message_id).hget(f"{key}.XQ.msgs", message_id)
            pipeline.zrem(f"{key}.XQ", message_id).hdel(f"{key}.XQ.msgs", message_id)
            at, data, was_ours, _ = pipeline.execute()
        if not was_ours or data is None:
            raise DeadLetterNotFound
        message: Message[Any] = Message.decode(data)
        return _letter(name, message, at), message

    def _key(self, name: str) -> str:
        return f"{self._broker.namespace}:{name}"


def _letter(queue: str, message: Message[Any], at_milliseconds: float) -> DeadLetter:
    traceback = message.options.get("traceback")
    last = traceback.strip().rpartition("\n")[2][:500] if isinstance(traceback, str) else None
    return DeadLetter(
        message_id=message.options.get("redis_message_id", message.message_id),
        queue=queue,
        actor=message.actor_name,
        job_id=str(message.args[0]) if message.args else None,
        dead_at=datetime.fromtimestamp(at_milliseconds / 1000, UTC),
        failure=last,
    )
