"""Cloud Sync as a gift of ours: given, taken back and looked at by administrators."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from domain.errors import SyncNotFound, SyncNotGifted
from domain.sync_billing import gifting, subscriptions
from web.answers import timestamp_or_null
from web.bodies import path_text
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


@routes.add("POST", "/{userId}/gift", answer=GiftedSyncAnswer)
async def gift(call: Call) -> GiftedSyncAnswer:
    """Give sync for nothing until it is revoked.  Repeatable; a paid period is kept for the revoke."""
    user_id = path_text(call.request, "userId")
    admin_id = call.caller.user_id
    await call.services.bridge.run(
        lambda connection, now: gifting.gift(connection, user_id, by=admin_id, now=now)
    )
    return GiftedSyncAnswer(success=True, user_id=user_id, gifted=True, active=True, next_charge_at=None)


@routes.add("DELETE", "/{userId}/gift", answer=GiftedSyncAnswer, refusals=(SyncNotFound, SyncNotGifted))
async def revoke(call: Call) -> GiftedSyncAnswer:
    """Take the gift back.  What was left of a paid period goes on: then sync stays active until it ends."""
    user_id = path_text(call.request, "userId")

    def work(connection: Connection, now: datetime) -> subscriptions.Status:
        return gifting.revoke(connection, user_id, now=now)

    left = await call.services.bridge.run(work)
    return GiftedSyncAnswer(
        success=True,
        user_id=user_id,
        gifted=False,
        active=left.active,
        next_charge_at=timestamp_or_null(left.next_charge_at),
    )
