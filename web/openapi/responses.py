"""What an operation answers: its success, its refusals by status, and what any operation of its kind may say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec

from domain.errors import PaymentsNotConfigured, Refusal
from domain.operators.exporting import ExportFormat
from web import error_catalogue
from web.answers import Answer, ErrorAnswer, PendingAnswer, encoder
from web.error_catalogue import Documented, sample_of_refusal
from web.errors import ADMIN_ONLY, Wrong
from web.openapi.examples import Examples
from web.openapi.schemas import Schemas
from web.openapi.types import Html, JsonObject
from web.routes.stripe_webhooks import INVALID_SIGNATURE, MISSING_SIGNATURE
from web.routing import Access, Operation

MEDIA_TYPES: Final[Mapping[Any, str]] = {str: "text/plain", Html: "text/html"}
"""Of answers that are no JSON."""

API_PREFIX: Final = "/api/"
"""Below it everything asks the database, and may meet an outage."""

RETRY_AFTER: Final[JsonObject] = {
    "description": "Seconds to wait before trying again",
    "schema": {"type": "integer", "minimum": 1},
}

WEBHOOK_PATH: Final = "/api/v1/webhooks/stripe"
"""Its body is Stripe's, and is read as bytes: no type of ours describes it."""

FACTS_OF_OPERATION: Final[Mapping[str, Mapping[str, Any]]] = {
    "/api/v1/internal/credits/refund-reservation": {"action": "refund"}
}
"""Facts of sample refusals, by path, where the usual ones are another operation's."""

EXPORT_PATH: Final = "/api/v1/admin/export/entries"
"""Its answer is a file, in one of several forms."""


class PlainErrorAnswer(Answer, omit_defaults=True):
    """The shape of two errors that are older than the envelope: no administrator, no signature."""

    error: str
    message: str | None = None


class Responses:
    """Makes the responses of operations."""

    def __init__(self, schemas: Schemas, examples: Examples) -> None:
        self._schemas = schemas
        self._examples = examples

    def of(self, operation: Operation) -> JsonObject:
        """All responses, by status."""
        answers = {operation.status: operation.answer, **operation.further}
        responses = {str(status): self._answer(kind, status) for status, kind in answers.items()}
        errors: dict[int, list[tuple[str, Wrong]]] = {}
        for summary, wrong in _errors(operation):
            errors.setdefault(wrong.status, []).append((summary, wrong))
        if operation.path == EXPORT_PATH:
            responses["200"]["content"] = {
                one.content_type.partition(";")[0]: {"schema": {"type": "string"}} for one in ExportFormat
            }
        responses |= {str(status): self._error(status, group) for status, group in errors.items()}
        if operation.path == WEBHOOK_PATH:
            self._add_unsigned(responses["400"])
        if operation.access is Access.ADMIN:
            responses["403"] = {"$ref": "#/components/responses/AdminOnly"}
        return dict(sorted(responses.items()))

    def _add_unsigned(self, response: JsonObject) -> None:
        """To the response of malformed events, what is answered to unsigned ones."""
        media = response["content"]["application/json"]
        media["schema"] = {"anyOf": [media["schema"], self._schemas.of(PlainErrorAnswer)]}
        media["examples"] |= {
            "missing_signature": {"summary": "`Stripe-Signature` is missing.", "value": MISSING_SIGNATURE},
            "invalid_signature": {
                "summary": "`Stripe-Signature` is of other bytes, by another secret, or older than 5 minutes.",
                "value": INVALID_SIGNATURE,
            },
        }

    def shared(self) -> JsonObject:
        """Responses that operations refer to."""
        examples = {"forbidden": {"value": dict(ADMIN_ONLY)}}
        content = {"schema": self._schemas.of(PlainErrorAnswer), "examples": examples}
        return {
            "AdminOnly": {
                "description": "The caller is no administrator",
                "content": {"application/json": content},
            }
        }

    def _answer(self, kind: Any, status: int) -> JsonObject:
        schema = self._schemas.of(kind)
        media_type = MEDIA_TYPES.get(kind, "application/json")
        name, target = self._examples.resolved(schema)
        description = target.get("description") if name else None
        content: JsonObject = {"schema": schema}
        if media_type == "application/json" and (name or schema.get("type") == "array"):
            content["examples"] = self._examples.variants(schema, status)
        response = {
            "description": description or self._list_description(schema) or HTTPStatus(status).phrase,
            "content": {media_type: content},
        }
        if kind is PendingAnswer:
            response["headers"] = {
                "Location": {"description": "Where the job's result will be", "schema": {"type": "string"}}
            }
        return response

    def _list_description(self, schema: JsonObject) -> str | None:
        if schema.get("type") != "array":
            return None
        _, target = self._examples.resolved(schema["items"])
        return f"A list. {target.get('description', '')}".strip()

    def _error(self, status: int, errors: Iterable[tuple[str, Wrong]]) -> JsonObject:
        examples: JsonObject = {}
        for summary, wrong in errors:
            name = wrong.code if wrong.code not in examples else f"{wrong.code}_{len(examples) + 1}"
            examples[name] = {"summary": summary, "value": json_value(wrong.body())}
        response: JsonObject = {
            "description": HTTPStatus(status).phrase,
            "content": {"application/json": {"schema": self._schemas.of(ErrorAnswer), "examples": examples}},
        }
        if status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS):
            response["headers"] = {"Retry-After": RETRY_AFTER}
        return response


def _errors(operation: Operation) -> Iterable[tuple[str, Wrong]]:
    """The errors it may answer with, each with when it comes."""
    facts = {**error_catalogue.FACTS, **FACTS_OF_OPERATION.get(operation.path, {})}
    for kind in operation.refusals:
        yield _when(kind), sample_of_refusal(kind, facts)
    for documented in _general(operation):
        yield documented.when, documented.sample


def _when(kind: type[Refusal]) -> str:
    return error_catalogue.plain(kind.__doc__)


def _general(operation: Operation) -> Iterable[Documented]:
    has_body = operation.body is not None or operation.path == WEBHOOK_PATH
    is_page = operation.answer is Html  # for people: a bad address is one that nothing is found at
    takes_a_key = PendingAnswer in operation.further.values()
    if has_body or takes_a_key or operation.queries or ("{" in operation.path and not is_page):
        yield error_catalogue.BAD_REQUEST
    is_users = operation.access in (Access.USER, Access.ADMIN)
    if is_users:
        yield error_catalogue.NO_TOKEN
        yield error_catalogue.BAD_TOKEN
    if operation.access is Access.SERVICE:
        yield error_catalogue.WRONG_SERVICE_KEY
    if has_body:
        yield error_catalogue.BODY_TOO_LARGE
    if operation.is_throttled:
        yield error_catalogue.TOO_MANY_REQUESTS
    if PaymentsNotConfigured in operation.refusals:
        yield error_catalogue.PROVIDER_SILENT
        yield error_catalogue.PROVIDER_REFUSED
    if operation.path.startswith(API_PREFIX):
        yield error_catalogue.OVERLOADED
        yield error_catalogue.DATABASE_UNAVAILABLE
        if is_users:
            yield error_catalogue.AUTH_UNAVAILABLE


def json_value(value: object) -> Any:
    """The value as a reader of its JSON gets it."""
    return msgspec.json.decode(encoder.encode(value))
