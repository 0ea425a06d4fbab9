"""What callers get: the shapes of the contract, made from the domain's values."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from msgspec import Meta

from domain.amounts import wire_amount
from domain.ledger import Balance, Entry, Figures, Metadata
from domain.packages import Package

encoder: Final = msgspec.json.Encoder(decimal_format="number")

Amount = Annotated[
    Decimal,
    Meta(extra_json_schema={"type": "number", "format": "decimal"}, examples=[5, 0.1]),
]
Timestamp = Annotated[
    str, Meta(extra_json_schema={"format": "date-time"}, examples=["2026-11-22T15:28:32.039Z"])
]


@lru_cache(maxsize=1024)  # the entries of a batch have one time
def timestamp(instant: datetime) -> str:
    """UTC with exactly three decimals and `Z`."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{instant.microsecond // 1000:03d}Z"


def timestamp_or_null(instant: datetime | None) -> str | None:
    """The same, for an instant that may be missing."""
    return None if instant is None else timestamp(instant)


class Answer(msgspec.Struct, kw_only=True, rename="camel"):
    """Base of all answers: names are camelCase on the wire."""


class BalanceAnswer(Answer):
    """What a person has, in credits."""

    balance: Amount
    total_earned: Amount
    total_spent: Amount

    @classmethod
    def of(cls, balance: Figures) -> BalanceAnswer:
        """From the ledger's figures."""
        return cls(
            balance=wire_amount(balance.balance),
            total_earned=wire_amount(balance.total_earned),
            total_spent=wire_amount(balance.total_spent),
        )


class CountedBalanceAnswer(BalanceAnswer):
    """What a person has, and how many entries they have."""

    transactions_count: int


class BalanceRowAnswer(Answer):
    """The whole row of a balance."""

    user_id: str
    balance: Amount
    total_earned: Amount
    total_spent: Amount
    version: int
    created_at: Timestamp
    updated_at: Timestamp

    @classmethod
    def of(cls, row: Balance) -> BalanceRowAnswer:
        """From the ledger's balance."""
        return cls(
            user_id=row.user_id,
            balance=wire_amount(row.balance),
            total_earned=wire_amount(row.total_earned),
            total_spent=wire_amount(row.total_spent),
            version=row.version,
            created_at=timestamp(row.created_at),
            updated_at=timestamp(row.updated_at),
        )


class TransactionAnswer(Answer):
    """An entry of the ledger.  `cursor` continues a list after this entry."""

    id: UUID
    user_id: str
    type: str
    status: str
    amount: Amount
    balance_before: Amount
    balance_after: Amount
    app_id: str
    description: str
    metadata: Metadata | None
    idempotency_key: str | None
    created_at: Timestamp
    completed_at: Timestamp | None
    cursor: str

    @classmethod
    def of(cls, entry: Entry) -> TransactionAnswer:
        """From the ledger's entry."""
        created_at = timestamp(entry.created_at)
        completed_at = (
            created_at if entry.completed_at == entry.created_at else timestamp_or_null(entry.completed_at)
        )
        return cls(
            id=entry.id,
            user_id=entry.user_id,
            type=entry.type.value,
            status=entry.status,
            amount=wire_amount(entry.amount),
            balance_before=wire_amount(entry.balance_before),
            balance_after=wire_amount(entry.balance_after),
            app_id=entry.app_id,
            description=entry.description,
            metadata=entry.metadata,
            idempotency_key=entry.idempotency_key,
            created_at=created_at,
            completed_at=completed_at,
            cursor=str(entry.version),
        )


class BalanceAfterUse(Answer):
    """What is left after a use."""

    balance: Amount
    total_spent: Amount


class UseAnswer(Answer, omit_defaults=True):
    """A use that took effect: now with `newBalance`, or before with `message`."""

    success: Annotated[bool, Meta(examples=[True])]
    transaction: TransactionAnswer
    new_balance: BalanceAfterUse | None = None
    message: str | None = None


class BatchItemAnswer(Answer, omit_defaults=True):
    """The outcome of one item: that of a use, or the refusal it would have got alone."""

    status_code: int
    success: bool
    transaction: TransactionAnswer | None = None
    new_balance: BalanceAfterUse | None = None
    message: str | None = None
    code: str | None = None
    details: dict[str, Any] | None = None


class UseBatchAnswer(Answer):
    """An outcome for each item, in the order of the items."""

    results: list[BatchItemAnswer]


class BalanceLeft(Answer):
    """What can be spent afterwards."""

    balance: Amount


class RefundAnswer(Answer):
    """Credits given back."""

    success: bool
    transaction: TransactionAnswer
    new_balance: BalanceLeft


class GrantAnswer(Answer, omit_defaults=True):
    """A reward: `newBalance` is the balance after the first grant of the reference."""

    ok: bool
    already_granted: Annotated[bool, Meta(examples=[False])]
    new_balance: Amount
    transaction_id: UUID | None = None


class ErasureAnswer(Answer):
    """How many rows were erased or put under a pseudonym."""

    deleted_count: int


class ReserveAnswer(Answer):
    """Credits set aside until `expiresAt`."""

    reservation_id: UUID
    balance: Amount
    expires_at: Timestamp


class CommitAnswer(Answer):
    """Credits spent that were set aside."""

    success: bool
    transaction_id: UUID


class RefundReservationAnswer(Answer):
    """Credits put back that were set aside."""

    success: bool
    balance: Amount


class PackageAnswer(Answer):
    """Something to buy, at a price in euro cents."""

    id: UUID
    name: str
    description: str | None
    credits: int
    price_euro_cents: int
    stripe_price_id: str | None
    active: bool
    sort_order: int
    metadata: dict[str, Any] | None
    created_at: Timestamp
    updated_at: Timestamp

    @classmethod
    def of(cls, package: Package) -> PackageAnswer:
        """From the domain's package."""
        return cls(
            id=package.id,
            name=package.name,
            description=package.description,
            credits=package.credits,
            price_euro_cents=package.price_euro_cents,
            stripe_price_id=package.stripe_price_id,
            active=package.active,
            sort_order=package.sort_order,
            metadata=package.metadata,
            created_at=timestamp(package.created_at),
            updated_at=timestamp(package.updated_at),
        )


class ErrorAnswer(Answer, omit_defaults=True):
    """Every error: the status again, a message for people, a stable code for machines."""

    status_code: int
    message: str
    code: str
    details: Any = None


class JobAnswer(Answer):
    """How a job stands; `result` is what its caller would have been answered, `error` why it was refused."""

    id: UUID
    kind: str
    status: str
    created_at: Timestamp
    finished_at: Timestamp | None
    result: Any
    error: ErrorAnswer | None


class PendingAnswer(Answer):
    """Accepted and durable; the job's result will be at `Location`."""

    success: bool
    status: Annotated[str, Meta(examples=["pending"])]
    job_id: UUID


class HealthAnswer(Answer):
    """The process answers; nothing else was asked."""

    status: str
    service: str
    timestamp: Timestamp


class ReadyAnswer(Answer):
    """Whether the service can do its work, and for each thing it needs `ok` or what is wrong."""

    status: str
    checks: dict[str, str]
