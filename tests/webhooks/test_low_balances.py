"""`balance.low`: once for each crossing, found without a thing done where credits are spent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, event

from domain import erasure, ledger, reservations
from domain.database import transaction
from domain.ids import new_id
from domain.reservations import Released
from domain.webhooks import EventType, endpoints, low_balances
from domain.webhooks.endpoints import Changes, ThresholdMissing, Wanted
from domain.webhooks.low_balances import CROSSINGS_PER_LOOK_MAX, OVERLAP, PAGES_PER_LOOK, WINDOW_MAX
from tests.domain.test_ledger_plans import FILL, counters, run_without_triggers
from tests.support.ledger import NOW, at_once, execute, give, post, scalar, set_aside, take
from tests.support.webhooks import Post, commit_when_waited_for, listen

LOW = EventType.BALANCE_LOW


def told(post_office: Post) -> list[tuple[str, Any]]:
    """Who was told of, and with which balance, in the order of the events."""
    post_office.deliver()
    events = sorted(post_office.app.told(), key=lambda one: one["sequence"])
    return [(one["data"]["userId"], one["data"]["balance"]) for one in events]


def spend(post_office: Post, user_id: str, amount: str | int) -> None:
    at = post_office.now
    post(post_office.engine, take(user_id, amount, id=new_id(at)), now=at)


def fund(post_office: Post, user_id: str, amount: int) -> None:
    at = post_office.now
    post(post_office.engine, give(user_id, amount, id=new_id(at)), now=at)


def reserve(post_office: Post, amount: int) -> UUID:
    """Set credits of Anna's aside."""
    with transaction(post_office.engine) as connection:
        return reservations.reserve(
            connection, user_id="anna", amount=Decimal(amount), reason="x", now=post_office.now
        ).reservation_id


def commit(post_office: Post, reservation_id: UUID) -> None:
    with transaction(post_office.engine) as connection:
        reservations.commit(connection, reservation_id, now=post_office.now)


def put_back(post_office: Post, reservation_id: UUID) -> None:
    with transaction(post_office.engine) as connection:
        reservations.refund(connection, reservation_id, now=post_office.now)


def later(post_office: Post, **time: float) -> int:
    """Some time passes, and the scheduler looks: how many crossings it told of."""
    post_office.forward(**(time or {"seconds": 5}))
    return post_office.look()


def test_whoever_falls_below_is_told_once_and_again_after_having_had_enough(post_office: Post) -> None:
    fund(post_office, "anna", 50)
    listen(post_office.engine, LOW, threshold=20)
    spend(post_office, "anna", 30)
    assert later(post_office) == 0, "20 is not below 20"
    spend(post_office, "anna", "0.001")
    assert later(post_office) == 1
    spend(post_office, "anna", 5)
    assert later(post_office) == 0
    fund(post_office, "anna", 5)
    assert later(post_office) == 0, "19.999: not enough yet"
    fund(post_office, "anna", 10)
    assert later(post_office) == 0
    spend(post_office, "anna", 29)
    assert later(post_office) == 1
    assert told(post_office) == [("anna", Decimal("19.999")), ("anna", Decimal("0.999"))]
    assert post_office.app.told()[0]["data"]["threshold"] == 20


def test_both_ways_between_two_looks_are_two_crossings_once_it_is_low_again(post_office: Post) -> None:
    fund(post_office, "anna", 50)
    listen(post_office.engine, LOW, threshold=20)
    spend(post_office, "anna", 40)
    assert later(post_office) == 1
    fund(post_office, "anna", 100)
    spend(post_office, "anna", 100)
    assert later(post_office) == 1
    assert later(post_office) == 0
    spend(post_office, "anna", 5)
    fund(post_office, "anna", 6)
    assert later(post_office) == 0


def test_a_dip_that_is_over_when_it_is_looked_at_is_not_told(post_office: Post) -> None:
    fund(post_office, "anna", 50)
    listen(post_office.engine, LOW, threshold=20)
    spend(post_office, "anna", 40)
    fund(post_office, "anna", 40)
    assert later(post_office) == 0
    spend(post_office, "anna", 40)
    assert later(post_office) == 1


def test_who_was_low_when_the_endpoint_came_has_crossed_nothing(post_office: Post) -> None:
    fund(post_office, "anna", 50)
    spend(post_office, "anna", 45)
    fund(post_office, "ben", 50)
    listen(post_office.engine, LOW, threshold=20)
    spend(post_office, "anna", 1)
    spend(post_office, "ben", 45)
    assert later(post_office) == 1
    assert told(post_office) == [("ben", 5)]


