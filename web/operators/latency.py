"""How long deductions take, from what this process counts for Prometheus."""

from __future__ import annotations

from typing import Final

import msgspec

from domain.telemetry.metrics import REQUESTS

ROUTES: Final = frozenset({"/api/v1/credits/use", "/api/v1/internal/credits/use"})


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Deductions that this process answered since its start.

    The times are upper ends of the histogram's buckets, in milliseconds; None before the first one, and for
    those above the last bucket.
    """

    count: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


def deduction_latency() -> Latency:
    """The figures of this process alone; Prometheus adds those of all."""
    buckets: dict[float, float] = {}
    for metric in REQUESTS.collect():
        for sample in metric.samples:
            is_ours = sample.labels.get("route") in ROUTES and sample.labels.get("status") == "200"
            if is_ours and sample.name.endswith("_bucket"):
                end = float(sample.labels["le"])
                buckets[end] = buckets.get(end, 0.0) + sample.value
    return Latency(
        count=int(buckets.get(float("inf"), 0.0)),
        p50_ms=_quantile(buckets, 0.5),
        p95_ms=_quantile(buckets, 0.95),
        p99_ms=_quantile(buckets, 0.99),
    )


def _quantile(buckets: dict[float, float], share: float) -> float | None:
    wanted = buckets.get(float("inf"), 0.0) * share
    if not wanted:
        return None
    end = next(end for end in sorted(buckets) if buckets[end] >= wanted)
    return None if end == float("inf") else end * 1000
