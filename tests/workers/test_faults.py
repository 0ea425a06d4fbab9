"""Redis emptied, stopped, restarted; PostgreSQL restarted; workers killed: every job ends once."""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial

import pytest
import redis
from sqlalchemy import Engine

from devkit.postgres import Postgres
from devkit.valkey import Valkey
from domain.database import transaction
from domain.jobs import add_job
from nudges import Nudger
from tests.support.crew import eventually
from tests.support.jobs import Write, effects, engine_on, make_effects, states
from tests.workers.conftest import StartWorkers

JOBS = 1_000

OUTAGE_SECONDS = float(os.environ.get("FAULT_OUTAGE_SECONDS", "60"))
"""How long Redis is away.  FAULT_OUTAGE_SECONDS=3 for those who are in a hurry."""

RECOVERY_SECONDS = 20.0
"""What is promised: a killed worker's work is redone within that time."""


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    with engine_on(database_url) as engine:
        yield engine


ALL_DONE_SECONDS = 60.0
"""For a thousand jobs after an outage, on a busy machine; how long it took is printed."""


def add_many(
    engine: Engine, nudger: Nudger | None, count: int, seconds: float = 0.0, *, start: int = 0
) -> list[str]:
    """Add jobs, twenty a transaction; their keys, numbered from `start`."""
    keys = [f"{number:04}" for number in range(start, start + count)]
    for first in range(0, count, 20):
        with transaction(engine, nudger) as connection:
            for key in keys[first : first + 20]:
                add_job(connection, Write(key=key, seconds=seconds), now=datetime.now(UTC))
    return keys


def all_done(engine: Engine, count: int) -> bool:
    return states(engine) == {"done": count}


def has_done(engine: Engine, count: int) -> bool:
    return states(engine).get("done", 0) >= count


def test_a_thousand_jobs_end_once_while_workers_are_killed(
    start_workers: StartWorkers, engine: Engine, database_url: str, redis_url: str
) -> None:
    crew = start_workers(database_url, redis_url, processes=2)
    nudger = Nudger(redis_url)
    keys = add_many(engine, nudger, 1000, seconds=0.01)
    chance = random.Random(11)
    for goal in (150, 350, 550):
        eventually(partial(has_done, engine, goal), f"{goal} done", 30)
        os.kill(chance.choice(crew.children()), signal.SIGKILL)
    eventually(partial(has_done, engine, 700), "700 done", 30)
    crew.kill()
    killed = time.monotonic()
    done = states(engine).get("done", 0)
    crew.start(processes=2)
    eventually(lambda: all_done(engine, 1000), "done", RECOVERY_SECONDS)
    took = time.monotonic() - killed
    nudger.close()
    assert took < RECOVERY_SECONDS
    assert effects(engine) == keys
    assert done < 1000
    print(f"three workers killed, then all with {1000 - done} jobs to go; recovered in {took:.1f} s")


def test_an_emptied_redis_loses_no_job(
    start_workers: StartWorkers, engine: Engine, database_url: str, redis_url: str
) -> None:
    crew = start_workers(database_url, redis_url)
    nudger = Nudger(redis_url)
    with redis.Redis.from_url(redis_url) as client:
        keys = add_many(engine, nudger, JOBS // 2, seconds=0.01)
        os.killpg(crew.pid, signal.SIGSTOP)  # so that nobody takes what is lost now
        keys += add_many(engine, nudger, JOBS // 2, seconds=0.01, start=JOBS // 2)
        nudger.close()
        client.flushdb()
        waiting = states(engine)["waiting"]
        os.killpg(crew.pid, signal.SIGCONT)
        for _ in range(2):
            time.sleep(0.2)  # the pace of the emptying
            client.flushdb()
    took = eventually(lambda: all_done(engine, JOBS), "done", ALL_DONE_SECONDS)
    assert effects(engine) == keys
    assert waiting >= JOBS // 2, "the messages of many jobs were lost"
    print(f"{waiting} jobs waited when Redis was emptied; done in {took:.1f} s")


def test_a_redis_stopped_for_a_minute_slows_nobody_who_adds_and_all_is_done_when_it_is_back(
    start_workers: StartWorkers, engine: Engine, database_url: str, own_valkey: Callable[[], Valkey]
) -> None:
    server = own_valkey()
    start_workers(database_url, server.url())
    nudger = Nudger(server.url())
    keys = add_many(engine, nudger, JOBS // 2, seconds=0.01)
    eventually(partial(has_done, engine, 100), "100 done", 30)
    server.stop()
    stopped = time.monotonic()
    keys += add_many(engine, nudger, JOBS // 2, seconds=0.01, start=JOBS // 2)
    adding = time.monotonic() - stopped
    time.sleep(max(0.0, OUTAGE_SECONDS - adding))
    waiting = states(engine)["waiting"]
    server.start()
    took = eventually(lambda: all_done(engine, JOBS), "done", ALL_DONE_SECONDS)
    nudger.close()
    assert effects(engine) == keys
    assert adding < 20
    assert waiting >= JOBS // 2
    print(
        f"{JOBS // 2} jobs added in {adding:.2f} s without Redis, which was away for {OUTAGE_SECONDS:.0f} s;"
        f" {waiting} waited, done {took:.1f} s after it was back"
    )


def test_workers_started_without_redis_begin_when_it_is_there(
    start_workers: StartWorkers, engine: Engine, database_url: str, own_valkey: Callable[[], Valkey]
) -> None:
    server = own_valkey()
    server.stop()
    start_workers(database_url, server.url())
    add_many(engine, None, 10)
    server.start()
    eventually(lambda: all_done(engine, 10), "done", RECOVERY_SECONDS)


def test_a_redis_that_hangs_slows_nobody_who_adds(engine: Engine, own_valkey: Callable[[], Valkey]) -> None:
    server = own_valkey()
    with redis.Redis.from_url(server.url()) as client:
        pid = client.info("server")["process_id"]
    nudger = Nudger(server.url())
    os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        add_many(engine, nudger, 100)
        adding = time.monotonic() - began
    finally:
        os.kill(pid, signal.SIGCONT)
    nudger.close()
    assert adding < 2


def test_a_restarted_postgresql_loses_and_repeats_nothing(
    start_workers: StartWorkers, own_postgres: Callable[[], Postgres], redis_url: str
) -> None:
    server = own_postgres()
    with engine_on(server.url()) as engine:
        make_effects(engine)
        start_workers(server.url(), redis_url)
        nudger = Nudger(redis_url)
        keys = add_many(engine, nudger, JOBS, seconds=0.01)
        server.stop()
        server.start()
        waiting = states(engine)["waiting"]
        took = eventually(lambda: all_done(engine, JOBS), "done", ALL_DONE_SECONDS)
        nudger.close()
        assert effects(engine) == keys
    assert waiting > 50, "it was restarted in the middle"
    print(f"{waiting} jobs waited when PostgreSQL was back; done in {took:.1f} s")