def test_who_never_had_as_much_has_crossed_nothing(post_office: Post) -> None:
    listen(post_office.engine, LOW, threshold=20)
    post(post_office.engine, give("new", 0, creates_balance=True))
    fund(post_office, "anna", 10)
    fund(post_office, "ben", 20)
    assert later(post_office) == 0
    spend(post_office, "anna", 5)
    fund(post_office, "anna", 4)
    spend(post_office, "ben", 1)
    assert later(post_office) == 1
    fund(post_office, "anna", 50)
    later(post_office)
    spend(post_office, "anna", 50)
    assert later(post_office) == 1
    assert told(post_office) == [("ben", 19), ("anna", 9)]


def test_a_reservation_lowers_what_can_be_spent_and_makes_no_entry(post_office: Post) -> None:
    fund(post_office, "anna", 50)
    listen(post_office.engine, LOW, threshold=20)
    later(post_office)

    held = reserve(post_office, 40)
    assert later(post_office, seconds=5) == 1
    put_back(post_office, held)
    assert later(post_office) == 0
    reserve(post_office, 40)
    assert later(post_office) == 1
    assert told(post_office) == [("anna", 10), ("anna", 10)]


@pytest.mark.parametrize("pages", [0, PAGES_PER_LOOK])
def test_spending_what_was_set_aside_is_no_second_crossing(post_office: Post, pages: int) -> None:
    fund(post_office, "anna", 70)
    listen(post_office.engine, LOW, threshold=20)
    later(post_office)
    held = [reserve(post_office, amount) for amount in (40, 20)]
    post_office.forward(seconds=5)
    assert post_office.look(pages=pages) == 1
    for reservation_id in held:
        commit(post_office, reservation_id)
        post_office.forward(seconds=5)
        assert post_office.look(pages=pages) == 0
    fund(post_office, "anna", 10)
    spend(post_office, "anna", 10)
    post_office.forward(seconds=5)
    assert post_office.look(pages=pages) == 1
    assert told(post_office) == [("anna", 10), ("anna", 10)]


@pytest.mark.parametrize("expires", [True, False])
def test_who_has_enough_because_credits_were_put_back_falls_again_where_there_are_many_people(
    post_office: Post, *, expires: bool
) -> None:
    """Without the look at all balances in turn: what is put back makes no entry."""
    fund(post_office, "anna", 50)
    listen(post_office.engine, LOW, threshold=20)
    post_office.look(pages=0)
    for _ in range(3):
        held = reserve(post_office, 40)
        post_office.forward(seconds=5)
        assert post_office.look(pages=0) == 1
        if expires:
            post_office.forward(hours=25)
            with transaction(post_office.engine) as connection:
                reservations.release_expired(connection, Released(), now=post_office.now)
        else:
            put_back(post_office, held)
        post_office.forward(minutes=1)
        assert post_office.look(pages=0) == 0


def test_who_has_less_than_the_threshold_after_credits_were_put_back_falls_no_second_time(
    post_office: Post,
) -> None:
    fund(post_office, "anna", 50)
    listen(post_office.engine, LOW, threshold=20)
    reserve(post_office, 40)
    held = reserve(post_office, 9)
    post_office.forward(seconds=5)
    assert post_office.look(pages=0) == 1
    put_back(post_office, held)
    reserve(post_office, 9)
    post_office.forward(seconds=5)
    assert post_office.look(pages=0) == 0


def test_each_endpoint_has_its_own_threshold_and_its_own_latch(post_office: Post) -> None:
    fund(post_office, "anna", 100)
    high = listen(post_office.engine, LOW, threshold=50, url="https://high.example/")
    low = listen(post_office.engine, LOW, threshold=10, url="https://low.example/")
    listen(post_office.engine, EventType.SYNC_PAUSED, url="https://none.example/")
    spend(post_office, "anna", 60)
    assert later(post_office) == 1
    spend(post_office, "anna", 35)
    assert later(post_office) == 1
    post_office.deliver()
    assert [one["data"] for one in post_office.app.told(high.url)] == [
        {"userId": "anna", "balance": 40, "threshold": 50}
    ]
    assert [one["data"] for one in post_office.app.told(low.url)] == [
        {"userId": "anna", "balance": 5, "threshold": 10}
    ]


