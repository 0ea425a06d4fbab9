"""How long deductions take, from what this process counts for Prometheus."""

from __future__ import annotations

from collections.abc import Container
from http import HTTPStatus
from typing import Final

import msgspec

from web.frame import Buckets, Frame

ROUTES: Final = frozenset({"/api/v1/credits/use", "/api/v1/internal/credits/use"})

ANY_STATUS: Final = range(600)


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Deductions that this process answered since its start.

    The times are upper ends of the histogram's buckets, in milliseconds; None before the first one, and for
    those above the last bucket.
    """

    count: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


def deductions_answered_within(frame: Frame, statuses: Container[int] = ANY_STATUS) -> Buckets:
    """Those of this process that were answered with one of the statuses."""
    found: Buckets = {}
    for route in ROUTES:
        for bound, number in frame.answered_within(route, statuses).items():
            found[bound] = found.get(bound, 0.0) + number
    return found


def deduction_latency(frame: Frame) -> Latency:
    """The figures of this process alone; Prometheus adds those of all."""
    buckets = deductions_answered_within(frame, (HTTPStatus.OK,))
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
