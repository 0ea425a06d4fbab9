"""Stripe's events about one payment, with the fields of Stripe's own fixtures; in any order a test likes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from simulators.stripe.shapes import shape

Object = dict[str, Any]

FIRST = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

_numbers = itertools.count()


def event(kind: str, obj: Object, *, seconds: float = 0) -> Object:
    """A new event of this type, made so many seconds after FIRST."""
    return shape(
        "event",
        id=f"evt_{next(_numbers)}",
        object="event",
        api_version="2026-10-28.endive",
        created=int(FIRST.timestamp() + seconds),
        data={"object": obj},
        livemode=False,
        pending_webhooks=1,
        request={"id": None, "idempotency_key": None},
        type=kind,
    )


def again(told: Object) -> Object:
    """The same, told by an event of its own."""
    return {**told, "id": f"evt_{next(_numbers)}"}


@dataclass
class Told:
    """What Stripe may tell of one payment of `cents`; times are seconds after FIRST."""

    intent_id: str
    purchase_id: UUID | None
    cents: int = 1_000
    charge_id: str = ""

    def __post_init__(self) -> None:
        self.charge_id = self.charge_id or self.intent_id.replace("pi_", "ch_")

    def intent(self, status: str, **more: Any) -> Object:
        facts = {
            "id": self.intent_id,
            "object": "payment_intent",
            "amount": self.cents,
            "amount_received": self.cents if status == "succeeded" else 0,
            "currency": "eur",
            "metadata": {} if self.purchase_id is None else {"purchaseId": str(self.purchase_id)},
            "status": status,
        }
        return shape("payment_intent", **{**facts, **more})

    def succeeded(self, *, seconds: float = 30, **more: Any) -> Object:
        return event("payment_intent.succeeded", self.intent("succeeded", **more), seconds=seconds)

    def processing(self, *, seconds: float = 10) -> Object:
        return event("payment_intent.processing", self.intent("processing"), seconds=seconds)

    def failed(self, *, seconds: float = 20) -> Object:
        error = {"type": "card_error", "code": "card_declined", "decline_code": "insufficient_funds"}
        intent = self.intent("requires_payment_method", last_payment_error=error)
        return event("payment_intent.payment_failed", intent, seconds=seconds)

    def canceled(self, *, seconds: float = 25) -> Object:
        return event("payment_intent.canceled", self.intent("canceled"), seconds=seconds)

    def charge_refunded(self, sum_cents: int, *, seconds: float = 40) -> Object:
        """What the charge says: the sum of its refunds so far."""
        charge = shape(
            "charge",
            id=self.charge_id,
            object="charge",
            amount=self.cents,
            amount_refunded=sum_cents,
            refunded=sum_cents == self.cents,
            currency="eur",
            payment_intent=self.intent_id,
            status="succeeded",
        )
        return event("charge.refunded", charge, seconds=seconds)

    def refund(
        self,
        name: str,
        cents: int,
        status: str = "succeeded",
        *,
        kind: str = "refund.created",
        seconds: float = 40,
    ) -> Object:
        refund = shape(
            "refund",
            id=f"re_{name}_{self.intent_id}",
            object="refund",
            amount=cents,
            charge=self.charge_id,
            currency="eur",
            payment_intent=self.intent_id,
            status=status,
        )
        return event(kind, refund, seconds=seconds)

    def dispute(
        self, what: str, status: str, *, cents: int | None = None, name: str = "1", seconds: float = 60
    ) -> Object:
        """`what` is created, updated, funds_withdrawn, closed or funds_reinstated."""
        dispute = shape(
            "dispute",
            id=f"du_{name}_{self.intent_id}",
            object="dispute",
            amount=self.cents if cents is None else cents,
            charge=self.charge_id,
            currency="eur",
            payment_intent=self.intent_id,
            status=status,
        )
        return event(f"charge.dispute.{what}", dispute, seconds=seconds)
