"""What apps are told: each kind of app event is a frozen class whose fields are its data on the wire.

They hold ids, amounts and instants alone: never an address, a message, a description or anybody's words.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar, Final
from uuid import UUID

import msgspec

from domain.amounts import wire_amount

NOBODY: Final = ""
"""Whom an event concerns that is about no person; no person has it for an id."""


class EventType(StrEnum):
    """What an endpoint may listen to."""

    BALANCE_LOW = "balance.low"
    PURCHASE_COMPLETED = "purchase.completed"
    PURCHASE_REVERSED = "purchase.reversed"
    GIFT_REDEEMED = "gift.redeemed"
    SYNC_PAUSED = "sync.paused"
    SYNC_RESUMED = "sync.resumed"
    RESERVATION_EXPIRED = "reservation.expired"


TEST: Final = "webhook.test"
"""What an operator sends to try an endpoint; it cannot be listened to."""


class AppEvent(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Something that happened to a person, as apps are told of it."""

    type: ClassVar[str]

    user_id: str


class BalanceLow(AppEvent, frozen=True, kw_only=True, rename="camel"):
    """What the person can spend fell below the endpoint's threshold.  Both in credits."""

    type: ClassVar[str] = EventType.BALANCE_LOW
    balance: Decimal
    threshold: Decimal


class PurchaseCompleted(AppEvent, frozen=True, kw_only=True, rename="camel"):
    """A purchase was paid, and its credits are on the balance."""

    type: ClassVar[str] = EventType.PURCHASE_COMPLETED
    purchase_id: UUID
    package_id: UUID | None
    credits: int
    price_euro_cents: int


class PurchaseReversed(AppEvent, frozen=True, kw_only=True, rename="camel"):
    """Credits of a paid purchase were taken back by a refund or a dispute, or given back again.

    `credits_taken_back` is the sum of it so far, and falls when a dispute is won; `change` is what the balance
    moved by now: below zero when credits were taken back.
    """

    type: ClassVar[str] = EventType.PURCHASE_REVERSED
    purchase_id: UUID
    credits: int
    credits_taken_back: int
    change: int


class GiftRedeemed(AppEvent, frozen=True, kw_only=True, rename="camel"):
    """The person redeemed a gift; `creator_id` made it.  `app_id` is where, as far as that app said so."""

    type: ClassVar[str] = EventType.GIFT_REDEEMED
    gift_id: UUID
    creator_id: str | None
    credits: int
    app_id: str | None


class SyncPaused(AppEvent, frozen=True, kw_only=True, rename="camel"):
    """The person's balance did not cover the renewal, `price` in credits, that was due at `due_at`."""

    type: ClassVar[str] = EventType.SYNC_PAUSED
    interval: str
    price: Decimal
    due_at: datetime
    auto_resume: bool


class SyncResumed(AppEvent, frozen=True, kw_only=True, rename="camel"):
    """The pause is over: the person pays again, or sync was gifted (then there is no next charge)."""

    type: ClassVar[str] = EventType.SYNC_RESUMED
    interval: str
    gifted: bool
    amount_charged: Decimal
    next_charge_at: datetime | None


class ReservationExpired(AppEvent, frozen=True, kw_only=True, rename="camel"):
    """A reservation's time was over, and its `amount` in credits can be spent again."""

    type: ClassVar[str] = EventType.RESERVATION_EXPIRED
    reservation_id: UUID
    amount: Decimal
    app_id: str | None


class WebhookTest(AppEvent, frozen=True, kw_only=True, rename="camel"):
    """An operator tries an endpoint.  It concerns no person."""

    type: ClassVar[str] = TEST
    user_id: str = NOBODY
    endpoint_id: UUID


KINDS: Final[tuple[type[AppEvent], ...]] = (
    BalanceLow,
    PurchaseCompleted,
    PurchaseReversed,
    GiftRedeemed,
    SyncPaused,
    SyncResumed,
    ReservationExpired,
    WebhookTest,
)

_APP: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,63}):")

_encoder: Final = msgspec.json.Encoder(decimal_format="number")


def app_of_reason(reason: str) -> str | None:
    """The app that a reservation's reason names before its first `:`; None where what stands there is no name.

    A reason is its caller's own words, and may say anything about the person.
    """
    found = _APP.match(reason)
    return None if found is None else found[1]


def data_of(event: AppEvent) -> dict[str, Any]:
    """The event's data as JSON holds them; one about nobody has no `userId`."""
    named = {field.encode_name: getattr(event, field.name) for field in msgspec.structs.fields(event)}
    if event.user_id == NOBODY:
        del named["userId"]
    return {name: _wire(value) for name, value in named.items()}


def json_of(data: object) -> str:
    """JSON as it is stored and sent: amounts are exact numbers."""
    return _encoder.encode(data).decode()


def instant_text(instant: datetime) -> str:
    """UTC with three decimals and `Z`, as everywhere on the wire (contract, section 1)."""
    at = instant.astimezone(UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"


def _wire(value: Any) -> Any:
    match value:
        case Decimal():
            return wire_amount(value)
        case datetime():
            return instant_text(value)
        case UUID():
            return str(value)
        case _:
            return value


def body_of(*, event_id: UUID, event_type: str, seq: int, created_at: datetime, data: object) -> bytes:
    """The bytes that are signed and sent: the same for every attempt, and to every endpoint."""
    envelope = {
        "id": str(event_id),
        "type": event_type,
        "timestamp": instant_text(created_at),
        "sequence": seq,
        "data": data,
    }
    return json_of(envelope).encode()
