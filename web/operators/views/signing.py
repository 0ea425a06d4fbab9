"""Signing in and out."""

from __future__ import annotations

import re
from typing import Final

from aiohttp import web

from web.operators import render
from web.operators.asked import Asked
from web.operators.pages import Visit, check_same_origin, in_time, moved, read_form
from web.operators.session import SignedIn, SignInRefused, sessions_key
from web.throttle import TooManyRequests

OVERVIEW: Final = "/ops"

_OURS: Final = re.compile(r"/ops(?:/[a-z_-]+(?:/[0-9a-z_-]+)*)?(?:\?[\w=&%.~+:*-]*)?", re.ASCII)
"""A page of ours: its path, and a query.  Anything else is not gone on to after signing in."""


def safe_next(wanted: str | None) -> str:
    """Where to go on to: a page of ours, never another site."""
    return wanted if wanted is not None and _OURS.fullmatch(wanted) else OVERVIEW


async def form(request: web.Request) -> web.StreamResponse:
    """GET /ops/sign-in."""
    return _page(safe_next(Asked(request.query).text("next")))


async def sign_in(request: web.Request) -> web.StreamResponse:
    """POST /ops/sign-in: a name and a password, or a token."""
    check_same_origin(request)
    asked = await read_form(request)
    wanted = safe_next(asked.text("next"))
    is_by_token = bool(asked.as_typed("token"))
    try:
        signed_in = await _signed_in(request, asked)
    except SignInRefused:
        refused = "This token signs nobody in" if is_by_token else "Name or password is wrong"
        return _page(wanted, refused=refused, by_token=is_by_token, status=401)
    except TooManyRequests as error:
        minutes = max(1, round(error.retry_after_seconds / 60))
        response = _page(wanted, refused=f"Too many tries. Try again in {minutes} min", status=429)
        response.headers["Retry-After"] = str(error.retry_after_seconds)
        return response
    response = moved(wanted)
    request.app[sessions_key].set_cookie(response, signed_in)
    return response


async def sign_out(visit: Visit) -> web.StreamResponse:
    """POST /ops/sign-out."""
    sessions = visit.request.app[sessions_key]
    await in_time(sessions.sign_out(visit.request))
    response = moved("/ops/sign-in")
    sessions.clear_cookie(response)
    return response


async def _signed_in(request: web.Request, asked: Asked) -> SignedIn:
    sessions = request.app[sessions_key]
    if token := asked.as_typed("token"):
        return await sessions.sign_in_with_token(request, token)
    return await sessions.sign_in(request, asked.as_typed("name").strip(), asked.as_typed("password"))


def _page(
    wanted: str, *, refused: str | None = None, by_token: bool = False, status: int = 200
) -> web.Response:
    facts = {"next_url": wanted, "refused": refused, "by_token": by_token}
    return render.page("sign_in.html", facts, status=status)
