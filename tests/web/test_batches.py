"""What goes into which batch: everything once, one person's items in order, and nobody behind another's crowd."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from web.batches import STALLED_SECONDS, Batches, Overloaded

Item = tuple[str, int]

ARRIVALS = st.lists(
    st.tuples(st.sampled_from(["hot", "hot", "hot", "anna", "bert", "carl"]), st.integers(0, 3)), max_size=60
)


class Database:
    """Takes as long as it is told, and keeps what it was given."""

    def __init__(self) -> None:
        self.lists: list[list[Item]] = []
        self.under_way: Counter[str] = Counter()
        self.gates: list[asyncio.Event] = []

    async def work(self, items: Sequence[Item]) -> list[Item | Exception]:
        people = {person for person, _ in items}
        for person in people:
            assert not self.under_way[person], f"{person} is in two lists at once"
            self.under_way[person] += 1
        self.lists.append(list(items))
        gate = asyncio.Event()
        self.gates.append(gate)
        await gate.wait()
        for person in people:
            self.under_way[person] -= 1
        return list(items)

    def finish(self, which: int = 0) -> None:
        self.gates.pop(which).set()


def batches_on(database: Database, *, waiting_max: int = 1000, crowd_max: int = 1000) -> Batches[Item, Item]:
    return Batches(
        "test",
        database.work,
        batch_max=8,
        in_flight_max=3,
        worthwhile=2,
        waiting_max=waiting_max,
        whose=lambda item: item[0],
        share_max=2,
        crowd_max=crowd_max,
    )


async def settle() -> None:
    """Let all that can go on go on."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_crowd_on_one_balance_waits_for_itself_and_nobody_else_waits_for_it() -> None:
    database = Database()
    batches = batches_on(database)
    crowd = [batches.submit(("hot", number)) for number in range(6)]
    await settle()
    assert database.lists == [[("hot", 0), ("hot", 1)]]
    other = batches.submit(("anna", 0))
    await settle()
    assert database.lists[1:] == [[("anna", 0)]]
    database.finish(1)
    assert await asyncio.wait_for(other, 1) == ("anna", 0)
    assert not any(future.done() for future in crowd)
    for _ in range(3):
        database.finish()
        await settle()
    assert [await future for future in crowd] == [("hot", number) for number in range(6)]


async def test_a_crowd_is_overloaded_alone_and_all_is_as_before_when_it_is_gone() -> None:
    database = Database()
    batches = batches_on(database, waiting_max=5, crowd_max=20)
    for _ in range(2):
        crowd = [batches.submit(("hot", number)) for number in range(2)]
        await settle()
        crowd += [batches.submit(("hot", number)) for number in range(2, 22)]
        with pytest.raises(Overloaded):
            batches.submit(("hot", 22))
        others = [batches.submit((person, 0)) for person in ("anna", "bert", "carl")]
        await settle()
        assert database.lists[-1] == [("anna", 0), ("bert", 0), ("carl", 0)]
        while not all(future.done() for future in (*crowd, *others)):
            database.finish()
            await settle()
        assert [future.result() for future in crowd] == [("hot", number) for number in range(22)]
        assert batches.waiting == 0


async def test_more_people_than_may_wait_are_overloaded_whoever_comes() -> None:
    database = Database()
    batches = batches_on(database, waiting_max=5)
    futures = []
    for number in range(3):  # as many lists as there may be
        futures += [batches.submit((f"{side} {number}", 0)) for side in ("left", "right")]
        await settle()
    assert len(database.lists) == 3
    futures += [batches.submit((person, 0)) for person in ("anna", "bert", "carl", "dora", "emil")]
    for person in ("fred", "anna"):
        with pytest.raises(Overloaded):
            batches.submit((person, 1))
    while database.gates:
        database.finish()
        await settle()
    await asyncio.gather(*futures)


async def test_a_few_that_wait_beside_another_list_are_left_to_it() -> None:
    database = Database()
    batches = batches_on(database)
    first = [batches.submit((person, 0)) for person in ("anna", "bert")]
    await settle()
    second = [batches.submit((person, 0)) for person in ("carl", "dora")]
    await settle()
    late = batches.submit(("emil", 0))
    database.finish(0)
    await asyncio.gather(*first)
    await settle()
    assert len(database.lists) == 2, "one alone was sent beside another list"
    database.finish(0)
    await asyncio.gather(*second)
    await settle()
    assert database.lists[2:] == [[("emil", 0)]]
    database.finish(0)
    assert await late == ("emil", 0)


async def test_who_waited_for_a_list_that_is_done_is_not_forgotten_behind_another_that_stalls() -> None:
    database = Database()
    batches = batches_on(database)
    first = batches.submit(("anna", 0))
    await settle()
    stalled = [batches.submit((person, 0)) for person in ("bert", "carl")]
    await settle()
    await asyncio.sleep(2 * STALLED_SECONDS)  # nothing waits, and nobody looks any more
    second = batches.submit(("anna", 1))
    database.finish(0)
    await first
    async with asyncio.timeout(10):
        while len(database.lists) < 3:
            await asyncio.sleep(STALLED_SECONDS / 10)
    assert database.lists[2] == [("anna", 1)]
    while database.gates:
        database.finish()
    await asyncio.gather(second, *stalled)


async def test_how_long_each_list_took_is_told() -> None:
    def told() -> float:
        return REGISTRY.get_sample_value("mana_batch_seconds_count", {"batch": "test"}) or 0

    before, database = told(), Database()
    batches = batches_on(database)
    future = batches.submit(("anna", 0))
    await settle()
    database.finish()
    await future
    await settle()
    assert told() == before + 1


@given(arrivals=ARRIVALS, ends=st.lists(st.integers(0, 2), max_size=200))
def test_everything_is_done_once_and_one_persons_items_in_their_order(
    arrivals: list[tuple[str, int]], ends: list[int]
) -> None:
    async def run() -> None:
        database = Database()
        batches = batches_on(database)
        numbers: Counter[str] = Counter()
        futures = {}
        choices = iter(ends)
        for person, finished in arrivals:
            item = (person, numbers[person])
            numbers[person] += 1
            futures[item] = batches.submit(item)
            for _ in range(finished):
                await settle()
                if database.gates:
                    database.finish(next(choices, 0) % len(database.gates))
        await settle()
        while not all(future.done() for future in futures.values()):
            assert database.gates, f"forgotten: {[item for item, one in futures.items() if not one.done()]}"
            database.finish(next(choices, 0) % len(database.gates))
            await settle()
        done = defaultdict(list)
        for items in database.lists:
            shares = Counter(person for person, _ in items)
            assert max(shares.values()) <= 2
            for person, number in items:
                done[person].append(number)
        assert dict(done) == {person: list(range(count)) for person, count in numbers.items()}
        assert all(future.result() == item for item, future in futures.items())

    asyncio.run(run())
