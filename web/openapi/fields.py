"""What the names on the wire mean, each said once, with an example: a name means the same wherever it stands.

A type may say it better in its own `Meta`; what is here is for those that do not.  `Type.name` is for a name that
means something else in that type.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple


class Field(NamedTuple):
    """The meaning of a name, and a value for examples."""

    meaning: str
    example: Any = None


INSTANT: Final = "2026-11-22T15:28:32.039Z"
LATER: Final = "2026-11-23T15:28:32.039Z"
TRANSACTION: Final = "019aac5e-3a47-7c1e-9d0b-5f2a8e61c704"
RESERVATION: Final = "019aac5e-41b2-7f03-8e55-0c7d2b94aa16"
PACKAGE: Final = "019aac5e-4f90-7b6a-a1d3-93e0c25f7b48"
PURCHASE: Final = "019aac5e-5d28-7e41-b7f6-2a9c4d80e135"
GIFT: Final = "019aac5e-6ac4-7d52-8c19-e47b1f3a9062"
JOB: Final = "019aac5e-7813-7a90-9be2-6d05f8c7412a"
ENDPOINT: Final = "019aac5e-8562-7c3d-a4f7-51b8e2906dc3"
DELIVERY: Final = "019aac5e-92b1-7e08-96d4-b03c7fa1e852"

FIELDS: Final[dict[str, Field]] = {
    # People, apps and what they say
    "userId": Field("Opaque id of a person", "demo"),
    "email": Field("The person's e-mail address", "ada@example.com"),
    "appId": Field("The app on whose behalf", "chat"),
    "sourceAppId": Field("The app where it happened", "chat"),
    "description": Field("What for, in words for people", "AI message"),
    "reason": Field("What for", "research:run-7"),
    "referenceId": Field("The event that is rewarded; once for a person and a reference", "issue-42"),
    "metadata": Field("A JSON object of the caller's own, kept with the row", {"model": "small"}),
    "message": Field("A message for people", None),
    "idempotencyKey": Field("Makes the request take effect once, however often it is sent", "message-4711"),
    # Amounts and balances
    "amount": Field("Credits", 5),
    "balance": Field("Credits that can be spent; below zero it is a debt", 995),
    "totalEarned": Field("Credits ever bought, granted or received", 1000),
    "totalSpent": Field("Credits ever spent, less those given back", 5),
    "newBalance": Field("What can be spent afterwards", 995),
    "balanceBefore": Field("What could be spent before", 1000),
    "balanceAfter": Field("What can be spent after", 995),
    "version": Field("How often the balance was changed", 2),
    "transactionsCount": Field("How many entries the person has", 2),
    "items": Field("What to do, item by item, in this order"),
    "results": Field("An outcome for each item, in the order of the items"),
    # Entries, reservations, jobs
    "id": Field("Id of the row", TRANSACTION),
    "type": Field("The kind"),
    "status": Field("The state"),
    "success": Field("Whether it took effect", True),
    "ok": Field("Whether the reward is given, now or before", True),
    "alreadyGranted": Field("Whether the reference was rewarded before", False),
    "transaction": Field("The entry that was written"),
    "transactionId": Field("The entry that was written", TRANSACTION),
    "creditTransactionId": Field("The entry that credited it", TRANSACTION),
    "reservationTransactionId": Field("The entry that paid for it", TRANSACTION),
    "reservationId": Field("The reservation", RESERVATION),
    "kind": Field("What it does", "refund_credits"),
    "result": Field("What it ended with, when it is done"),
    "finishedAt": Field("When it ended", INSTANT),
    "jobId": Field("The job that does it", JOB),
    "expiresInSeconds": Field("How long the credits are held; a day when it is left out", 3600),
    "expiresAt": Field("When it ends by itself", LATER),
    "createdAt": Field("When the row was made", INSTANT),
    "updatedAt": Field("When the row was last changed", INSTANT),
    "completedAt": Field("When it was completed", INSTANT),
    "resolvedAt": Field("When it was committed or refunded", INSTANT),
    "cursor": Field("Continues a list after this entry: the query's `cursor`", "2"),
    # Packages and purchases
    "packageId": Field("The package", PACKAGE),
    "purchaseId": Field("The purchase", PURCHASE),
    "name": Field("What it is called", "Starter"),
    "credits": Field("Whole credits", 1000),
    "priceEuroCents": Field("The price, in euro cents", 999),
    "stripePriceId": Field("Stripe's price, where it has one", None),
    "stripePaymentIntentId": Field("Stripe's payment", "pi_3MtwBwLkdIwHu7ix28a3tqPa"),
    "stripeCustomerId": Field("Stripe's customer", "cus_NffrFeUfNV2Hib"),
    "failureCode": Field("Why the last try to pay failed, in Stripe's words", None),
    "creditsTakenBack": Field("Credits taken back after a refund or a dispute", 0),
    "active": Field("Whether it is on", True),
    "sortOrder": Field("Its place in the list", 1),
    "successUrl": Field("Where Stripe's page sends the buyer afterwards", "https://mana.how/credits?paid=1"),
    "cancelUrl": Field("Where it sends a buyer who gives up", "https://mana.how/credits"),
    "clientSecret": Field("For Stripe's form in the browser", "pi_3MtwBwLkdIwHu7ix28a3tqPa_secret_Yrk"),
    "checkoutUrl": Field("Stripe's page to pay on", "https://checkout.stripe.com/c/pay/cs_test_a11Yy"),
    # Sync
    "interval": Field("How often it is charged", "monthly"),
    "nextChargeAt": Field("When it is charged next", LATER),
    "pausedAt": Field("When it was paused for want of credits", None),
    "gifted": Field("Whether it is a gift of ours", False),
    "amountCharged": Field("Credits charged now", 30),
    "effectiveAt": Field("From when on", LATER),
    "charged": Field("How many were charged", 12),
    "paused": Field("How many were paused", 1),
    "errors": Field("How many failed", 0),
    "total": Field("How many were due", 13),
    # Webhooks
    "lowBalanceThreshold": Field("Credits: who falls below is told of by `balance.low`", 100),
    "previousSecretUntil": Field("Until when the old secret signs too", LATER),
    "since": Field("From this time on", INSTANT),
    # Gifts
    "code": Field("The gift's code", "QX7RM2KD"),
    "shortUrl": Field("A link to the gift", "https://credits.mana.how/g/QX7RM2KD"),
    "url": Field("A link to the gift", "https://credits.mana.how/g/QX7RM2KD"),
    "creatorId": Field("Who gives", "demo"),
    "creatorName": Field("Who gives, as the receiver reads it", "Ada"),
    "totalCredits": Field("Whole credits in it", 100),
    "redeemed": Field("Whether somebody took it"),
    "targetEmail": Field("Who alone may take it", None),
    "expirationDays": Field("Days until it expires; 90 when left out", 30),
    "isPersonalized": Field("Whether it is for one address alone", False),
    "creditsReceived": Field("Credits received", 100),
    "redeemedAt": Field("When it was taken", INSTANT),
    "giftCodeId": Field("The gift", GIFT),
    "redeemerUserId": Field("Who took it", "grace"),
    "refundedCredits": Field("Credits that went back to the giver", 100),
    # Errors, health
    "ErrorAnswer.code": Field("The error, for programs", "insufficient_credits"),
    "BatchItemAnswer.code": Field("The error, for programs", "insufficient_credits"),
    "statusCode": Field("The HTTP status again", 402),
    "error": Field("Why it was refused"),
    "details": Field("What there is to say about it"),
    "deletedCount": Field("How many rows were erased or made pseudonymous", 7),
    "received": Field("The event is stored", True),
    "service": Field("Which service answers", "mana-credits"),
    "timestamp": Field("Now", INSTANT),
    "checks": Field("For each thing that is needed `ok`, or what is wrong", {"database": "ok"}),
}


def field_of(component: str, name: str) -> Field | None:
    """What a field of that type means, None where it is not said here."""
    return FIELDS.get(f"{component}.{name}") or FIELDS.get(name)
