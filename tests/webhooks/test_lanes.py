"""Delivering: in each person's order, at least once, with pauses over three days, and nobody held up by another."""

from __future__ import annotations

import itertools
from collections import defaultdict
from datetime import timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

import pytest
from sqlalchemy import Engine

from domain.database import transaction
from domain.errors import WebhookEndpointNotActive
from domain.webhooks import ReservationExpired, endpoints, lanes, redelivering, tell
from domain.webhooks.lanes import AT_ONCE_MAX, CLAIMED_FOR, IN_A_ROW_MAX, Attempt
from domain.webhooks.pausing import DISABLED_AFTER, PAUSES, TRIED_FOR
from tests.support.ledger import NOW, at_once, execute, scalar
from tests.support.webhooks import App, Endpoint, Post, answering, commit_when_waited_for, listen, silent

GONE, BUSY, BROKEN = answering(410), answering(429, retry_after_seconds=3_600), answering(500)


def happen(
    engine: Engine, *people: str, times: int = 1, start: int = 0, after: timedelta = timedelta()
) -> None:
    """So many events of each person, one transaction each, the persons in turn."""
    for number in range(start, start + times):
        for user_id in people:
            event = ReservationExpired(
                user_id=user_id,
                reservation_id=UUID(int=number),
                amount=Decimal(number),
                app_id=None,
            )
            with transaction(engine) as connection:
                tell(connection, [event], now=NOW + after)


def amounts(app: App, url: str | None = None) -> dict[str, list[int]]:
    """What each person's events were, in the order in which they came."""
    found: dict[str, list[int]] = defaultdict(list)
    for told in app.told(url):
        found[told["data"]["userId"]].append(int(told["data"]["amount"]))
    return dict(found)


def states_of(engine: Engine) -> dict[str, int]:
    with engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT state, count(*) FROM ops.webhook_deliveries GROUP BY 1")
        return {row[0]: row[1] for row in rows}


def endpoint_row(engine: Engine, made: Endpoint) -> object:
    with engine.connect() as connection:
        return connection.exec_driver_sql(
            "SELECT * FROM ops.webhook_endpoints WHERE id = %s", (made.id,)
        ).one()


def test_each_persons_events_come_in_their_order_and_rise_in_sequence(
    engine: Engine, post_office: Post
) -> None:
    listen(engine)
    happen(engine, "anna", "ben", "carla", times=20)
    assert post_office.deliver() == 60
    assert amounts(post_office.app) == {user_id: list(range(20)) for user_id in ("anna", "ben", "carla")}
    for user_id in ("anna", "ben", "carla"):
        numbers = [told["sequence"] for told in post_office.app.told() if told["data"]["userId"] == user_id]
        assert numbers == sorted(set(numbers))
    assert scalar(engine, "SELECT count(*) FROM ops.webhook_lanes") == 0


def test_what_fails_holds_up_its_own_lane_and_no_other(engine: Engine, post_office: Post) -> None:
    made = listen(engine)
    happen(engine, "anna", "ben", times=3)

    def refuse_anna(sent: lanes.Sending, now: object) -> Attempt:
        status = 500 if sent.user_id == "anna" else 200
        return Attempt(at=post_office.now, seconds=0.1, status=status)

    post_office.app.answers[made.url] = refuse_anna
    assert post_office.deliver() == 4
    assert amounts(post_office.app) == {"ben": [0, 1, 2]}
    post_office.app.answers.clear()
    assert post_office.deliver() == 0, "the lane pauses"
    post_office.forward(seconds=6)
    post_office.deliver()
    assert amounts(post_office.app)["anna"] == [0, 1, 2]


def test_a_lane_that_somebody_is_on_is_nobody_elses_until_the_claim_ends(
    engine: Engine, post_office: Post
) -> None:
    listen(engine)
    happen(engine, "anna", times=2)
    [first] = post_office.claim()
    assert post_office.claim() == []
    post_office.now += CLAIMED_FOR - timedelta(seconds=1)
    assert post_office.claim() == []
    post_office.forward(seconds=2)
    [again] = post_office.claim()
    assert (again.event_id, again.body) == (first.event_id, first.body)
    assert post_office.record(first, Attempt(at=NOW, seconds=1, status=200)) is None
    assert states_of(engine) == {"waiting": 2}, "who came too late writes nothing"
    assert post_office.send(again) is not None


