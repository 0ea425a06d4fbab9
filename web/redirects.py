"""Where a payer may be sent back to: our own pages alone, so that nobody is led elsewhere in our name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from web.bodies import bad_field

DEFAULT_PORTS: Final = {"http": 80, "https": 443}

NOT_OURS: Final = "must be an address of this service or of an app that may call it"

Origin = tuple[str, str, int]


def check_redirect(field: str, url: str, allowed: Iterable[str]) -> None:
    """Let pass what has exactly an allowed origin (scheme, host, port).  Raises BadRequest naming the field."""
    origin = origin_of(url)
    if origin is None or origin not in {origin_of(one) for one in allowed}:
        raise bad_field(field, NOT_OURS)


def origin_of(url: str) -> Origin | None:
    """The origin of an absolute http(s) address; None for what browsers and this could read differently."""
    # Browsers drop tabs and line breaks, and take a backslash for a slash.
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname or "@" in parts.netloc or "%" in parts.netloc:
        return None
    return parts.scheme, parts.hostname, port if port is not None else DEFAULT_PORTS[parts.scheme]
