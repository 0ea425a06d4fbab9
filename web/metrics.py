"""What the front counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from prometheus_client import Counter, Histogram

REQUESTS: Final = Histogram(
    "mana_http_request_seconds",
    "Time to answer a request, in seconds, by route and status.",
    ["method", "route", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
REFUSED_TOKENS: Final = Counter(
    "mana_http_not_authenticated_total", "Requests whose token was not accepted, by reason.", ["reason"]
)
DEFECTS: Final = Counter("mana_http_defects_total", "Requests that met a defect of ours (500).", ["route"])
CALLS_OF_APPS: Final = Counter(
    "mana_http_calls_of_apps_total", "Calls with the service key, by the app that calls (X-App-Id).", ["app"]
)

APPS_COUNTED_MAX: Final = 100
"""Apps with a figure of their own: several times those there are.  Whatever comes then counts as `other`."""

APP_CHARACTERS_MAX: Final = 64

_apps: Final[set[str]] = set()


def calling_app(headers: Mapping[str, str]) -> str | None:
    """The app that says it calls, where it says so in a form fit for logs and metrics."""
    app = headers.get("X-App-Id", "")
    return app if 0 < len(app) <= APP_CHARACTERS_MAX and app.isascii() and app.isprintable() else None


def count_call_of_app(headers: Mapping[str, str]) -> None:
    """Count a call whose service key was accepted."""
    app = calling_app(headers) or "unknown"
    if app not in _apps:
        if len(_apps) >= APPS_COUNTED_MAX:
            app = "other"
        _apps.add(app)
    CALLS_OF_APPS.labels(app).inc()
