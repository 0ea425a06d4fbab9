"""Fixtures that give every test real servers.

One PostgreSQL and one Valkey are started for a run, whatever the number of parallel processes.
A test has a database to itself, migrated and without rows: one that a test before had, emptied, or a new one where
that left more than rows.  A server that cannot be had fails the run.  See docs/testing.md.
"""

import gc
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from devkit.postgres import Postgres
from devkit.valkey import Valkey
from tests import servers
from tests.support import forking
from tests.support.clean_database import CleanDatabase
from tests.support.dealing import deal
from tests.support.loans import Loans

# Collecting makes a hundred thousand objects, nearly all of which stay: looking for garbage among them finds none.
gc.disable()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Start the shared servers in the process that the person started, before its parallel children."""
    config = session.config
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    shared = servers.TestServers()
    config.add_cleanup(shared.stop)
    shared.start()
    if config.option.numprocesses:  # the parallel children collect, this process does not
        gc.enable()


def pytest_unconfigure() -> None:
    """End what this process forks from."""
    forking.close()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long tests first, in each of the parallel processes."""
    processes = getattr(config, "workerinput", {}).get("workercount", 1)
    if processes > 1:
        items[:] = deal(items, processes, Path(__file__).parent)


def pytest_collection_finish() -> None:
    """What is there now stays: the garbage collector need not walk through all modules and tests again and again."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def postgres() -> Iterator[servers.SharedPostgres]:
    """The shared PostgreSQL server: makes databases, knows their URLs."""
    server = servers.SharedPostgres(servers.shared_home() / "postgres")
    yield server
    server.close()


@pytest.fixture(scope="session")
def loans(postgres: servers.SharedPostgres) -> Iterator[Loans]:
    """The databases of this process that tests use one after another."""
    loans = Loans(postgres)
    yield loans
    loans.close()


@pytest.fixture
def lent_database(request: pytest.FixtureRequest, loans: Loans) -> Iterator[CleanDatabase]:
    """A database that is the test's alone while it runs, with what stays connected to it from test to test.

    Where the test asks for the shared service it is one on which that lives.
    """
    purpose = None
    if "service" in request.fixturenames:
        purpose = frozenset(request.getfixturevalue("service_variables").items())
    with loans.lent(purpose) as database:
        yield database


@pytest.fixture
def database_url(lent_database: CleanDatabase) -> str:
    """`postgresql://…` of a database of the test's own, at the newest migration and without rows."""
    return lent_database.url


@pytest.fixture
def engine(lent_database: CleanDatabase) -> Iterator[Engine]:
    """The test's own database; the invariants are checked at its end."""
    # With listeners of its own, on sessions that are there already.
    yield lent_database.engine.execution_options()
    assert lent_database.violations() == []


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
