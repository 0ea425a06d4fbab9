"""What apps are told of sync."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from domain.sync_billing.calendar import Interval
from domain.sync_billing.prices import PRICES
from domain.webhooks import SyncPaused, SyncResumed


def paused(user_id: str, interval: Interval, *, due_at: datetime, auto_resume: bool) -> SyncPaused:
    """The renewal of `due_at` was short of credits."""
    return SyncPaused(
        user_id=user_id,
        interval=interval.value,
        price=PRICES[interval],
        due_at=due_at,
        auto_resume=auto_resume,
    )


def resumed(user_id: str, interval: Interval, *, next_charge_at: datetime | None) -> SyncResumed:
    """The pause is over: paid until the next charge, or, without one, gifted."""
    is_gifted = next_charge_at is None
    return SyncResumed(
        user_id=user_id,
        interval=interval.value,
        gifted=is_gifted,
        amount_charged=Decimal(0) if is_gifted else PRICES[interval],
        next_charge_at=next_charge_at,
    )
