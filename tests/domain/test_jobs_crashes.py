"""Jobs whose worker died: when they are begun again, when they are given up, and that they take none along."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text

from domain.database import transaction
from domain.jobs import Ending, Once, retry
from domain.jobs.claiming import CRASHES_MAX, SUSPECT_HELD_BACK
from tests.support.jobs import (
    NOW,
    POISONS,
    WRITES,
    Poison,
    Write,
    WriteMail,
    add,
    crash,
    effects,
    engine_on,
    row_of,
    run,
    steps_of,
    write,
)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    with engine_on(database_url) as engine:
        yield engine


def test_a_job_whose_worker_died_is_simply_waiting(engine: Engine) -> None:
    job_id = add(engine, Write(key="a"))
    crash(engine, job_id)
    assert run(engine, WRITES, job_id) == Ending.DONE


@pytest.mark.parametrize(("crashes", "longest_seconds"), [(0, 16), (1, 32), (3, 128)])
def test_should_its_worker_die_a_job_pauses_longer_each_time_and_never_equally_long(
    engine: Engine, crashes: int, longest_seconds: int
) -> None:
    pauses: list[float] = []

    def see_the_row(_connection: Connection, job: Write, _now: datetime) -> None:
        row = row_of(engine, UUID(job.key))  # as others see it while this attempt is under way
        assert row.nudge_at == row.run_at
        pauses.append((row.run_at - NOW).total_seconds())

    for _ in range(6):
        job_id = add(engine, Write(key=""))
        with transaction(engine) as connection:
            connection.execute(text("UPDATE ops.jobs SET payload = jsonb_build_object('key', id)"))
        for _ in range(crashes):
            crash(engine, job_id)
        assert run(engine, Once(Write, see_the_row), job_id) == Ending.DONE
    assert all(0.68 * longest_seconds <= pause <= longest_seconds for pause in pauses)
    assert len(set(pauses)) > 1


def test_a_job_that_kills_every_worker_is_given_up_until_an_operator_wants_it(engine: Engine) -> None:
    job_id = add(engine, Write(key="a"))
    for _ in range(CRASHES_MAX):
        crash(engine, job_id)
    assert run(engine, WRITES, job_id) == Ending.FAILED
    assert effects(engine) == []
    assert "WorkerDied" in row_of(engine, job_id).last_error
    with transaction(engine) as connection:
        retry(connection, job_id, now=NOW)
    assert run(engine, WRITES, job_id) == Ending.DONE


def test_an_operator_can_give_a_job_that_kills_workers_another_chance_before_it_is_given_up(
    engine: Engine,
) -> None:
    job_id = add(engine, Write(key="a"))
    for _ in range(CRASHES_MAX):
        crash(engine, job_id)
    with transaction(engine) as connection:
        retry(connection, job_id, now=NOW)
    assert run(engine, WRITES, job_id) == Ending.DONE


def test_crashes_count_only_in_a_row(engine: Engine) -> None:
    job_id = add(engine, Poison())
    now = NOW
    for _ in range(3):
        for _ in range(CRASHES_MAX - 1):
            crash(engine, job_id)
        assert run(engine, POISONS, job_id, now) == Ending.WAITING
        now = row_of(engine, job_id).run_at


def test_a_suspect_waits_while_its_worker_is_on_another_and_neighbours_do_not(engine: Engine) -> None:
    first, second = add(engine, Write(key="first")), add(engine, Write(key="second"))
    neighbour = add(engine, Write(key="neighbour"))
    crash(engine, first)
    crash(engine, second)
    beside: list[Ending] = []

    def run_the_others(connection: Connection, job: Write, now: datetime) -> None:
        beside.extend([run(engine, WRITES, second), run(engine, WRITES, neighbour)])
        write(connection, job, now)

    assert run(engine, Once(Write, run_the_others), first) == Ending.DONE
    assert beside == [Ending.SKIPPED, Ending.DONE]
    row = row_of(engine, second)
    assert (row.attempts, row.run_at) == (1, NOW), "it was not begun, and is due"
    assert row.nudge_at == NOW + SUSPECT_HELD_BACK
    assert run(engine, WRITES, second) == Ending.DONE
    assert effects(engine) == ["first", "neighbour", "second"]


def test_a_suspect_keeps_none_of_another_queue_waiting(engine: Engine) -> None:
    money, mail = add(engine, Write(key="money")), add(engine, WriteMail(key="mail"))
    crash(engine, money)
    crash(engine, mail)

    def run_the_other(connection: Connection, job: WriteMail, now: datetime) -> None:
        assert run(engine, WRITES, money) == Ending.DONE
        write(connection, job, now)

    assert run(engine, Once(WriteMail, run_the_other), mail) == Ending.DONE
    assert effects(engine) == ["mail", "money"]


def test_a_suspect_that_failed_or_was_interrupted_keeps_no_other_waiting(engine: Engine) -> None:
    class Interrupt(BaseException):
        pass

    def be_interrupted(_connection: Connection, _job: Poison, _now: datetime) -> None:
        raise Interrupt

    poison, good = add(engine, Poison()), add(engine, Write(key="good"))
    for job_id in (poison, poison, good):
        crash(engine, job_id)
    with pytest.raises(Interrupt):
        run(engine, Once(Poison, be_interrupted), poison)
    assert run(engine, WRITES, good) == Ending.DONE


def test_what_is_not_due_or_has_ended_is_not_held_back(engine: Engine) -> None:
    suspect, later, ended = (add(engine, Write(key=key)) for key in ("suspect", "later", "ended"))
    assert run(engine, WRITES, ended) == Ending.DONE
    crash(engine, suspect)
    crash(engine, later)
    with transaction(engine) as connection:
        connection.execute(
            text("UPDATE ops.jobs SET run_at = :at, nudge_at = :at WHERE id = :id"),
            {"id": later, "at": NOW + timedelta(hours=1)},
        )
    before = [row_of(engine, later), row_of(engine, ended)]

    def run_the_others(_connection: Connection, _job: Write, _now: datetime) -> None:
        assert [run(engine, WRITES, job_id) for job_id in (later, ended)] == [Ending.SKIPPED] * 2

    assert run(engine, Once(Write, run_the_others), suspect) == Ending.DONE
    assert [row_of(engine, later), row_of(engine, ended)] == before


def test_progress_forgives_the_crashes_and_failures_before_it(engine: Engine) -> None:
    seen: list[Any] = []

    def fail_first(_count: int) -> None:
        raise ConnectionError

    def fail_second(count: int) -> None:
        if count == 1:
            seen.append(row_of(engine, job_id))  # as others see it after the first step
            raise ConnectionError

    job_id = add(engine, Write(key="s"))
    assert run(engine, steps_of(3, fail_first), job_id) == Ending.WAITING
    assert row_of(engine, job_id).retry_until == NOW + Write.horizon
    for _ in range(CRASHES_MAX - 1):
        crash(engine, job_id)
    later = NOW + timedelta(minutes=59)
    assert run(engine, steps_of(3, fail_second), job_id, later) == Ending.WAITING
    assert seen[0].attempts - seen[0].attempts_ended == 1, "only this attempt has not ended"
    assert seen[0].retry_until is None
    assert row_of(engine, job_id).retry_until == later + Write.horizon
    assert effects(engine) == ["s0"]


def test_a_long_suspect_keeps_others_waiting_until_its_first_progress(engine: Engine) -> None:
    endings: list[Ending] = []
    long, other = add(engine, Write(key="s")), add(engine, Write(key="other"))
    crash(engine, long)
    crash(engine, other)
    steps = steps_of(3, lambda _count: endings.append(run(engine, WRITES, other)))
    assert run(engine, steps, long) == Ending.DONE
    assert endings == [Ending.SKIPPED, Ending.DONE, Ending.SKIPPED]
    assert row_of(engine, other).attempts == 2
