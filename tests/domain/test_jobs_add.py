"""Adding a job: with its change or not at all, once for a key, and told of after the commit."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import Engine, text

from domain.database import transaction
from domain.errors import Refusal
from domain.jobs import add_job, add_jobs_of_people, claim_due
from domain.jobs.add import NUDGE_GRACE
from domain.nudge import AddedJob, Nudge
from tests.support.jobs import NOW, Write, add, engine_on, row_of, states


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    with engine_on(database_url) as engine:
        yield engine


def add_and_raise(engine: Engine, error: Exception, nudge: Nudge | None = None) -> None:
    with transaction(engine, nudge) as connection:
        add_job(connection, Write(key="a"), now=NOW)
        raise error


class Recorded(Refusal):
    code = "test_recorded"
    is_recorded = True


class Undone(Refusal):
    code = "test_undone"


def test_a_job_is_there_exactly_when_its_change_is(engine: Engine) -> None:
    with pytest.raises(ZeroDivisionError):
        add_and_raise(engine, ZeroDivisionError())
    assert states(engine) == {}
    add(engine, Write(key="a"))
    assert states(engine) == {"waiting": 1}


def test_workers_are_told_after_the_commit_and_not_before(engine: Engine) -> None:
    told: list[tuple[AddedJob, int]] = []

    def nudge(added: Sequence[AddedJob], /) -> None:
        told.extend((job, states(engine).get("waiting", 0)) for job in added)

    with transaction(engine, nudge) as connection:
        job_id = add_job(connection, Write(key="a"), now=NOW)
        assert told == []
    assert told == [(AddedJob(job_id, "test_write", "money"), 1)]


def test_jobs_of_many_people_leave_the_nudges_to_those_that_somebody_waits_for(engine: Engine) -> None:
    told: list[AddedJob] = []
    people = [f"user-{number}" for number in range(600)]
    with transaction(engine, told.extend) as connection:
        add_jobs_of_people(connection, {user_id: Write(key=user_id) for user_id in people}, now=NOW)
        job_id = add_job(connection, Write(key="a"), now=NOW)
    assert [job.id for job in told] == [job_id]
    assert states(engine) == {"waiting": 601}

    def claim(after: timedelta) -> int:
        with transaction(engine) as connection:
            return len(claim_due(connection, queue="money", kinds=["test_write"], most=500, now=NOW + after))

    assert [claim(timedelta()), claim(NUDGE_GRACE), claim(NUDGE_GRACE), claim(NUDGE_GRACE)] == [
        0,
        500,
        101,
        0,
    ]


def test_nobody_is_told_of_a_job_that_was_undone_not_even_by_the_next_transaction(engine: Engine) -> None:
    told: list[AddedJob] = []
    with pytest.raises(Undone):
        add_and_raise(engine, Undone(), told.extend)
    with pytest.raises(ZeroDivisionError):
        add_and_raise(engine, ZeroDivisionError(), told.extend)
    with transaction(engine, told.extend) as connection:  # on the same pooled connection
        connection.execute(text("SELECT 1"))
    assert told == []


def test_a_recorded_refusal_keeps_the_job_and_tells_of_it(engine: Engine) -> None:
    told: list[AddedJob] = []
    with pytest.raises(Recorded):
        add_and_raise(engine, Recorded(), told.extend)
    assert states(engine) == {"waiting": 1}
    assert len(told) == 1


def test_a_job_for_later_is_left_to_the_relay(engine: Engine) -> None:
    told: list[AddedJob] = []
    with transaction(engine, told.extend) as connection:
        later = add_job(connection, Write(key="a"), now=NOW, run_at=NOW + timedelta(hours=1))
        add_job(connection, Write(key="b"), now=NOW, run_at=NOW - timedelta(hours=1))
    assert [job.id == later for job in told] == [False]
    assert row_of(engine, later).nudge_at == NOW + timedelta(hours=1)


def test_a_unique_key_gives_one_job_to_fifty_callers_at_once(engine: Engine) -> None:
    def one(number: int) -> str:
        return str(add(engine, Write(key=str(number)), unique_key="slot"))

    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(one, range(50)))
    assert len(ids) == 1
    assert states(engine) == {"waiting": 1}
    print("50 callers, 1 job")


def test_a_repeated_key_is_not_told_of_again(engine: Engine) -> None:
    add(engine, Write(key="a"), unique_key="slot")
    told: list[AddedJob] = []
    with transaction(engine, told.extend) as connection:
        add_job(connection, Write(key="a"), now=NOW, unique_key="slot")
    assert told == []
