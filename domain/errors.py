"""The refusals: what a caller asked for and may not have.  One class each, with a code and its facts.

A refusal is the caller's fault and final; an outage (anything else that is raised) is ours, and trying again
makes sense.  How a refusal looks over HTTP is the business of web/errors.
"""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar


class Refusal(Exception):
    """A request that may not be done.  `code` is stable and machine-readable."""

    code: ClassVar[str]
    is_recorded: ClassVar[bool] = False
    """Whether what was written before it was raised is kept (the frame commits), or undone."""


class InsufficientCredits(Refusal):
    """The balance does not cover the amount.  Nothing was written and the key is free."""

    code = "insufficient_credits"

    def __init__(self, required: Decimal, available: Decimal) -> None:
        super().__init__(f"{required} required, {available} available")
        self.required = required
        self.available = available


class BalanceNotFound(Refusal):
    """The person has no balance, and this operation does not make one."""

    code = "balance_not_found"


class BalanceTooLarge(Refusal):
    """The balance would pass the largest there may be (domain.amounts.BALANCE_MAX)."""

    code = "balance_too_large"


class IdempotencyKeyReused(Refusal):
    """The idempotency key was used with a different request.  Nothing was written."""

    code = "idempotency_key_reused"


class AnswerForgotten(Refusal):
    """The idempotency key was used so long ago that its answer is not kept any more.  It is not done again."""

    code = "answer_forgotten"


class ReservationNotFound(Refusal):
    """There is no such reservation."""

    code = "reservation_not_found"


class ReservationNotOpen(Refusal):
    """The reservation was committed or refunded before.  `action` is `commit` or `refund`."""

    code = "reservation_not_open"

    def __init__(self, action: str, status: str) -> None:
        super().__init__(f"cannot {action} a reservation in status {status}")
        self.action = action
        self.status = status


class ReservationExpired(ReservationNotOpen):
    """The reservation's time was over: its credits went back now, and it is `refunded`."""

    code = "reservation_expired"
    is_recorded = True

    def __init__(self, action: str) -> None:
        super().__init__(action, "refunded")


class PackageNotFound(Refusal):
    """There is no such package, or it is not for sale."""

    code = "package_not_found"


class PackageSold(Refusal):
    """The package was bought before: its price and credits stay.  A new one may be made beside it."""

    code = "package_sold"


class StripePriceTaken(Refusal):
    """Another package has this price of Stripe's."""

    code = "stripe_price_taken"


class PurchaseNotFound(Refusal):
    """The person has no such purchase."""

    code = "purchase_not_found"


class PurchaseLapsed(Refusal):
    """The purchase was begun about a day ago and never reached Stripe: begin a new one."""

    code = "purchase_lapsed"


class PaymentsNotConfigured(Refusal):
    """This service was given no key of Stripe's, so that nothing can be bought."""

    code = "payments_not_configured"


class PaymentDoesNotMatch(Refusal):
    """Stripe tells of a payment that does not fit its purchase: nothing is credited, a person has to look.

    `problem` says what does not fit; the purchase keeps it too.
    """

    code = "payment_does_not_match"
    is_recorded = True

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


class InsufficientForGift(Refusal):
    """The creator's balance does not cover the gift, or there is none.  Nothing was written."""

    code = "insufficient_for_gift"


class GiftNotFound(Refusal):
    """The person made no such gift."""

    code = "gift_not_found"


class GiftNotOpen(Refusal):
    """The gift was redeemed, cancelled, or expired before, and cannot be cancelled."""

    code = "gift_not_open"


class GiftCodeNotFound(Refusal):
    """No gift has this code."""

    code = "gift_code_not_found"


class GiftNotActive(Refusal):
    """The gift ended before.  The attempt is recorded."""

    code = "gift_not_active"
    is_recorded = True

    def __init__(self, status: str) -> None:
        super().__init__(f"the gift is {status}")
        self.status = status


