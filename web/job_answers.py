"""What the result of each kind of job is to its caller: the body that the endpoint's contract fixes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from domain.amounts import wire_amount
from domain.gifts import RedeemedPending, RedeemPendingGifts
from domain.ledger import Entry
from domain.spending import RefundCredits
from domain.sync_billing.runs import ChargeRecurring, Run
from web.answers import BalanceLeft, RefundAnswer, TransactionAnswer
from web.gift_shapes import RedeemedPendingAnswer
from web.sync_shapes import ChargeRecurringAnswer


def refund_answer(result: Any) -> RefundAnswer:
    """From the entry that the job made."""
    entry = msgspec.convert(result, Entry)
    return RefundAnswer(
        success=True,
        transaction=TransactionAnswer.of(entry),
        new_balance=BalanceLeft(balance=wire_amount(entry.balance_after)),
    )


def redeemed_pending_answer(result: Any) -> RedeemedPendingAnswer:
    """From what the job did."""
    done = msgspec.convert(result, RedeemedPending)
    return RedeemedPendingAnswer(redeemed=done.redeemed, total_credits=done.total_credits)


def charge_recurring_answer(result: Any) -> ChargeRecurringAnswer:
    """From what the run did."""
    tally = msgspec.convert(result, Run).tally
    return ChargeRecurringAnswer(
        charged=tally.charged, paused=tally.paused, errors=tally.errors, total=tally.total
    )


_ANSWERS: Final[dict[str, Callable[[Any], msgspec.Struct]]] = {
    RefundCredits.kind: refund_answer,
    RedeemPendingGifts.kind: redeemed_pending_answer,
    ChargeRecurring.kind: charge_recurring_answer,
}
"""Kinds with an endpoint of their own.  The result of any other is shown as it is."""


def result_answer(kind: str, result: Any) -> Any:
    """The result of a job that is done, as its caller sees it."""
    answer = _ANSWERS.get(kind)
    return result if answer is None else answer(result)
