"""Fixtures that give every test real servers.

One PostgreSQL and one Valkey are started for a run, whatever the number of parallel processes.
A test gets a database of its own, cloned from a migrated template.  A server that cannot be had fails
the run.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devkit.postgres import Postgres
from devkit.valkey import Valkey
from tests import servers


def pytest_sessionstart(session: pytest.Session) -> None:
    """Start the shared servers in the process that the person started, before its parallel children."""
    config = session.config
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    shared = servers.TestServers()
    config.add_cleanup(shared.stop)
    shared.start()


@pytest.fixture(scope="session")
def postgres() -> Iterator[servers.SharedPostgres]:
    """The shared PostgreSQL server: makes databases, knows their URLs."""
    server = servers.SharedPostgres(servers.shared_home() / "postgres")
    yield server
    server.close()


@pytest.fixture
def database_url(postgres: servers.SharedPostgres) -> Iterator[str]:
    """`postgresql://…` of a database of the test's own, at the newest migration and without rows."""
    name = postgres.create_database()
    yield postgres.url(name)
    postgres.drop_database(name)


@pytest.fixture
def empty_database_url(postgres: servers.SharedPostgres) -> Iterator[str]:
    """`postgresql://…` of a database of the test's own without any schema: for migrations."""
    name = postgres.create_database(migrated=False)
    yield postgres.url(name)
    postgres.drop_database(name)


@pytest.fixture
def redis_url() -> str:
    """`redis://…` of an empty database of the shared Valkey, one for each parallel process."""
    server = Valkey(servers.shared_home() / "valkey")
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
    number = int(worker.removeprefix("gw"))
    answer = server.ask(f"AUTH {server.password}\r\nSELECT {number}\r\nFLUSHDB\r\n")
    assert answer == "+OK\r\n" * 3, f"the shared Valkey did not empty database {number}: {answer!r}"
    return server.url(number)


@pytest.fixture
def server_home() -> Iterator[Callable[[str], Path]]:
    """Directories for servers of the test's own, which another user may have to enter (unlike `tmp_path`)."""
    base = servers.shared_home() / "own" / os.urandom(6).hex()

    def home(name: str) -> Path:
        base.mkdir(parents=True, exist_ok=True)
        return base / name

    yield home
    if base.exists():
        shutil.rmtree(base)


@pytest.fixture
def own_postgres(server_home: Callable[[str], Path]) -> Iterator[Callable[[], Postgres]]:
    """Start a migrated PostgreSQL server that the test may stop, restart and kill; as many as it likes."""
    started: list[Postgres] = []

    def start() -> Postgres:
        server = servers.copy_of_golden(server_home(f"postgres-{len(started)}"))
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def own_valkey(server_home: Callable[[str], Path]) -> Iterator[Callable[[], Valkey]]:
    """Start a Valkey server that the test may stop, restart and kill; as many as it likes."""
    started: list[Valkey] = []

    def start() -> Valkey:
        server = Valkey(server_home(f"valkey-{len(started)}"))
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        server.stop()
