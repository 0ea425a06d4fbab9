"""Gifts: those that wait for somebody who registers, and those whose time is over."""

from __future__ import annotations

from typing import Final

from domain import gifts
from domain.gifts import ExpiredGifts, ExpireGifts, RedeemedPending, RedeemPendingGifts
from domain.jobs import Handler, Steps
from workers.parts import Parts

HANDLERS: Final[list[Handler]] = [
    Steps(RedeemPendingGifts, RedeemedPending(), gifts.redeem_pending),
    Steps(ExpireGifts, ExpiredGifts(), gifts.expire_due),
]
"""Both touch the ledger alone, a few hundred gifts to a transaction."""


def handlers(_parts: Parts) -> list[Handler]:
    """They need no doors to the outside."""
    return HANDLERS
