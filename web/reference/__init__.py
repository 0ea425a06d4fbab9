"""The reference page at /docs, rendered from the OpenAPI document: no scripts, nothing from elsewhere."""

from web.reference.page import Published, Reference, published, reference_key

__all__ = ["Published", "Reference", "published", "reference_key"]
