"""Looking gifts up, and listing them."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec
from sqlalchemy import Connection, select

from domain.errors import GiftCodeNotFound
from domain.gifts.codes import TYPED_CHARACTERS_MAX, normal_code
from domain.gifts.rows import gifts_waiting_for, gifts_where, read_gifts, shown
from domain.gifts.types import Gift, GiftStatus, ReceivedGift, RedemptionStatus
from domain.tables import gift_codes, gift_redemptions

GIFTS_PER_PAGE_MAX: Final = 500
"""The longest list of gifts."""


def look_up(connection: Connection, typed_code: str, *, now: datetime) -> Gift:
    """The gift of a code.  One whose time is over is `expired` here, whether it was ended already or not.

    Raises GiftCodeNotFound.
    """
    if len(typed_code) > TYPED_CHARACTERS_MAX:
        raise GiftCodeNotFound
    found = read_gifts(connection, gifts_where(gift_codes.c.code == normal_code(typed_code)))
    if not found:
        raise GiftCodeNotFound
    return _as_of(found[0], now)


def created_by(connection: Connection, user_id: str, *, limit: int, offset: int, now: datetime) -> list[Gift]:
    """The gifts that a person made, newest first; those whose time is over are `expired`, as in `look_up`."""
    query = (
        gifts_where(gift_codes.c.creator_id == user_id)
        .order_by(gift_codes.c.created_at.desc(), gift_codes.c.id.desc())
        .limit(min(limit, GIFTS_PER_PAGE_MAX))
        .offset(offset)
    )
    return [_as_of(gift, now) for gift in read_gifts(connection, query)]


def pending_for(connection: Connection, email: str, *, now: datetime) -> list[Gift]:
    """The active personalized gifts that wait for an address, newest first; GIFTS_PER_PAGE_MAX at most."""
    query = (
        gifts_waiting_for(email, now=now)
        .order_by(gift_codes.c.created_at.desc(), gift_codes.c.id.desc())
        .limit(GIFTS_PER_PAGE_MAX)
    )
    return read_gifts(connection, query)


def _as_of(gift: Gift, now: datetime) -> Gift:
    if gift.status is GiftStatus.ACTIVE and gift.is_over(now):
        return msgspec.structs.replace(gift, status=GiftStatus.EXPIRED)
    return gift


def received_by(connection: Connection, user_id: str, *, limit: int, offset: int) -> list[ReceivedGift]:
    """The gifts that a person received, newest first."""
    query = (
        select(
            gift_redemptions.c.id,
            gift_redemptions.c.gift_code_id,
            gift_redemptions.c.redeemer_user_id,
            gift_redemptions.c.status,
            gift_redemptions.c.credits_received,
            gift_redemptions.c.credit_transaction_id,
            gift_redemptions.c.source_app_id,
            gift_redemptions.c.created_at,
            gift_codes.c.code,
            gift_codes.c.message,
            gift_codes.c.creator_name,
        )
        .join(gift_codes, gift_codes.c.id == gift_redemptions.c.gift_code_id)
        .where(
            gift_redemptions.c.redeemer_user_id == user_id,
            gift_redemptions.c.status == RedemptionStatus.SUCCESS.value,
        )
        .order_by(gift_redemptions.c.created_at.desc(), gift_redemptions.c.id.desc())
        .limit(min(limit, GIFTS_PER_PAGE_MAX))
        .offset(offset)
    )
    return [msgspec.convert(shown(row), ReceivedGift) for row in connection.execute(query).mappings()]
