"""What the front counts, for Prometheus."""

from __future__ import annotations

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
