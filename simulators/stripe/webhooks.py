"""Webhooks: each event delivered and signed like Stripe's, again and again until a 2xx."""

import asyncio
import hashlib
import hmac
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import aiohttp

from simulators.stripe.shapes import Object
from simulators.stripe.world import World


@dataclass(eq=False)
class Delivery:
    """One event on its way; `due` is on the monotonic clock."""

    event_id: str
    attempts: int = 0
    due: float = 0.0


@dataclass(frozen=True)
class Attempt:
    """What came of sending an event once: the receiver's status, or None and what went wrong."""

    event_id: str
    event_type: str
    status: int | None
    error: str = ""

    @property
    def delivered(self) -> bool:
        """Tell whether the receiver took it."""
        return self.status is not None and 200 <= self.status < 300


def sign(body: bytes, secrets: Iterable[str], timestamp: int) -> str:
    """Return the `Stripe-Signature` of a body: one `v1` for each secret."""
    signed = f"{timestamp}.".encode() + body
    signatures = [hmac.new(one.encode(), signed, hashlib.sha256).hexdigest() for one in secrets]
    return ",".join([f"t={timestamp}", *(f"v1={one}" for one in signatures)])


class Webhooks:
    """The one endpoint events go to, in order of their making unless a test says otherwise.

    `timestamps` is the clock of the signatures: real time, which receivers compare with their own.
    `parallel` deliveries run at once; with more than one their order is left to chance, as at Stripe.
    A refused delivery is due again after `retry_seconds`, doubled each time up to `retry_seconds_max`.
    """

    def __init__(
        self,
        world: World,
        *,
        url: str = "",
        secrets: tuple[str, ...] = (),
        retry_seconds: float = 1.0,
        retry_seconds_max: float = 30.0,
        timeout_seconds: float = 10.0,
        parallel: int = 1,
        timestamps: Callable[[], float] = time.time,
    ) -> None:
        self.url = url
        self.secrets = secrets
        self.retry_seconds = retry_seconds
        self.retry_seconds_max = retry_seconds_max
        self.timeout_seconds = timeout_seconds
        self.parallel = parallel
        self.timestamps = timestamps
        self.paused = False
        self.losing = False
        self.attempts: list[Attempt] = []
        self._world = world
        self._queue = [
            Delivery(event["id"])
            for event in world.store.all("event")
            for _ in range(world.store.hidden.get(event["id"], {}).get("deliveries", 0))
        ]
        self._in_flight: list[Delivery] = []
        self._changed = threading.Condition(world.lock)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        world.listeners.append(self._take_on)

    def _take_on(self, event: Object) -> None:
        if self.url and not self.losing:
            with self._changed:
                self._queue.append(Delivery(event["id"]))
            # What made the event saves the store when it is done, with this in it.
            self._remember([event["id"]], save=False)

    # Controls

    def pause(self) -> None:
        """Keep events back from now on; `deliver_now` still sends them."""
        self.paused = True

    def resume(self) -> None:
        """Deliver again, at once what is waiting."""
        with self._changed:
            self.paused = False
            for one in self._queue:
                one.due = 0.0
        self._wake_up()

    def lose(self, losing: bool = True) -> None:
        """Never deliver the events made from now on, until `lose(False)`; the API lists them all the same."""
        self.losing = losing

    def undelivered(self) -> list[Object]:
        """Return the events that wait, in the order they would go out."""
        with self._changed:
            events = self._world.store.objects.get("event", {})
            return [events[one.event_id] for one in [*self._in_flight, *self._queue]]

    def repeat(self, event_id: str, times: int = 1) -> None:
        """Send an event `times` times more, delivered or not."""
        self._world.store.get("event", event_id)
        with self._changed:
            self._queue += [Delivery(event_id) for _ in range(times)]
        self._remember([event_id])

    def reorder(self, event_ids: list[str]) -> None:
        """Put the waiting deliveries of these events first, in this order; `pause` before."""
        with self._changed:
            rank = {event_id: place for place, event_id in enumerate(event_ids)}
            self._queue.sort(key=lambda one: rank.get(one.event_id, len(rank)))
        self._wake_up()

    def drop(self, event_ids: list[str] | None = None) -> list[str]:
        """Forget the waiting deliveries of these events, by default all; returns the dropped ids."""
        with self._changed:
            dropped = [one for one in self._queue if event_ids is None or one.event_id in event_ids]
            self._queue = [one for one in self._queue if one not in dropped]
        event_ids = [one.event_id for one in dropped]
        self._remember(event_ids)
        return event_ids

    async def deliver_now(self, event_ids: list[str] | None = None) -> list[Attempt]:
        """Send the waiting deliveries once, in order, paused or not, and return what came of each.

        With `event_ids` only those events, in that order.  What is refused waits on.
        """
        if self._loop is None:
            raise RuntimeError("the simulator is not running")
        if asyncio.get_running_loop() is not self._loop:
            there = asyncio.run_coroutine_threadsafe(self.deliver_now(event_ids), self._loop)
            return await asyncio.wrap_future(there)
        if event_ids is not None:
            self.reorder(event_ids)
        with self._changed:
            taken = [one for one in self._queue if event_ids is None or one.event_id in event_ids]
            self._queue = [one for one in self._queue if one not in taken]
            self._in_flight += taken
        return [await self._attempt(one) for one in taken]

    def deliver_now_blocking(self, event_ids: list[str] | None = None) -> list[Attempt]:
        """Do `deliver_now` from a thread other than the simulator's."""
        if self._loop is None:
            raise RuntimeError("the simulator is not running")
        return asyncio.run_coroutine_threadsafe(self.deliver_now(event_ids), self._loop).result()

    def wait_until_delivered_blocking(self, timeout_seconds: float = 10.0) -> None:
        """Wait until nothing waits or is on its way.  Raises TimeoutError, naming what does."""
        with self._changed:
            done = self._changed.wait_for(lambda: not self._queue and not self._in_flight, timeout_seconds)
            if not done:
                waiting = ", ".join(event["type"] for event in self.undelivered())
                raise TimeoutError(f"undelivered after {timeout_seconds} s: {waiting}")

    async def wait_until_delivered(self, timeout_seconds: float = 10.0) -> None:
        """Do `wait_until_delivered_blocking` without blocking the loop."""
        await asyncio.to_thread(self.wait_until_delivered_blocking, timeout_seconds)

    def signed(
        self, event: Object, *, secrets: tuple[str, ...] | None = None, timestamp: int | None = None
    ) -> tuple[bytes, dict[str, str]]:
        """Return the body and headers of a delivery, for a test that posts it itself."""
        body = json.dumps(event, indent=2).encode()
        at = int(self.timestamps()) if timestamp is None else timestamp
        signature = sign(body, self.secrets if secrets is None else secrets, at)
        return body, {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
            "Stripe-Signature": signature,
        }

    # The work

    async def run(self) -> None:
        """Deliver until cancelled."""
        self._loop = asyncio.get_running_loop()
        try:
            await asyncio.gather(*(self._deliver_in_turn() for _ in range(self.parallel)))
        finally:
            self._loop = None

    async def _deliver_in_turn(self) -> None:
        while True:
            self._wake.clear()
            delivery, wait_seconds = self._next()
            if delivery is not None:
                await self._attempt(delivery)
                continue
            try:
                # Not wait_for, which in Python 3.11 loses a cancellation that comes with the wake-up.
                async with asyncio.timeout(wait_seconds):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _next(self) -> tuple[Delivery | None, float | None]:
        """Take the first delivery that is due; else say how long none will be."""
        with self._changed:
            if self.paused or not self._queue:
                return None, None
            now = time.monotonic()
            for one in self._queue:
                if one.due <= now:
                    self._queue.remove(one)
                    self._in_flight.append(one)
                    return one, None
            return None, min(one.due for one in self._queue) - now

    async def _attempt(self, delivery: Delivery) -> Attempt:
        event = self._world.store.get("event", delivery.event_id)
        body, headers = self.signed(event)
        status, error = None, ""
        try:
            async with asyncio.timeout(self.timeout_seconds):
                status = await self._post(body, headers)
        except TimeoutError:
            error = f"no answer within {self.timeout_seconds} s"
        except aiohttp.ClientError as problem:
            error = f"{type(problem).__name__}: {problem}"
        finally:
            # Cancelled half-way, at shutdown, it counts as not delivered.
            attempt = Attempt(event["id"], event["type"], status, error)
            self._record(delivery, event, attempt)
        return attempt

    async def _post(self, body: bytes, headers: dict[str, str]) -> int:
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.url, data=body, headers=headers, allow_redirects=False) as answer,
        ):
            await answer.read()
            return answer.status

    def _record(self, delivery: Delivery, event: Object, attempt: Attempt) -> None:
        with self._changed:
            self.attempts.append(attempt)
            self._in_flight.remove(delivery)
            if attempt.delivered:
                event["pending_webhooks"] = max(0, event["pending_webhooks"] - 1)
            else:
                back_off = min(self.retry_seconds * 2**delivery.attempts, self.retry_seconds_max)
                delivery.attempts += 1
                delivery.due = time.monotonic() + back_off
                self._queue.append(delivery)
        self._remember([event["id"]])

    def _remember(self, event_ids: list[str], *, save: bool = True) -> None:
        """Note how often these are still to be delivered, so that a restart does; tell who waits for a change."""
        with self._changed:
            waiting = Counter(one.event_id for one in [*self._in_flight, *self._queue])
            for event_id in event_ids:
                event = self._world.store.get("event", event_id)
                self._world.store.hidden[event["id"]] = {"deliveries": waiting[event_id]}
            if save:
                self._world.store.save()
            self._changed.notify_all()
        self._wake_up()

    def _wake_up(self) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake.set)
