"""Idempotency keys of the routes that are no plain postings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal

import msgspec
from sqlalchemy import Connection

from domain import idempotency
from domain.idempotency import Answer, Key
from web.bodies import idempotency_key
from web.routing import Call


async def once(
    call: Call,
    operation: str,
    key_in_body: str | None,
    person: Callable[[Connection], str],
    work: Callable[[Connection, datetime], msgspec.Struct],
    *,
    path: Mapping[str, str] | None = None,
) -> Answer:
    """Do `work` in a transaction, once for the caller's key: a repeat of the request gets the first answer.

    `person` tells whose key it is; `path` holds the parts of the path that make it another request.
    Raises what `work` raises, and IdempotencyKeyReused.
    """
    key = idempotency_key(call.request, key_in_body)
    request = None if key is None else {**_without_key(call.body), **(path or {})}

    def run(connection: Connection, now: datetime) -> Answer:
        scoped = None
        if key is not None:
            scoped = Key(user_id=person(connection), operation=operation, key=key)
        return idempotency.once(connection, scoped, request, lambda: _as_json(work(connection, now)), now=now)

    return await call.services.bridge.run(run)


def _as_json(answer: msgspec.Struct) -> Answer:
    plain: Answer = msgspec.to_builtins(answer, builtin_types=(Decimal,))
    return plain


def _without_key(body: msgspec.Struct | None) -> dict[str, object]:
    plain = {} if body is None else msgspec.to_builtins(body, builtin_types=(Decimal,), enc_hook=str)
    return {name: value for name, value in plain.items() if name != "idempotencyKey"}
