"""What is sent and answered about gifts (contract, sections 3 and 8)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Final
from uuid import UUID

import msgspec
from msgspec import Meta

from domain.amounts import wire_amount
from domain.gifts import Gift, GiftStatus, GiftType, ReceivedGift, Redeemed, RedemptionStatus, WantedGift
from web.answers import Amount, Answer, Timestamp, timestamp, timestamp_or_null
from web.auth import Caller
from web.bodies import END, BadRequest, GiftCredits, IdempotencyKey, UserId, bad_field

LIFETIME_DEFAULT: Final = timedelta(days=90)
"""How long a gift waits unless its creator says otherwise (contract, section 3)."""

LIFETIME_MAX: Final = timedelta(days=3650)
"""Ten years: who means for ever is paid back before everybody has forgotten."""

# One @, no spaces, commas or control characters.
_PART: Final = r"[^@\s,;\x00-\x1f\x7f]+"

TargetEmail = Annotated[
    str,
    Meta(pattern=rf"^{_PART}@{_PART}\.{_PART}{END}", max_length=320, examples=["ben@example.com"]),
]
Email = Annotated[
    # No dot needed: the caller knows the person, and registers whom it will.
    str,
    Meta(pattern=rf"^{_PART}@{_PART}{END}", max_length=320, examples=["ben@example.com"]),
]
SourceAppId = Annotated[str, Meta(max_length=128, description="The app where it happens", examples=["chat"])]


class CreateGiftBody(msgspec.Struct, kw_only=True, rename="camel"):
    """Set credits aside for whoever has the code, or (`personalized`) for one address."""

    total_credits: GiftCredits | None = None
    credits: GiftCredits | None = None
    type: GiftType | None = None
    target_email: TargetEmail | None = None
    message: Annotated[str, Meta(max_length=500, description="Read by whoever has the code")] | None = None
    expiration_days: Annotated[int, Meta(ge=1, le=LIFETIME_MAX.days)] | None = None
    expires_at: Annotated[datetime, Meta(tz=True, description="Instead of `expirationDays`")] | None = None
    source_app_id: SourceAppId | None = None
    idempotency_key: IdempotencyKey | None = None

    def checked(self) -> tuple[int, GiftType]:
        """The credits and the type that are meant.  Raises BadRequest where fields contradict each other."""
        wrong: dict[str, str] = {}
        amount = self.credits if self.total_credits is None else self.total_credits
        if amount is None:
            wrong["totalCredits"] = "is required"
        elif self.credits not in (None, amount):
            wrong["credits"] = "is another name of totalCredits, and must be the same"
        kind = self.type
        if kind is None:
            kind = GiftType.SIMPLE if self.target_email is None else GiftType.PERSONALIZED
        if kind is GiftType.PERSONALIZED and self.target_email is None:
            wrong["targetEmail"] = "is required for a personalized gift"
        if self.expires_at is not None and self.expiration_days is not None:
            wrong["expiresAt"] = "must not be given beside expirationDays"
        if amount is None or wrong:
            raise BadRequest([{"field": field, "message": message} for field, message in wrong.items()])
        return int(amount), kind

    def wanted(self, creator: Caller, *, now: datetime) -> WantedGift:
        """The gift that is asked for.  Raises BadRequest."""
        total_credits, kind = self.checked()
        return WantedGift(
            creator_id=creator.user_id,
            creator_name=creator.email,
            total_credits=total_credits,
            type=kind,
            target_email=self.target_email,
            message=self.message,
            expires_at=self._expiry(now),
            app_id=self.source_app_id or None,
        )

    def _expiry(self, now: datetime) -> datetime:
        if self.expires_at is None:
            days = self.expiration_days
            return now + (LIFETIME_DEFAULT if days is None else timedelta(days=days))
        if not now < self.expires_at <= now + LIFETIME_MAX:
            raise bad_field("expiresAt", f"must be in the future, by at most {LIFETIME_MAX.days} days")
        return self.expires_at


class RedeemGiftBody(msgspec.Struct, kw_only=True, rename="camel"):
    """Take a gift."""

    source_app_id: SourceAppId | None = None
    idempotency_key: IdempotencyKey | None = None


class RedeemPendingBody(msgspec.Struct, kw_only=True, rename="camel"):
    """Give a person what waits for their address, which the calling service vouches for."""

    user_id: UserId
    email: Email
    idempotency_key: IdempotencyKey | None = None


class GiftAnswer(Answer):
    """A gift, as its creator sees it."""

    id: UUID
    code: str
    short_url: str
    creator_id: str
    creator_name: str | None
    total_credits: int
    redeemed: Annotated[int, Meta(description="1 once somebody took it", examples=[0])]
    type: GiftType
    status: GiftStatus
    target_email: str | None
    message: str | None
    expires_at: Timestamp | None
    reservation_transaction_id: UUID | None
    created_at: Timestamp
    updated_at: Timestamp
    url: str

    @classmethod
    def of(cls, gift: Gift, *, base_url: str) -> GiftAnswer:
        """From the domain's gift."""
        url = gift.short_url or page_url(base_url, gift.code)
        return cls(
            id=gift.id,
            code=gift.code,
            short_url=url,
            creator_id=gift.creator_id,
            creator_name=gift.creator_name,
            total_credits=gift.total_credits,
            redeemed=gift.redeemed,
            type=gift.type,
            status=gift.status,
            target_email=gift.target_email,
            message=gift.message,
            expires_at=timestamp_or_null(gift.expires_at),
            reservation_transaction_id=gift.reservation_transaction_id,
            created_at=timestamp(gift.created_at),
            updated_at=timestamp(gift.updated_at),
            url=url,
        )