def test_several_who_claim_at_once_share_the_lanes(engine: Engine, post_office: Post) -> None:
    listen(engine)
    people = [f"user-{number}" for number in range(20)]
    happen(engine, *people)
    claimed = at_once(*[post_office.claim] * 6)
    users = [sent.user_id for one in claimed for sent in one]
    assert len(users) == len(set(users)) == 20
    assert all(len(one) <= AT_ONCE_MAX for one in claimed)


def test_an_endpoint_has_so_many_lanes_at_once_and_others_have_their_own(
    engine: Engine, post_office: Post
) -> None:
    slow = listen(engine, url="https://slow.example/")
    quick = listen(engine, url="https://quick.example/")
    happen(engine, *[f"user-{number}" for number in range(10)])
    claimed = post_office.claim()
    assert [sent.endpoint_id for sent in claimed].count(slow.id) == AT_ONCE_MAX
    with transaction(engine) as connection:
        busy = {slow.id: AT_ONCE_MAX, quick.id: AT_ONCE_MAX - 1}
        [more] = lanes.claim(connection, busy, now=NOW)
    assert more.endpoint_id == quick.id


def test_a_long_lane_lets_others_have_their_turn(engine: Engine, post_office: Post) -> None:
    made = listen(engine)
    happen(engine, "anna", times=IN_A_ROW_MAX + 5)
    [first] = post_office.claim()
    sent: lanes.Sending | None = first
    count = 0
    while sent is not None:
        count += 1
        sent = post_office.send(sent)
    assert count == IN_A_ROW_MAX
    post_office.deliver()
    assert amounts(post_office.app, made.url)["anna"] == list(range(IN_A_ROW_MAX + 5))


def test_it_is_tried_over_three_days_with_longer_and_longer_pauses_and_then_given_up(
    engine: Engine, post_office: Post
) -> None:
    made = listen(engine)
    post_office.app.answers[made.url] = silent
    happen(engine, "anna")
    post_office.deliver_until(NOW + timedelta(days=4))
    at = [asked - NOW for _, asked in post_office.app.asked]
    assert len(at) == len(PAUSES) + 1
    pauses = [later - earlier for earlier, later in itertools.pairwise(at)]
    assert pauses[:-1] == sorted(pauses[:-1])
    assert TRIED_FOR <= at[-1] < TRIED_FOR + timedelta(minutes=10)
    assert states_of(engine) == {"failed": 1}
    assert scalar(engine, "SELECT count(*) FROM ops.webhook_lanes") == 0
    assert scalar(engine, "SELECT last_error FROM ops.webhook_deliveries") == "no answer within 15 s"


def test_a_receiver_that_is_down_for_hours_gets_everything_in_order_when_it_is_back(
    engine: Engine, post_office: Post
) -> None:
    made = listen(engine)
    post_office.app.answers[made.url] = silent
    happen(engine, "anna", "ben", times=3)
    post_office.deliver_until(NOW + timedelta(hours=9))
    happen(engine, "anna", "dora", times=2, start=3)
    post_office.app.answers.clear()
    came = post_office.now
    post_office.deliver()
    assert amounts(post_office.app) == {"anna": [0, 1, 2, 3, 4], "ben": [0, 1, 2], "dora": [3, 4]}, (
        "the first success of somebody new brings what had paused"
    )
    assert all(asked == came for _, asked in post_office.app.asked[-10:])
    assert states_of(engine) == {"delivered": 10}


def test_an_event_that_is_never_taken_is_given_up_after_three_days_beside_a_lane_that_works(
    engine: Engine, post_office: Post
) -> None:
    made = listen(engine)

    def poisoned(sent: lanes.Sending, now: object) -> Attempt:
        is_poison = b'"amount":13' in sent.body
        return Attempt(at=post_office.now, seconds=0.1, status=500 if is_poison else 200)

    post_office.app.answers[made.url] = poisoned
    happen(engine, "anna", start=13)
    happen(engine, "anna", start=14)
    for hour in range(73):
        happen(engine, "ben", start=hour + 20)
        post_office.deliver()
        post_office.forward(hours=1)
    post_office.deliver()
    assert amounts(post_office.app)["anna"] == [14], "what came after it is sent once it is given up"
    assert states_of(engine) == {"delivered": 74, "failed": 1}
    assert len(post_office.app.asked) < 74 + 90, "it was not tried again at each success of the other"


