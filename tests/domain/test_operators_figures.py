"""Figures by day: the same whether they are kept or summed, and never a sum of what is not over."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import Engine, text

from domain.database import transaction
from domain.operators import figures
from domain.operators.figures import HOURS_PER_CALL_MAX, KEPT_DAYS, DayFigures
from tests.support.ledger import give, post, scalar, take
from tests.support.world import NOW, World, make_world

TOMORROW = NOW + timedelta(days=1)


@pytest.fixture
def world(engine: Engine) -> World:
    return make_world(engine)


def by_day(engine: Engine, *, now: datetime, days: int = 30) -> list[DayFigures]:
    with transaction(engine) as connection:
        return figures.by_day(connection, now=now, days=days)


def keep(engine: Engine, *, now: datetime) -> int:
    with transaction(engine) as connection:
        return figures.keep(connection, now=now)


def keep_all(engine: Engine, *, now: datetime) -> int:
    """As the scheduler does, again and again; how often there was something."""
    times = 0
    while keep(engine, now=now):
        times += 1
    return times


def test_kept_figures_are_those_that_the_entries_have(world: World) -> None:
    summed = by_day(world.engine, now=TOMORROW, days=40)
    assert sum(day.entries for day in summed) > 10
    assert keep_all(world.engine, now=TOMORROW) == -(-(KEPT_DAYS * 24 + 14) // HOURS_PER_CALL_MAX)
    assert by_day(world.engine, now=TOMORROW, days=40) == summed
    assert by_day(world.engine, now=TOMORROW, days=1) == summed[-1:]


def test_what_is_kept_is_not_summed_again(world: World) -> None:
    keep_all(world.engine, now=TOMORROW)
    with transaction(world.engine) as connection:
        connection.execute(
            text("UPDATE ops.hour_figures SET spent = 4711 WHERE hour = :hour"),
            {"hour": NOW.replace(minute=0, second=0, microsecond=0)},
        )
    assert by_day(world.engine, now=TOMORROW)[-2].spent == 4711


def test_an_hour_counts_from_its_first_second_on_and_is_kept_when_nothing_can_come_any_more(
    engine: Engine,
) -> None:
    post(engine, give("anna", 100), now=NOW)
    keep_all(engine, now=NOW)
    for minutes, spent in ((1, 1), (31, 2), (61, 3), (91, 4), (121, 5)):
        now = NOW + timedelta(minutes=minutes)
        post(engine, take("anna", 1), now=now)
        keep_all(engine, now=now)
        assert by_day(engine, now=now)[-1].spent == spent
    newest = scalar(engine, "SELECT max(hour) FROM ops.hour_figures")
    assert newest + timedelta(hours=2) <= now
    # dated in an hour that is over, written when its transaction ends
    post(engine, take("anna", 10), now=newest + timedelta(minutes=61))
    keep_all(engine, now=now)
    assert by_day(engine, now=now)[-1].spent == 15


def test_two_schedulers_keep_the_same(world: World) -> None:
    summed = by_day(world.engine, now=TOMORROW)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: keep_all(world.engine, now=TOMORROW), range(2)))
    assert by_day(world.engine, now=TOMORROW) == summed


def test_what_nobody_kept_for_a_month_is_made_up_for_without_a_gap(world: World) -> None:
    keep_all(world.engine, now=TOMORROW)
    later = TOMORROW + timedelta(days=45)
    post(world.engine, give("anna", Decimal("0.125")), now=later - timedelta(days=10))
    summed = by_day(world.engine, now=later, days=60)
    keep_all(world.engine, now=later)
    assert by_day(world.engine, now=later, days=60) == summed
    gaps = """
        SELECT count(*) FROM (SELECT hour - lag(hour) OVER (ORDER BY hour) AS step FROM ops.hour_figures) s
        WHERE step <> interval '1 hour'
    """
    assert scalar(world.engine, gaps) == 0
