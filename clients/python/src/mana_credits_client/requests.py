"""The calls of the service, as values: what is sent, and how the answer is read."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from mana_credits_client.amounts import Amount, from_wire, to_wire
from mana_credits_client.values import Balance, Grant, Refund, Reservation, Transaction, Use

T = TypeVar("T")

PREFIX = "/api/v1/internal/credits"


@dataclass(frozen=True)
class Request(Generic[T]):
    """A call.  `name` is for logs: unlike `path` it has no person in it.  `key` is None for a call that only reads."""

    name: str
    method: str
    path: str
    read: Callable[[Any], T]
    key: str | None = None
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def balance(user_id: str) -> Request[Balance]:
    """A person's balance."""
    return Request("balance", "GET", f"{PREFIX}/balance/{quote(user_id, safe='')}", Balance.read)


def open_balance(user_id: str) -> Request[Balance]:
    """Make a person's balance where there is none."""
    return _post("init", "init", {"userId": user_id}, Balance.read, None)


def use(
    user_id: str,
    amount: Amount,
    description: str,
    *,
    app_id: str,
    key: str | None,
    metadata: Mapping[str, Any] | None,
) -> Request[Use]:
    """Spend now."""
    key = key or new_key()
    body = {
        "userId": user_id,
        "amount": to_wire(amount),
        "appId": app_id,
        "description": description,
        "metadata": metadata,
    }

    def read(answer: Any) -> Use:
        transaction = Transaction.read(answer["transaction"])
        return Use(
            key=key, confirmed=True, transaction=transaction, was_done_before=answer.get("newBalance") is None
        )

    return _post("use", "use", body, read, key)


def refund(
    user_id: str,
    amount: Amount,
    description: str,
    *,
    app_id: str,
    key: str | None,
    metadata: Mapping[str, Any] | None,
    wait_seconds: int,
) -> Request[Refund]:
    """Give back; the service is asked to wait `wait_seconds` for the end of its job."""
    key = key or new_key()
    body = {
        "userId": user_id,
        "amount": to_wire(amount),
        "appId": app_id,
        "description": description,
        "metadata": metadata,
    }

    def read(answer: Any) -> Refund:
        done = answer.get("transaction")
        transaction = None if done is None else Transaction.read(done)
        return Refund(key=key, transaction=transaction, job_id=answer.get("jobId"))

    return _post("refund", "refund", body, read, key, headers={"Prefer": f"wait={wait_seconds}"})


def grant(
    user_id: str, amount: int, reason: str, reference_id: str, *, description: str | None
) -> Request[Grant]:
    """Reward once: person and reference are the key."""
    body = {
        "userId": user_id,
        "amount": to_wire(amount),
        "reason": reason,
        "referenceId": reference_id,
        "description": description,
    }

    def read(answer: Any) -> Grant:
        return Grant(was_granted_before=answer["alreadyGranted"], balance=from_wire(answer["newBalance"]))

    return _post("grant", "grant", body, read, None)


def reserve(
    user_id: str, amount: int, reason: str, *, key: str | None, expires_in_seconds: int | None
) -> Request[Reservation]:
    """Set aside."""
    key = key or new_key()
    body = {
        "userId": user_id,
        "amount": to_wire(amount),
        "reason": reason,
        "expiresInSeconds": expires_in_seconds,
    }

    def read(answer: Any) -> Reservation:
        return Reservation(
            id=answer["reservationId"],
            key=key,
            balance=from_wire(answer["balance"]),
            expires_at=datetime.fromisoformat(answer["expiresAt"]),
        )

    return _post("reserve", "reserve", body, read, key)


def commit(reservation_id: str, *, description: str | None) -> Request[str]:
    """Spend what was set aside.  The reservation is the key: a second commit of it is the first."""
    body = {"reservationId": reservation_id, "description": description}

    def read(answer: Any) -> str:
        return str(answer["transactionId"])

    return _post("commit", "commit", body, read, commit_key(reservation_id))


def commit_key(reservation_id: str) -> str:
    """The key of a reservation's commit."""
    return f"commit-{reservation_id}"


def put_back(reservation_id: str) -> Request[None]:
    """Give back what was set aside.  The reservation is the key."""
    body = {"reservationId": reservation_id}
    return _post("put_back", "refund-reservation", body, lambda _answer: None, f"put-back-{reservation_id}")


def new_key() -> str:
    """An idempotency key that nothing else has."""
    return str(uuid.uuid4())


def _post(
    name: str,
    path: str,
    body: Mapping[str, Any],
    read: Callable[[Any], T],
    key: str | None,
    *,
    headers: Mapping[str, str] | None = None,
) -> Request[T]:
    said = {field: value for field, value in body.items() if value is not None}
    if key is not None:
        said["idempotencyKey"] = key
    encoded = json.dumps(said, allow_nan=False).encode()
    return Request(name, "POST", f"{PREFIX}/{path}", read, key, encoded, headers or {})