def test_what_happened_with_an_event_that_is_given_up_was_as_long_on_its_way_and_is_tried_once(
    engine: Engine, post_office: Post
) -> None:
    made = listen(engine)
    post_office.app.answers[made.url] = BROKEN
    happen(engine, "anna", times=5)
    post_office.deliver_until(NOW + TRIED_FOR + timedelta(hours=1), step=timedelta(minutes=10))
    assert states_of(engine) == {"failed": 5}
    tries = [row[0] for row in attempts(engine)]
    assert tries[0] == len(PAUSES) + 1
    assert tries[1:] == [1, 1, 1, 1]


def test_what_happened_later_has_its_own_three_days_and_its_own_pauses(
    engine: Engine, post_office: Post
) -> None:
    made = listen(engine)
    post_office.app.answers[made.url] = BROKEN
    happen(engine, "anna")
    post_office.deliver_until(NOW + timedelta(days=1), step=timedelta(minutes=10))
    happen(engine, "anna", start=1, after=timedelta(days=1))
    post_office.deliver_until(NOW + TRIED_FOR + timedelta(hours=1), step=timedelta(minutes=5))
    assert states_of(engine) == {"failed": 1, "waiting": 1}
    assert attempts(engine)[1][0] == 4, "at once, after 5 seconds, 5 and 30 minutes"
    post_office.deliver_until(NOW + TRIED_FOR + timedelta(hours=23), step=timedelta(minutes=10))
    assert states_of(engine) == {"failed": 1, "waiting": 1}
    post_office.deliver_until(NOW + TRIED_FOR + timedelta(days=1, minutes=10), step=timedelta(minutes=10))
    assert states_of(engine) == {"failed": 2}, "the lane is never further behind than three days"


def attempts(engine: Engine) -> list[tuple[int, int]]:
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(
            "SELECT attempts, jsonb_array_length(tried) FROM ops.webhook_deliveries ORDER BY seq"
        )
        return [(row[0], row[1]) for row in rows]


def test_a_success_begins_the_three_days_anew(engine: Engine, post_office: Post) -> None:
    made = listen(engine)
    happen(engine, "anna", times=2)
    post_office.app.answers[made.url] = BROKEN
    post_office.deliver_until(NOW + timedelta(days=2), step=timedelta(minutes=30))
    turns = iter([200, *[500] * 50])
    post_office.app.answers[made.url] = lambda _sent, now: Attempt(at=now, seconds=1, status=next(turns))
    post_office.deliver_until(NOW + timedelta(days=4), step=timedelta(minutes=30))
    assert states_of(engine) == {"delivered": 1, "waiting": 1}


def test_an_endpoint_that_takes_nothing_for_long_is_disabled_with_the_reason(
    engine: Engine, post_office: Post
) -> None:
    made = listen(engine)
    other = listen(engine, url="https://other.example/")
    post_office.app.answers[made.url] = BROKEN
    for _ in range(7):
        happen(engine, "anna")
        post_office.deliver_until(post_office.now + timedelta(days=1), step=timedelta(hours=1))
    row = endpoint_row(engine, made)
    assert row.state == "disabled"  # type: ignore[attr-defined]
    assert row.state_reason == "took nothing for 5 days: answered 500"  # type: ignore[attr-defined]
    assert NOW + DISABLED_AFTER <= row.state_at < NOW + DISABLED_AFTER + timedelta(days=1)  # type: ignore[attr-defined]
    asked = len(post_office.app.asked)
    happen(engine, "anna")
    post_office.deliver()
    assert [url for url, _ in post_office.app.asked[asked:]] == [other.url]
    assert scalar(engine, f"SELECT count(*) FROM ops.webhook_deliveries WHERE endpoint_id = '{made.id}'") < 7


