"""Rows of gifts: read, locked, and changed with the posting that goes with it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, Connection, RowMapping, Select, literal_column, or_, select, update

from domain.gifts.codes import normal_address, public_name
from domain.gifts.types import Gift, GiftStatus, GiftType
from domain.ids import new_id
from domain.ledger import CountsAs, EntryType, Posting
from domain.tables import gift_codes

APP_ID: Final = "gifts"

GIFT_COLUMNS: Final = tuple(gift_codes.c[name] for name in Gift.__struct_fields__)

IS_ACTIVE: Final[ColumnElement[bool]] = gift_codes.c.status == literal_column("'active'")
"""Written out, not a parameter: the indexes hold active gifts alone, and a prepared plan has to know."""


def gifts_where(*conditions: ColumnElement[bool]) -> Select[Any]:
    """A query of gifts."""
    return select(*GIFT_COLUMNS).where(*conditions)


def gifts_waiting_for(email: str, *, now: datetime) -> Select[Any]:
    """A query of the active gifts for one address that are not over; none wait for the empty address."""
    return gifts_where(
        gift_codes.c.target_address == normal_address(email),
        gift_codes.c.target_address != "",
        gift_codes.c.type == GiftType.PERSONALIZED.value,
        or_(gift_codes.c.expires_at.is_(None), gift_codes.c.expires_at > now),
        IS_ACTIVE,
    )


def read_gifts(connection: Connection, query: Select[Any]) -> list[Gift]:
    """The gifts that a query finds."""
    return [msgspec.convert(shown(row), Gift) for row in connection.execute(query).mappings()]


def shown(row: RowMapping) -> dict[str, Any]:
    """The row as a dictionary, its `creator_name` no address: the old service wrote the creator's there."""
    plain = {str(name): value for name, value in row.items()}
    return {**plain, "creator_name": public_name(plain["creator_name"])}


def end(connection: Connection, ids: Sequence[UUID], status: GiftStatus, *, now: datetime) -> None:
    """Mark gifts that are locked and active as ended."""
    redeemed = 1 if status is GiftStatus.DEPLETED else 0
    connection.execute(
        update(gift_codes)
        .where(gift_codes.c.id.in_(ids))
        .values(status=status.value, redeemed=redeemed, updated_at=now)
    )


def pay_back_posting(gift: Gift, *, why: str, now: datetime) -> Posting:
    """The creator's credits come back: what was spent is returned, nothing is earned."""
    return Posting(
        id=new_id(now),
        user_id=gift.creator_id,
        type=EntryType.REFUND,
        amount=Decimal(gift.total_credits),
        counts_as=CountsAs.RETURNED,
        app_id=APP_ID,
        description=f"Gift {why}",
        metadata={"giftId": str(gift.id)},
        posting_key=f"gift-back:{gift.id}",
        creates_balance=True,
    )


def receive_posting(gift: Gift, user_id: str, *, now: datetime) -> Posting:
    """The redeemer gets the credits."""
    return Posting(
        id=new_id(now),
        user_id=user_id,
        type=EntryType.GIFT,
        amount=Decimal(gift.total_credits),
        counts_as=CountsAs.EARNED,
        app_id=APP_ID,
        description="Gift received",
        metadata={"giftId": str(gift.id)},
        posting_key=f"gift:{gift.id}",
        creates_balance=True,
    )
