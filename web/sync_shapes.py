"""What is sent and answered about Cloud Sync (contract, section 3)."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from domain.amounts import wire_amount
from domain.sync_billing.calendar import Interval
from domain.sync_billing.subscriptions import Activated, Changed, Status
from web.answers import Amount, Answer, Timestamp, timestamp, timestamp_or_null
from web.bodies import IdempotencyKey

AutoResume = Annotated[
    bool, Meta(description="Whether sync resumes by itself after a pause, once there are credits for it")
]


class ActivateBody(msgspec.Struct, kw_only=True, rename="camel"):
    """Begin a subscription: `monthly` unless it says otherwise."""

    interval: Interval | None = None
    auto_resume: AutoResume | None = None
    idempotency_key: IdempotencyKey | None = None


class ChangeIntervalBody(msgspec.Struct, kw_only=True, rename="camel"):
    """Another interval, from the next renewal on."""

    interval: Interval


class AutoResumeBody(msgspec.Struct, kw_only=True, rename="camel"):
    """Ask for resuming after a pause, or for it no longer."""

    auto_resume: AutoResume


class SyncStatusAnswer(Answer):
    """How a person's sync stands."""

    active: bool
    interval: Interval
    next_charge_at: Timestamp | None
    paused_at: Timestamp | None
    gifted: bool
    auto_resume: AutoResume

    @classmethod
    def of(cls, status: Status) -> SyncStatusAnswer:
        """From the domain's status."""
        return cls(
            active=status.active,
            interval=status.interval,
            next_charge_at=timestamp_or_null(status.next_charge_at),
            paused_at=timestamp_or_null(status.paused_at),
            gifted=status.gifted,
            auto_resume=status.auto_resume,
        )


class ActivatedAnswer(Answer):
    """A subscription that was begun; `amountCharged` was charged now."""

    success: bool
    active: bool
    interval: Interval
    next_charge_at: Timestamp
    amount_charged: Amount
    auto_resume: AutoResume

    @classmethod
    def of(cls, activated: Activated) -> ActivatedAnswer:
        """From what the domain did."""
        return cls(
            success=True,
            active=True,
            interval=activated.interval,
            next_charge_at=timestamp(activated.next_charge_at),
            amount_charged=wire_amount(activated.amount_charged),
            auto_resume=activated.auto_resume,
        )


class IntervalChangedAnswer(Answer):
    """A new interval: `amountCharged` will be charged from `effectiveAt` on; null under a gift."""

    success: bool
    interval: Interval
    amount_charged: Amount
    effective_at: Timestamp | None

    @classmethod
    def of(cls, changed: Changed) -> IntervalChangedAnswer:
        """From what the domain did."""
        return cls(
            success=True,
            interval=changed.interval,
            amount_charged=wire_amount(changed.amount_charged),
            effective_at=timestamp_or_null(changed.effective_at),
        )


class DeactivatedAnswer(Answer):
    """The subscription has ended."""

    success: bool


class AutoResumeAnswer(Answer):
    """What is kept with the subscription now."""

    success: bool
    auto_resume: AutoResume


class GiftedSyncAnswer(Answer):
    """How a person's sync stands after a gift or a revoke.

    After a revoke it is active when something was left of a period paid before the gift.
    """

    success: bool
    user_id: str
    gifted: bool
    active: bool
    next_charge_at: Timestamp | None


class ChargeRecurringAnswer(Answer):
    """What a run of the recurring charge did."""

    charged: int
    paused: int
    errors: int
    total: int
