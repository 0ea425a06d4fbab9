"""Redeeming a code: once, by somebody who may.  Every attempt is recorded."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Connection, select

from domain import ledger, webhooks
from domain.errors import (
    GiftAlreadyClaimed,
    GiftCodeNotFound,
    GiftExpired,
    GiftNotActive,
    GiftReservedForAnother,
    Refusal,
)
from domain.gifts.codes import TYPED_CHARACTERS_MAX, normal_address, normal_code
from domain.gifts.ending import expire
from domain.gifts.rows import end, gifts_where, read_gifts, receive_posting
from domain.gifts.types import Gift, GiftStatus, GiftType, RedemptionStatus
from domain.ids import new_id
from domain.ledger import Posted
from domain.tables import gift_codes, gift_redemptions
from domain.webhooks import GiftRedeemed


class Redeemer(msgspec.Struct, frozen=True, kw_only=True):
    """Who redeems.  `email` is vouched for: by a signed token, or by a service that knows the person."""

    user_id: str
    email: str
    app_id: str | None = None


class Redeemed(msgspec.Struct, frozen=True, kw_only=True):
    """A gift that was redeemed; `balance` is what the redeemer can spend now, in credits."""

    gift: Gift
    balance: Decimal


def redeem(connection: Connection, typed_code: str, redeemer: Redeemer, *, now: datetime) -> Redeemed:
    """Give a gift's credits to the redeemer, once.

    A gift whose `expires_at` is at or before `now` ends here, and its creator is paid back.
    Raises GiftCodeNotFound, GiftAlreadyClaimed, GiftNotActive, GiftExpired, GiftReservedForAnother; all but
    the first are recorded as a failed attempt, and move no credits of the redeemer's.
    """
    gift = lock_by_code(connection, typed_code)
    _refuse(connection, gift, redeemer, now=now)
    return Redeemed(gift=gift, balance=receive(connection, [gift], redeemer, now=now))


def lock_by_code(connection: Connection, typed_code: str) -> Gift:
    """The gift of a code, which nobody else changes until the transaction ends.  Raises GiftCodeNotFound."""
    if len(typed_code) > TYPED_CHARACTERS_MAX:
        raise GiftCodeNotFound
    query = gifts_where(gift_codes.c.code == normal_code(typed_code)).with_for_update()
    found = read_gifts(connection, query)
    if not found:
        raise GiftCodeNotFound
    return found[0]


def receive(connection: Connection, gifts: Sequence[Gift], redeemer: Redeemer, *, now: datetime) -> Decimal:
    """Give the credits of gifts (one at least), locked and active, to the redeemer; what they can spend then.

    Raises BalanceTooLarge.
    """
    end(connection, [gift.id for gift in gifts], GiftStatus.DEPLETED, now=now)
    postings = [receive_posting(gift, redeemer.user_id, now=now) for gift in gifts]
    balance = Decimal(0)
    for outcome in ledger.post(connection, postings, now=now):
        posted = ledger.accepted(outcome)
        if not isinstance(posted, Posted):
            raise RuntimeError("an active gift had been received before")
        balance = posted.balance
    rows = [
        _attempt(gift, redeemer, RedemptionStatus.SUCCESS, entry_id=posting.id, now=now)
        for gift, posting in zip(gifts, postings, strict=True)
    ]
    connection.execute(gift_redemptions.insert(), rows)
    webhooks.tell(connection, [_event(gift, redeemer) for gift in gifts], now=now)
    return balance


def _event(gift: Gift, redeemer: Redeemer) -> GiftRedeemed:
    return GiftRedeemed(
        user_id=redeemer.user_id,
        gift_id=gift.id,
        creator_id=gift.creator_id,
        credits=gift.total_credits,
        app_id=redeemer.app_id,
    )


def _attempt(
    gift: Gift,
    redeemer: Redeemer,
    status: RedemptionStatus,
    *,
    entry_id: UUID | None = None,
    now: datetime,
) -> dict[str, Any]:
    """The row of an attempt, successful (then with its entry) or not."""
    return {
        "id": new_id(now),
        "gift_code_id": gift.id,
        "redeemer_user_id": redeemer.user_id,
        "status": status.value,
        "credits_received": gift.total_credits if status is RedemptionStatus.SUCCESS else 0,
        "credit_transaction_id": entry_id,
        "source_app_id": redeemer.app_id,
        "created_at": now,
    }


def _refuse(connection: Connection, gift: Gift, redeemer: Redeemer, *, now: datetime) -> None:
    """Raise when the gift is not for the redeemer to have, and record the attempt."""
    if gift.status is GiftStatus.ACTIVE and gift.is_over(now):
        expire(connection, [gift], now=now)
    status, refusal = _why_not(connection, gift, redeemer, now=now)
    if refusal is not None:
        connection.execute(gift_redemptions.insert(), [_attempt(gift, redeemer, status, now=now)])
        raise refusal


def _why_not(
    connection: Connection, gift: Gift, redeemer: Redeemer, *, now: datetime
) -> tuple[RedemptionStatus, Refusal | None]:
    """What is to be recorded, and the refusal, None for a gift that is the redeemer's to have."""
    if gift.status is GiftStatus.EXPIRED:
        return RedemptionStatus.FAILED_EXPIRED, GiftNotActive(gift.status.value)
    if gift.status is not GiftStatus.ACTIVE:
        if _has_claimed(connection, gift, redeemer):
            return RedemptionStatus.FAILED_ALREADY_CLAIMED, GiftAlreadyClaimed()
        return RedemptionStatus.FAILED_DEPLETED, GiftNotActive(gift.status.value)
    if gift.is_over(now):
        return RedemptionStatus.FAILED_EXPIRED, GiftExpired()
    if not is_for(gift, redeemer.email):
        return RedemptionStatus.FAILED_WRONG_USER, GiftReservedForAnother()
    return RedemptionStatus.SUCCESS, None


def is_for(gift: Gift, email: str) -> bool:
    """Whether somebody with this address may redeem the gift.

    A personalized gift without an address (the old service allowed it) is for nobody, and nobody's empty
    address is anybody's: its creator cancels it, or it expires.
    """
    if gift.type is GiftType.SIMPLE:
        return True
    wanted = normal_address(gift.target_email or "")
    return wanted != "" and wanted == normal_address(email)


def _has_claimed(connection: Connection, gift: Gift, redeemer: Redeemer) -> bool:
    query = select(gift_redemptions.c.id).where(
        gift_redemptions.c.gift_code_id == gift.id,
        gift_redemptions.c.redeemer_user_id == redeemer.user_id,
        gift_redemptions.c.status == RedemptionStatus.SUCCESS.value,
    )
    return connection.execute(query.limit(1)).one_or_none() is not None
