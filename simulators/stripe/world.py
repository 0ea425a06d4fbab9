"""What every noun of the simulator works on: the objects, the clock, and the events that tell of changes."""

import copy
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from simulators.stripe.clock import Clock
from simulators.stripe.shapes import Object, new_id, shape
from simulators.stripe.store import Store

API_VERSION = "2026-10-28.endive"
"""The account's version, and what the SDK asks for; events are in it."""


@dataclass
class World:
    """One Stripe account.

    `lock` is held by whoever changes or reads objects: requests are served in a loop, and tests give
    commands from their own thread.  `request` is what events say about the call that caused them.
    `listeners` hear of each event when it is made.
    """

    store: Store
    clock: Callable[[], float] = field(default_factory=Clock)
    public_url: str = ""
    webhook_endpoints: int = 0
    version: str = API_VERSION
    request: Object = field(default_factory=lambda: {"id": None, "idempotency_key": None})
    listeners: list[Callable[[Object], None]] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def now(self) -> int:
        """Return the time in whole seconds since the epoch, as `created` has it."""
        return int(self.clock())

    def emit(self, event_type: str, obj: Object, previous: dict[str, Any] | None = None) -> Object:
        """Make an event with a snapshot of `obj` as it is now; `previous` holds the values that changed."""
        data: Object = {"object": copy.deepcopy(obj)}
        if previous is not None:
            data["previous_attributes"] = previous
        event = self.store.put(
            shape(
                "event",
                id=new_id("evt"),
                object="event",
                api_version=API_VERSION,
                created=self.now(),
                data=data,
                livemode=False,
                pending_webhooks=self.webhook_endpoints,
                request=dict(self.request),
                type=event_type,
            )
        )
        for listener in self.listeners:
            listener(event)
        return event
