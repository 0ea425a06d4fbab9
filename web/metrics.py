"""Counting calls by the app that makes them, however many names strangers think of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from prometheus_client import Counter

from domain.telemetry.metrics import CALLS_OF_APPS

APPS_COUNTED_MAX: Final = 100
"""Apps with a figure of their own: several times those there are.  Whatever comes then counts as `other`."""

APP_CHARACTERS_MAX: Final = 64

_counters: Final[dict[str, Counter]] = {}


def calling_app(headers: Mapping[str, str]) -> str | None:
    """The app that says it calls, where it says so in a form fit for logs and metrics."""
    app = headers.get("X-App-Id", "")
    return app if 0 < len(app) <= APP_CHARACTERS_MAX and app.isascii() and app.isprintable() else None


def count_call_of_app(headers: Mapping[str, str]) -> None:
    """Count a call whose service key was accepted."""
    app = calling_app(headers) or "unknown"
    counter = _counters.get(app)
    if counter is None:
        if len(_counters) >= APPS_COUNTED_MAX:
            app = "other"
        counter = _counters[app] = CALLS_OF_APPS.labels(app)
    counter.inc()