def test_a_crossing_is_told_once_however_many_spend_and_look_at_once(post_office: Post) -> None:
    people = [f"user-{number}" for number in range(10)]
    post(post_office.engine, *[give(user_id, 100) for user_id in people])
    listen(post_office.engine, LOW, threshold=50)
    post_office.look()

    def spend_all() -> int:
        for user_id in people:
            for _ in range(3):
                spend(post_office, user_id, 5)
        return 0

    def look_often() -> int:
        return sum(
            Post(post_office.engine, now=NOW + timedelta(seconds=number)).look() for number in range(25)
        )

    found = at_once(*[spend_all] * 5, *[look_often] * 3)
    assert sum(found) + later(post_office, seconds=30) == 10
    assert sorted(user_id for user_id, _ in told(post_office)) == sorted(people)


def test_two_who_look_at_the_same_moment_do_not_both_tell(post_office: Post) -> None:
    post(post_office.engine, *[give(f"user-{number}", 100) for number in range(200)])
    listen(post_office.engine, LOW, threshold=50)
    post_office.look()
    post(post_office.engine, *[take(f"user-{number}", 60) for number in range(200)])
    post_office.forward(seconds=2)
    assert sum(at_once(*[post_office.look] * 6)) == 200


def test_what_changed_since_the_last_look_is_enough_where_there_are_many_people(post_office: Post) -> None:
    """Without the look at all balances in turn."""
    post(post_office.engine, *[give(f"user-{number}", 100) for number in range(50)])
    listen(post_office.engine, LOW, threshold=50)
    post_office.look(pages=0)
    post_office.forward(hours=2)
    assert post_office.look(pages=0) == 0
    spend(post_office, "user-7", 60)
    post_office.forward(seconds=4)
    assert post_office.look(pages=0) == 1
    fund(post_office, "user-7", 60)
    post_office.forward(seconds=4)
    assert post_office.look(pages=0) == 0
    assert scalar(post_office.engine, "SELECT count(*) FROM ops.low_balances") == 0


def test_an_entry_that_was_committed_after_it_was_dated_is_still_seen(post_office: Post) -> None:
    fund(post_office, "anna", 100)
    listen(post_office.engine, LOW, threshold=50)
    post_office.look(pages=0)
    dated = post_office.now
    post_office.forward(seconds=5)
    post_office.look(pages=0)
    post(post_office.engine, take("anna", 60, id=new_id(dated)), now=dated)
    post_office.forward(seconds=4)
    assert timedelta(seconds=9) < OVERLAP
    assert post_office.look(pages=0) == 1


def test_what_scripts_write_and_what_nobody_looked_at_in_time_is_found_by_the_look_at_all(
    post_office: Post,
) -> None:
    post(post_office.engine, *[give(f"user-{number:03}", 100) for number in range(300)])
    listen(post_office.engine, LOW, threshold=50)
    later(post_office)
    execute(
        post_office.engine,
        "UPDATE credits.balances SET balance = 5, total_earned = 5 WHERE user_id = 'user-123'",
    )
    spend(post_office, "user-200", 60)
    post_office.now += WINDOW_MAX + timedelta(hours=3)
    assert post_office.look(pages=0) == 0, "too long ago, and too far away"
    pages = scalar(post_office.engine, "SELECT pg_relation_size('credits.balances') / 8192")
    assert pages > 3
    found = [post_office.look(pages=1) for _ in range(pages + 1)]
    assert sum(found) == 2
    assert max(found) <= 2
    assert sorted(told(post_office)) == [("user-123", 5), ("user-200", 40)]


def test_after_a_pause_of_the_scheduler_what_is_newest_is_told_first_and_the_rest_in_turn(
    post_office: Post,
) -> None:
    post(post_office.engine, *[give(f"user-{number}", 100) for number in range(12)])
    listen(post_office.engine, LOW, threshold=50)
    post_office.forward(minutes=5)
    post_office.look(pages=0)
    for number in range(12):
        post_office.forward(seconds=15)
        spend(post_office, f"user-{number}", 60)
    newest = WINDOW_MAX.total_seconds() / 15 + 1
    assert [post_office.look(pages=0), post_office.look(pages=0)] == [newest, 0]
    assert post_office.look() == 12 - newest


