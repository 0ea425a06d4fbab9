"""The inbox of webhooks: what arrives together is stored together, and nobody pays for a neighbour."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

import pytest

from domain import stripe_inbox
from domain.nudge import AddedJob
from domain.settings import read_settings
from domain.stripe_inbox import Arrival
from tests.support.books import Books
from tests.support.service import environment
from tests.support.told import Told
from web import inbox as inbox_module
from web.batches import Overloaded
from web.bridge import Bridge
from web.inbox import Inbox

SEVERAL = 20


@dataclass
class Desk:
    """An inbox, what it nudged, and a look into the books."""

    inbox: Inbox
    books: Books
    nudged: list[UUID] = field(default_factory=list)

    async def receive_all(self, arrivals: Sequence[Arrival]) -> list[bool | BaseException]:
        """Deliver them at once; whether each was new, or what was raised."""
        received = await asyncio.gather(*map(self.inbox.receive, arrivals), return_exceptions=True)
        return [one if isinstance(one, BaseException) else one.is_new for one in received]

    def jobs_of(self, *event_ids: str) -> list[UUID]:
        found = self.books.rows(
            "SELECT j.id FROM ops.jobs j JOIN ops.stripe_events e ON e.job_id = j.id"
            " WHERE e.id = ANY (%s) AND j.state = 'waiting'",
            list(event_ids),
        )
        return sorted(job_id for (job_id,) in found)


@pytest.fixture
async def desk(database_url: str, redis_url: str) -> AsyncIterator[Desk]:
    nudged: list[UUID] = []

    def nudge(added: Sequence[AddedJob], /) -> None:
        nudged.extend(job.id for job in added)

    variables = environment(database_url=database_url, redis_url=redis_url, auth_url="http://127.0.0.1:1")
    bridge = Bridge(read_settings(variables), nudge)
    inbox = Inbox(database_url, bridge, nudge)
    await bridge.open()
    await inbox.open()
    yield Desk(inbox, Books(database_url), nudged)
    await inbox.close()
    await bridge.close()


def arrivals(count: int) -> list[Arrival]:
    paid = [Told(f"pi_{number}", None).succeeded() for number in range(count)]
    return [stripe_inbox.arrival(event, now=datetime.now(UTC)) for event in paid]


async def test_events_that_arrive_together_are_stored_in_one_transaction_each_with_its_job(
    desk: Desk,
) -> None:
    several = arrivals(SEVERAL)
    assert await desk.receive_all(several) == [True] * SEVERAL
    assert desk.books.one("SELECT count(DISTINCT xmin::text) FROM ops.stripe_events") == 1
    assert len(desk.jobs_of(*(one.id for one in several))) == SEVERAL


async def test_the_workers_are_told_of_each_new_event_once(desk: Desk) -> None:
    first, second = arrivals(2)
    assert await desk.receive_all([first, second]) == [True, True]
    assert await desk.receive_all([second]) == [False]
    assert sorted(desk.nudged) == desk.jobs_of(first.id, second.id)


async def test_of_two_deliveries_at_once_one_is_new(desk: Desk) -> None:
    told = Told("pi_1", None).succeeded()
    first, second = (stripe_inbox.arrival(told, now=datetime.now(UTC)) for _ in range(2))
    assert await desk.receive_all([first, second]) == [True, False]
    assert desk.nudged == desk.jobs_of(first.id)


async def test_an_event_that_the_database_refuses_takes_no_neighbour_with_it(desk: Desk) -> None:
    refused, *others = arrivals(4)
    desk.books.rows(
        "INSERT INTO ops.jobs (id, kind, queue, payload, unique_key, horizon, created_at, run_at, nudge_at)"
        " VALUES (gen_random_uuid(), 'somebodys', 'mail', '{}', %s, '1 hour', now(), now(), now())",
        f"stripe_event:{refused.id}",
    )
    outcome, *stored = await desk.receive_all([refused, *others])
    assert isinstance(outcome, Exception)
    assert stored == [True] * 3
    assert len(desk.jobs_of(*(one.id for one in others))) == 3
    assert desk.books.one("SELECT count(*) FROM ops.stripe_events WHERE id = %s", refused.id) == 0


async def test_an_event_too_long_for_an_index_takes_no_neighbour_with_it(desk: Desk) -> None:
    too_long = Told("pi_" + "".join(f"{number:x}" for number in range(5_000)), None).succeeded()
    outcome, *stored = await desk.receive_all(
        [stripe_inbox.arrival(too_long, now=datetime.now(UTC)), *arrivals(3)]
    )
    assert isinstance(outcome, Exception)
    assert stored == [True] * 3


async def test_a_repeat_lets_an_event_whose_job_was_cancelled_be_handled(desk: Desk) -> None:
    [event] = arrivals(1)
    await desk.inbox.receive(event)
    desk.books.rows("UPDATE ops.jobs SET state = 'cancelled', finished_at = now()")
    assert desk.jobs_of(event.id) == []
    assert not (await desk.inbox.receive(event)).is_new
    assert len(desk.jobs_of(event.id)) == 1


async def test_connections_that_the_database_has_ended_are_not_noticed_by_stripe(desk: Desk) -> None:
    before, after = arrivals(2)
    await desk.inbox.receive(before)
    desk.books.rows(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    assert (await desk.inbox.receive(after)).is_new


async def test_more_than_can_wait_is_refused_and_nothing_of_it_stored(
    database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox_module, "EVENTS_WAITING_MAX", 5)
    variables = environment(database_url=database_url, redis_url=redis_url, auth_url="http://127.0.0.1:1")
    bridge = Bridge(read_settings(variables), lambda _: None)
    desk = Desk(Inbox(database_url, bridge, lambda _: None), Books(database_url))
    await bridge.open()
    await desk.inbox.open()
    outcomes = await desk.receive_all(arrivals(SEVERAL))
    assert outcomes[:5] == [True] * 5
    assert all(isinstance(one, Overloaded) for one in outcomes[5:])
    assert desk.books.one("SELECT count(*) FROM ops.stripe_events") == 5
    await desk.inbox.close()
    await bridge.close()
