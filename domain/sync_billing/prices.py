"""What Cloud Sync costs (contract, section 3), and the posting that charges a period."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final

from sqlalchemy import ColumnElement, case

from domain.ids import new_id
from domain.ledger import CountsAs, EntryType, Posting
from domain.sync_billing.calendar import Interval
from domain.tables import sync_subscriptions

APP_ID: Final = "sync"

PRICES: Final = {
    Interval.MONTHLY: Decimal(30),
    Interval.QUARTERLY: Decimal(90),
    Interval.YEARLY: Decimal(360),
}
"""Whole credits for one period."""

PRICE: Final[ColumnElement[int]] = case(
    *(
        (sync_subscriptions.c.billing_interval == interval.value, int(price))
        for interval, price in PRICES.items()
    )
)
"""The same, of a row, in SQL."""


class ChargeType(StrEnum):
    """Why a period was charged: `metadata.type` of the entry (contract, section 3)."""

    SUBSCRIPTION = "sync_subscription"
    RENEWAL = "sync_renewal"


_DESCRIPTIONS: Final = {
    ChargeType.SUBSCRIPTION: "Cloud Sync ({interval})",
    ChargeType.RENEWAL: "Cloud Sync renewal ({interval})",
}


def period_posting(
    user_id: str, interval: Interval, start: datetime, charge_type: ChargeType, *, now: datetime
) -> Posting:
    """The posting over the period that begins at `start`, an aware UTC instant: once for a person and a period."""
    return Posting(
        id=new_id(now),
        user_id=user_id,
        type=EntryType.USAGE,
        amount=-PRICES[interval],
        counts_as=CountsAs.SPENT,
        app_id=APP_ID,
        description=_DESCRIPTIONS[charge_type].format(interval=interval.value),
        metadata={"interval": interval.value, "type": charge_type.value},
        posting_key=period_key(start),
    )


def period_key(start: datetime) -> str:
    """The posting key of a period, to the microsecond; domain.invariants writes it in SQL."""
    return f"sync:{start:%Y-%m-%dT%H:%M:%S.%fZ}"
