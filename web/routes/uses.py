"""Spending, as the user routes and the internal ones share it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from domain import ledger
from domain.amounts import wire_amount
from domain.ledger import Outcome, Posting
from domain.spending import unless_reused, usage_posting
from web.answers import BalanceAfterUse, TransactionAnswer, UseAnswer
from web.bodies import UseBody

ALREADY_PROCESSED: Final = "Transaction already processed"


def posting_of(body: UseBody, user_id: str, idempotency_key: str | None) -> Posting:
    """The posting that a body asks for, as of now."""
    return usage_posting(
        user_id=user_id,
        amount=body.amount,
        app_id=body.app_id,
        description=body.description,
        metadata=body.metadata,
        idempotency_key=idempotency_key,
        now=datetime.now(UTC),
    )


def answer_of(outcome: Outcome) -> UseAnswer:
    """What the caller hears of the posting's outcome.  Raises the refusals of a use."""
    done = unless_reused(ledger.accepted(outcome))
    if done.entry is None:
        raise RuntimeError("a use made no entry")
    transaction = TransactionAnswer.of(done.entry)
    if isinstance(done, ledger.Replayed):
        return UseAnswer(success=True, transaction=transaction, message=ALREADY_PROCESSED)
    left = BalanceAfterUse(balance=wire_amount(done.balance), total_spent=wire_amount(done.total_spent))
    return UseAnswer(success=True, transaction=transaction, new_balance=left)