def test_more_than_one_look_takes_are_told_by_the_next(post_office: Post) -> None:
    count = CROSSINGS_PER_LOOK_MAX + 10
    execute(
        post_office.engine,
        f"""INSERT INTO credits.balances (user_id, balance, total_earned)
            SELECT 'user-' || n, 100, 100 FROM generate_series(1, {count}) n""",
    )
    listen(post_office.engine, LOW, threshold=50)
    post_office.look()
    execute(post_office.engine, "UPDATE credits.balances SET balance = 1, total_earned = 1")
    found = [later(post_office) for _ in range(3)]
    assert found[0] == CROSSINGS_PER_LOOK_MAX
    assert sum(found) == count


def test_another_threshold_makes_nobody_cross_by_itself(post_office: Post) -> None:
    post(post_office.engine, give("anna", 30), give("ben", 60))
    made = listen(post_office.engine, LOW, threshold=20)
    change(post_office, made.id, low_balance_threshold=Decimal(50))
    assert later(post_office) == 0
    spend(post_office, "anna", 15)
    spend(post_office, "ben", 15)
    assert later(post_office) == 1
    change(post_office, made.id, low_balance_threshold=Decimal(20))
    spend(post_office, "ben", 30)
    assert later(post_office) == 1
    assert told(post_office) == [("ben", 45), ("ben", 15)]


def change(post_office: Post, endpoint_id: Any, **changes: Any) -> None:
    with transaction(post_office.engine) as connection:
        endpoints.change(connection, endpoint_id, Changes(**changes), now=post_office.now)


def test_an_endpoint_that_is_enabled_again_hears_of_what_is_crossed_from_then_on(post_office: Post) -> None:
    post(post_office.engine, give("anna", 30), give("ben", 60))
    made = listen(post_office.engine, LOW, threshold=20)
    with transaction(post_office.engine) as connection:
        endpoints.pause(connection, made.id, now=post_office.now)
    spend(post_office, "anna", 15)
    assert later(post_office) == 0
    with transaction(post_office.engine) as connection:
        endpoints.enable(connection, made.id, now=post_office.now)
    spend(post_office, "ben", 50)
    assert later(post_office) == 1
    assert told(post_office) == [("ben", 10)]


def test_a_threshold_belongs_to_the_event(post_office: Post) -> None:
    made = listen(post_office.engine, EventType.SYNC_PAUSED)
    with pytest.raises(ThresholdMissing):
        change(post_office, made.id, events=[LOW])
    change(post_office, made.id, events=[LOW], low_balance_threshold=Decimal(20))
    fund(post_office, "anna", 5)
    later(post_office)
    assert scalar(post_office.engine, "SELECT count(*) FROM ops.low_balances") == 1
    change(post_office, made.id, events=[EventType.SYNC_PAUSED])
    assert scalar(post_office.engine, "SELECT count(*) FROM ops.low_balances") == 0


def test_a_debt_is_low_too(post_office: Post) -> None:
    fund(post_office, "anna", 30)
    listen(post_office.engine, LOW, threshold=20)
    bought = take("anna", 50, may_overdraw=True, type="purchase", counts_as="earned")
    post(post_office.engine, bought, now=post_office.now)
    assert later(post_office) == 1
    assert told(post_office) == [("anna", -20)]


def test_whoever_was_erased_is_not_told_of_under_the_pseudonym(post_office: Post) -> None:
    fund(post_office, "anna", 30)
    listen(post_office.engine, LOW, threshold=20)
    spend(post_office, "anna", 25)
    with transaction(post_office.engine) as connection:
        erasure.erase(connection, "anna", now=post_office.now)
    assert later(post_office) == 0


def test_whose_balance_is_being_changed_is_judged_by_the_next_look(post_office: Post) -> None:
    """It neither waits nor tells what is over: what the other tells would come before, and be older."""
    post(post_office.engine, give("anna", 30), give("ben", 30))
    listen(post_office.engine, LOW, threshold=20)
    post_office.look(pages=0)
    spend(post_office, "anna", 25)
    spend(post_office, "ben", 25)
    post_office.forward(seconds=5)
    with transaction(post_office.engine) as buying:
        ledger.post(buying, [give("anna", 500, id=new_id(post_office.now))], now=post_office.now)
        assert post_office.look(pages=0) == 1
    assert later(post_office) == 0
    assert told(post_office) == [("ben", 5)]


