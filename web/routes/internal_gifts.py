"""Gifts, as the service calls that registers people."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from aiohttp import web
from sqlalchemy import Connection

from domain import gifts, idempotency, jobs
from domain.errors import AnswerForgotten, BalanceTooLarge, IdempotencyKeyReused
from domain.idempotency import Key
from web.answers import PendingAnswer
from web.bodies import idempotency_key
from web.gift_shapes import RedeemedPendingAnswer, RedeemPendingBody
from web.job_waiting import answer_job
from web.routing import Access, Call, Routes

routes = Routes("/api/v1/internal/gifts", Access.SERVICE, "Internal")


@routes.add(
    "POST",
    "/redeem-pending",
    body=RedeemPendingBody,
    answer=RedeemedPendingAnswer,
    refusals=(BalanceTooLarge, AnswerForgotten, IdempotencyKeyReused),
    further={202: PendingAnswer},
)
async def redeem_pending(call: Call) -> web.Response:
    """Give a person all that waits for their address: a job, whose end is waited for (`Prefer: wait=N`)."""
    body: RedeemPendingBody = call.body
    job = gifts.RedeemPendingGifts(user_id=body.user_id, email=body.email)
    key_text = idempotency_key(call.request, body.idempotency_key)

    def add(connection: Connection, now: datetime) -> UUID:
        key = None
        if key_text is not None:
            key = Key(user_id=body.user_id, operation="redeem-pending", key=key_text)

        def add_job() -> dict[str, str]:
            return {"jobId": str(jobs.add_job(connection, job, now=now, user_id=body.user_id))}

        # A repeat waits for the job of the first request.
        return UUID(idempotency.once(connection, key, {"email": body.email}, add_job, now=now)["jobId"])

    return await answer_job(call, add)
