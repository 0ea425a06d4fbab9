"""The door to Stripe, through its SDK: the only `import stripe` there is.

Time-outs and repeats are ours, not the SDK's: every call that makes something carries a key, so that it can
be repeated when its answer was lost, and it is given up before a waiting caller would give up.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec
import stripe
import structlog

from domain import stripe_facts
from domain.payments import (
    CURRENCY,
    CustomerUnknown,
    EventList,
    Known,
    Payment,
    PaymentOrder,
    PaymentProviderRefused,
    PaymentProviderUnavailable,
    PaymentState,
    PreparedIntent,
    PreparedSession,
)
from domain.settings import Settings
from domain.taking_back import Reversal

CONNECT_SECONDS_MAX: Final = 5.0
READ_SECONDS_MAX: Final = 20.0
"""Stripe answers in about a second; what took longer than this will hardly come."""

TRIES_MAX: Final = 3
TRY_AGAIN_WITHIN_SECONDS: Final = 15.0
"""No further try later than this after the first: callers of ours give up after about half a minute."""

PAUSE_SECONDS: Final = 0.25
PAUSE_SECONDS_MAX: Final = 1.0
"""Before the second try; doubled before each further one up to the longest, and jittered."""

PAYMENT_METHODS: Final = ("card", "sepa_debit")
"""How a package may be paid (contract, section 3)."""

KEY_IN_USE_STATUS: Final = 409
"""A call with the same idempotency key is under way."""

EVENTS_PER_PAGE: Final = 100
EVENT_PAGES_MAX: Final = 20

CLOCK_SKEW: Final = timedelta(minutes=5)
"""How far Stripe's clock may be from ours when we look for what was made after an instant of ours."""

T = TypeVar("T")
Object = dict[str, Any]

log = structlog.get_logger(__name__)


