"""What operators see: the figures of a small world made by hand, and each way to find a person."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, text

from domain import operators
from domain.database import transaction
from domain.errors import JobNotFound, PurchaseNotFound, StripeEventNotFound
from domain.jobs import JobState
from domain.jobs.lock import lock_key
from domain.operators import (
    EventFilter,
    FoundBy,
    JobFilter,
    Overview,
    PurchaseFilter,
    SubscriptionState,
)
from domain.operators.rows import PAGE_MAX, page_size
from tests.support.world import NOW, World, job_in_state, make_world


@pytest.fixture
def world(engine: Engine) -> World:
    return make_world(engine)


def overview(world: World) -> Overview:
    with transaction(world.engine) as connection:
        return operators.overview(connection, now=NOW)


def figures(*values: Any) -> tuple[Any, ...]:
    """Amounts and counts together, to be compared with whole numbers."""
    return values


def test_the_overview_tells_the_figures_of_the_day_and_of_the_day_before(world: World) -> None:
    seen = overview(world)
    today, yesterday = seen.days[-1], seen.days[-2]
    assert seen.today == today
    assert figures(today.sold, today.taken_back) == (1000, 0)
    assert today.spent == Decimal("7.5") + 30  # anna's use, carla's first month of sync
    assert figures(today.refunded, today.granted) == (5, 0)
    assert figures(today.gifts_made, today.gifts_received, today.gifts_returned) == (100, 40, 0)
    assert figures(yesterday.granted, yesterday.spent, yesterday.sold) == (710, 20, 0)
    assert len(seen.days) == 30
    assert seen.days[0].entries == 0


def test_the_overview_tells_where_credits_are_now(world: World) -> None:
    now = overview(world).now
    assert figures(now.in_reservations, now.reservations) == (30, 1)
    assert figures(now.in_gifts, now.gifts) == (60, 1)
    anna = Decimal(500) - 20 - Decimal("7.5") + 5 - 30 - 40 - 60 + 1000
    assert now.with_people == anna + (10 + 40) + (100 - 30) + (100 - 30)
    assert figures(now.people, now.debts, now.people_in_debt) == (4, 0, 0)


def test_the_overview_tells_who_is_alive_and_who_leads(world: World) -> None:
    seen = overview(world).processes
    assert (seen.web, seen.workers, seen.schedulers) == (0, 1, 1)
    assert seen.leader is not None
    with transaction(world.engine) as connection:
        later = operators.overview(connection, now=NOW + timedelta(minutes=1))
    assert (later.processes.workers, later.processes.leader) == (0, None)
    assert {"no worker is alive", "no scheduler leads"} <= set(later.worries)


def test_the_overview_tells_of_jobs_by_kind_with_the_oldest_age(world: World) -> None:
    [chore] = [kind for kind in overview(world).jobs if kind.kind == "test_chore"]
    assert (chore.waiting, chore.running, chore.failed, chore.done) == (1, 0, 1, 1)
    assert chore.oldest_due_seconds == 120
    assert chore.oldest_failed_at == NOW - timedelta(hours=1)


def test_a_job_that_a_worker_holds_counts_as_running_and_no_other_does(world: World) -> None:
    with transaction(world.engine) as connection:
        connection.execute(text("UPDATE ops.jobs SET attempts = 1 WHERE id = :id"), {"id": world.waiting_id})
    with world.engine.connect() as worker:
        worker.execute(text("SELECT pg_advisory_lock(:key)"), {"key": lock_key(world.waiting_id)})
        [chore] = [kind for kind in overview(world).jobs if kind.kind == "test_chore"]
        assert (chore.waiting, chore.running) == (0, 1)
        with transaction(world.engine) as connection:
            seen = operators.job_seen(connection, world.waiting_id)
        assert (seen.is_running, seen.may_retry, seen.may_cancel) == (True, False, False)
        worker.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": lock_key(world.waiting_id)})
    [chore] = [kind for kind in overview(world).jobs if kind.kind == "test_chore"]
    assert (chore.waiting, chore.running) == (1, 0)


def test_the_overview_tells_of_the_last_check_renewals_and_what_to_worry_about(world: World) -> None:
    seen = overview(world)
    assert seen.last_check is not None
    assert seen.last_check.violation_count == 0
    assert (seen.renewals.active, seen.renewals.due, seen.renewals.overdue) == (3, 1, 1)
    assert (seen.renewals.gifted, seen.renewals.paused) == (1, 0)
    assert seen.stripe.event_at == NOW
    assert not seen.stripe.is_silent
    assert seen.worries == ["1 jobs failed", "jobs are late: test_chore", "1 renewals are overdue"]


def test_subscriptions_are_listed_by_state_and_their_revenue_by_day(world: World) -> None:
    with transaction(world.engine) as connection:
        found = {
            state: [one.user_id for one in operators.list_subscriptions(connection, state, now=NOW)]
            for state in SubscriptionState
        }
        revenue = operators.coming_revenue(connection, now=NOW, days=31)
    assert found[SubscriptionState.ACTIVE] == ["dora", "carla", "ben"]
    assert found[SubscriptionState.DUE] == found[SubscriptionState.OVERDUE] == ["dora"]
    assert found[SubscriptionState.GIFTED] == ["ben"]
    assert found[SubscriptionState.PAUSED] == found[SubscriptionState.PROBLEM] == []
    assert (revenue[0].renewals, revenue[0].expected, revenue[0].covered) == (1, 30, 30)
    assert sum(day.renewals for day in revenue) == 2


@pytest.mark.parametrize(
    ("key", "who", "by"),
    [
        ("anna", {"anna"}, FoundBy.USER_ID),
        (" anna ", {"anna"}, FoundBy.USER_ID),
        ("anna@example.org", {"anna"}, FoundBy.EMAIL),
        ("ANNA@EXAMPLE.ORG", {"anna"}, FoundBy.EMAIL),
        ("carla@example.org", {"carla"}, FoundBy.EMAIL),
        ("ben@example.org", {"ben", "anna"}, FoundBy.EMAIL),
        ("{gift.code}", {"anna", "ben"}, FoundBy.GIFT_CODE),
        ("{open_gift.code}", {"anna"}, FoundBy.GIFT_CODE),
        ("pi_world", {"anna"}, FoundBy.PAYMENT_INTENT),
        ("cus_world", {"anna"}, FoundBy.STRIPE_CUSTOMER),
        ("evt_world", {"anna"}, FoundBy.STRIPE_EVENT),
        ("{entry_id}", {"anna"}, FoundBy.ENTRY),
        ("{purchase_id}", {"anna"}, FoundBy.PURCHASE),
        ("{reservation_id}", {"anna"}, FoundBy.RESERVATION),
        ("{gift.id}", {"anna", "ben"}, FoundBy.GIFT),
        ("{failed_id}", {"anna"}, FoundBy.JOB),
    ],
)
def test_a_person_is_found_by(world: World, key: str, who: set[str], by: FoundBy) -> None:
    with transaction(world.engine) as connection:
        found = operators.find(connection, key.format(**vars(world)))
    assert {one.user_id for one in found if one.by is by} == who


@pytest.mark.parametrize(
    "key",
    [
        "",
        "  ",
        "nobody",
        "nobody@example.org",
        "\x00",
        "pi_",
        "ZZZZ",
        "00000000-0000-7000-8000-000000000000",
        "%",
    ],
)
def test_nobody_is_found_by(world: World, key: str) -> None:
    with transaction(world.engine) as connection:
        assert operators.find(connection, key) == []


def test_everything_about_a_person_is_on_one_page(world: World) -> None:
    with transaction(world.engine) as connection:
        anna = operators.person(connection, "anna", now=NOW)
        nobody = operators.person(connection, "nobody", now=NOW)
    assert anna.balance is not None
    assert anna.emails == ["Anna@Example.org"]
    assert anna.entries_count == len(anna.entries) == 7
    assert [one.id for one in anna.purchases] == [world.purchase_id]
    assert {one.code for one in anna.gifts_made} == {world.gift.code, world.open_gift.code}
    assert [one.id for one in anna.reservations] == [world.reservation_id]
    assert {one.id for one in anna.jobs} == {world.waiting_id, world.failed_id}
    assert anna.failed_jobs == 1
    assert anna.is_known
    assert not nobody.is_known
    assert nobody.balance is None


def test_a_purchases_timeline_goes_from_the_order_to_the_ledger(world: World) -> None:
    with transaction(world.engine) as connection:
        seen = operators.purchase_seen(connection, world.purchase_id)
    assert next(moment.what for moment in seen.timeline) == "ordered"
    assert {moment.what for moment in seen.timeline} == {"ordered", "event", "entry", "completed"}
    assert [entry.amount for entry in seen.entries] == [1000]
    assert [event.id for event in seen.events] == ["evt_world"]


def test_jobs_are_filtered_and_paged(world: World) -> None:
    with transaction(world.engine) as connection:
        more = [job_in_state(connection, "failed", at=NOW, kind="test_other") for _ in range(5)]

        def listed(**wanted: object) -> list[object]:
            return [job.id for job in operators.list_jobs(connection, JobFilter(**wanted))]  # type: ignore[arg-type]

        assert listed(state=JobState.FAILED) == [*sorted(more, reverse=True), world.failed_id]
        assert listed(kind="test_other") == sorted(more, reverse=True)
        assert listed(user_id="anna", state=JobState.WAITING) == [world.waiting_id]
        assert listed(until=NOW - timedelta(minutes=1), state=JobState.FAILED) == [world.failed_id]
        assert listed(since=NOW, state=JobState.FAILED) == sorted(more, reverse=True)
        first = listed(kind="test_other", limit=2)
        assert listed(kind="test_other", limit=2, before=first[-1]) == sorted(more, reverse=True)[2:4]


def test_events_and_purchases_are_filtered(world: World) -> None:
    with transaction(world.engine) as connection:
        assert [one.id for one in operators.list_events(connection, EventFilter(is_handled=True))] == [
            "evt_world"
        ]
        assert operators.list_events(connection, EventFilter(is_handled=False)) == []
        assert operators.list_events(connection, EventFilter(type="other")) == []
        assert (
            len(operators.list_purchases(connection, PurchaseFilter(user_id="anna", status="completed"))) == 1
        )
        assert operators.list_purchases(connection, PurchaseFilter(has_problem=True)) == []


def test_what_is_not_there_is_refused(engine: Engine) -> None:
    with transaction(engine) as connection:
        with pytest.raises(JobNotFound):
            operators.job_seen(connection, uuid4())
        with pytest.raises(PurchaseNotFound):
            operators.purchase_seen(connection, uuid4())
        with pytest.raises(StripeEventNotFound):
            operators.event_seen(connection, "evt_nothing")


def test_a_page_has_an_end() -> None:
    assert [page_size(limit) for limit in (-1, 0, 1, PAGE_MAX, PAGE_MAX + 1)] == [1, 1, 1, PAGE_MAX, PAGE_MAX]
