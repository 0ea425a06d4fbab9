"""A key makes a request take effect once: the first answer is kept and given again.

The ledger does this itself for uses, refunds and grants (posting keys); this is for everything else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, delete, select, update
from sqlalchemy.dialects.postgresql import insert

from domain.errors import IdempotencyKeyReused, Refusal
from domain.tables import idempotent_answers

Answer = dict[str, Any]
"""A JSON object, as it is sent: numbers are exact."""

_encoder: Final = msgspec.json.Encoder(decimal_format="number", order="sorted")


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
    Raises IdempotencyKeyReused when the key came with another request; what `work` raises leaves it free.
    """
    if key is None:
        return work()
    digest = hashlib.sha256(_encoder.encode(request)).hexdigest()
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
    answer: Answer = row.answer
    return answer


def _row_of(key: Key) -> tuple[Any, ...]:
    columns = idempotent_answers.c
    return columns.user_id == key.user_id, columns.operation == key.operation, columns.key == key.key
