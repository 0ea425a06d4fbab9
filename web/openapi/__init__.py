"""The OpenAPI description of the service, made from the types that check requests and make answers."""

from web.openapi.document import make_document
from web.openapi.types import Html, JsonObject

__all__ = ["Html", "JsonObject", "make_document"]
