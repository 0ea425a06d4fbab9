"""Several schedulers: one leads, another takes over, a bad line does not stop the others."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Connection, Engine, text

from domain import heartbeats
from domain.database import transaction
from domain.jobs import Job
from scheduler.clock import Scheduler
from scheduler.timetable import CHORES, Chore, Entry, cron
from tests.support.jobs import NOW, Write, engine_on, states

MINUTELY = Entry("minutely", cron("* * * * *"), lambda slot: Write(key=slot.isoformat()))


StartScheduler = Callable[..., Scheduler]


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **by: float) -> None:
        self.now += timedelta(**by)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    with engine_on(database_url) as engine:
        yield engine


@pytest.fixture
def clock() -> Clock:
    return Clock()


def leaders_session(engine: Engine) -> int:
    with transaction(engine) as connection:
        pid: int = connection.execute(
            text(
                "SELECT pid FROM pg_locks JOIN pg_database ON oid = database"
                " WHERE datname = current_database() AND locktype = 'advisory'"
            )
        ).scalar_one()
    return pid


@pytest.fixture
def scheduler(engine: Engine, clock: Clock) -> Iterator[Callable[..., Scheduler]]:
    """`scheduler(*lines)`: one more of them, on the same clock."""
    made: list[Scheduler] = []

    def make(*lines: Entry | Chore) -> Scheduler:
        entries = [line for line in lines if isinstance(line, Entry)]
        chores = [line for line in lines if isinstance(line, Chore)]
        made.append(Scheduler(engine, entries or [MINUTELY], chores, clock=clock))
        return made[-1]

    yield make
    for one in made:
        one.leave()


def test_of_two_schedulers_one_fires(engine: Engine, clock: Clock, scheduler: StartScheduler) -> None:
    one, other = scheduler(), scheduler()
    for _ in range(5):
        assert (one.tick(), other.tick()) == (True, False)
        clock.forward(minutes=1)
    assert states(engine) == {"waiting": 5}


def test_when_the_leaders_session_is_cut_it_notices_and_another_leads(
    engine: Engine, clock: Clock, scheduler: StartScheduler
) -> None:
    one, other = scheduler(), scheduler()
    one.tick()
    with transaction(engine) as connection:
        connection.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": leaders_session(engine)})
    assert other.tick()
    assert not one.tick()
    assert not one.tick()
    assert states(engine) == {"waiting": 1}, "the new leader does not fire the slot again"


def test_a_line_that_fails_does_not_stop_the_others_and_is_tried_again(
    engine: Engine, clock: Clock, scheduler: StartScheduler
) -> None:
    troubles = iter([RuntimeError("wrong line")])

    def make(slot: datetime) -> Job:
        if trouble := next(troubles, None):
            raise trouble
        return Write(key=slot.isoformat())

    bad = Entry("bad", cron("* * * * *"), make)
    both = scheduler(bad, MINUTELY)
    both.tick()
    assert states(engine) == {"waiting": 1}
    both.tick()
    assert states(engine) == {"waiting": 2}


def test_only_the_leader_does_chores_and_not_more_often_than_they_are_due(scheduler: StartScheduler) -> None:
    done: list[Connection] = []
    chore = Chore("chore", timedelta(hours=1), lambda connection, _now: done.append(connection))
    one, other = scheduler(chore), scheduler(chore)
    for _ in range(3):
        one.tick()
        other.tick()
    assert len(done) == 1


def test_usage_is_in_the_statistics_after_a_tick(
    engine: Engine, clock: Clock, scheduler: StartScheduler
) -> None:
    with transaction(engine) as connection:
        connection.execute(text("INSERT INTO ops.usage_pending VALUES ('u', 'app', '2026-03-01', 2.5)"))
    scheduler(*CHORES).tick()
    with transaction(engine) as connection:
        assert connection.execute(text("SELECT credits_used FROM credits.usage_stats")).scalar_one() == 2.5


def test_heartbeats_say_who_leads(engine: Engine, clock: Clock, scheduler: StartScheduler) -> None:
    scheduler().tick()
    with transaction(engine) as connection:
        [heart] = heartbeats.processes(connection, now=clock())
        assert (heart.role, heart.is_alive, heart.details) == ("scheduler", True, {"leads": True})
        [silent] = heartbeats.processes(connection, now=clock() + heartbeats.SILENT_AFTER)
        assert not silent.is_alive