def test_a_quiet_endpoint_is_not_disabled_for_what_it_refused_weeks_ago(
    engine: Engine, post_office: Post
) -> None:
    made = listen(engine)
    post_office.app.answers[made.url] = BROKEN
    happen(engine, "anna")
    post_office.deliver_until(NOW + timedelta(days=4), step=timedelta(hours=1))
    assert states_of(engine) == {"failed": 1}
    happen(engine, "ben", after=timedelta(days=20))
    post_office.now = NOW + timedelta(days=20)
    post_office.deliver_until(post_office.now + timedelta(hours=10), step=timedelta(hours=1))
    assert endpoint_row(engine, made).state == "active"  # type: ignore[attr-defined]
    post_office.deliver_until(post_office.now + timedelta(days=2), step=timedelta(hours=1))
    assert endpoint_row(engine, made).state == "disabled"  # type: ignore[attr-defined]
    assert states_of(engine) == {"failed": 1, "waiting": 1}


def test_one_success_in_between_keeps_an_endpoint(engine: Engine, post_office: Post) -> None:
    made = listen(engine)
    for day in range(8):
        happen(engine, f"user-{day}")
        works = day % 4 == 3
        post_office.app.answers[made.url] = answering(200) if works else BROKEN
        post_office.deliver_until(post_office.now + timedelta(days=1), step=timedelta(hours=3))
    assert endpoint_row(engine, made).state == "active"  # type: ignore[attr-defined]


def test_gone_disables_at_once(engine: Engine, post_office: Post) -> None:
    made = listen(engine)
    post_office.app.answers[made.url] = GONE
    happen(engine, "anna", "ben", times=2)
    post_office.deliver()
    row = endpoint_row(engine, made)
    assert (row.state, row.state_reason) == ("disabled", "answered 410: it is gone")  # type: ignore[attr-defined]
    post_office.forward(days=1)
    assert post_office.deliver() == 0
    assert states_of(engine) == {"waiting": 4}


def test_what_waits_while_an_endpoint_is_disabled_is_sent_when_it_is_enabled(
    engine: Engine, post_office: Post
) -> None:
    made = listen(engine)
    happen(engine, "anna", times=3)
    post_office.app.answers[made.url] = GONE
    post_office.deliver()
    happen(engine, "anna", start=3)  # nobody listens
    post_office.app.answers.clear()
    enable(post_office, made)
    happen(engine, "anna", start=4)
    post_office.deliver()
    assert amounts(post_office.app) == {"anna": [0, 1, 2, 4]}


def test_what_waited_long_at_an_endpoint_that_is_enabled_is_tried_for_another_three_days(
    engine: Engine, post_office: Post
) -> None:
    made = listen(engine)
    post_office.app.answers[made.url] = BROKEN
    happen(engine, "anna", "ben", times=2)
    post_office.deliver_until(NOW + timedelta(days=2), step=timedelta(hours=1))
    post_office.app.answers[made.url] = GONE
    happen(engine, "carla", after=timedelta(days=2))
    post_office.deliver()
    post_office.forward(days=4)
    post_office.app.answers[made.url] = BROKEN
    enable(post_office, made)
    assert post_office.deliver() == 3
    assert states_of(engine) == {"waiting": 5}
    post_office.deliver_until(post_office.now + TRIED_FOR - timedelta(hours=1), step=timedelta(hours=1))
    assert states_of(engine) == {"waiting": 5}


def test_what_a_dead_worker_had_claimed_is_tried_for_another_three_days_too(
    engine: Engine, post_office: Post
) -> None:
    made = listen(engine)
    post_office.app.answers[made.url] = BROKEN
    happen(engine, "anna", times=2)
    post_office.deliver()
    post_office.forward(seconds=10)
    [sent] = post_office.claim()
    with transaction(engine) as connection:
        endpoints.pause(connection, made.id, now=post_office.now)
    post_office.forward(days=4)
    enable(post_office, made)
    assert post_office.record(sent, TOOK) is None, "its claim is over"
    post_office.deliver()
    assert states_of(engine) == {"waiting": 2}


