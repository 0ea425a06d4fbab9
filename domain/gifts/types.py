"""What a gift is."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec


class GiftType(StrEnum):
    """`personalized` is for one address alone."""

    SIMPLE = "simple"
    PERSONALIZED = "personalized"


class GiftStatus(StrEnum):
    """Only an active gift can be redeemed, cancelled, or expire."""

    ACTIVE = "active"
    DEPLETED = "depleted"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    REFUNDED = "refunded"


class RedemptionStatus(StrEnum):
    """What came of an attempt to redeem."""

    SUCCESS = "success"
    FAILED_WRONG_USER = "failed_wrong_user"
    FAILED_DEPLETED = "failed_depleted"
    FAILED_EXPIRED = "failed_expired"
    FAILED_ALREADY_CLAIMED = "failed_already_claimed"


class Gift(msgspec.Struct, frozen=True, kw_only=True):
    """A gift of `total_credits` whole credits; `redeemed` is 0 or 1."""

    id: UUID
    code: str
    short_url: str | None
    creator_id: str
    creator_name: str | None
    total_credits: int
    redeemed: int
    type: GiftType
    status: GiftStatus
    target_email: str | None
    message: str | None
    expires_at: datetime | None
    reservation_transaction_id: UUID | None
    created_at: datetime
    updated_at: datetime

    def is_over(self, now: datetime) -> bool:
        """Whether its time has come to an end."""
        return self.expires_at is not None and self.expires_at <= now


class ReceivedGift(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt of a person to redeem a gift, with what the gift says."""

    id: UUID
    gift_code_id: UUID
    redeemer_user_id: str
    status: RedemptionStatus
    credits_received: int
    credit_transaction_id: UUID | None
    source_app_id: str | None
    created_at: datetime
    code: str
    message: str | None
    creator_name: str | None
