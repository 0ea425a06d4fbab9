"""What goes into the ledger's door and what comes out of it."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec

from domain.json_values import canonical

Metadata = dict[str, Any]
"""A JSON object that belongs to an entry."""


class EntryType(StrEnum):
    """Why credits moved; the database's `transaction_type`."""

    PURCHASE = "purchase"
    USAGE = "usage"
    REFUND = "refund"
    GIFT = "gift"
    GRANT = "grant"


class CountsAs(StrEnum):
    """Which of a person's totals a posting changes."""

    EARNED = "earned"
    """total_earned moves by the amount: credits bought, granted or received, and those taken back."""
    SPENT = "spent"
    """total_spent grows by what the amount takes."""
    RETURNED = "returned"
    """total_spent falls by the amount, not below zero: what was spent comes back, nothing is earned."""
    NEITHER = "neither"
    """Both stay: credits are set aside or released."""


class Posting(msgspec.Struct, frozen=True, kw_only=True):
    """A wanted change of one person's balance.

    `amount` is what the entry says, in credits: above zero gives, below zero takes, zero writes no entry.
    `held_change` moves credits between what can be spent and what is set aside in reservations; what can be
    spent changes by `amount - held_change`.
    `posting_key` names the operation and its key; it takes effect once per person, and is kept in the entry.
    """

    id: UUID
    user_id: str
    type: EntryType
    amount: Decimal
    counts_as: CountsAs
    app_id: str
    description: str
    metadata: Metadata | None = None
    held_change: Decimal = Decimal(0)
    idempotency_key: str | None = None
    posting_key: str | None = None
    may_overdraw: bool = False
    creates_balance: bool = False


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the ledger, never changed afterwards.

    `balance_before` and `balance_after` are what the person could spend; `held_after` is what was set aside
    in reservations then.  A person's entries follow one another by `version`; the one written when an old
    ledger was taken over has version 0, and those taken over have versions below it.
    """

    id: UUID
    user_id: str
    type: EntryType
    amount: Decimal
    balance_before: Decimal
    balance_after: Decimal
    held_after: Decimal
    version: int
    app_id: str
    description: str
    metadata: Metadata | None
    idempotency_key: str | None
    created_at: datetime
    completed_at: datetime | None
    status: str = "completed"

    def repeats(self, posting: Posting) -> bool:
        """Whether the posting asks for just what this entry did (its key aside)."""
        return (
            self.type == posting.type
            and self.amount == posting.amount
            and self.app_id == posting.app_id
            and self.description == posting.description
            and canonical(self.metadata) == canonical(posting.metadata)
        )


class Posted(msgspec.Struct, frozen=True, kw_only=True):
    """The posting took effect.  `entry` is None for a posting whose amount is zero.  Figures in credits."""

    entry: Entry | None
    balance: Decimal
    held: Decimal
    total_earned: Decimal
    total_spent: Decimal


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """The key had been used: `entry` is what was done then, `matches` whether the request was the same."""

    entry: Entry
    matches: bool


class Insufficient(msgspec.Struct, frozen=True, kw_only=True):
    """Refused: `required` credits were asked for, `available` could be spent (below zero: a debt)."""

    required: Decimal
    available: Decimal


class NoBalance(msgspec.Struct, frozen=True):
    """Refused: the person has no balance, and the posting may not create one."""


class TooLarge(msgspec.Struct, frozen=True):
    """Refused: the balance, with what is set aside, would pass BALANCE_MAX."""


Outcome = Posted | Replayed | Insufficient | NoBalance | TooLarge
