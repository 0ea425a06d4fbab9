"""After the load: everything mended, and waited for until nothing is left to do, for a bounded time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime

from domain.database import make_engine, transaction
from domain.jobs import add_job
from domain.reconciliation import FetchMissedEvents
from tests.faults.rig import trade
from tests.faults.rig.asking import Person, Town
from tests.faults.rig.house import House
from tests.faults.rig.trade import Stripe
from tests.support.books import Books

QUIET_SECONDS = 240.0
"""How long everything may take to end once nothing is broken any more: a job whose worker died three times in
a row waits for two minutes."""

ZOMBIE_SECONDS = 2.0
"""What had been held up by a pause or a cut comes in within this time, once all is mended."""

LOOK_EVERY_SECONDS = 0.5


@dataclass
class Quiet:
    """How it went, in seconds from the load's end on; None for what did not come to be."""

    ready: float
    """Until every process answered."""
    delivered: float | None = None
    """Until Stripe had delivered all that it had not lost."""
    done: float | None = None
    """Until no job waited, those that fetch what Stripe had lost among them."""
    waiting: int = 0
    undelivered: int = 0

    @property
    def seconds(self) -> float:
        return QUIET_SECONDS if self.done is None else self.done

    @property
    def problems(self) -> list[str]:
        """What is wrong with it."""
        if self.done is not None:
            return []
        return [
            f"after {QUIET_SECONDS:.0f} s {self.waiting} jobs wait, {self.undelivered} events are not delivered"
        ]

    def __str__(self) -> str:
        delivered, done = ("never" if one is None else f"{one:.1f} s" for one in (self.delivered, self.done))
        return (
            f"all answer after {self.ready:.1f} s, events delivered after {delivered}, jobs done after {done}"
        )


async def become_quiet(house: House, town: Town, stripe: Stripe) -> Quiet:
    """Mend everything, and wait until all events were delivered and all jobs ended; the front is stopped then."""
    began = town.clock()
    await asyncio.to_thread(house.mend)
    await asyncio.to_thread(house.wait_ready)
    quiet = Quiet(ready=town.clock() - began)
    await asyncio.sleep(ZOMBIE_SECONDS)
    await trade.charge(Person(town, "10.0.0.1"), is_keyed=True)
    # Stripe would try again later and later; here nobody has the time.
    await stripe.webhooks("resume")
    books = Books(house.postgres.url())
    while town.clock() < began + QUIET_SECONDS:
        quiet.undelivered = await stripe.undelivered()
        if not quiet.undelivered and quiet.delivered is None:
            quiet.delivered = town.clock() - began
            await asyncio.to_thread(_fetch_missed_events, house)
        quiet.waiting = await asyncio.to_thread(
            books.one, "SELECT count(*) FROM ops.jobs WHERE state = 'waiting'"
        )
        if not quiet.waiting and not quiet.undelivered:
            quiet.done = town.clock() - began
            break
        await asyncio.sleep(LOOK_EVERY_SECONDS)
    for name in town.webs:
        # In good order: what a web process has begun is done before it ends.
        await asyncio.to_thread(house.members[name].stop)
    return quiet


def _fetch_missed_events(house: House) -> None:
    """What the timetable does every five minutes."""
    engine = make_engine(house.postgres.url(), pool_size=1)
    try:
        with transaction(engine) as connection:
            add_job(connection, FetchMissedEvents(), now=datetime.now(UTC))
    finally:
        engine.dispose()
