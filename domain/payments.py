"""Payments: what this service wants of a payment provider, and what it is told.  The provider is Stripe;
its room is stripe_gateway, and nothing else knows its SDK.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol
from uuid import UUID

import msgspec

from domain.taking_back import Reversal

CURRENCY: Final = "eur"
"""What packages are priced in, as Stripe writes it."""


class PaymentProviderFailed(Exception):
    """The provider did not do what was asked.  Its message is for logs and names no person."""


class PaymentProviderUnavailable(PaymentProviderFailed):
    """An outage: no answer, half an answer, or one that says to come back.  Whether it was done is unknown."""


class PaymentProviderRefused(PaymentProviderFailed):
    """The provider will not do it, however often it is asked: a wrong key, a parameter it does not take."""


class CustomerUnknown(PaymentProviderRefused):
    """The provider has no such customer (any more)."""


class PaymentState(StrEnum):
    """How far a payment is."""

    OPEN = "open"
    """Nobody has tried to pay."""
    PROCESSING = "processing"
    """Asked for at a bank; days may pass."""
    FAILED = "failed"
    """The last try failed; another may follow."""
    CANCELLED = "cancelled"
    """Nobody can pay it any more."""
    PAID = "paid"


class Payment(msgspec.Struct, frozen=True, kw_only=True):
    """What the provider says of one payment, at `at`.  Amounts in the currency's cents; None is not told."""

    state: PaymentState
    at: datetime
    payment_intent_id: str | None
    checkout_session_id: str | None = None
    purchase_id: UUID | None = None
    """Which purchase it says it is for: what we wrote into its metadata."""
    paid_cents: int | None = None
    currency: str | None = None
    failure_code: str | None = None


class PaymentOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A payment to be prepared, for one purchase."""

    purchase_id: UUID
    user_id: str
    package_id: UUID
    package_name: str
    credits: int
    price_euro_cents: int
    stripe_price_id: str | None


class PreparedIntent(msgspec.Struct, frozen=True, kw_only=True):
    """A PaymentIntent that waits for the payer; the secret is for the payer's browser alone."""

    payment_intent_id: str
    client_secret: str


class PreparedSession(msgspec.Struct, frozen=True, kw_only=True):
    """A Checkout page that waits for the payer at `url`."""

    checkout_session_id: str
    url: str


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the provider knows of a purchase: nothing, or its payment and what went back of it."""

    payment: Payment | None
    reversals: Sequence[Reversal] = ()


class EventList(msgspec.Struct, frozen=True, kw_only=True):
    """What was `read` of events, as they were `at` a time by the provider's own clock; None where it did not tell.

    Of them the unknown ones, oldest first, each as JSON: they may be thousands, and take a tenth of the memory that
    they take when decoded.
    """

    unknown: list[bytes]
    read: int
    at: datetime | None


class Gateway(Protocol):
    """The door to the provider.  Every call blocks, for seconds when the provider is slow.

    Each raises PaymentProviderUnavailable or PaymentProviderRefused.  `key` makes a call take effect once:
    the same key with the same arguments gets the first answer, for about a day.
    """

    def create_customer(self, *, user_id: str, email: str | None, key: str) -> str:
        """Make a customer; the provider's id."""
        ...

    def create_intent(self, order: PaymentOrder, *, customer_id: str, key: str) -> PreparedIntent:
        """Prepare a payment in the payer's own page.  Raises CustomerUnknown."""
        ...

    def create_session(
        self, order: PaymentOrder, *, customer_id: str, success_url: str, cancel_url: str | None, key: str
    ) -> PreparedSession:
        """Prepare a payment on the provider's page.  Raises CustomerUnknown."""
        ...

    def client_secret(self, payment_intent_id: str) -> str:
        """The secret of an intent, again."""
        ...

    def ask_intent(self, payment_intent_id: str, *, now: datetime) -> Known:
        """What became of an intent, as of `now`."""
        ...

    def ask_session(self, checkout_session_id: str, *, now: datetime) -> Known:
        """What became of a session, as of `now`."""
        ...

    def find(self, purchase_id: UUID, *, customer_id: str, since: datetime, now: datetime) -> Known:
        """What the provider has for a purchase whose id at the provider was never learnt.

        It is looked for among the customer's payments made after `since`.
        """
        ...

    def events(
        self,
        types: Sequence[str],
        *,
        since: datetime,
        until: datetime,
        known: Callable[[Sequence[str]], AbstractSet[str]],
    ) -> EventList | None:
        """The events of these types made from `since` to before `until`, but for those `known` says are known.

        `known` is given ids, some hundred at a time.  None when they are too many to be read at once.
        """
        ...
