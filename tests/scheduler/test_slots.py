"""Slots: which one it is, and that it is fired once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from domain.database import transaction
from scheduler.slots import fire, latest_slot
from scheduler.timetable import TIMETABLE, Entry, cron
from tests.support.jobs import Write, engine_on, states

HOURLY = Entry("hourly", cron("0 * * * *"), lambda slot: Write(key=slot.isoformat()))


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    with engine_on(database_url) as engine:
        yield engine


def at(text_: str) -> datetime:
    return datetime.fromisoformat(text_).replace(tzinfo=UTC)


def fire_at(engine: Engine, now: datetime, entry: Entry = HOURLY) -> bool:
    slot = latest_slot(entry.when, now)
    assert slot is not None
    with transaction(engine) as connection:
        return fire(connection, entry, slot, now=now) is not None


def slots(engine: Engine) -> list[str]:
    with transaction(engine) as connection:
        return list(connection.execute(text("SELECT payload ->> 'key' FROM ops.jobs ORDER BY 1")).scalars())


@pytest.mark.parametrize(
    ("expression", "now", "slot"),
    [
        ("* * * * *", "2026-03-01 12:34:56.7", "2026-03-01 12:34"),
        ("* * * * *", "2026-03-01 12:34:00", "2026-03-01 12:34"),
        ("*/5 * * * *", "2026-03-01 12:34:59", "2026-03-01 12:30"),
        ("7 * * * *", "2026-03-01 00:06:59", "2026-02-28 23:07"),
        ("23 3 * * *", "2026-03-01 03:22", "2026-02-28 03:23"),
        ("0 6 1 * *", "2026-03-31 05:00", "2026-03-01 06:00"),
        ("0 0 29 2 *", "2026-03-01 00:00", "2024-02-29 00:00"),
        # The hours that Berlin skips and repeats are hours like any other.
        ("30 * * * *", "2026-03-29 02:45", "2026-03-29 02:30"),
        ("30 * * * *", "2026-10-25 01:45", "2026-10-25 01:30"),
    ],
)
def test_the_latest_slot_is_the_newest_at_or_before_now(expression: str, now: str, slot: str) -> None:
    assert latest_slot(cron(expression), at(now)) == at(slot)


def test_every_line_of_the_timetable_has_a_name_of_its_own_and_a_slot() -> None:
    assert len({entry.name for entry in TIMETABLE}) == len(TIMETABLE)
    assert all(latest_slot(entry.when, at("2026-03-01 12:00")) for entry in TIMETABLE)


def test_a_slot_is_fired_once_however_often_the_clock_ticks(engine: Engine) -> None:
    fired = [fire_at(engine, at("2026-03-01 12:00:00") + timedelta(seconds=second)) for second in range(30)]
    assert fired == [True, *[False] * 29]
    assert slots(engine) == ["2026-03-01T12:00:00+00:00"]


def test_two_schedulers_that_both_believe_they_lead_fire_a_slot_once(engine: Engine) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: fire_at(engine, at("2026-03-01 12:00:01")), range(16)))
    assert states(engine) == {"waiting": 1}


def test_of_the_slots_missed_the_newest_is_made_up_for(engine: Engine) -> None:
    fire_at(engine, at("2026-03-01 12:00"))
    fire_at(engine, at("2026-03-02 09:30"))
    assert slots(engine) == ["2026-03-01T12:00:00+00:00", "2026-03-02T09:00:00+00:00"]


def test_a_slot_whose_job_was_pruned_is_not_fired_again(engine: Engine) -> None:
    fire_at(engine, at("2026-03-01 12:00"))
    with transaction(engine) as connection:
        connection.execute(text("DELETE FROM ops.jobs"))
    assert not fire_at(engine, at("2026-03-01 12:30"))
    assert states(engine) == {}


def test_a_clock_set_back_fires_nothing_twice_and_goes_on_when_it_has_caught_up(engine: Engine) -> None:
    for now in (
        "2026-03-01 11:00",
        "2026-03-01 12:00",
        "2026-03-01 11:00",
        "2026-03-01 11:30",
        "2026-03-01 12:00",
    ):
        fire_at(engine, at(now))
    fire_at(engine, at("2026-03-01 13:00"))
    assert [slot[11:16] for slot in slots(engine)] == ["11:00", "12:00", "13:00"]


def test_a_clock_that_was_years_ahead_for_a_moment_does_not_stop_the_timetable(engine: Engine) -> None:
    for now in ("2026-03-01 12:00", "2036-03-01 12:00", "2026-03-01 13:00", "2026-03-01 13:00:01"):
        fire_at(engine, at(now))
    assert [slot[:16] for slot in slots(engine)] == [
        "2026-03-01T12:00",
        "2026-03-01T13:00",
        "2036-03-01T12:00",
    ]
