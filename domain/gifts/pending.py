"""Personalized gifts that wait for an address, redeemed when its person registers."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar, Final

import msgspec
from sqlalchemy import Connection

from domain.gifts.redeeming import Redeemer, receive
from domain.gifts.rows import gifts_waiting_for, read_gifts
from domain.jobs.kind import Job, Queue
from domain.tables import gift_codes

REDEEMED_PER_CALL_MAX: Final = 500
"""How many gifts one transaction redeems; more take further ones."""


class RedeemPendingGifts(Job, frozen=True, kw_only=True):
    """Redeem all active personalized gifts for `email`, which the caller vouches for."""

    kind: ClassVar[str] = "redeem_pending_gifts"
    queue: ClassVar[Queue] = Queue.MONEY
    horizon: ClassVar[timedelta] = timedelta(days=1)

    user_id: str
    email: str


class RedeemedPending(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How many gifts were redeemed so far, and their credits."""

    redeemed: int = 0
    total_credits: int = 0


def redeem_pending(
    connection: Connection, job: RedeemPendingGifts, done: RedeemedPending, now: datetime
) -> tuple[RedeemedPending, bool]:
    """One step: REDEEMED_PER_CALL_MAX at most, the oldest first.

    One that is over is left to ExpireGifts; one that somebody redeems or cancels at this moment, to them:
    it is not active any more when its row can be locked.
    """
    query = gifts_waiting_for(job.email, now=now).order_by(gift_codes.c.id).limit(REDEEMED_PER_CALL_MAX)
    waiting = read_gifts(connection, query.with_for_update())
    if waiting:
        receive(connection, waiting, Redeemer(user_id=job.user_id, email=job.email), now=now)
    total = RedeemedPending(
        redeemed=done.redeemed + len(waiting),
        total_credits=done.total_credits + sum(gift.total_credits for gift in waiting),
    )
    return total, len(waiting) == REDEEMED_PER_CALL_MAX
