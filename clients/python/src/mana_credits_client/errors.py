"""What can go wrong: the service refused, or what became of a call is not known."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final


class CreditsError(Exception):
    """Base of all that this client raises about a call."""


class Unconfirmed(CreditsError):
    """No answer told what became of a call, and the time to ask was over.

    `key` is the call's idempotency key (None for one that only reads, or that may be
    repeated as it is: `open_balance`, `grant`): the same call with it, later, takes effect once.
    `may_have_taken_effect` is False where no attempt can have reached the service.
    """

    def __init__(self, problem: str, *, key: str | None, attempts: int, may_have_taken_effect: bool) -> None:
        super().__init__(f"{problem} (attempts: {attempts})")
        self.key = key
        self.attempts = attempts
        self.may_have_taken_effect = may_have_taken_effect


class Refused(CreditsError):
    """The service said no.  Nothing was done, and the idempotency key stayed free.

    `code` is for programs and never changes, `message` is for people, `details` depend on the code.
    `request_id` names the request in the service's log.
    """

    def __init__(self, *, status: int, code: str, message: str, details: Any, request_id: str | None) -> None:
        super().__init__(f"{message} ({status} {code})")
        self.status = status
        self.code = code
        self.message = message
        self.details = details
        self.request_id = request_id


class InsufficientCredits(Refused):
    """The balance does not cover the amount.  Both facts are in credits."""

    @property
    def required(self) -> Decimal:
        """What was asked for."""
        return Decimal(self.details["required"])

    @property
    def available(self) -> Decimal:
        """What there is."""
        return Decimal(self.details["available"])


class BalanceNotFound(Refused):
    """The person has no balance: `open_balance` makes one."""


class IdempotencyKeyReused(Refused):
    """The key was used for another request: a key names one piece of work."""


class ReservationNotFound(Refused):
    """There is no such reservation."""


class ReservationNotOpen(Refused):
    """The reservation was committed or put back before."""


class ReservationExpired(ReservationNotOpen):
    """The reservation's time was over: its credits went back."""


class BadRequest(Refused):
    """The request is malformed; `details` names each bad field and what is wrong with it."""


class NotAuthenticated(Refused):
    """The service key is missing or not accepted."""


_KINDS: Final[dict[str, type[Refused]]] = {
    "insufficient_credits": InsufficientCredits,
    "balance_not_found": BalanceNotFound,
    "idempotency_key_reused": IdempotencyKeyReused,
    "reservation_not_found": ReservationNotFound,
    "reservation_not_open": ReservationNotOpen,
    "reservation_expired": ReservationExpired,
    "bad_request": BadRequest,
    "not_authenticated": NotAuthenticated,
}


def refusal(status: int, body: Any, request_id: str | None) -> Refused:
    """The exception for an answer that says no; a body that is not the service's makes a plain `Refused`."""
    said = body if isinstance(body, dict) else {}
    code = str(said.get("code", "unknown"))
    kind = _KINDS.get(code, Refused)
    return kind(
        status=status,
        code=code,
        message=str(said.get("message", "Refused without a reason")),
        details=said.get("details"),
        request_id=request_id,
    )
