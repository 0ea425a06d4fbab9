"""A key makes a request take effect once: the first answer is kept and given again.

The ledger does this itself for uses, refunds and grants (posting keys); this is for everything else.  Answers are
forgotten after ANSWERS_KEPT, keys never: a late repeat is refused, and has no second effect.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final

import msgspec
from sqlalchemy import Connection, Text, cast, delete, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from domain.errors import AnswerForgotten, IdempotencyKeyReused, Refusal
from domain.jobs.kind import Job, Queue
from domain.json_values import canonical
from domain.tables import idempotent_answers

Answer = dict[str, Any]
"""A JSON object, as it is sent: numbers are exact."""

ANSWERS_KEPT: Final = timedelta(days=90)
"""Callers repeat within seconds, and an app that was offline within weeks; as long as jobs that failed are kept."""

KEYS_PER_CALL_MAX: Final = 5_000
"""Keys that one transaction looks at: tens of milliseconds."""

FORGOTTEN: Final = "null"
"""The text of a forgotten answer's JSON; a route's answer is an object."""


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller named a request: `key` is scoped to the person and the operation."""

    user_id: str
    operation: str
    key: str


def once(
    connection: Connection, key: Key | None, request: object, work: Callable[[], Answer], *, now: datetime
) -> Answer:
    """The answer of `work`, which runs once for a key: a repeat of the request gets the first answer.

    Equal keys at once wait for one another.  Without a key, `work` simply runs.
    Raises IdempotencyKeyReused when the key came with another request, AnswerForgotten after ANSWERS_KEPT; what
    `work` raises leaves it free.
    """
    if key is None:
        return work()
    digest = hashlib.sha256(canonical(request)).hexdigest()
    claimed = connection.execute(
        insert(idempotent_answers)
        .values(
            user_id=key.user_id,
            operation=key.operation,
            key=key.key,
            request_digest=digest,
            answer={},
            created_at=now,
        )
        .on_conflict_do_nothing()
        .returning(idempotent_answers.c.key)
    ).one_or_none()
    if claimed is None:
        return _first_answer(connection, key, digest)
    try:
        answer = work()
    except Refusal:
        connection.execute(delete(idempotent_answers).where(*_row_of(key)))
        raise
    connection.execute(update(idempotent_answers).where(*_row_of(key)).values(answer=answer))
    return answer


def _first_answer(connection: Connection, key: Key, digest: str) -> Answer:
    row = connection.execute(
        select(idempotent_answers.c.request_digest, idempotent_answers.c.answer).where(*_row_of(key))
    ).one()
    if row.request_digest != digest:
        raise IdempotencyKeyReused
    answer: Answer | None = row.answer
    if answer is None:
        raise AnswerForgotten
    return answer


class ForgetOldAnswers(Job, frozen=True, kw_only=True):
    """Empty the answers that were kept for longer than ANSWERS_KEPT."""

    kind: ClassVar[str] = "forget_old_answers"
    queue: ClassVar[Queue] = Queue.UPKEEP
    time_limit: ClassVar[timedelta] = timedelta(minutes=10)


class Forgotten(msgspec.Struct, frozen=True, kw_only=True):
    """How many answers were emptied so far, and the last key that was looked at."""

    count: int = 0
    after: Key | None = None


def forget(
    connection: Connection, _job: ForgetOldAnswers, forgotten: Forgotten, now: datetime
) -> tuple[Forgotten, bool]:
    """One step: KEYS_PER_CALL_MAX keys at most, in their order.

    They are walked through: an index by age would cost every keyed request what this costs once a day.
    """
    columns = idempotent_answers.c
    key = (columns.user_id, columns.operation, columns.key)
    window = select(*key, columns.created_at).order_by(*key).limit(KEYS_PER_CALL_MAX)
    if forgotten.after is not None:
        window = window.where(tuple_(*key) > tuple_(*msgspec.structs.astuple(forgotten.after)))
    seen = connection.execute(window).all()
    old = [tuple(row[:3]) for row in seen if row.created_at < now - ANSWERS_KEPT]
    emptied = connection.execute(
        update(idempotent_answers)
        .where(tuple_(*key).in_(old), func.coalesce(cast(columns.answer, Text), "") != FORGOTTEN)
        .values(answer=None)
    )
    last = Key(user_id=seen[-1][0], operation=seen[-1][1], key=seen[-1][2]) if seen else None
    return Forgotten(count=forgotten.count + emptied.rowcount, after=last), len(seen) == KEYS_PER_CALL_MAX


def _row_of(key: Key) -> tuple[Any, ...]:
    columns = idempotent_answers.c
    return columns.user_id == key.user_id, columns.operation == key.operation, columns.key == key.key
