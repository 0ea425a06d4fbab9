"""Stripe's refusals: an HTTP status and the `error` object its SDK reads."""

from typing import Any


class StripeError(Exception):
    """A request Stripe refuses.

    `type` is Stripe's (`invalid_request_error`, `card_error`, `idempotency_error`, `api_error`); `extra`
    holds further members of the error object, such as `decline_code` or the `payment_intent`.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.kind = kind
        self.code = code
        self.param = param
        self.extra = extra or {}

    def body(self) -> dict[str, Any]:
        """Return the answer's JSON."""
        error: dict[str, Any] = {"message": self.message, "type": self.kind}
        if self.code:
            error["code"] = self.code
            error["doc_url"] = f"https://stripe.com/docs/error-codes/{self.code.replace('_', '-')}"
        if self.param:
            error["param"] = self.param
        return {"error": {**error, **self.extra}}


class ParameterError(StripeError):
    """A parameter that is missing, unknown or wrong.  Stripe does not keep these under an idempotency key."""


def no_such(noun: str, object_id: str, param: str = "id") -> StripeError:
    """Return the 404 for an object that does not exist."""
    return StripeError(f"No such {noun}: '{object_id}'", status=404, code="resource_missing", param=param)


PLANNED_ERRORS: dict[int, StripeError] = {
    402: StripeError(
        "Your card was declined.",
        status=402,
        kind="card_error",
        code="card_declined",
        extra={"decline_code": "generic_decline"},
    ),
    409: StripeError(
        "This object cannot be accessed right now because another API request or Stripe process is "
        "currently accessing it.",
        status=409,
        code="lock_timeout",
    ),
    429: StripeError("Too many requests made to the API too quickly", status=429, code="rate_limit"),
    500: StripeError("An unknown error occurred", status=500, kind="api_error"),
    503: StripeError("Stripe is temporarily unavailable", status=503, kind="api_error"),
}
"""The answers of planned faults, by status."""
