"""Example values for schemas: from the schema itself, from what its fields mean, from the table here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from web.openapi.fields import (
    DELIVERY,
    ENDPOINT,
    GIFT,
    INSTANT,
    LATER,
    PACKAGE,
    PURCHASE,
    RESERVATION,
    field_of,
)
from web.openapi.types import JsonObject, Schema

LEFT_OUT: Final = object()
"""In the tables below: the example is without this field."""

_REFUND: Final = {
    "type": "refund",
    "amount": 5,
    "balanceBefore": 995,
    "balanceAfter": 1000,
    "appId": "system",
    "description": "The answer never came",
    "metadata": None,
    "idempotencyKey": None,
}

TYPES: Final[Mapping[str, Mapping[str, Any]]] = {
    "TransactionAnswer": {"type": "usage", "status": "completed", "amount": -5},
    "PackageAnswer": {"id": PACKAGE, "description": "Enough for a month", "metadata": None},
    "PurchaseAnswer": {"id": PURCHASE, "status": "completed", "metadata": None},
    "ChangePackageBody": {"description": "Enough for a month and a bit"},
    "ChangeIntervalBody": {"interval": "quarterly"},
    "IntervalChangedAnswer": {"interval": "quarterly", "amountCharged": 0},
    "RefundAnswer": {"transaction": _REFUND, "newBalance": {"balance": 1000}},
    "RefundReservationAnswer": {"balance": 1000},
    "ReserveBody": {"amount": 30},
    "ReserveAnswer": {"balance": 970, "expiresAt": LATER},
    "PendingAnswer": {"status": "pending"},
    "GrantBody": {"amount": 30, "reason": "bug-report", "description": "Thank you"},
    "RefundBody": {"description": "The answer never came"},
    "AdjustBody": {"idempotencyKey": "ticket-4711"},
    "UseBody": {"description": "AI message", "metadata": {"model": "small"}},
    "HealthAnswer": {"status": "ok"},
    "CreateGiftBody": {"totalCredits": 100, "message": "Enjoy"},
    "GiftAnswer": {"id": GIFT, "status": "active", "type": "simple", "message": "Enjoy"},
    "FoundGiftAnswer": {"status": "active", "type": "simple", "message": "Enjoy", "credits": 100},
    "PendingGiftAnswer": {
        "id": GIFT,
        "status": "active",
        "type": "personalized",
        "isPersonalized": True,
        "message": "Enjoy",
        "credits": 100,
    },
    "RedeemedGiftAnswer": {"message": "Enjoy", "credits": 100, "newBalance": 100},
    "ReceivedGiftAnswer": {"status": "success", "message": "Enjoy", "credits": 100},
    "NewWebhookBody": {"events": ["purchase.completed", "balance.low"], "lowBalanceThreshold": 100},
    "ChangeWebhookBody": {"description": "production, after the move"},
    "RedeliverFailedBody": {"since": INSTANT},
    "SinceBody": {"since": INSTANT},
    "EndpointSeenShown": {
        "id": ENDPOINT,
        "url": "https://chat.example.com/hooks/credits",
        "events": ["purchase.completed", "balance.low"],
        "lowBalanceThreshold": 100,
        "state": "active",
        "stateReason": None,
        "failingSince": None,
        "restUntil": None,
        "previousSecretUntil": None,
        "description": "production",
    },
    "DeliveryLineShown": {
        "id": DELIVERY,
        "endpointId": ENDPOINT,
        "type": "purchase.completed",
        "state": "delivered",
        "nextAttemptAt": None,
        "lastError": None,
    },
    "DeliverySeenShown": {"data": {"userId": "demo", "purchaseId": PURCHASE, "credits": 1000}},
    "AttemptSeenShown": {"status": 200, "error": None, "answer": None},
}
"""Values for the fields of a type where its neighbours' would not fit together."""


class Variant(NamedTuple):
    """One of several examples of a type."""

    summary: str
    fields: Mapping[str, Any]
    status: int | None = None
    """The HTTP status it comes with, where that depends on it."""


_REFUSED: Final = {
    "statusCode": 402,
    "success": False,
    "transaction": LEFT_OUT,
    "newBalance": LEFT_OUT,
    "message": "Insufficient credits",
    "code": "insufficient_credits",
    "details": {"required": 5, "available": 2.5},
}
_DONE: Final = {
    "statusCode": 200,
    "success": True,
    "message": LEFT_OUT,
    "code": LEFT_OUT,
    "details": LEFT_OUT,
}

