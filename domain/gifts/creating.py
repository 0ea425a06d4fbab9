"""Creating a gift: the creator pays for it now."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Final

import msgspec
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from domain import ledger
from domain.errors import BalanceNotFound, InsufficientCredits, InsufficientForGift
from domain.gifts.codes import new_code, normal_address, public_name
from domain.gifts.rows import APP_ID
from domain.gifts.types import Gift, GiftStatus, GiftType
from domain.ids import new_id
from domain.ledger import CountsAs, EntryType, Posting
from domain.tables import gift_codes

TOTAL_CREDITS_MAX: Final = 10_000
"""The largest gift, in credits (contract, section 3)."""

COLLISIONS_MAX: Final = 8
"""New codes tried when one is taken: with 50 bits even a second is a sign of a broken random source."""


class WantedGift(msgspec.Struct, frozen=True, kw_only=True):
    """A gift to be: `total_credits` whole credits until `expires_at`, for `target_email` when personalized.

    `creator_name` may be an address: what is kept and shown is the part before `@`.  `app_id` is the app
    where it is made.
    """

    creator_id: str
    creator_name: str | None
    total_credits: int
    type: GiftType
    target_email: str | None
    message: str | None
    expires_at: datetime
    app_id: str | None = None


def create(connection: Connection, wanted: WantedGift, *, base_url: str, now: datetime) -> Gift:
    """Take the credits from the creator and make the code.  `base_url` begins the link to its page.

    Raises InsufficientForGift, also for a creator without a balance.
    """
    gift_id = new_id(now)
    posting = Posting(
        id=new_id(now),
        user_id=wanted.creator_id,
        type=EntryType.GIFT,
        amount=Decimal(-wanted.total_credits),
        counts_as=CountsAs.SPENT,
        app_id=APP_ID,
        description="Gift created",
        metadata={
            "giftId": str(gift_id),
            **({} if wanted.app_id is None else {"sourceAppId": wanted.app_id}),
        },
        posting_key=f"gift-made:{gift_id}",
    )
    gift = _insert(
        connection,
        Gift(
            id=gift_id,
            code="",
            short_url=None,
            creator_id=wanted.creator_id,
            creator_name=public_name(wanted.creator_name),
            total_credits=wanted.total_credits,
            redeemed=0,
            type=wanted.type,
            status=GiftStatus.ACTIVE,
            target_email=wanted.target_email,
            message=wanted.message,
            expires_at=wanted.expires_at,
            reservation_transaction_id=posting.id,
            created_at=now,
            updated_at=now,
        ),
        base_url,
    )
    [outcome] = ledger.post(connection, [posting], now=now)
    try:
        ledger.accepted(outcome)
    except (InsufficientCredits, BalanceNotFound) as refusal:
        raise InsufficientForGift from refusal
    return gift


def _insert(connection: Connection, gift: Gift, base_url: str) -> Gift:
    address = None if gift.target_email is None else normal_address(gift.target_email)
    for _ in range(COLLISIONS_MAX):
        code = new_code()
        coded = msgspec.structs.replace(gift, code=code, short_url=f"{base_url}/g/{code}")
        taken = connection.execute(
            insert(gift_codes)
            .values(**msgspec.structs.asdict(coded), target_address=address)
            .on_conflict_do_nothing(index_elements=[gift_codes.c.code])
            .returning(gift_codes.c.id)
        ).one_or_none()
        if taken is not None:
            return coded
    raise RuntimeError(f"{COLLISIONS_MAX} new gift codes in a row were taken")
