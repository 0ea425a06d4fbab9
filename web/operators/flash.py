"""What a page says once after something was done: in a cookie that only the session's owner can have written."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Final

from aiohttp import web

COOKIE: Final = "mana-ops-said"
SECONDS: Final = 60
CHARACTERS_MAX: Final = 500


def say(response: web.StreamResponse, text: str, *, token: str, is_secure: bool) -> None:
    """Let the next page say it."""
    encoded = base64.urlsafe_b64encode(text[:CHARACTERS_MAX].encode()).decode()
    response.set_cookie(
        COOKIE,
        f"{_sign(encoded, token)}.{encoded}",
        max_age=SECONDS,
        path="/ops",
        httponly=True,
        secure=is_secure,
        samesite="Strict",
    )


def said(request: web.Request, token: str) -> str | None:
    """What is to be said, if it is ours."""
    signature, _, encoded = request.cookies.get(COOKIE, "").partition(".")
    if not encoded or not hmac.compare_digest(signature.encode(), _sign(encoded, token).encode()):
        return None
    try:
        return base64.urlsafe_b64decode(encoded).decode()
    except ValueError:
        return None


def forget(response: web.StreamResponse) -> None:
    """It was said."""
    response.del_cookie(COOKIE, path="/ops")


def _sign(encoded: str, token: str) -> str:
    return hmac.new(token.encode(), b"said:" + encoded.encode(), hashlib.sha256).hexdigest()
