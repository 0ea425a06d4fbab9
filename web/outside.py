"""From the event loop to Stripe: on threads of their own, so that a slow Stripe slows nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from domain.buying import InTransaction
from domain.errors import PaymentsNotConfigured
from domain.payments import Gateway
from domain.telemetry import traces
from web.batches import Overloaded
from web.bridge import Bridge

THREADS: Final = 8
"""Calls of Stripe's at once, as many as there are other cold requests; each takes about half a second."""

WAITING_MAX: Final = 64
"""Requests under way or waiting: about five seconds of work.  Beyond it a caller hears 503 now."""

T = TypeVar("T")


class Outside:
    """Runs work that calls the payment provider between transactions."""

    def __init__(self, bridge: Bridge, gateway: Gateway | None) -> None:
        self._bridge = bridge
        self._gateway = gateway
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="outside")
        self._under_way = 0

    async def run(self, work: Callable[[InTransaction, Gateway], T]) -> T:
        """Run it on a thread, and give what it returns.

        Raises PaymentsNotConfigured, Overloaded, and what the work raises.
        """
        gateway = self._gateway
        if gateway is None:
            raise PaymentsNotConfigured
        if self._under_way >= WAITING_MAX:
            raise Overloaded
        self._under_way += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(
                self._threads, traces.carried(work), self._bridge.run_committed, gateway
            )
        finally:
            self._under_way -= 1

    async def close(self) -> None:
        """Wait for what is under way."""
        await asyncio.to_thread(self._threads.shutdown)