def test_a_new_address_has_three_days_for_what_came_due_while_the_old_one_rested(
    engine: Engine, post_office: Post
) -> None:
    made = listen(engine)
    post_office.app.answers[made.url] = BROKEN
    happen(engine, "anna", "ben", times=2)
    post_office.deliver_until(NOW + timedelta(days=1), step=timedelta(hours=1))
    post_office.app.answers[made.url] = answering(429, retry_after_seconds=86_400)
    while endpoint_row(engine, made).rest_until is None:  # type: ignore[attr-defined]
        post_office.forward(hours=1)
        post_office.deliver()
    post_office.now = NOW + TRIED_FOR + timedelta(hours=1)
    with transaction(engine) as connection:
        moved = endpoints.Changes(url="https://new.example/")
        endpoints.change(connection, made.id, moved, now=post_office.now)
    post_office.app.answers["https://new.example/"] = BROKEN
    assert post_office.deliver() == 2
    assert states_of(engine) == {"waiting": 4}


def enable(post_office: Post, made: Endpoint) -> None:
    with transaction(post_office.engine) as connection:
        endpoints.enable(connection, made.id, now=post_office.now)


def test_an_endpoint_that_asks_for_a_rest_is_left_alone_for_so_long_in_all_its_lanes(
    engine: Engine, post_office: Post
) -> None:
    made = listen(engine)
    other = listen(engine, url="https://other.example/")
    post_office.app.answers[made.url] = BUSY
    happen(engine, *[f"user-{number}" for number in range(10)])
    post_office.deliver()
    asked = [url for url, _ in post_office.app.asked].count(made.url)
    assert asked == AT_ONCE_MAX, "those that were under way"
    assert [url for url, _ in post_office.app.asked].count(other.url) == 10
    post_office.app.answers.clear()
    post_office.forward(minutes=59)
    assert post_office.deliver() == 0
    post_office.forward(minutes=2)
    assert post_office.deliver() == 10


def test_a_rest_is_a_day_at_most(engine: Engine, post_office: Post) -> None:
    made = listen(engine)
    post_office.app.answers[made.url] = answering(503, retry_after_seconds=10**9)
    happen(engine, "anna")
    post_office.deliver()
    assert endpoint_row(engine, made).rest_until == NOW + timedelta(days=1)  # type: ignore[attr-defined]


TOOK: Final = Attempt(at=NOW, seconds=1, status=200)
LATE: Final = ReservationExpired(user_id="anna", reservation_id=UUID(int=1), amount=Decimal(1), app_id=None)


def test_what_is_told_before_a_lane_ends_keeps_it(engine: Engine, post_office: Post) -> None:
    """The teller has the lane; whoever would end it waits for the commit, and finds what was added."""
    listen(engine)
    happen(engine, "anna")
    [sent] = post_office.claim()
    with engine.connect() as teller:
        tell(teller, [LATE], now=NOW)
        [following, _] = at_once(
            lambda: post_office.record(sent, TOOK), lambda: commit_when_waited_for(engine, teller)
        )
    assert isinstance(following, lanes.Sending)
    assert post_office.send(following) is None
    assert states_of(engine) == {"delivered": 2}


def test_what_is_told_while_a_lane_ends_begins_it_anew(engine: Engine, post_office: Post) -> None:
    """The lane's end is written and not committed: the teller, who had looked before, waits for it."""
    listen(engine)
    happen(engine, "anna")
    [sent] = post_office.claim()
    with engine.connect() as ending:
        assert lanes.record(ending, sent, TOOK, now=NOW) is None

        def tell_late() -> None:
            with transaction(engine) as connection:
                tell(connection, [LATE], now=NOW)

        at_once(tell_late, lambda: commit_when_waited_for(engine, ending))
    assert post_office.deliver() == 1
    assert states_of(engine) == {"delivered": 2}


def test_tellers_and_deliverers_at_once_lose_nothing_and_keep_the_order(
    engine: Engine, post_office: Post
) -> None:
    listen(engine)
    offices = [Post(engine) for _ in range(3)]

    def tell_all(user_id: str) -> None:
        happen(engine, user_id, times=30)

    def deliver(office: Post) -> None:
        for _ in range(40):
            office.deliver()

    people = ("anna", "ben", "carla")
    at_once(*[lambda u=u: tell_all(u) for u in people], *[lambda o=o: deliver(o) for o in offices])
    offices[0].deliver()
    heard = sorted((told["sequence"], user) for office in offices for user, told in _each(office.app))
    assert len(heard) == 90
    for user_id in people:
        for office in offices:
            mine = amounts(office.app).get(user_id, [])
            assert mine == sorted(mine)
    assert states_of(engine) == {"delivered": 90}


