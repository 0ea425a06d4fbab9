"""Worker processes: what they do when all is well, when they are told to end, and when a job is bad."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, text

from domain.database import transaction
from domain.jobs import add_job
from domain.nudge import AddedJob
from nudges import Nudger
from tests.support.crew import Crew, eventually
from tests.support.jobs import (
    Endless,
    Poison,
    Write,
    WriteMail,
    add,
    effects,
    engine_on,
    row_of,
    states,
)
from tests.workers.conftest import StartWorkers
from workers.process import CONNECTIONS_BESIDE_THREADS


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    with engine_on(database_url) as engine:
        yield engine


@pytest.fixture
def nudger(redis_url: str) -> Iterator[Nudger]:
    nudger = Nudger(redis_url)
    yield nudger
    nudger.close()


@pytest.fixture
def workers(start_workers: StartWorkers, database_url: str, redis_url: str, engine: Engine) -> Crew:
    return start_workers(database_url, redis_url)


def drop_nudges(_added: Sequence[AddedJob], /) -> None:
    """A process that died between its commit and its nudge."""


def test_a_nudged_job_is_done_at_once_and_however_often_it_is_delivered(
    workers: Crew, engine: Engine, nudger: Nudger
) -> None:
    began = time.monotonic()
    added: list[AddedJob] = []
    with transaction(engine, added.extend) as connection:
        job_id = add_job(connection, Write(key="a", seconds=0.3), now=now())
    nudger(added * 50)
    eventually(lambda: row_of(engine, job_id).state == "done", "done", 0.9)
    took = time.monotonic() - began
    nudger(added * 50)
    marker = add(engine, Write(key="b"), now=now())
    nudger([AddedJob(marker, "test_write", "money")])
    eventually(lambda: row_of(engine, marker).state == "done", "done", 3)
    assert effects(engine) == ["a", "b"]
    assert row_of(engine, job_id).attempts == 1
    print(f"done {took - 0.3:.3f} s after the commit, delivered 100 times")


def test_a_job_whose_nudge_was_lost_is_sent_by_the_relay(workers: Crew, engine: Engine) -> None:
    job_id = add(engine, Write(key="a"), now=now())
    took = eventually(lambda: row_of(engine, job_id).state == "done", "done", 4)
    assert row_of(engine, job_id).sent_at is not None
    print(f"done after {took:.1f} s without a nudge")


def test_a_failed_attempt_is_made_again_when_its_time_has_come(workers: Crew, engine: Engine) -> None:
    job_id = add(engine, Poison(), now=now())
    eventually(lambda: row_of(engine, job_id).attempts >= 3, "tried three times", 12)
    assert row_of(engine, job_id).state == "waiting"


def test_jobs_that_fail_do_not_block_their_neighbours(workers: Crew, engine: Engine) -> None:
    for number in range(20):
        add(engine, Poison(), now=now())
        add(engine, Write(key=f"{number:02}"), now=now())
    eventually(lambda: len(effects(engine)) == 20, "done", 6)
    assert states(engine) == {"done": 20, "waiting": 20}


def test_a_job_that_kills_its_worker_does_not_block_its_neighbours(
    start_workers: StartWorkers, engine: Engine, database_url: str, redis_url: str
) -> None:
    crew = start_workers(database_url, redis_url, processes=2)
    poison = add(engine, Poison(kills=True), now=now())
    for number in range(50):
        add(engine, Write(key=f"{number:02}", seconds=0.05), now=now())
    # A neighbour that ran beside it pauses too, and is a suspect from then on: it dies with no killer again.
    took = eventually(lambda: len(effects(engine)) == 50, "done", 60)
    eventually(lambda: crew.said("process_died") >= 1, "died", 5)
    assert effects(engine) == [f"{number:02}" for number in range(50)]
    assert row_of(engine, poison).attempts >= 1
    print(f"50 neighbours done in {took:.1f} s")


def test_a_job_over_its_time_limit_is_broken_off_and_its_thread_goes_on(
    start_workers: StartWorkers, engine: Engine, database_url: str, redis_url: str
) -> None:
    start_workers(database_url, redis_url, threads=1)
    endless = add(engine, Endless(), now=now())
    eventually(lambda: row_of(engine, endless).attempts == 1, "begun", 4)
    after = add(engine, Write(key="after"), now=now())
    eventually(lambda: row_of(engine, after).state == "done", "done", 8)
    assert "TimeLimitExceeded" in row_of(engine, endless).last_error


def test_slow_mail_leaves_threads_for_money(workers: Crew, engine: Engine, nudger: Nudger) -> None:
    with transaction(engine, nudger) as connection:
        for number in range(12):
            add_job(connection, WriteMail(key=f"mail{number}", seconds=2), now=now())
    eventually(lambda: running(engine) >= 2, "two mails under way", 4)
    began = time.monotonic()
    with transaction(engine, nudger) as connection:
        add_job(connection, Write(key="money"), now=now())
    eventually(lambda: "money" in effects(engine), "done", 1.5)
    assert running(engine) == 2, "mail holds half of four threads"
    print(f"money waited {time.monotonic() - began:.2f} s beside 12 slow mails")


def test_of_what_waits_for_one_thread_money_is_first_and_mail_last(
    start_workers: StartWorkers, engine: Engine, nudger: Nudger, database_url: str, redis_url: str
) -> None:
    start_workers(database_url, redis_url, threads=1)
    for number in range(3):
        # The messages of mail are there first, each time, while the one thread is busy.
        with transaction(engine, nudger) as connection:
            add_job(connection, Write(key=f"busy{number}", seconds=0.7), now=now())
        eventually(lambda: running(engine) == 1, "busy", 5)
        with transaction(engine, nudger) as connection:
            mail = add_job(connection, WriteMail(key=f"mail{number}"), now=now())
        time.sleep(0.2)  # its message is fetched
        with transaction(engine, nudger) as connection:
            money = add_job(connection, Write(key=f"money{number}"), now=now())
        eventually(lambda job=mail: row_of(engine, job).state == "done", "done", 5)  # type: ignore[misc]
        assert row_of(engine, money).finished_at < row_of(engine, mail).finished_at


def running(engine: Engine) -> int:
    with transaction(engine) as connection:
        count: int = connection.execute(
            text(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%pg_sleep%'"
                " AND pid <> pg_backend_pid() AND state = 'active'"
            )
        ).scalar_one()
    return count


def test_sigterm_lets_running_jobs_end_and_leaves_the_others_waiting(
    workers: Crew, engine: Engine, nudger: Nudger
) -> None:
    with transaction(engine, nudger) as connection:
        for number in range(40):
            add_job(connection, Write(key=f"{number:02}", seconds=1.5), now=now())
    eventually(lambda: running(engine) == 4, "four under way", 5)
    code, seconds = workers.stop()
    assert code == 0
    assert seconds < 5
    assert states(engine) == {"done": 4, "waiting": 36}
    assert len(effects(engine)) == 4
    with transaction(engine) as connection:
        begun = connection.execute(text("SELECT count(*) FROM ops.jobs WHERE attempts > 0")).scalar_one()
        hearts = connection.execute(text("SELECT count(*) FROM ops.heartbeats")).scalar_one()
    assert begun == 4
    assert hearts == 0, "a process that ends says good-bye"
    print(f"drained in {seconds:.1f} s")


def test_sigterm_does_not_wait_for_ever_and_what_was_cut_off_is_undone_and_waits(
    start_workers: StartWorkers, engine: Engine, database_url: str, redis_url: str
) -> None:
    crew = start_workers(database_url, redis_url, drain_seconds=1)
    job_id = add(engine, Write(key="long", seconds=20), now=now())
    eventually(lambda: running(engine) == 1, "under way", 5)
    code, seconds = crew.stop()
    assert code == 0
    assert seconds < 6
    eventually(lambda: running(engine) == 0 or cut_off(engine), "cut off", 1)
    assert row_of(engine, job_id).state == "waiting"
    assert effects(engine) == []
    print(f"ended in {seconds:.1f} s")


def cut_off(engine: Engine) -> bool:
    """PostgreSQL notices a client that has gone when its statement ends: end it now."""
    with transaction(engine) as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                " AND application_name = 'mana-credits-worker'"
            )
        )
    return False


def test_every_worker_process_shows_its_heartbeat_and_has_its_connections_from_the_start(
    start_workers: StartWorkers, engine: Engine, database_url: str, redis_url: str
) -> None:
    crew = start_workers(database_url, redis_url, processes=2, threads=3)

    def hearts() -> set[str]:
        with transaction(engine) as connection:
            return set(connection.execute(text("SELECT name FROM ops.heartbeats")).scalars())

    eventually(lambda: len(hearts()) == 2, "two hearts", 5)
    assert {int(name.rpartition(":")[2]) for name in hearts()} == set(crew.children())
    named = text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE application_name = 'mana-credits-worker' AND datname = current_database()"
    )
    with transaction(engine) as connection:
        assert connection.execute(named).scalar_one() == 2 * (3 + CONNECTIONS_BESIDE_THREADS)


def test_children_do_not_outlive_a_killed_master(
    start_workers: StartWorkers, engine: Engine, database_url: str, redis_url: str
) -> None:
    crew = start_workers(database_url, redis_url, processes=2)
    os.kill(crew.pid, signal.SIGKILL)
    eventually(lambda: crew.said("worker_ended") == 2, "ended", 8)
