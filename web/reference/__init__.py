"""The reference page at /docs, rendered from the OpenAPI document: no scripts, nothing from elsewhere."""

from web.reference.page import Published, published, published_key

__all__ = ["Published", "published", "published_key"]