class StripeGateway:
    """domain.payments.Gateway for one Stripe account.  Safe for many threads."""

    def __init__(
        self,
        secret_key: str,
        *,
        api_base: str | None = None,
        connect_seconds_max: float = CONNECT_SECONDS_MAX,
        read_seconds_max: float = READ_SECONDS_MAX,
    ) -> None:
        self._http = stripe.RequestsClient(timeout=(connect_seconds_max, read_seconds_max))
        self._client = stripe.StripeClient(
            secret_key,
            base_addresses={"api": api_base} if api_base else {},
            http_client=self._http,
            max_network_retries=0,
        )

    def close(self) -> None:
        """Close the connections of the calling thread."""
        self._http.close()  # type: ignore[no-untyped-call]

    def create_customer(self, *, user_id: str, email: str | None, key: str) -> str:
        """See domain.payments.Gateway."""
        params: Any = {"metadata": {"userId": user_id}}
        if email:
            params["email"] = email
        made = _patiently(lambda: self._client.v1.customers.create(params, {"idempotency_key": key}))
        return made.id

    def create_intent(self, order: PaymentOrder, *, customer_id: str, key: str) -> PreparedIntent:
        """See domain.payments.Gateway."""
        params: Any = {
            "amount": order.price_euro_cents,
            "currency": CURRENCY,
            "customer": customer_id,
            # Since version 2026-10-28 `payment_method_types` is what Stripe answers, no longer a wish.
            "allowed_payment_method_types": list(PAYMENT_METHODS),
            "description": order.package_name,
            "metadata": _metadata(order),
        }
        made = _patiently(lambda: self._client.v1.payment_intents.create(params, {"idempotency_key": key}))
        if made.client_secret is None:
            raise PaymentProviderRefused("the payment intent has no client secret")
        return PreparedIntent(payment_intent_id=made.id, client_secret=made.client_secret)

    def create_session(
        self, order: PaymentOrder, *, customer_id: str, success_url: str, cancel_url: str | None, key: str
    ) -> PreparedSession:
        """See domain.payments.Gateway."""
        params: Any = {
            "mode": "payment",
            "customer": customer_id,
            "client_reference_id": str(order.purchase_id),
            "line_items": [{"quantity": 1, **_price(order)}],
            "allowed_payment_method_types": list(PAYMENT_METHODS),
            "metadata": _metadata(order),
            "payment_intent_data": {"metadata": _metadata(order), "description": order.package_name},
            "success_url": success_url,
        }
        if cancel_url is not None:
            params["cancel_url"] = cancel_url
        made = _patiently(lambda: self._client.v1.checkout.sessions.create(params, {"idempotency_key": key}))
        if made.url is None:
            raise PaymentProviderRefused("the checkout session has no address")
        if made.amount_total != order.price_euro_cents:
            log.error("stripe_price_differs", package_id=str(order.package_id), asked=made.amount_total)
            _patiently(lambda: self._client.v1.checkout.sessions.expire(made.id))
            raise PaymentProviderRefused("the package's price at Stripe is not its price here")
        return PreparedSession(checkout_session_id=made.id, url=made.url)

    def client_secret(self, payment_intent_id: str) -> str:
        """See domain.payments.Gateway."""
        intent = _patiently(lambda: self._client.v1.payment_intents.retrieve(payment_intent_id))
        if intent.client_secret is None:
            raise PaymentProviderRefused("the payment intent has no client secret")
        return intent.client_secret

    def ask_intent(self, payment_intent_id: str, *, now: datetime) -> Known:
        """See domain.payments.Gateway."""
        intent = _patiently(lambda: self._client.v1.payment_intents.retrieve(payment_intent_id))
        return self._with_reversals(stripe_facts.payment_of_intent(intent.to_dict(), now), now)

    def ask_session(self, checkout_session_id: str, *, now: datetime) -> Known:
        """See domain.payments.Gateway."""
        whole: Any = {"expand": ["payment_intent"]}
        session = _patiently(lambda: self._client.v1.checkout.sessions.retrieve(checkout_session_id, whole))
        return self._with_reversals(stripe_facts.payment_of_session(session.to_dict(), now), now)

    def find(self, purchase_id: UUID, *, customer_id: str, since: datetime, now: datetime) -> Known:
        """See domain.payments.Gateway."""
        made_after = int((since - CLOCK_SKEW).timestamp())
        wanted: Any = {"customer": customer_id, "created": {"gte": made_after}, "limit": 100}

        whole: Any = {**wanted, "expand": ["data.payment_intent"]}

        def sessions() -> list[Object]:
            return [one.to_dict() for one in self._client.v1.checkout.sessions.list(whole).auto_paging_iter()]

        def intents() -> list[Object]:
            return [one.to_dict() for one in self._client.v1.payment_intents.list(wanted).auto_paging_iter()]

        found = [stripe_facts.payment_of_session(one, now) for one in _patiently(sessions)]
        found += [stripe_facts.payment_of_intent(one, now) for one in _patiently(intents)]
        ours = [one for one in found if one is not None and one.purchase_id == purchase_id]
        return self._with_reversals(ours[0] if ours else None, now)

    def events(
        self,
        types: Sequence[str],
        *,
        since: datetime,
        until: datetime,
        known: Callable[[Sequence[str]], AbstractSet[str]],
    ) -> EventList | None:
        """See domain.payments.Gateway."""
        created = {"gte": int(since.timestamp()), "lt": int(until.timestamp())}
        params: Any = {"types": list(types), "created": created, "limit": EVENTS_PER_PAGE}
        unknown: list[bytes] = []
        read = 0
        at: datetime | None = None
        for _ in range(EVENT_PAGES_MAX):
            # Raw: as the SDK's objects a page takes some ten megabytes.
            answer = _patiently(lambda: self._client.raw_request("get", "/v1/events", **params))
            # As of the first page: what came into being since then would have been on it.
            at = at or _clock_of(answer.headers)
            page = answer.data["data"]
            read += len(page)
            of_page = known([event["id"] for event in page])
            unknown += [msgspec.json.encode(event) for event in page if event["id"] not in of_page]
            if not answer.data["has_more"]:
                return EventList(unknown=unknown[::-1], read=read, at=at)
            params["starting_after"] = page[-1]["id"]
        return None

    def _with_reversals(self, payment: Payment | None, now: datetime) -> Known:
        """With what went back of a payment, if it was paid."""
        if payment is None or payment.payment_intent_id is None or payment.state is not PaymentState.PAID:
            return Known(payment=payment)
        of_intent: Any = {"payment_intent": payment.payment_intent_id, "limit": 100}

        def refunds() -> list[Object]:
            return [one.to_dict() for one in self._client.v1.refunds.list(of_intent).auto_paging_iter()]

        def disputes() -> list[Object]:
            return [one.to_dict() for one in self._client.v1.disputes.list(of_intent).auto_paging_iter()]

        found: list[Reversal | None] = [
            stripe_facts.reversal_of_refund(one, now) for one in _patiently(refunds)
        ]
        found += [stripe_facts.reversal_of_dispute(one, now) for one in _patiently(disputes)]
        return Known(payment=payment, reversals=[one for one in found if one is not None])


