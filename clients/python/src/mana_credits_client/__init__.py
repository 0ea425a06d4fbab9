"""Spend, reserve and refund credits from an app's code."""

from mana_credits_client.asynchronous import AsyncCreditsClient, AsyncHold
from mana_credits_client.attempts import Patience
from mana_credits_client.client import CreditsClient, Hold
from mana_credits_client.errors import (
    BadRequest,
    BalanceNotFound,
    CreditsError,
    IdempotencyKeyReused,
    InsufficientCredits,
    NotAuthenticated,
    Refused,
    ReservationExpired,
    ReservationNotFound,
    ReservationNotOpen,
    Unconfirmed,
)
from mana_credits_client.options import WhenOffline
from mana_credits_client.values import Balance, Grant, Refund, Reservation, Transaction, Use
from mana_credits_client.webhooks import WebhookNotVerified, verify_webhook

__all__ = [
    "AsyncCreditsClient",
    "AsyncHold",
    "BadRequest",
    "Balance",
    "BalanceNotFound",
    "CreditsClient",
    "CreditsError",
    "Grant",
    "Hold",
    "IdempotencyKeyReused",
    "InsufficientCredits",
    "NotAuthenticated",
    "Patience",
    "Refund",
    "Refused",
    "Reservation",
    "ReservationExpired",
    "ReservationNotFound",
    "ReservationNotOpen",
    "Transaction",
    "Unconfirmed",
    "Use",
    "WebhookNotVerified",
    "WhenOffline",
    "verify_webhook",
]
