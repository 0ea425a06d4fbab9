"""The description of the API: for programs, and for people."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from web.openapi import Html
from web.reference import reference_key
from web.routing import Access, Call, Routes

routes = Routes("", Access.OPEN, "Reference")


@routes.add("GET", "/openapi.json", answer=dict[str, Any])
async def openapi(call: Call) -> web.Response:
    """The API as an OpenAPI 3.1 document."""
    return (await call.request.app[reference_key].at("/openapi.json")).response(call.request)


@routes.add("GET", "/docs", answer=Html)
async def docs(call: Call) -> web.Response:
    """The API as a page to read."""
    return (await call.request.app[reference_key].at("/docs")).response(call.request)
