"""What the contract says of the form of an answer."""

import re
from decimal import Decimal
from typing import Any

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

TRANSACTION_KEYS = {
    *("id", "userId", "type", "status", "amount", "balanceBefore", "balanceAfter", "appId"),
    *("description", "metadata", "idempotencyKey", "createdAt", "completedAt"),
}
BALANCE_KEYS = {"balance", "totalEarned", "totalSpent"}

ADDED_KEYS = {"cursor"}
"""What this service adds to a transaction: the contract allows to add."""


def is_timestamp(value: object) -> bool:
    """UTC with exactly three decimals and `Z`."""
    return isinstance(value, str) and TIMESTAMP.fullmatch(value) is not None


def is_id(value: object) -> bool:
    return isinstance(value, str) and ID.fullmatch(value) is not None


def is_amount(value: object) -> bool:
    """An integer when it is whole, else a number with at most three decimals, not written with an exponent."""
    if isinstance(value, Decimal):
        return value != value.to_integral_value() and value == round(value, 3)
    return type(value) is int


def assert_transaction(transaction: dict[str, Any], **facts: object) -> None:
    """The transaction has the contract's form, and says these facts."""
    assert set(transaction) - ADDED_KEYS == TRANSACTION_KEYS
    assert is_id(transaction["id"])
    assert all(is_amount(transaction[name]) for name in ("amount", "balanceBefore", "balanceAfter"))
    assert is_timestamp(transaction["createdAt"])
    assert is_timestamp(transaction["completedAt"])
    assert transaction["status"] == "completed"
    assert {name: transaction[name] for name in facts} == facts
