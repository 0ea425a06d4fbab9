"""How what went wrong looks over HTTP: one table from refusals to statuses and messages, and the envelope."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from domain import errors
from domain.amounts import wire_amount
from domain.errors import Refusal
from domain.jobs.refusals import UnknownRefusal
from domain.payments import PaymentProviderFailed, PaymentProviderUnavailable
from web.answers import encoder
from web.auth import KeysUnavailable, NotAuthenticated
from web.batches import Overloaded
from web.bodies import BadRequest, UnreadableBody
from web.deductions import Outage
from web.operators.queues_unavailable import QueuesUnavailable
from web.throttle import TooManyRequests

RETRY_AFTER_SECONDS: Final = 1
"""What a caller is told to wait after an outage: queues here empty, and PostgreSQL restarts, in about that."""


@dataclass(frozen=True)
class Look:
    """How a refusal looks: `message` is fixed by the contract and may have the refusal's facts in it."""

    status: int
    message: str
    details: Callable[[Any], dict[str, Any]] | None = None


def _amounts(refusal: errors.InsufficientCredits) -> dict[str, Any]:
    return {"required": wire_amount(refusal.required), "available": wire_amount(refusal.available)}


REFUSALS: Final[dict[type[Refusal], Look]] = {
    errors.InsufficientCredits: Look(402, "Insufficient credits", _amounts),
    errors.BalanceNotFound: Look(404, "User balance not found"),
    errors.BalanceTooLarge: Look(400, "Balance would become too large"),
    errors.IdempotencyKeyReused: Look(422, "Idempotency key was used with a different request"),
    errors.AnswerForgotten: Look(422, "Idempotency key was used long ago, and its answer is not kept"),
    errors.ReservationNotFound: Look(404, "Reservation not found"),
    errors.ReservationNotOpen: Look(400, "Cannot {action} reservation in status: {status}"),
    errors.ReservationExpired: Look(400, "Cannot {action} reservation in status: {status}"),
    errors.InsufficientForGift: Look(400, "Insufficient credits to create gift"),
    errors.GiftNotFound: Look(404, "Gift not found"),
    errors.GiftNotOpen: Look(400, "Only active gifts can be cancelled"),
    errors.GiftCodeNotFound: Look(404, "Gift code not found"),
    errors.GiftNotActive: Look(400, "Gift code is {status}"),
    errors.GiftAlreadyClaimed: Look(400, "Gift already claimed"),
    errors.GiftExpired: Look(400, "Gift code expired"),
    errors.GiftReservedForAnother: Look(400, "Gift is reserved for another user"),
    errors.PackageNotFound: Look(404, "Package not found or inactive"),
    errors.PackageSold: Look(400, "Package was sold: its price and credits cannot change"),
    errors.StripePriceTaken: Look(400, "Another package has this Stripe price"),
    errors.PurchaseNotFound: Look(404, "Purchase not found"),
    errors.PurchaseLapsed: Look(400, "Purchase was begun too long ago; begin a new one"),
    errors.PaymentsNotConfigured: Look(503, "Payments are not configured"),
    errors.PaymentDoesNotMatch: Look(400, "Payment does not match its purchase: {problem}"),
    errors.SyncAlreadyActive: Look(400, "Sync is already active"),
    errors.SyncAlreadyGifted: Look(400, "Sync is already gifted — no activation needed"),
    errors.SyncNotActive: Look(400, "Sync is not active"),
    errors.SyncIsGifted: Look(400, "Sync is gifted — contact support to revoke"),
    errors.SyncNotFound: Look(404, "No sync subscription found for user"),
    errors.SyncNotGifted: Look(400, "Sync is not gifted — nothing to revoke"),
    errors.JobNotFound: Look(404, "Job not found"),
    errors.JobNotInState: Look(400, "Cannot {action} job in state: {state}"),
    errors.JobBusy: Look(409, "Job is being worked on"),
    errors.StripeEventNotFound: Look(404, "Stripe event not found"),
    errors.NotPermitted: Look(403, "Viewers may not act"),
    errors.ReasonMissing: Look(400, "A reason is required"),
    errors.AdjustmentTooLarge: Look(400, "Adjustment is above the ceiling of {ceiling} credits"),
    errors.DeadLetterNotFound: Look(404, "Dead letter not found"),
    errors.PurchaseSettled: Look(400, "Purchase is settled: there is nothing to ask"),
    errors.WebhookEndpointNotFound: Look(404, "Webhook endpoint not found"),
    errors.WebhookEndpointNotActive: Look(400, "Webhook endpoint is {state}"),
    errors.WebhookAddressRefused: Look(400, "The url {why}"),
    errors.WebhookUrlTaken: Look(400, "The app has an endpoint at this address"),
    errors.TooManyWebhookEndpoints: Look(400, "There are at most {most} webhook endpoints"),
    errors.WebhookDeliveryNotFound: Look(404, "Webhook delivery not found"),
    UnknownRefusal: Look(400, "The request was refused"),
}
"""Every refusal of the domain; a test proves the table complete, and docs/errors.md is made from it."""


