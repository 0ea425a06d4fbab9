"""`python -m scheduler`, for real: a leader killed, one told to end, PostgreSQL restarted."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from devkit.postgres import Postgres
from domain.database import transaction
from scheduler.timetable import TIMETABLE
from tests.support.crew import Crew, eventually
from tests.support.jobs import engine_on, states

StartScheduler = Callable[[str], Crew]


@pytest.fixture
def start_scheduler(tmp_path: Path, redis_url: str) -> Iterator[StartScheduler]:
    crews: list[Crew] = []

    def start(database_url: str) -> Crew:
        environment = {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
        log = tmp_path / f"scheduler-{len(crews)}.log"
        crews.append(Crew("scheduler", "scheduler_ready", environment, log))
        crews[-1].start()
        return crews[-1]

    yield start
    for crew in crews:
        crew.kill()


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    with engine_on(database_url) as engine:
        yield engine


def leads(crew: Crew) -> bool:
    return crew.said('"leads"') > 0


def test_when_the_leader_is_killed_another_leads_and_slots_stay_single(
    start_scheduler: StartScheduler, database_url: str, engine: Engine
) -> None:
    one = start_scheduler(database_url)
    eventually(lambda: leads(one), "leading", 4)
    eventually(lambda: states(engine).get("waiting", 0) >= len(TIMETABLE), "fired", 4)
    other = start_scheduler(database_url)
    assert not leads(other)
    one.kill()
    took = eventually(lambda: leads(other), "leading", 10)
    with transaction(engine) as connection:
        repeated = connection.execute(
            text("SELECT unique_key FROM ops.jobs GROUP BY 1 HAVING count(*) > 1")
        ).all()
    assert repeated == []
    print(f"another led after {took:.1f} s")


def test_a_leader_told_to_end_makes_way_at_once(
    start_scheduler: StartScheduler, database_url: str, engine: Engine
) -> None:
    one = start_scheduler(database_url)
    eventually(lambda: leads(one), "leading", 4)
    other = start_scheduler(database_url)
    code, seconds = one.stop()
    assert code == 0
    assert seconds < 4
    eventually(lambda: leads(other), "leading", 3)


def test_a_scheduler_outlives_a_restart_of_postgresql(
    start_scheduler: StartScheduler, own_postgres: Callable[[], Postgres]
) -> None:
    server = own_postgres()
    crew = start_scheduler(server.url())
    eventually(lambda: leads(crew), "leading", 4)
    server.stop()
    eventually(lambda: crew.said("leadership_lost") == 1, "noticed", 5)
    server.start()
    eventually(lambda: crew.said('"leads"') == 2, "leading again", 10)
    assert crew.stop()[0] == 0
