"""The document and the page as bytes, made once at the start, with what a browser needs to cache and trust them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import jinja2
from aiohttp import hdrs, web
from markupsafe import Markup

from web import error_catalogue
from web.answers import encoder
from web.openapi import JsonObject, make_document
from web.reference.text import breaks_html, code_html, inline_html, json_html
from web.reference.view import page_of
from web.routing import Operation

HERE: Final = Path(__file__).parent
STYLE: Final = HERE.joinpath("reference.css").read_text("utf-8")

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    + "'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page's own style and its icon, and nothing else: no script, no other host."""


@dataclass(frozen=True)
class Published:
    """Bytes that are the same for everybody until the next start."""

    body: bytes
    content_type: str
    headers: Mapping[str, str]

    def response(self, request: web.Request) -> web.Response:
        """200 with the bytes, or 304 for a reader who has them."""
        if _has(request, self.headers[hdrs.ETAG]):
            return web.Response(status=304, headers=self.headers)
        return web.Response(
            body=self.body, content_type=self.content_type, charset="utf-8", headers=self.headers
        )


class Reference:
    """What is served, made by `make` when somebody asks: it takes a sixth of a second and 5 MB, which no start pays."""

    def __init__(self, make: Callable[[], dict[str, Published]]) -> None:
        self._make = make

    async def at(self, path: str) -> Published:
        """What is served at the path."""
        return (await asyncio.to_thread(self._make))[path]


reference_key: Final = web.AppKey("reference", Reference)


def published(operations: Sequence[Operation], base_url: str) -> dict[str, Published]:
    """What is served, by path: the document of these routes, and the page of it."""
    document = make_document(operations, base_url)
    page = render(document).encode()
    security = {"Content-Security-Policy": CONTENT_SECURITY_POLICY, "Referrer-Policy": "no-referrer"}
    return {
        "/openapi.json": _publish(encoder.encode(document), "application/json", {}),
        "/docs": _publish(page, "text/html", security),
    }


def render(document: JsonObject) -> str:
    """The page of an OpenAPI document, as HTML."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(inline=inline_html, json=json_html, code=code_html, breaks=breaks_html)
    errors = (
        ("Refusals: what was asked may not be done", error_catalogue.refusals()),
        ("Requests that cannot be taken", error_catalogue.MALFORMED),
        ("Outages and defects", error_catalogue.OUTAGES),
    )
    template = environment.get_template("reference.html")
    # The style is our own file, and the policy's digest is of just these bytes.
    return template.render(page=page_of(document), errors=errors, style=Markup(STYLE))  # noqa: S704  # nosec B704


def _publish(body: bytes, content_type: str, headers: Mapping[str, str]) -> Published:
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    return Published(
        body=body,
        content_type=content_type,
        headers={
            hdrs.ETAG: etag,
            hdrs.CACHE_CONTROL: "no-cache",
            "X-Content-Type-Options": "nosniff",
            **headers,
        },
    )


def _has(request: web.Request, etag: str) -> bool:
    given = request.headers.get(hdrs.IF_NONE_MATCH, "")
    known = {tag.strip().removeprefix("W/") for tag in given.split(",")}
    return etag in known or "*" in known