class WrongServiceKey(Exception):
    """The header X-Service-Key is missing or holds no accepted key."""


@dataclass(frozen=True)
class Wrong:
    """An error as it is sent: status, message for people, code for machines, details, extra headers."""

    status: int
    message: str
    code: str
    details: Any = None
    headers: dict[str, str] | None = None

    def body(self) -> dict[str, Any]:
        """The envelope of the contract, with the code added."""
        body = {"statusCode": self.status, "message": self.message, "code": self.code}
        return body if self.details is None else {**body, "details": self.details}

    def response(self) -> web.Response:
        """The response."""
        return web.Response(
            body=encoder.encode(self.body()),
            status=self.status,
            content_type="application/json",
            headers=self.headers,
        )


def wrong_of_refusal(refusal: Refusal) -> Wrong:
    """How a refusal looks."""
    look = REFUSALS[type(refusal)]
    return Wrong(
        status=look.status,
        message=look.message.format_map(vars(refusal)),
        code=refusal.code,
        details=None if look.details is None else look.details(refusal),
    )


def wrong_of(error: Exception) -> Wrong | None:
    """How an error looks that is expected to happen; None for one that is a defect of ours."""
    match error:
        case Refusal():
            return wrong_of_refusal(error)
        case UnreadableBody():
            return Wrong(400, "Invalid request", "bad_request", error.details, {"Connection": "close"})
        case BadRequest():
            return Wrong(400, "Invalid request", "bad_request", error.details)
        case NotAuthenticated():
            return Wrong(401, error.message, "not_authenticated")
        case WrongServiceKey():
            return Wrong(401, "Invalid or missing service key", "not_authenticated")
        case PaymentProviderFailed():
            return PAYMENT_UNKNOWN if isinstance(error, PaymentProviderUnavailable) else PAYMENT_REFUSED
        case TooManyRequests() | Overloaded() | Outage() | KeysUnavailable():
            return _later(error)
        case web.HTTPRequestEntityTooLarge():
            return Wrong(413, "Request body is too large", "body_too_large")
        case web.HTTPException() if error.status >= 400:
            headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
            phrase = HTTPStatus(error.status).phrase
            return Wrong(error.status, phrase, phrase.lower().replace(" ", "_"), headers=headers)
        case _:
            return None


PAYMENT_UNKNOWN: Final = Wrong(
    502,
    "The payment provider did not answer; nothing was charged. Try again with the same idempotency key",
    "payment_provider_failed",
)
PAYMENT_REFUSED: Final = Wrong(
    502, "The payment provider refused the request; nothing was charged", "payment_provider_refused"
)


def _later(error: TooManyRequests | Overloaded | Outage | KeysUnavailable) -> Wrong:
    match error:
        case TooManyRequests():
            headers = {"Retry-After": str(error.retry_after_seconds)}
            return Wrong(429, "Too many requests", "too_many_requests", headers=headers)
        case Overloaded():
            return _unavailable("Too many requests are waiting", "overloaded")
        case QueuesUnavailable():
            return _unavailable("Redis does not answer; jobs are safe in the database", "redis_unavailable")
        case Outage():
            return _unavailable("The database does not answer; try again", "database_unavailable")
        case KeysUnavailable():
            message = "Sign-in cannot be checked now; try again"
            return _unavailable(message, "auth_unavailable", error.retry_after_seconds)


def _unavailable(message: str, code: str, retry_after_seconds: int = RETRY_AFTER_SECONDS) -> Wrong:
    return Wrong(503, message, code, headers={"Retry-After": str(retry_after_seconds)})


DEFECT: Final = Wrong(500, "Internal server error", "internal_error")
"""What a caller hears of a defect of ours: nothing about it.  The log has the rest."""


ADMIN_ONLY: Final = {"error": "Forbidden", "message": "Admin access required"}
"""The contract's own shape for a caller who is no admin."""