def _each(app: App) -> list[tuple[str, dict[str, object]]]:
    return [(told["data"]["userId"], told) for told in app.told()]


def test_a_delivery_is_sent_again_when_an_operator_says_so(engine: Engine, post_office: Post) -> None:
    listen(engine)
    happen(engine, "anna", times=2)
    post_office.deliver()
    delivery_id = scalar(engine, "SELECT id FROM ops.webhook_deliveries ORDER BY seq LIMIT 1")
    with transaction(engine) as connection:
        redelivering.redeliver(connection, delivery_id, now=post_office.now)
    happen(engine, "anna", start=2)
    post_office.deliver()
    assert amounts(post_office.app) == {"anna": [0, 1, 0, 2]}
    first, *_, again, _ = post_office.app.told()
    assert first == again
    assert attempts(engine)[0] == (2, 2)


def test_all_that_failed_since_then_is_sent_again_in_order(engine: Engine, post_office: Post) -> None:
    made = listen(engine)
    post_office.app.answers[made.url] = BROKEN
    happen(engine, "anna", "ben", times=2)
    post_office.deliver_until(NOW + timedelta(days=4), step=timedelta(hours=1))
    post_office.app.answers.clear()
    with transaction(engine) as connection:
        later = NOW + timedelta(seconds=1)
        assert redelivering.redeliver_failed(connection, made.id, since=later, now=post_office.now) == (0, 0)
        assert redelivering.redeliver_failed(connection, made.id, since=NOW, now=post_office.now) == (4, 0)
    post_office.deliver()
    assert amounts(post_office.app) == {"anna": [0, 1], "ben": [0, 1]}
    assert states_of(engine) == {"delivered": 4}


def test_what_waits_is_hurried_by_redelivering_it(engine: Engine, post_office: Post) -> None:
    made = listen(engine)
    post_office.app.answers[made.url] = BROKEN
    happen(engine, "anna")
    post_office.deliver_until(NOW + timedelta(hours=3))
    post_office.deliver()  # what has come due by this moment, by chance
    post_office.app.answers.clear()
    assert post_office.deliver() == 0
    with transaction(engine) as connection:
        delivery_id = scalar(engine, "SELECT id FROM ops.webhook_deliveries")
        redelivering.redeliver(connection, delivery_id, now=post_office.now)
    assert post_office.deliver() == 1


def test_nothing_is_redelivered_to_an_endpoint_that_is_not_active(engine: Engine, post_office: Post) -> None:
    made = listen(engine)
    happen(engine, "anna")
    post_office.deliver()
    delivery_id = scalar(engine, "SELECT id FROM ops.webhook_deliveries")
    with transaction(engine) as connection:
        endpoints.pause(connection, made.id, now=NOW)
    with pytest.raises(WebhookEndpointNotActive), transaction(engine) as connection:
        redelivering.redeliver(connection, delivery_id, now=NOW)
    with pytest.raises(WebhookEndpointNotActive), transaction(engine) as connection:
        redelivering.redeliver_failed(connection, made.id, since=NOW, now=NOW)


def test_a_lane_that_was_erased_under_way_is_written_nowhere(engine: Engine, post_office: Post) -> None:
    listen(engine)
    happen(engine, "anna")
    [sent] = post_office.claim()
    execute(
        engine,
        "DELETE FROM ops.webhook_lanes",
        "DELETE FROM ops.webhook_deliveries",
        "DELETE FROM ops.app_events",
    )
    assert post_office.record(sent, Attempt(at=NOW, seconds=1, status=200)) is None


def test_what_is_kept_of_attempts_is_bounded(engine: Engine, post_office: Post) -> None:
    made = listen(engine)
    post_office.app.answers[made.url] = BROKEN
    happen(engine, "anna")
    delivery_id = scalar(engine, "SELECT id FROM ops.webhook_deliveries")
    for _ in range(30):
        post_office.deliver()
        with transaction(engine) as connection:
            redelivering.redeliver(connection, delivery_id, now=post_office.now)
    assert attempts(engine) == [(30, 20)]
