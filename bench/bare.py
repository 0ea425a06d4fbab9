"""The ceiling of the front: an aiohttp handler that decodes a JSON body, encodes an answer, and does nothing else."""

from __future__ import annotations

import os

import msgspec
import uvloop
from aiohttp import web


async def answer(request: web.Request) -> web.Response:
    """Read and answer JSON."""
    raw = await request.read()
    given = msgspec.json.decode(raw) if raw else {}
    body = msgspec.json.encode({"success": True, "amount": given.get("amount", 0), "balance": 5})
    return web.Response(body=body, content_type="application/json")


def main() -> None:
    """Serve on PORT."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    web.run_app(
        app,
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        access_log=None,
        print=None,
        loop=uvloop.new_event_loop(),
    )


if __name__ == "__main__":
    main()