def gateway_of(settings: Settings) -> StripeGateway | None:
    """The gateway that the settings describe; None without a secret key."""
    if settings.stripe_secret_key is None:
        return None
    return StripeGateway(settings.stripe_secret_key, api_base=settings.stripe_api_base)


def _metadata(order: PaymentOrder) -> dict[str, str]:
    return {
        "userId": order.user_id,
        "packageId": str(order.package_id),
        "purchaseId": str(order.purchase_id),
    }


def _price(order: PaymentOrder) -> dict[str, Any]:
    if order.stripe_price_id is not None:
        return {"price": order.stripe_price_id}
    return {
        "price_data": {
            "currency": CURRENCY,
            "unit_amount": order.price_euro_cents,
            "product_data": {"name": order.package_name},
        }
    }


def _clock_of(headers: Mapping[str, str]) -> datetime | None:
    """What Stripe's clock said, by an answer's Date (RFC 9110, section 6.6.1); None without one that can be read."""
    try:
        at = parsedate_to_datetime(headers["Date"])
    except (KeyError, ValueError):
        return None
    return None if at.tzinfo is None else at


def _patiently(call: Callable[[], T]) -> T:
    """What the call returns, tried again after an outage; raises our errors in place of the SDK's.

    While the same call is under way elsewhere (first purchases at once), its answer is waited for.
    """
    give_up_at = time.monotonic() + TRY_AGAIN_WITHIN_SECONDS
    pause_seconds = PAUSE_SECONDS
    tries = 1
    while True:
        try:
            return call()
        except stripe.StripeError as error:
            ours = _our_error(error)
            pause = pause_seconds * random.uniform(0.75, 1.5)  # noqa: S311 - nobody gains by guessing it  # nosec B311
            is_late = time.monotonic() + pause > give_up_at
            log.warning("stripe_call_failed", error=str(ours), tries=tries)
            is_last = tries >= TRIES_MAX and error.http_status != KEY_IN_USE_STATUS
            if not isinstance(ours, PaymentProviderUnavailable) or is_last or is_late:
                raise ours from error
        time.sleep(pause)
        pause_seconds = min(2 * pause_seconds, PAUSE_SECONDS_MAX)
        tries += 1


def _our_error(error: stripe.StripeError) -> PaymentProviderUnavailable | PaymentProviderRefused:
    """The error without Stripe's message, which may quote what a person entered."""
    status, request_id = error.http_status, error.request_id or "-"
    what = f"{type(error).__name__}, status {status or '-'}, code {error.code or '-'}, request {request_id}"
    if status is None or status >= 500 or status in (409, 429):
        return PaymentProviderUnavailable(what)
    if error.code == "resource_missing" and getattr(error, "param", None) == "customer":
        return CustomerUnknown(what)
    return PaymentProviderRefused(what)
