"""Cloud Sync, as other services ask about it, and the run that charges everybody who is due."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from aiohttp import web
from sqlalchemy import Connection

from domain import jobs
from domain.sync_billing import subscriptions
from domain.sync_billing.runs import ChargeRecurring
from web.answers import PendingAnswer
from web.bodies import idempotency_key, path_text
from web.job_waiting import answer_job
from web.routing import Access, Call, Routes
from web.sync_shapes import ChargeRecurringAnswer, SyncStatusAnswer

routes = Routes("/api/v1/internal/sync", Access.SERVICE, "Internal")


@routes.add("GET", "/status/{userId}", answer=SyncStatusAnswer)
async def status(call: Call) -> SyncStatusAnswer:
    """How a person's sync stands: what the gate asks before it lets data through."""
    user_id = path_text(call.request, "userId")
    return SyncStatusAnswer.of(
        await call.services.bridge.run(lambda connection, _now: subscriptions.status(connection, user_id))
    )


@routes.add("POST", "/charge-recurring", answer=ChargeRecurringAnswer, further={202: PendingAnswer})
async def charge_recurring(call: Call) -> web.Response:
    """Charge or pause everybody whose date has come: a job, whose end is waited for (`Prefer: wait=N`).

    The scheduler does it every hour.  Runs at the same time share the work; no period is charged twice.
    """
    key = idempotency_key(call.request, None)
    unique_key = None if key is None else f"{ChargeRecurring.kind}:{key}"

    def add(connection: Connection, now: datetime) -> UUID:
        return jobs.add_job(connection, ChargeRecurring(), now=now, unique_key=unique_key)

    return await answer_job(call, add)