class GiftAlreadyClaimed(Refusal):
    """The person has redeemed this very gift before.  The attempt is recorded."""

    code = "gift_already_claimed"
    is_recorded = True


class GiftExpired(Refusal):
    """The gift's time was over: it ended now, its creator was paid back, and the attempt is recorded."""

    code = "gift_expired"
    is_recorded = True


class GiftReservedForAnother(Refusal):
    """The gift is for another address.  The attempt is recorded."""

    code = "gift_reserved_for_another"
    is_recorded = True


class SyncAlreadyActive(Refusal):
    """The person's sync is active and paid for."""

    code = "sync_already_active"


class SyncAlreadyGifted(Refusal):
    """The person's sync is a gift of ours: there is nothing to pay for."""

    code = "sync_already_gifted"


class SyncNotActive(Refusal):
    """The person's sync is not active: never activated, deactivated, or paused."""

    code = "sync_not_active"


class SyncIsGifted(Refusal):
    """The person's sync is a gift of ours, which only an administrator takes back."""

    code = "sync_is_gifted"


class SyncNotFound(Refusal):
    """The person never had a sync subscription."""

    code = "sync_not_found"


class SyncNotGifted(Refusal):
    """The person's sync is no gift of ours: nothing can be taken back."""

    code = "sync_not_gifted"


class JobNotFound(Refusal):
    """There is no such job, or it was pruned."""

    code = "job_not_found"


class JobNotInState(Refusal):
    """The job's state does not allow it: what waits may be cancelled, what ended without effect retried."""

    code = "job_not_in_state"

    def __init__(self, action: str, state: str) -> None:
        super().__init__(f"cannot {action} a job that is {state}")
        self.action = action
        self.state = state


class JobBusy(Refusal):
    """A worker is on the job at this moment, so that it cannot be cancelled."""

    code = "job_busy"


class StripeEventNotFound(Refusal):
    """There is no such event of Stripe's, or it was pruned."""

    code = "stripe_event_not_found"


class NotPermitted(Refusal):
    """The operator may look, and not act."""

    code = "not_permitted"


class ReasonMissing(Refusal):
    """Operators say why they do what they do: no action without a reason."""

    code = "reason_missing"


class AdjustmentTooLarge(Refusal):
    """The adjustment is above the ceiling for one (OPS_ADJUST_MAX).  Nothing was written."""

    code = "adjustment_too_large"

    def __init__(self, ceiling: int) -> None:
        super().__init__(f"an adjustment is at most {ceiling} credits")
        self.ceiling = ceiling


class DeadLetterNotFound(Refusal):
    """There is no such dead letter: somebody else requeued or dropped it, or it went after an hour."""

    code = "dead_letter_not_found"


class PurchaseSettled(Refusal):
    """The purchase is completed or cancelled for good: Stripe has nothing to tell of it."""

    code = "purchase_settled"


class WebhookEndpointNotFound(Refusal):
    """There is no such webhook endpoint, or it was removed."""

    code = "webhook_endpoint_not_found"


class WebhookEndpointNotActive(Refusal):
    """The webhook endpoint is paused or disabled: nothing is sent there."""

    code = "webhook_endpoint_not_active"

    def __init__(self, state: str) -> None:
        super().__init__(f"the endpoint is {state}")
        self.state = state


class WebhookAddressRefused(Refusal):
    """Webhooks may not go to this address: it is not public, not HTTPS, or nobody knows its host."""

    code = "webhook_address_refused"

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class WebhookUrlTaken(Refusal):
    """The app has an endpoint at this address."""

    code = "webhook_url_taken"


class TooManyWebhookEndpoints(Refusal):
    """There are as many webhook endpoints as there may be: remove one that nobody needs."""

    code = "too_many_webhook_endpoints"

    def __init__(self, most: int) -> None:
        super().__init__(f"there are {most} endpoints")
        self.most = most


class WebhookDeliveryNotFound(Refusal):
    """There is no such delivery, or it was pruned."""

    code = "webhook_delivery_not_found"
