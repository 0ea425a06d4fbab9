"""Cloud Sync as a gift of ours: given, taken back and looked at by administrators, who are audited."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from domain.errors import SyncNotFound, SyncNotGifted
from domain.operators.acting import Command, Done, perform
from domain.operators.commands import GiftSync, RevokeSync
from domain.sync_billing import subscriptions
from web.answers import timestamp_or_null
from web.bodies import path_text
from web.operators.actions import WHY, operator_of, stated_reason
from web.routing import Access, Call, Routes
from web.sync_shapes import GiftedSyncAnswer, SyncStatusAnswer

routes = Routes("/api/v1/admin/sync", Access.ADMIN, "Admin")


@routes.add("GET", "/{userId}", answer=SyncStatusAnswer)
async def status(call: Call) -> SyncStatusAnswer:
    """How a person's sync stands."""
    user_id = path_text(call.request, "userId")
    return SyncStatusAnswer.of(
        await call.services.bridge.run(lambda connection, _now: subscriptions.status(connection, user_id))
    )


@routes.add("POST", "/{userId}/gift", answer=GiftedSyncAnswer, queries=WHY)
async def gift(call: Call) -> GiftedSyncAnswer:
    """Give sync for nothing until it is revoked.  Repeatable; a paid period is kept for the revoke."""
    user_id = path_text(call.request, "userId")
    await _perform(call, GiftSync(user_id=user_id))
    return GiftedSyncAnswer(success=True, user_id=user_id, gifted=True, active=True, next_charge_at=None)


@routes.add(
    "DELETE",
    "/{userId}/gift",
    answer=GiftedSyncAnswer,
    refusals=(SyncNotFound, SyncNotGifted),
    queries=WHY,
)
async def revoke(call: Call) -> GiftedSyncAnswer:
    """Take the gift back.  What was left of a paid period goes on: then sync stays active until it ends."""
    user_id = path_text(call.request, "userId")
    left = (await _perform(call, RevokeSync(user_id=user_id))).facts
    return GiftedSyncAnswer(
        success=True,
        user_id=user_id,
        gifted=False,
        active=left["active"],
        next_charge_at=timestamp_or_null(left["nextChargeAt"]),
    )


async def _perform(call: Call, command: Command) -> Done:
    by, reason = operator_of(call), stated_reason(call)

    def work(connection: Connection, now: datetime) -> Done:
        return perform(connection, command, by=by, reason=reason, now=now)

    return await call.services.bridge.run(work)
