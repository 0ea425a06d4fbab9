"""Gifts that end without being redeemed: the creator is paid back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import ClassVar, Final
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import Connection, tuple_

from domain import ledger
from domain.errors import GiftNotFound, GiftNotOpen
from domain.gifts.rows import IS_ACTIVE, end, gifts_where, pay_back_posting, read_gifts
from domain.gifts.types import Gift, GiftStatus
from domain.jobs.kind import Job, Queue
from domain.ledger import TooLarge
from domain.tables import gift_codes

EXPIRED_PER_CALL_MAX: Final = 500
"""How many gifts one transaction ends: few enough to hold their creators' locks briefly."""

log = structlog.get_logger(__name__)


class ExpireGifts(Job, frozen=True, kw_only=True):
    """End the gifts whose time is over."""

    kind: ClassVar[str] = "expire_gifts"
    queue: ClassVar[Queue] = Queue.UPKEEP
    time_limit: ClassVar[timedelta] = timedelta(minutes=10)


class ExpiredGifts(msgspec.Struct, frozen=True, kw_only=True):
    """How many gifts ended so far, how many could not be paid back, and the last one that was looked at."""

    count: int = 0
    passed_over: int = 0
    after: tuple[datetime, UUID] | None = None


def cancel(connection: Connection, gift_id: UUID, creator_id: str, *, now: datetime) -> Gift:
    """End a gift of the person's own; the credits come back.  The gift as it was.

    Raises GiftNotFound (someone else's too), GiftNotOpen.
    """
    query = gifts_where(gift_codes.c.id == gift_id, gift_codes.c.creator_id == creator_id)
    found = read_gifts(connection, query.with_for_update())
    if not found:
        raise GiftNotFound
    [gift] = found
    if gift.status is not GiftStatus.ACTIVE:
        raise GiftNotOpen
    end(connection, [gift.id], GiftStatus.CANCELLED, now=now)
    [outcome] = ledger.post(
        connection, [pay_back_posting(gift, why=GiftStatus.CANCELLED.value, now=now)], now=now
    )
    ledger.accepted(outcome)
    return gift


def expire(connection: Connection, gifts: Sequence[Gift], *, now: datetime) -> int:
    """End gifts, locked and active, whose time is over, and pay their creators back; how many ended.

    One whose creator's balance is too large for its credits stays as it is: it keeps no other from ending.
    The books tell of it for as long as it stays (`mana_gifts_overdue`), and the log each time it is tried.
    """
    postings = [pay_back_posting(gift, why=GiftStatus.EXPIRED.value, now=now) for gift in gifts]
    outcomes = ledger.post(connection, postings, now=now)
    ended = [
        gift.id for gift, outcome in zip(gifts, outcomes, strict=True) if not isinstance(outcome, TooLarge)
    ]
    for outcome in outcomes:
        if not isinstance(outcome, TooLarge):
            ledger.accepted(outcome)
    end(connection, ended, GiftStatus.EXPIRED, now=now)
    if len(ended) < len(gifts):
        log.error("gifts_not_paid_back", count=len(gifts) - len(ended), reason="balance too large")
    return len(ended)


def expire_due(
    connection: Connection, _job: ExpireGifts, expired: ExpiredGifts, now: datetime
) -> tuple[ExpiredGifts, bool]:
    """One step: look at active gifts whose time is over, EXPIRED_PER_CALL_MAX at most, and end them.

    One that somebody redeems or cancels at this moment is left to them.  One whose creator cannot be paid back is
    passed over, however many such there are, and tried again by the next job.
    """
    by_age = (gift_codes.c.expires_at, gift_codes.c.id)
    query = gifts_where(IS_ACTIVE, gift_codes.c.expires_at <= now).order_by(*by_age)
    if expired.after is not None:
        query = query.where(tuple_(*by_age) > tuple_(*expired.after))
    query = query.limit(EXPIRED_PER_CALL_MAX)
    due = read_gifts(connection, query.with_for_update(skip_locked=True))
    count = expire(connection, due, now=now)
    last = None if not due or due[-1].expires_at is None else (due[-1].expires_at, due[-1].id)
    progress = ExpiredGifts(
        count=expired.count + count, passed_over=expired.passed_over + len(due) - count, after=last
    )
    return progress, len(due) == EXPIRED_PER_CALL_MAX
