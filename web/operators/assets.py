"""The pages' style and script: our own files, named by their digest, so that browsers may keep them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import web

HERE: Final = Path(__file__).parent / "static"


@dataclass(frozen=True)
class Asset:
    """A file as it is sent."""

    url: str
    body: bytes
    content_type: str


def _asset(name: str, content_type: str) -> Asset:
    body = HERE.joinpath(name).read_bytes()
    stem, _, ending = name.partition(".")
    digest = hashlib.sha256(body).hexdigest()[:12]
    return Asset(f"/ops/static/{stem}.{digest}.{ending}", body, content_type)


STYLE: Final = _asset("ops.css", "text/css")
SCRIPT: Final = _asset("ops.js", "text/javascript")

_BY_URL: Final = {asset.url: asset for asset in (STYLE, SCRIPT)}


async def serve(request: web.Request) -> web.Response:
    """An asset, for ever the same under its name; open to all: there is nothing secret in it."""
    asset = _BY_URL.get(request.path)
    if asset is None:
        raise web.HTTPNotFound
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
    return web.Response(body=asset.body, content_type=asset.content_type, charset="utf-8", headers=headers)
