"""Worker processes, as many as a test likes."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.crew import Crew

StartWorkers = Callable[..., Crew]


@pytest.fixture
def start_workers(tmp_path: Path) -> Iterator[StartWorkers]:
    """`start_workers(database_url, redis_url, processes=1, threads=4)`."""
    crews: list[Crew] = []

    def start(
        database_url: str, redis_url: str, *, processes: int = 1, threads: int = 4, drain_seconds: float = 12
    ) -> Crew:
        environment = {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "WORKER_THREADS": str(threads),
            "TEST_DRAIN_SECONDS": str(drain_seconds),
        }
        crew = Crew(
            "tests.workers.program", "worker_ready", environment, tmp_path / f"workers-{len(crews)}.log"
        )
        crews.append(crew)
        crew.start(processes)
        return crew

    yield start
    for crew in crews:
        crew.kill()
