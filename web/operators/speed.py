"""How fast this process answers deductions, sampled every few seconds: rates and percentiles of the last minutes."""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from aiohttp import web

from web.frame import Buckets, Frame, frame_key
from web.operators.latency import deductions_answered_within

SAMPLE_EVERY_SECONDS: Final = 5.0
SAMPLES_KEPT: Final = 121
"""Ten minutes of rates."""

WINDOW_SAMPLES: Final = 60
"""Percentiles are of the last five minutes: long enough to be calm, short enough to be now."""

ALL: Final = float("inf")


@dataclass(frozen=True)
class Speed:
    """Deductions that this process answered in the last five minutes; times in milliseconds, None without any.

    `rates` are deductions a second in the last ten minutes, the oldest first.
    """

    answered: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    rates: list[float]


class SpeedSampler:
    """Keeps the samples of the last minutes."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self._samples: deque[tuple[float, Buckets]] = deque(maxlen=SAMPLES_KEPT)
        self.sample()

    def sample(self) -> None:
        """Take the figures of this moment."""
        self._samples.append((time.monotonic(), deductions_answered_within(self._frame)))

    def speed(self) -> Speed:
        """How fast it is now."""
        latest = deductions_answered_within(self._frame)
        earlier = self._samples[-min(len(self._samples), WINDOW_SAMPLES)][1]
        within = {bound: number - earlier.get(bound, 0.0) for bound, number in latest.items()}
        return Speed(
            answered=int(within.get(ALL, 0.0)),
            p50_ms=percentile_ms(within, 0.50),
            p95_ms=percentile_ms(within, 0.95),
            p99_ms=percentile_ms(within, 0.99),
            rates=[_rate(before, after) for before, after in pairwise(self._samples)],
        )


def percentile_ms(within: Buckets, share: float) -> float | None:
    """The milliseconds in which that share was answered, in proportion inside of its bucket."""
    bounds = sorted(within)
    counts = [within[bound] for bound in bounds]
    if not counts or counts[-1] <= 0:
        return None
    wanted = share * counts[-1]
    place = bisect.bisect_left(counts, wanted)
    low, before = (bounds[place - 1], counts[place - 1]) if place else (0.0, 0.0)
    if bounds[place] == ALL:
        return low * 1000
    return (low + (bounds[place] - low) * (wanted - before) / (counts[place] - before)) * 1000


def _rate(before: tuple[float, Buckets], after: tuple[float, Buckets]) -> float:
    return max(after[1].get(ALL, 0.0) - before[1].get(ALL, 0.0), 0.0) / max(after[0] - before[0], 0.1)


speed_key: Final = web.AppKey("operator_speed", SpeedSampler)


async def sampling(app: web.Application) -> AsyncIterator[None]:
    """Sample from the application's start to its end."""
    sampler = app[speed_key] = SpeedSampler(app[frame_key])
    task = asyncio.get_running_loop().create_task(_sample(sampler))
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _sample(sampler: SpeedSampler) -> None:
    while True:
        await asyncio.sleep(SAMPLE_EVERY_SECONDS)
        sampler.sample()
