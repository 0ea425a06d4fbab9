"""The OpenAPI 3.1 document, put together from the table of routes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from domain.jobs import Queue
from web.answers import ErrorAnswer, PendingAnswer
from web.bodies import END, PATH_CHARACTERS_MAX
from web.openapi.examples import Examples
from web.openapi.fields import DELIVERY, ENDPOINT, GIFT, JOB, PACKAGE, PURCHASE, RESERVATION
from web.openapi.links import add_links
from web.openapi.responses import WEBHOOK_PATH, PlainErrorAnswer, Responses
from web.openapi.schemas import Schemas
from web.openapi.types import JsonObject
from web.routing import Access, Operation, described

API_VERSION: Final = "1.0.0"
"""The first number is that of the paths, `/api/v1`: it moves when something is taken away."""

DESCRIPTION: Final = """\
Holds people's credits for an ecosystem of apps, and spends them. 1 credit is 1 euro cent.

JSON both ways, names in camelCase. An amount is a number with at most three decimals. Times are UTC, as in
`2026-11-22T15:28:32.039Z`. A nullable field is sent as `null`; unknown fields of a body are ignored.

A POST that moves credits takes a key, in the body (`idempotencyKey`) or the header `Idempotency-Key`: sent
again with the same key it takes effect once, and gets the first answer. After a 503, or no answer at all,
send the same request with the same key again.

Every error is `{"statusCode","message","code"}`, with `details` where there is something to say. Every answer
has an `X-Request-Id`; send your own to find the request in both logs. HEAD works wherever GET does."""

TAGS: Final[Mapping[str, str]] = {
    "Credits": "A person's own credits: what the web and mobile apps call.",
    "Internal": "What other services do for a person: spend, refund, grant, reserve.",
    "Gifts": "Credits as a gift: a code that somebody else redeems.",
    "Sync": "The sync subscription, paid in credits.",
    "Jobs": "What became of work that was accepted and not waited for.",
    "Stripe": "Where Stripe sends its events.",
    "Admin": "What administrators do.",
    "Operators": "What administrators see of the service, and how they steer it. Every action is audited.",
    "Webhooks": "Endpoints of apps, which are told what happens to people's credits, and what is sent to them.",
    "Health": "Is it alive, is it ready, what does it count.",
    "Reference": "This description of the API.",
}
"""What each room is, in the order of the pages.  A room that is not listed comes last."""

SECURITY: Final[Mapping[Access, list[JsonObject]]] = {
    Access.OPEN: [],
    Access.USER: [{"user": []}],
    Access.ADMIN: [{"user": ["admin"]}],
    Access.SERVICE: [{"service": []}],
}

SECURITY_SCHEMES: Final[JsonObject] = {
    "user": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A token of mana-auth (EdDSA). Administrators' routes ask for its claim `role` to be `admin`.",
    },
    "service": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Service-Key",
        "description": "The key that services of the ecosystem share.",
    },
}

OPAQUE: Final[JsonObject] = {"type": "string", "minLength": 1, "maxLength": PATH_CHARACTERS_MAX}

PATH_PARTS: Final[Mapping[str, tuple[str, JsonObject]]] = {
    "userId": (
        "Opaque id of a person",
        {**OPAQUE, "examples": ["demo"]},
    ),
    "jobId": ("The job", {"type": "string", "format": "uuid", "examples": [JOB]}),
    "eventId": ("Stripe's id of the event", {**OPAQUE, "examples": ["evt_1MtwBw"]}),
    "deliveryId": ("The delivery", {"type": "string", "format": "uuid", "examples": [DELIVERY]}),
    "queue": (
        "The queue",
        {"type": "string", "enum": [queue.value for queue in Queue], "examples": ["money"]},
    ),
    "messageId": (
        "The message",
        {**OPAQUE, "examples": ["5f0c8f0e-7a43-4d0a-9e0c-3f5d0f6a2b11"]},
    ),
    "code": ("The gift's code; its case does not matter", {**OPAQUE, "examples": ["QX7RM2KD"]}),
    "id": ("Id of the row", {"type": "string", "format": "uuid", "examples": [RESERVATION]}),
}
"""The parts of paths, by name."""

PATH_EXAMPLES: Final[Mapping[tuple[str, str], str]] = {
    ("Gifts", "id"): GIFT,
    ("Credits", "id"): PURCHASE,
    ("Admin", "id"): PACKAGE,
    ("Operators", "id"): PURCHASE,
    ("Webhooks", "id"): ENDPOINT,
}

IDEMPOTENCY_KEY: Final[JsonObject] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Makes the request take effect once. An `idempotencyKey` in the body wins over it.",
    # What a header can hold everywhere; spaces around it are lost on the way.
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": f"^[!-~]([ -~]*[!-~])?{END}"},
}

PREFER: Final[JsonObject] = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "description": "`wait=N`: wait at most N seconds for the job's end (10 without it, at most 60). "
    "`respond-async`: do not wait.",
    "schema": {"type": "string", "examples": ["wait=5"]},
}


STRIPE_SIGNATURE: Final[JsonObject] = {
    "name": "Stripe-Signature",
    "in": "header",
    "required": True,
    "description": "Stripe's signature of the body's bytes with the endpoint's secret; good for 5 minutes.",
    "schema": {
        "type": "string",
        "examples": ["t=1795361312,v1=5257a869e7ecebeda32affa62cdca3fa51cad7e77a0e56ff"],
    },
}

STRIPE_EVENT: Final[JsonObject] = {
    "required": True,
    "description": "An event, as Stripe sends it.",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["id", "type"],
                "properties": {
                    name: {**OPAQUE, "description": f"Stripe's {name}"} for name in ("id", "type")
                },
            },
            "examples": {
                "example": {
                    "value": {
                        "id": "evt_1MtwBwLkdIwHu7ix28a3tqPa",
                        "object": "event",
                        "type": "payment_intent.succeeded",
                        "created": 1795361312,
                        "data": {"object": {"id": "pi_3MtwBwLkdIwHu7ix28a3tqPa", "object": "payment_intent"}},
                    }
                }
            },
        }
    },
}


def make_document(operations: Sequence[Operation], base_url: str) -> JsonObject:
    """The document of these routes, served at `base_url`."""
    schemas = Schemas(_types(operations))
    examples = Examples(schemas.components)
    responses = Responses(schemas, examples)
    paths: JsonObject = {}
    by_id: dict[str, JsonObject] = {}
    for operation, name in zip(operations, operation_ids(operations), strict=True):
        by_id[name] = {"operationId": name, **_operation(operation, schemas, examples, responses)}
        paths.setdefault(path_of(operation), {})[operation.method.lower()] = by_id[name]
    add_links(by_id)
    rooms = dict.fromkeys([*TAGS, *(operation.tag for operation in operations)])
    used = {operation.tag for operation in operations}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "mana-credits",
            "version": API_VERSION,
            "description": DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": base_url}],
        "tags": [{"name": tag, "description": TAGS.get(tag, tag)} for tag in rooms if tag in used],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "responses": responses.shared(),
            "securitySchemes": SECURITY_SCHEMES,
        },
    }


def path_of(operation: Operation) -> str:
    """The path as OpenAPI writes it: aiohttp's without patterns."""
    return re.sub(r"\{(\w+):[^{}]*\}", r"{\1}", operation.path)