def test_who_was_left_to_the_next_look_is_told_of_however_late_it_comes(post_office: Post) -> None:
    fund(post_office, "anna", 30)
    listen(post_office.engine, LOW, threshold=20)
    post_office.look(pages=0)
    spend(post_office, "anna", 25)
    for _ in range(4):
        post_office.forward(seconds=9)
        with transaction(post_office.engine) as asking:
            [refused] = ledger.post(asking, [take("anna", 100, id=new_id(post_office.now))], now=NOW)
            assert isinstance(refused, ledger.Insufficient)
            assert post_office.look(pages=0) == 0
    post_office.forward(seconds=9)
    assert post_office.look(pages=0) == 1


def test_what_is_told_is_what_is_so_when_it_is_told(post_office: Post) -> None:
    """A purchase, and the erasure of somebody else, between the look's reading and its writing."""
    people = ("anna", "ben", "carla")
    post(post_office.engine, *[give(user_id, 30) for user_id in people])
    listen(post_office.engine, LOW, threshold=20)
    later(post_office)
    for user_id in people:
        spend(post_office, user_id, 25)

    def others() -> None:
        fund(post_office, "anna", 500)
        spend(post_office, "ben", 3)
        with transaction(post_office.engine) as connection:
            erasure.erase(connection, "carla", now=post_office.now)

    with after_reading(post_office.engine, others):
        assert later(post_office) == 1
    assert later(post_office) == 0
    assert told(post_office) == [("ben", 2)]
    for table in ("app_events", "webhook_deliveries", "low_balances"):
        assert scalar(post_office.engine, f"SELECT count(*) FROM ops.{table} WHERE user_id = 'carla'") == 0


@contextmanager
def after_reading(engine: Engine, do: Callable[[], None]) -> Iterator[None]:
    """Do something once, when the look has found who is low and has locked nobody."""
    todo = [do]

    def when_read(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "WITH watched AS" in statement and todo:
            todo.pop()()

    event.listen(engine, "after_cursor_execute", when_read)
    try:
        yield
    finally:
        event.remove(engine, "after_cursor_execute", when_read)
    assert not todo


@pytest.mark.parametrize("erases_first", [True, False])
def test_who_is_erased_while_an_endpoint_is_made_is_left_nowhere(
    post_office: Post, *, erases_first: bool
) -> None:
    engine = post_office.engine
    post(engine, give("anna", 5), give("ben", 5))

    def make() -> None:
        listen(engine, LOW, threshold=20)

    def erase() -> None:
        with transaction(engine) as connection:
            erasure.erase(connection, "anna", now=NOW)

    with engine.connect() as first:
        if erases_first:
            erasure.erase(first, "anna", now=NOW)
        else:
            wanted = Wanted(
                app_id="chat", url="https://a.example/", events=[LOW], low_balance_threshold=Decimal(20)
            )
            endpoints.create(first, wanted, now=NOW)
        at_once(make if erases_first else erase, lambda: commit_when_waited_for(engine, first))
    assert scalar(engine, "SELECT count(*) FROM ops.low_balances WHERE user_id = 'anna'") == 0
    assert scalar(engine, "SELECT count(*) FROM ops.low_balances WHERE user_id = 'ben'") == 1


def test_where_nobody_watches_a_look_is_one_question(post_office: Post) -> None:
    fund(post_office, "anna", 30)
    assert later(post_office) == 0
    assert scalar(post_office.engine, "SELECT count(*) FROM ops.low_balance_look") == 0


def test_a_look_reads_what_is_new_and_not_the_books(engine: Engine) -> None:
    """On 200,000 entries: by the right edge of an index, whatever plan is remembered."""
    listen(engine, LOW, threshold=1)
    engine.dispose()  # what a session has counted is told when it ends, or ten seconds later
    moment = NOW
    with engine.connect() as connection:
        for _ in range(8):
            low_balances.look(connection, moment)
            connection.commit()
        run_without_triggers(connection, *FILL)
        connection.exec_driver_sql("ANALYZE credits.transactions, credits.balances")
        connection.commit()
        post(engine, take("hot", 1, id=new_id(moment)), set_aside("user-1", 0), now=moment)
        before = counters(connection)
        for number in range(5):
            low_balances.look(connection, moment + timedelta(seconds=number), pages=4)
            connection.commit()
        after = counters(connection)
    assert after[0] == before[0], "a whole table was scanned"
    assert after[2] - before[2] < 5 * 2_000