VARIANTS: Final[Mapping[str, Mapping[str, Variant]]] = {
    "UseAnswer": {
        "spent": Variant("Spent now", {"message": LEFT_OUT}),
        "repeated": Variant(
            "The key was used before: the first answer's entry",
            {"message": "Transaction already processed", "newBalance": LEFT_OUT},
        ),
    },
    "BoughtAnswer": {
        "in_the_page": Variant(
            "To be paid in the caller's own page", {"credits": 500, "checkoutUrl": LEFT_OUT}
        ),
        "at_stripe": Variant("To be paid on Stripe's page", {"credits": 500, "clientSecret": LEFT_OUT}),
    },
    "GrantAnswer": {
        "granted": Variant("Given now", {"alreadyGranted": False, "newBalance": 1030}),
        "repeated": Variant(
            "Given before", {"alreadyGranted": True, "newBalance": 1030, "transactionId": LEFT_OUT}
        ),
    },
    "ReadyAnswer": {
        "ready": Variant(
            "All works",
            {"status": "ready", "checks": {"database": "ok", "migrations": "ok", "redis": "ok"}},
            200,
        ),
        "not_ready": Variant(
            "Something does not",
            {
                "status": "not ready",
                "checks": {"database": "ok", "migrations": "ok", "redis": "does not answer"},
            },
            503,
        ),
    },
    "JobAnswer": {
        "done": Variant("Done", {"status": "done", "result": {"success": True}, "error": None}),
        "refused": Variant(
            "Refused",
            {
                "status": "refused",
                "result": None,
                "error": {
                    "statusCode": 404,
                    "message": "User balance not found",
                    "code": "balance_not_found",
                    "details": LEFT_OUT,
                },
            },
        ),
        "waiting": Variant(
            "Not done yet", {"status": "waiting", "finishedAt": None, "result": None, "error": None}
        ),
    },
    "UseBatchAnswer": {"mixed": Variant("One spent, one refused", {"results": [_DONE, _REFUSED]})},
    "BatchItemAnswer": {"spent": Variant("Spent", _DONE), "refused": Variant("Refused", _REFUSED)},
}
"""Types that look different from case to case.  The first one is also the example inside of other types."""

BY_FORMAT: Final = {"uuid": RESERVATION, "date-time": INSTANT}
PLACEHOLDER: Final = "text"
"""What nobody gave an example for; a test finds it."""

BY_TYPE: Final = {
    "string": PLACEHOLDER,
    "integer": 1,
    "number": 1,
    "boolean": True,
    "array": [],
    "object": {},
}


class Examples:
    """Makes examples of schemas, whose `$ref`s are looked up in `components`."""

    def __init__(self, components: Mapping[str, Schema]) -> None:
        self._components = components

    def resolved(self, schema: Schema) -> tuple[str, Schema]:
        """The schema behind a `$ref` or beside a null, with the component's name, '' for none."""
        for choice in schema.get("anyOf", ()):
            if choice != {"type": "null"}:
                return self.resolved(choice)
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            return name, self._components[name]
        return "", schema

    def of(self, schema: Schema) -> Any:
        """One example."""
        _, target = self.resolved(schema)
        if target.get("type") == "array":
            return [self.of(target["items"])]
        if "properties" in target:
            return self.object(schema)
        return _leaf("", "", schema, target)

    def variants(self, schema: Schema, status: int) -> dict[str, JsonObject]:
        """The examples of an answer with that status, as OpenAPI lists them."""
        name, _ = self.resolved(schema)
        if name not in VARIANTS:
            return {"example": {"value": self.of(schema)}}
        return {
            key: {"summary": variant.summary, "value": self.object(schema, variant.fields)}
            for key, variant in VARIANTS[name].items()
            if variant.status in (None, status)
        }

    def object(self, schema: Schema, fields: Mapping[str, Any] | None = None) -> JsonObject:
        """An example object; `fields` are values, or fields of objects in it."""
        name, target = self.resolved(schema)
        if not fields and name in VARIANTS:
            fields = next(iter(VARIANTS[name].values())).fields
        known = {**_of_type(name), **(fields or {})}
        is_body = name.endswith("Body")
        made: JsonObject = {}
        for field, part in target["properties"].items():
            if is_body and field not in target.get("required", ()) and field not in known:
                continue  # as little as works
            value = self._field(name, field, part, known)
            if value is not LEFT_OUT:
                made[field] = value
        return made

    def _field(self, component: str, field: str, schema: Schema, known: Mapping[str, Any]) -> Any:
        _, target = self.resolved(schema)
        if "properties" in target:
            given = known.get(field, {})
            return self.object(schema, given) if isinstance(given, dict) else given
        if target.get("type") == "array" and "properties" in self.resolved(target["items"])[1]:
            return [self.object(target["items"], given) for given in known.get(field, [None])]
        return known[field] if field in known else _leaf(component, field, schema, target)


def _of_type(name: str) -> Mapping[str, Any]:
    # A body that another one extends has the same fields: InternalUseBody, UseBody.
    return TYPES.get(name) or TYPES.get(name.removeprefix("Internal"), {})


def _leaf(component: str, field: str, schema: Schema, target: Schema) -> Any:
    if "enum" in target:
        return target["enum"][0]
    meant = field_of(component, field)
    # A type's example is one for many fields, unless the field says its own meaning beside it.
    is_own = meant is None or schema.get("description") != meant.meaning
    if "examples" in target and is_own:
        return target["examples"][0]
    if meant is not None and ("anyOf" in schema or meant.example is not None):
        return meant.example
    if "examples" in target:
        return target["examples"][0]
    return BY_FORMAT.get(target.get("format", ""), BY_TYPE.get(target.get("type", "object")))
