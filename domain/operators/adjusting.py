"""Adjusting a person's credits: giving, or taking back, through the ledger's door, up to a ceiling."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar, Final

from sqlalchemy import Connection

from domain import ledger
from domain.errors import AdjustmentTooLarge, BalanceNotFound
from domain.ids import new_id
from domain.ledger import CountsAs, EntryType, Posting, Replayed
from domain.operators.acting import Command, Effect, Facts
from domain.operators.audit import Action, Operator
from domain.spending import unless_reused

APP_ID: Final = "support"

POSTING_KEY: Final = "adjust:"


class Direction(StrEnum):
    """Which way the credits go."""

    GRANT = "grant"
    TAKE_BACK = "take_back"


_DESCRIPTIONS: Final = {
    Direction.GRANT: "Credits given by support",
    Direction.TAKE_BACK: "Credits taken back by support",
}
"""The person reads these; why is said in the audit alone."""


class AdjustCredits(Command, frozen=True, kw_only=True):
    """Move `amount` credits, above zero, to a person who has a balance or away from them; once for `key`.

    `ceiling` is the most for one adjustment (OPS_ADJUST_MAX).  Taking back ends at zero, unless
    `may_overdraw`: then a debt may be left, which the next credits pay off first.
    """

    action: ClassVar[Action] = Action.ADJUST_CREDITS
    user_id: str
    direction: Direction
    amount: Decimal
    key: str
    ceiling: int
    may_overdraw: bool = False

    def look(self, connection: Connection, now: datetime) -> Facts:  # noqa: ARG002
        """What the person has."""
        balance = ledger.balance_of(connection, self.user_id)
        if balance is None:
            raise BalanceNotFound
        return {
            "balance": balance.balance,
            "held": balance.held,
            "totalEarned": balance.total_earned,
            "totalSpent": balance.total_spent,
        }

    def do(self, connection: Connection, by: Operator, now: datetime) -> Effect:  # noqa: ARG002
        """Raises AdjustmentTooLarge, BalanceNotFound, InsufficientCredits, BalanceTooLarge, IdempotencyKeyReused.

        Nobody's balance comes into being here: an id that was mistyped is found out.
        """
        if self.amount > self.ceiling:
            raise AdjustmentTooLarge(self.ceiling)
        [outcome] = ledger.post(connection, [self._posting(now)], now=now)
        accepted = unless_reused(ledger.accepted(outcome))
        entry = accepted.entry
        if entry is None:
            raise RuntimeError("an adjustment made no entry")
        return Effect(
            outcome=f"{entry.amount.normalize():+f} credits, balance {entry.balance_after.normalize():f}",
            facts={"entryId": entry.id, "amount": entry.amount, "balance": entry.balance_after},
            subject=str(entry.id),
            user_id=self.user_id,
            is_repeat=isinstance(accepted, Replayed),
        )

    def _posting(self, now: datetime) -> Posting:
        is_grant = self.direction is Direction.GRANT
        return Posting(
            id=new_id(now),
            user_id=self.user_id,
            type=EntryType.GRANT,
            amount=self.amount if is_grant else -self.amount,
            counts_as=CountsAs.EARNED,
            app_id=APP_ID,
            description=_DESCRIPTIONS[self.direction],
            metadata={"adjustment": self.direction.value},
            posting_key=f"{POSTING_KEY}{self.key}",
            may_overdraw=self.may_overdraw,
        )
