"""Dramatiq's queues beside the rows, and dead letters: inspected, requeued, dropped."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final
from uuid import UUID

from aiohttp import web
from sqlalchemy import Connection

from domain.errors import DeadLetterNotFound
from domain.jobs import Queue
from domain.operators import Action, audit, health
from nudges.queues import DEAD_LETTERS_SHOWN_MAX, DeadLetter, Queues
from web.operators.asked import Asked
from web.operators.pages import Visit
from web.operators.redis import RedisDown, ask_redis
from web.operators.views.overview import queues_or_none

LETTERS_SHOWN: Final = 50
LETTERS_OFFSET_MAX: Final = DEAD_LETTERS_SHOWN_MAX - LETTERS_SHOWN
"""All before it are read from each queue.  They live for an hour, and those looked at can be dropped."""

HANDLED: Final[dict[str, tuple[Action, Callable[[Queues, str, str], DeadLetter], str]]] = {
    "requeue": (Action.REQUEUE_DEAD_LETTER, Queues.requeue, "requeued"),
    "drop": (Action.DROP_DEAD_LETTER, Queues.drop, "dropped"),
}


async def queues(visit: Visit) -> web.StreamResponse:
    """GET /ops/queues."""
    kinds = await visit.read(lambda connection, now: health.kinds_of_jobs(connection, now=now))
    seen = await queues_or_none(visit.request)
    offset = min(visit.asked.offset(), LETTERS_OFFSET_MAX)
    letters = None
    if seen is not None:
        letters = await _letters(visit, [queue.name for queue in seen if queue.dead], offset)
    rows = {
        queue.value: {
            name: sum(getattr(kind, name) for kind in kinds if kind.queue == queue.value)
            for name in ("waiting", "running", "failed")
        }
        for queue in Queue
    }
    return visit.show("queues.html", queues=seen, letters=letters, rows=rows, size=LETTERS_SHOWN)


async def letter(visit: Visit) -> web.StreamResponse:
    """GET /ops/queues/letter: what is to be done to it is confirmed here."""
    name, message_id = _which(visit.asked)
    visit.signed_in.check_may_act()
    try:
        shown = await ask_redis(visit.request, lambda queues: queues.dead_letter(name, message_id))
    except RedisDown:
        return visit.go("/ops/queues", "Redis does not answer; nothing was done")
    except DeadLetterNotFound:
        return visit.go("/ops/queues", "This dead letter is not there any more")
    handled = visit.asked.text("do")
    return visit.show("letter.html", letter=shown, do="drop" if handled == "drop" else "requeue")


async def handle_letter(visit: Visit) -> web.StreamResponse:
    """POST /ops/queues/letter: audit that it begins, do it in Redis, audit how it ended."""
    name, message_id = _which(visit.form)
    action, handle, words = HANDLED["drop" if visit.form.text("do") == "drop" else "requeue"]
    by = visit.signed_in.operator
    reason = audit.check_may_act(by, visit.form.text("reason") or "")

    def begin(connection: Connection, now: datetime) -> UUID:
        return audit.record(
            connection,
            by=by,
            action=action,
            reason=reason,
            outcome="begun",
            subject=f"{name}/{message_id}"[:255],
            now=now,
        )

    audit_id = await visit.read(begin)
    ended = "failed: Redis did not answer"
    try:
        done = await ask_redis(visit.request, lambda queues: handle(queues, name, message_id))
        ended = f"{words}, job {done.job_id}"
    except DeadLetterNotFound:
        ended = "not there any more"
    except RedisDown:
        pass
    await visit.read(lambda connection, _now: audit.conclude(connection, audit_id, ended))
    return visit.go("/ops/queues", f"Dead letter: {ended}")


async def _letters(visit: Visit, names: list[str], offset: int) -> list[DeadLetter]:
    """A page of the dead letters of all queues, the newest first."""
    last = offset + LETTERS_SHOWN

    def ask(queues: Queues) -> list[DeadLetter]:
        found = [one for name in names for one in queues.dead_letters(name, limit=last)]
        return sorted(found, key=lambda one: one.dead_at, reverse=True)[offset:last]

    try:
        return await ask_redis(visit.request, ask)
    except RedisDown:
        return []


def _which(asked: Asked) -> tuple[str, str]:
    queue = asked.choice("queue", Queue)
    return asked.needed("queue") if queue is None else queue.value, asked.needed("message")
