"""Requests that arrive while a batch is under way form the next batch.  No timer: alone, one goes at once."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from typing import Final, Generic, TypeVar

from domain.telemetry.metrics import BATCH_SECONDS, BATCH_SIZES

Item = TypeVar("Item")
Result = TypeVar("Result")

STALLED_SECONDS: Final = 0.05
"""A batch takes a few milliseconds; one under way for so long is waiting for something."""


class Overloaded(Exception):
    """More is waiting than may wait.  Nothing was done; trying again later makes sense."""


class Batches(Generic[Item, Result]):
    """Collects items and hands them to `work` in lists; each caller gets the result of its own item.

    At most `batch_max` items a list, `in_flight_max` lists at once, `waiting_max` items waiting;
    `worthwhile` items that wait make a list of their own beside one under way.

    `whose` names the person an item is about.  The items of one person are in one list at a time and keep their
    order, `share_max` of them at most: a crowd on one balance waits for itself, and nobody else waits for it.
    `crowd_max` of them wait at most, and those beyond a share are not among the `waiting_max`, nor in anybody's way.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[Sequence[Item]], Awaitable[Sequence[Result | Exception]]],
        *,
        batch_max: int,
        in_flight_max: int,
        worthwhile: int,
        waiting_max: int,
        whose: Callable[[Item], Hashable] | None = None,
        share_max: int = 0,
        crowd_max: int = 0,
    ) -> None:
        self._work = work
        self._whose = whose
        self._share_max = share_max
        self._crowd_max = crowd_max
        self._crowds: dict[Hashable, int] = {}  # how many items of a person wait
        self._shares_waiting = 0  # items without those beyond their person's share
        self._under_way: set[Hashable] = set()
        self._batch_max = batch_max
        self._in_flight_max = in_flight_max
        self._worthwhile = worthwhile
        self._last_start = 0.0
        self._stall_check: asyncio.TimerHandle | None = None
        self._waiting_max = waiting_max
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._in_flight: set[asyncio.Task[None]] = set()
        self._sizes = BATCH_SIZES.labels(name)
        self._seconds = BATCH_SECONDS.labels(name)
        self.name = name

    @property
    def waiting(self) -> int:
        """Items waiting for a batch."""
        return len(self._waiting)

    def submit(self, item: Item) -> asyncio.Future[Result]:
        """The future result of `item`.  Raises Overloaded; what `work` gave or raised comes by the future."""
        person: Hashable = None
        if self._whose is None:
            if len(self._waiting) >= self._waiting_max:
                raise Overloaded
        else:
            person = self._whose(item)
            crowd = self._crowds.get(person, 0)
            if self._shares_waiting >= self._waiting_max or crowd >= self._crowd_max:
                raise Overloaded
            self._crowds[person] = crowd + 1
            if crowd < self._share_max:
                self._shares_waiting += 1
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if person in self._under_way:
            return future  # the list under way takes it along when it is done
        if self._is_another_batch_due():
            self._start()
        else:
            self._watch()
        return future

    def _watch(self) -> None:
        """See to it that what waits is not forgotten behind a batch that stalls: nobody may come after it."""
        if self._stall_check is None:
            loop = asyncio.get_running_loop()
            self._stall_check = loop.call_later(STALLED_SECONDS, self._look_for_stall)

    def _look_for_stall(self) -> None:
        self._stall_check = None
        if self._waiting:
            if self._is_another_batch_due():
                self._start()
            self._watch()

    def _is_another_batch_due(self) -> bool:
        """One batch at a time makes the longest ones, which are the cheapest by the item.

        Another goes beside it when it would be long itself, or when those under way take unusually long: they
        may be waiting for a lock that the items waiting now do not need.
        """
        if not self._in_flight:
            return True
        if len(self._in_flight) >= self._in_flight_max:
            return False
        is_long = len(self._waiting) >= self._worthwhile
        return is_long or time.monotonic() - self._last_start > STALLED_SECONDS

    async def drain(self) -> None:
        """Wait until nothing is waiting or under way."""
        while self._in_flight:
            await asyncio.wait(self._in_flight)

    def _start(self) -> None:
        task = asyncio.get_running_loop().create_task(self._run())
        self._in_flight.add(task)

    async def _run(self) -> None:
        try:
            # The task begins after the requests that the event loop read together with its first one.
            is_due = True
            while is_due:
                batch, people = self._next()
                if not batch:
                    break
                began = self._last_start = time.monotonic()
                self._sizes.observe(len(batch))
                self._under_way.update(people)
                try:
                    await self._answer(batch)
                finally:
                    self._under_way.difference_update(people)
                    self._seconds.observe(time.monotonic() - began)
                # A few that wait beside another list are left to it: a short list costs nearly what a long one does.
                is_due = len(self._in_flight) == 1 or len(self._waiting) >= self._worthwhile
            if self._waiting:
                self._watch()
        finally:
            task = asyncio.current_task()
            if task is not None:
                self._in_flight.discard(task)

    def _next(self) -> tuple[list[tuple[Item, asyncio.Future[Result]]], Iterable[Hashable]]:
        """What goes into the next list, taken out of what waits, and whose it is."""
        waiting = self._waiting
        if self._whose is None:
            return [waiting.popleft() for _ in range(min(len(waiting), self._batch_max))], ()
        batch: list[tuple[Item, asyncio.Future[Result]]] = []
        passed_over: list[tuple[Item, asyncio.Future[Result]]] = []
        shares: dict[Hashable, int] = {}
        while waiting and len(batch) < self._batch_max:
            entry = waiting.popleft()
            person = self._whose(entry[0])
            share = shares.get(person, 0)
            if share < self._share_max and person not in self._under_way:
                shares[person] = share + 1
                batch.append(entry)
                crowd = self._crowds[person] = self._crowds[person] - 1
                if crowd < self._share_max:
                    self._shares_waiting -= 1
                    if not crowd:
                        del self._crowds[person]
            else:
                passed_over.append(entry)
        waiting.extendleft(reversed(passed_over))
        return batch, shares

    async def _answer(self, batch: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            results: Sequence[Result | Exception] = await self._work([item for item, _ in batch])
        except Exception as error:  # noqa: BLE001 - handed to every caller of the batch
            results = [error] * len(batch)
        for (_, future), result in zip(batch, results, strict=True):
            if future.done():  # its request was cancelled; what was done for it stands
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
