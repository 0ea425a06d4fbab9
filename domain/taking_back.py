"""The rule of taking back: how many credits of a purchase belong to the money that went back.

Pure: what Stripe told (reversals, in whatever order, however often) goes in, a number of credits comes out.
The number is over everything known, not over what is new, so that nothing is counted twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Final

import msgspec


class ReversalKind(StrEnum):
    """What took money back."""

    REFUND = "refund"
    """One refund, by its id."""
    DISPUTE = "dispute"
    """One dispute, by its id."""
    CHARGE = "charge"
    """A charge's own sum of its refunds: all there is where the refunds themselves are not told of."""


class ReversalState(StrEnum):
    """Whether the money is back with the payer.  Of two states of one reversal the later in this list holds."""

    OPEN = "open"
    """Not yet: the bank only asks (an inquiry)."""
    COUNTED = "counted"
    FINAL = "final"
    """Yes, and the matter is closed: a dispute that was lost."""
    VOID = "void"
    """No, for good: the refund failed, the dispute was won, or its funds came back."""


_RANK: Final = {state: rank for rank, state in enumerate(ReversalState)}


class Reversal(msgspec.Struct, frozen=True, kw_only=True):
    """Money that went back to the payer, or did not; `amount_cents` in euro cents.

    `seen_at` is when Stripe said so: for a charge when its sum was this, for a void refund when it failed.
    """

    stripe_id: str
    payment_intent_id: str
    kind: ReversalKind
    charge_id: str | None
    amount_cents: int
    state: ReversalState
    seen_at: datetime


def merge(known: Reversal | None, seen: Reversal) -> Reversal:
    """What holds of one reversal after Stripe said two things of it, in either order, any number of times.

    A charge's sum is the newest one; it may fall, when a refund fails.
    """
    if known is None:
        return seen
    if seen.kind is ReversalKind.CHARGE:
        return max(known, seen, key=lambda one: (one.seen_at, one.amount_cents))
    return max(known, seen, key=_strength)


def _strength(one: Reversal) -> tuple[int, float, int]:
    # Of two that say a refund failed the earlier time is the truth: a repeat tells it again later.
    return _RANK[one.state], -one.seen_at.timestamp(), one.amount_cents


def reversed_cents(reversals: Iterable[Reversal], price_cents: int) -> int:
    """How much of the price is back with the payer: refunds and disputes together, the price at most."""
    known = list(reversals)
    refunds = [one for one in known if one.kind is ReversalKind.REFUND]
    disputed = sum(one.amount_cents for one in known if one.kind is ReversalKind.DISPUTE and _is_counted(one))
    charges = {one.charge_id for one in known if one.kind is not ReversalKind.DISPUTE}
    refunded = 0
    for charge_id in charges:
        of_charge = [one for one in refunds if one.charge_id == charge_id]
        told = sum(one.amount_cents for one in of_charge if _is_counted(one))
        for charge in known:
            if charge.kind is ReversalKind.CHARGE and charge.charge_id == charge_id:
                # The charge's sum has in it the refunds that failed only after it was told.
                failed = sum(
                    one.amount_cents
                    for one in of_charge
                    if one.state is ReversalState.VOID and one.seen_at >= charge.seen_at
                )
                told = max(told, charge.amount_cents - failed)
        refunded += told
    return min(price_cents, refunded + disputed)


def _is_counted(one: Reversal) -> bool:
    return one.state in (ReversalState.COUNTED, ReversalState.FINAL)


def credits_owed_back(*, credits_bought: int, price_cents: int, reversed_cents: int) -> int:
    """How many of the credits bought belong to the reversed part of the price: whole credits.

    The share is rounded down, in the payer's favour; the whole price is all credits, whatever was rounded.
    """
    if reversed_cents >= price_cents:
        return credits_bought if reversed_cents > 0 else 0
    return credits_bought * reversed_cents // price_cents
