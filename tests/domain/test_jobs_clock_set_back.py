"""Jobs whose times were written by a clock that has been set back since."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import Engine

from domain.database import transaction
from domain.jobs import Ending, Once, bring_forward, claim_due, run_job
from domain.jobs.due import CLOCKS_DIFFER_MAX
from tests.support.jobs import NOW, Poison, Write, add, effects, engine_on, fail, row_of, write

BACK = NOW - timedelta(hours=1)
"""What the clock says after it was set back, at NOW."""

WRITES = Once(Write, write)
POISONS = Once(Poison, fail)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    with engine_on(database_url) as engine:
        yield engine


def brought(engine: Engine, now: datetime = BACK) -> int:
    with transaction(engine) as connection:
        return bring_forward(connection, now=now)


def sent(engine: Engine, now: datetime) -> list[UUID]:
    with transaction(engine) as connection:
        return [job.id for job in claim_due(connection, queue="money", kinds=[Write.kind], most=9, now=now)]


def test_a_new_job_is_due_and_done(engine: Engine) -> None:
    job_id = add(engine, Write(key="a"))
    assert run_job(engine, WRITES, job_id, clock=lambda: BACK) is Ending.SKIPPED, "it would wait for an hour"
    assert brought(engine) == 1
    assert run_job(engine, WRITES, job_id, clock=lambda: BACK) is Ending.DONE
    assert effects(engine) == ["a"]
    assert brought(engine) == 0, "it has ended"


def test_a_job_that_failed_is_tried_again(engine: Engine) -> None:
    job_id = add(engine, Poison(), now=NOW - timedelta(days=1))
    assert run_job(engine, POISONS, job_id, clock=lambda: NOW) is Ending.WAITING
    assert brought(engine) == 1
    assert run_job(engine, POISONS, job_id, clock=lambda: BACK) is Ending.WAITING
    assert row_of(engine, job_id).attempts == 2
    assert brought(engine) == 0, "its times are those of the clock as it is now"


def test_a_new_job_that_was_begun_since_and_failed_waits_as_any_other(engine: Engine) -> None:
    job_id = add(engine, Poison())
    assert brought(engine) == 1
    assert run_job(engine, POISONS, job_id, clock=lambda: BACK) is Ending.WAITING
    assert brought(engine) == 0, "it would be tried again and again until the clock has caught up"


def test_a_new_job_that_was_sent_since_is_not_sent_at_every_look(engine: Engine) -> None:
    job_id = add(engine, Write(key="a"))
    assert brought(engine) == 1
    assert sent(engine, BACK) == [job_id]
    assert brought(engine) == 0


def test_a_job_whose_message_was_lost_is_sent_again(engine: Engine) -> None:
    job_id = add(engine, Write(key="a"), now=BACK)
    assert sent(engine, NOW) == [job_id]
    assert sent(engine, BACK + timedelta(seconds=1)) == []
    assert brought(engine) == 1
    assert sent(engine, BACK) == [job_id]


def test_a_job_with_a_time_of_its_own_goes_on_waiting_for_it(engine: Engine) -> None:
    at = NOW + timedelta(minutes=5)
    job_id = add(engine, Write(key="a"), run_at=at)
    assert brought(engine) == 0
    assert row_of(engine, job_id).run_at == at


def test_clocks_that_differ_a_little_bring_nothing_forward(engine: Engine) -> None:
    add(engine, Write(key="a"))
    assert brought(engine, NOW - CLOCKS_DIFFER_MAX) == 0
