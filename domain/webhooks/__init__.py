"""Webhooks: what happens to people's credits is told to the apps that listen, signed, at least once, in order.

`tell` writes an app event in the transaction of what it tells of; the deliverer of each worker process sends what
waits (workers/deliverer.py, by domain.webhooks.lanes).  Stripe's own webhooks, which come in, are elsewhere:
domain.stripe_events.
"""

from domain.webhooks.events import (
    AppEvent,
    EventType,
    GiftRedeemed,
    PurchaseCompleted,
    PurchaseReversed,
    ReservationExpired,
    SyncPaused,
    SyncResumed,
    app_of_reason,
)
from domain.webhooks.telling import tell

__all__ = [
    "AppEvent",
    "EventType",
    "GiftRedeemed",
    "PurchaseCompleted",
    "PurchaseReversed",
    "ReservationExpired",
    "SyncPaused",
    "SyncResumed",
    "app_of_reason",
    "tell",
]