def operation_ids(operations: Iterable[Operation]) -> list[str]:
    """A name for each, for generated clients: the room and the handler, as in `internalUseBatch`.

    Of routes with one handler in common, those after the first have their method behind it: `adminChangePut`.
    """
    ids: list[str] = []
    for operation in operations:
        words = operation.handler.__name__.split("_")
        name = operation.tag.lower() + "".join(word.capitalize() for word in words)
        ids.append(name + operation.method.capitalize() if name in ids else name)
    return ids


def _types(operations: Iterable[Operation]) -> Iterable[Any]:
    yield from (ErrorAnswer, PlainErrorAnswer)
    for operation in operations:
        yield operation.answer
        yield from operation.further.values()
        if operation.body is not None:
            yield operation.body


def _operation(
    operation: Operation, schemas: Schemas, examples: Examples, responses: Responses
) -> JsonObject:
    summary, description = words_of(operation)
    made: JsonObject = {
        "tags": [operation.tag],
        "summary": summary,
        "description": description,
        "security": SECURITY[operation.access],
        "parameters": _parameters(operation),
    }
    if operation.body is not None:
        schema = schemas.of(operation.body)
        media = {"schema": schema, "examples": {"example": {"value": examples.of(schema)}}}
        # An empty body counts as an empty object.
        is_needed = any(field.required for field in msgspec.structs.fields(operation.body))
        made["requestBody"] = {"required": is_needed, "content": {"application/json": media}}
    if operation.path == WEBHOOK_PATH:
        made["parameters"].append(STRIPE_SIGNATURE)
        made["requestBody"] = STRIPE_EVENT
    made["responses"] = responses.of(operation)
    return made


def words_of(operation: Operation) -> tuple[str, str]:
    """The first sentence of what the handler says of itself, and the whole of it."""
    text = " ".join(described(operation.handler).split())
    first = re.split(r"(?<=[.])\s|: |; ", text, maxsplit=1)[0]
    return first.rstrip("."), text


def _parameters(operation: Operation) -> list[JsonObject]:
    made = [_path_part(operation, name) for name in re.findall(r"\{(\w+)\}", path_of(operation))]
    made += [
        {
            "name": query.name,
            "in": "query",
            "required": False,
            "description": query.description,
            "allowEmptyValue": True,  # as if it were not there
            "schema": query.schema,
        }
        for query in operation.queries
    ]
    if operation.method == "POST" and _takes_a_key(operation):
        made.append(IDEMPOTENCY_KEY)
    if PendingAnswer in operation.further.values():
        made.append(PREFER)
    return made


def _path_part(operation: Operation, name: str) -> JsonObject:
    description, schema = PATH_PARTS[name]
    example = PATH_EXAMPLES.get((operation.tag, name))
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": schema if example is None else {**schema, "examples": [example]},
    }


def _takes_a_key(operation: Operation) -> bool:
    if operation.takes_key or PendingAnswer in operation.further.values():
        return True
    if operation.body is None:
        return False
    return any(field.name == "idempotency_key" for field in msgspec.structs.fields(operation.body))
