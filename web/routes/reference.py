"""The description of the API: for programs, and for people."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from web.openapi import Html
from web.reference import published_key
from web.routing import Access, Call, Routes

routes = Routes("", Access.OPEN, "Reference")


@routes.add("GET", "/openapi.json", answer=dict[str, Any])
async def openapi(call: Call) -> web.Response:
    """The API as an OpenAPI 3.1 document."""
    return call.request.app[published_key]["/openapi.json"].response(call.request)


@routes.add("GET", "/docs", answer=Html)
async def docs(call: Call) -> web.Response:
    """The API as a page to read."""
    return call.request.app[published_key]["/docs"].response(call.request)
