"""Using, refunding and granting credits: what each writes into the ledger."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import ClassVar

import msgspec
from sqlalchemy import Connection

from domain import ledger
from domain.errors import IdempotencyKeyReused
from domain.ids import new_id
from domain.jobs.kind import Job, Queue
from domain.ledger import CountsAs, Entry, EntryType, Metadata, Posted, Posting, Replayed


def usage_posting(
    *,
    user_id: str,
    amount: Decimal,
    app_id: str,
    description: str,
    metadata: Metadata | None,
    idempotency_key: str | None,
    now: datetime,
) -> Posting:
    """The posting of a use: `amount` credits, above zero, are spent by the app for the person."""
    return Posting(
        id=new_id(now),
        user_id=user_id,
        type=EntryType.USAGE,
        amount=-amount,
        counts_as=CountsAs.SPENT,
        app_id=app_id,
        description=description,
        metadata=metadata,
        idempotency_key=idempotency_key,
        posting_key=None if idempotency_key is None else f"use:{idempotency_key}",
    )


def unless_reused(outcome: Posted | Replayed) -> Posted | Replayed:
    """The outcome, unless its key had been used with another request: then raises IdempotencyKeyReused."""
    if isinstance(outcome, Replayed) and not outcome.matches:
        raise IdempotencyKeyReused
    return outcome


class Refund(msgspec.Struct, frozen=True, kw_only=True):
    """Credits given back for an operation that failed."""

    user_id: str
    amount: Decimal
    description: str
    app_id: str = "system"
    metadata: Metadata | None = None
    idempotency_key: str | None = None


class RefundCredits(Job, frozen=True, kw_only=True):
    """The job of an internal refund.  Its result is the entry."""

    kind: ClassVar[str] = "refund_credits"
    queue: ClassVar[Queue] = Queue.MONEY
    horizon: ClassVar[timedelta] = timedelta(days=1)

    refund: Refund


def refund(connection: Connection, wanted: Refund, *, now: datetime) -> Entry:
    """Give credits back; total_spent falls, total_earned stays.  The entry, also for a repeat of its key.

    Raises BalanceNotFound, BalanceTooLarge, IdempotencyKeyReused.
    """
    key = wanted.idempotency_key
    posting = Posting(
        id=new_id(now),
        user_id=wanted.user_id,
        type=EntryType.REFUND,
        amount=wanted.amount,
        counts_as=CountsAs.RETURNED,
        app_id=wanted.app_id,
        description=wanted.description,
        metadata=wanted.metadata,
        idempotency_key=key,
        posting_key=None if key is None else f"refund:{key}",
    )
    [outcome] = ledger.post(connection, [posting], now=now)
    return _entry(unless_reused(ledger.accepted(outcome)))


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """Credits given as a reward, once for a person and a `reference_id`."""

    user_id: str
    amount: Decimal
    reason: str
    reference_id: str
    description: str | None = None


class Granted(msgspec.Struct, frozen=True):
    """A grant that was made, now or (`already`) before."""

    entry: Entry
    already: bool


def grant(connection: Connection, wanted: Grant, *, now: datetime) -> Granted:
    """Give a reward.  The balance comes into being when there is none.  Raises BalanceTooLarge.

    A repeat of the reference is the first grant again, whatever else it says: callers reward an event, and
    have always been answered so.
    """
    posting = Posting(
        id=new_id(now),
        user_id=wanted.user_id,
        type=EntryType.GRANT,
        amount=wanted.amount,
        counts_as=CountsAs.EARNED,
        app_id="community",
        description=wanted.description or f"Reward: {wanted.reason}",
        metadata={"reason": wanted.reason, "referenceId": wanted.reference_id},
        posting_key=f"grant:{wanted.reference_id}",
        creates_balance=True,
    )
    [outcome] = ledger.post(connection, [posting], now=now)
    return Granted(_entry(ledger.accepted(outcome)), already=isinstance(outcome, Replayed))


def _entry(outcome: Posted | Replayed) -> Entry:
    if outcome.entry is None:
        raise RuntimeError("a posting with an amount made no entry")
    return outcome.entry
