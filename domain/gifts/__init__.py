"""Gift codes: credits that one person sets aside for whoever has the code, or for one address."""

from domain.gifts.codes import normal_code
from domain.gifts.creating import TOTAL_CREDITS_MAX, WantedGift, create
from domain.gifts.ending import ExpiredGifts, ExpireGifts, cancel, expire_due
from domain.gifts.pending import RedeemedPending, RedeemPendingGifts, redeem_pending
from domain.gifts.reading import created_by, look_up, pending_for, received_by
from domain.gifts.redeeming import Redeemed, Redeemer, redeem
from domain.gifts.types import Gift, GiftStatus, GiftType, ReceivedGift, RedemptionStatus

__all__ = [
    "TOTAL_CREDITS_MAX",
    "ExpireGifts",
    "ExpiredGifts",
    "Gift",
    "GiftStatus",
    "GiftType",
    "ReceivedGift",
    "RedeemPendingGifts",
    "Redeemed",
    "RedeemedPending",
    "Redeemer",
    "RedemptionStatus",
    "WantedGift",
    "cancel",
    "create",
    "created_by",
    "expire_due",
    "look_up",
    "normal_code",
    "pending_for",
    "received_by",
    "redeem",
    "redeem_pending",
]