def page_url(base_url: str, code: str) -> str:
    """The link to a gift's page."""
    return f"{base_url}/g/{code}"


class FoundGiftAnswer(Answer):
    """A gift, as anybody who has its code sees it: never whose address it is for."""

    code: str
    type: GiftType
    status: GiftStatus
    total_credits: int
    redeemed: Annotated[bool, Meta(description="Whether somebody took it", examples=[False])]
    message: str | None
    creator_name: str | None
    expires_at: Timestamp | None
    is_personalized: bool
    credits: int

    @classmethod
    def of(cls, gift: Gift) -> FoundGiftAnswer:
        """From the domain's gift."""
        return cls(
            code=gift.code,
            type=gift.type,
            status=gift.status,
            total_credits=gift.total_credits,
            redeemed=gift.redeemed > 0,
            message=gift.message,
            creator_name=gift.creator_name,
            expires_at=timestamp_or_null(gift.expires_at),
            is_personalized=gift.type is GiftType.PERSONALIZED,
            credits=gift.total_credits,
        )


class PendingGiftAnswer(FoundGiftAnswer):
    """A gift that waits for the caller: `POST /api/v1/gifts/{code}/redeem` takes it."""

    id: UUID
    url: str
    created_at: Timestamp

    @classmethod
    def waiting(cls, gift: Gift, *, base_url: str) -> PendingGiftAnswer:
        """From the domain's gift."""
        found = msgspec.structs.asdict(FoundGiftAnswer.of(gift))
        url = gift.short_url or page_url(base_url, gift.code)
        return cls(**found, id=gift.id, url=url, created_at=timestamp(gift.created_at))


class RedeemedGiftAnswer(Answer):
    """Credits received."""

    success: bool
    credits_received: int
    message: str | None
    creator_name: str | None
    credits: int
    new_balance: Amount

    @classmethod
    def of(cls, redeemed: Redeemed) -> RedeemedGiftAnswer:
        """From what the redeemer got."""
        gift = redeemed.gift
        return cls(
            success=True,
            credits_received=gift.total_credits,
            message=gift.message,
            creator_name=gift.creator_name,
            credits=gift.total_credits,
            new_balance=wire_amount(redeemed.balance),
        )


class ReceivedGiftAnswer(Answer):
    """A gift that the caller redeemed."""

    id: UUID
    gift_code_id: UUID
    redeemer_user_id: str
    status: RedemptionStatus
    credits_received: int
    credit_transaction_id: UUID | None
    source_app_id: str | None
    created_at: Timestamp
    credits: int
    code: str
    message: str | None
    creator_name: str | None
    redeemed_at: Timestamp

    @classmethod
    def of(cls, received: ReceivedGift) -> ReceivedGiftAnswer:
        """From the domain's."""
        at = timestamp(received.created_at)
        plain = msgspec.structs.asdict(received)
        return cls(**{**plain, "created_at": at}, credits=received.credits_received, redeemed_at=at)


class CancelledGiftAnswer(Answer):
    """Credits that came back to the creator."""

    success: bool
    refunded_credits: int


class RedeemedPendingAnswer(Answer):
    """How many gifts the person got, and their credits."""

    redeemed: Annotated[int, Meta(description="How many gifts", examples=[1])]
    total_credits: Annotated[int, Meta(description="Their credits together", examples=[100])]
