"""Cloud Sync, as its user drives it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from domain.errors import (
    AnswerForgotten,
    BalanceNotFound,
    IdempotencyKeyReused,
    InsufficientCredits,
    SyncAlreadyActive,
    SyncAlreadyGifted,
    SyncIsGifted,
    SyncNotActive,
    SyncNotFound,
)
from domain.idempotency import Answer
from domain.sync_billing import subscriptions
from domain.sync_billing.calendar import Interval
from web.once import once
from web.routing import Access, Call, Routes
from web.sync_shapes import (
    ActivateBody,
    ActivatedAnswer,
    AutoResumeAnswer,
    AutoResumeBody,
    ChangeIntervalBody,
    DeactivatedAnswer,
    IntervalChangedAnswer,
    SyncStatusAnswer,
)

routes = Routes("/api/v1/sync", Access.USER, "Sync")


@routes.add("GET", "/status", answer=SyncStatusAnswer)
async def status(call: Call) -> SyncStatusAnswer:
    """How the caller's sync stands."""
    user_id = call.caller.user_id
    return SyncStatusAnswer.of(
        await call.services.bridge.run(lambda connection, _now: subscriptions.status(connection, user_id))
    )


@routes.add(
    "POST",
    "/activate",
    body=ActivateBody,
    answer=ActivatedAnswer,
    refusals=(
        SyncAlreadyActive,
        SyncAlreadyGifted,
        InsufficientCredits,
        BalanceNotFound,
        AnswerForgotten,
        IdempotencyKeyReused,
    ),
)
async def activate(call: Call) -> Answer:
    """Begin a subscription and pay its first period now: 30 credits a month, 90 a quarter, 360 a year."""
    body: ActivateBody = call.body
    caller = call.caller

    def work(connection: Connection, now: datetime) -> ActivatedAnswer:
        activated = subscriptions.activate(
            connection,
            caller.user_id,
            interval=body.interval or Interval.MONTHLY,
            auto_resume=bool(body.auto_resume),
            contact_email=caller.email or None,
            now=now,
        )
        return ActivatedAnswer.of(activated)

    return await once(call, "sync-activate", body.idempotency_key, lambda _connection: caller.user_id, work)


@routes.add("POST", "/deactivate", answer=DeactivatedAnswer, refusals=(SyncNotActive, SyncIsGifted))
async def deactivate(call: Call) -> DeactivatedAnswer:
    """End the subscription now.  Nothing is paid back, nothing is charged any more."""
    user_id = call.caller.user_id
    await call.services.bridge.run(
        lambda connection, now: subscriptions.deactivate(connection, user_id, now=now)
    )
    return DeactivatedAnswer(success=True)


@routes.add(
    "POST",
    "/change-interval",
    body=ChangeIntervalBody,
    answer=IntervalChangedAnswer,
    refusals=(SyncNotActive,),
)
async def change_interval(call: Call) -> IntervalChangedAnswer:
    """Pay in another interval from the next renewal on.  Free now."""
    user_id, interval = call.caller.user_id, call.body.interval
    return IntervalChangedAnswer.of(
        await call.services.bridge.run(
            lambda connection, now: subscriptions.change_interval(connection, user_id, interval, now=now)
        )
    )


@routes.add("POST", "/auto-resume", body=AutoResumeBody, answer=AutoResumeAnswer, refusals=(SyncNotFound,))
async def auto_resume(call: Call) -> AutoResumeAnswer:
    """Ask for sync to resume by itself after a pause, or ask for it no longer: also while it is paused."""
    user_id, wanted = call.caller.user_id, call.body.auto_resume
    await call.services.bridge.run(
        lambda connection, now: subscriptions.set_auto_resume(connection, user_id, wanted, now=now)
    )
    return AutoResumeAnswer(success=True, auto_resume=wanted)
