"""What calls return.  Amounts are in credits, with at most three decimals; instants are aware, in UTC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from mana_credits_client.amounts import from_wire


@dataclass(frozen=True)
class Balance:
    """What a person has."""

    balance: Decimal
    total_earned: Decimal
    total_spent: Decimal

    @classmethod
    def read(cls, body: Any) -> Balance:
        """From an answer's body."""
        return cls(
            balance=from_wire(body["balance"]),
            total_earned=from_wire(body["totalEarned"]),
            total_spent=from_wire(body["totalSpent"]),
        )


@dataclass(frozen=True)
class Transaction:
    """An entry of a person's books.  What was spent has an `amount` below zero."""

    id: str
    user_id: str
    type: str
    amount: Decimal
    balance_before: Decimal
    balance_after: Decimal
    app_id: str
    description: str
    metadata: dict[str, Any] | None
    key: str | None
    created_at: datetime

    @classmethod
    def read(cls, body: Any) -> Transaction:
        """From an answer's `transaction`."""
        return cls(
            id=body["id"],
            user_id=body["userId"],
            type=body["type"],
            amount=from_wire(body["amount"]),
            balance_before=from_wire(body["balanceBefore"]),
            balance_after=from_wire(body["balanceAfter"]),
            app_id=body["appId"],
            description=body["description"],
            metadata=body["metadata"],
            key=body["idempotencyKey"],
            created_at=datetime.fromisoformat(body["createdAt"]),
        )


@dataclass(frozen=True)
class Use:
    """A use of credits.

    `confirmed` is False only for a client that lets work through when the service cannot be reached: then there is no
    `transaction`, and whether the use took effect is not known.  `was_done_before` says that the key was seen before.
    """

    key: str
    confirmed: bool
    transaction: Transaction | None
    was_done_before: bool = False


@dataclass(frozen=True)
class Refund:
    """Credits given back.  `transaction` is None while it is still to be done: it is written down, as job `job_id`."""

    key: str
    transaction: Transaction | None
    job_id: str | None


@dataclass(frozen=True)
class Grant:
    """A reward, once for a person and a reference; `balance` is what the person had after the first one."""

    was_granted_before: bool
    balance: Decimal


@dataclass(frozen=True)
class Reservation:
    """Credits set aside until `expires_at`; then they go back by themselves."""

    id: str
    key: str
    balance: Decimal
    expires_at: datetime
