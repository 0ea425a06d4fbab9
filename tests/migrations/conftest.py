"""Databases of the old service, made once for a run of the tests and cloned for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import pytest
from sqlalchemy import Engine

from devkit.locks import FileLock
from domain.database import make_engine
from tests import servers
from tests.migrations.old_service import make_old_database, run_migrations
from tests.servers import SharedPostgres

MAKING_SECONDS_MAX: Final = 300.0


@contextmanager
def clone_of(postgres: SharedPostgres, template: str) -> Iterator[str]:
    """A copy of a database, by name."""
    name = postgres.create_database(like=template)
    yield name
    postgres.drop_database(name)


def made_once(
    postgres: SharedPostgres, what: str, make: Callable[[str], None], *, like: str | None = None
) -> str:
    """The name of a database that the first of the parallel processes to ask makes, from an empty one or a copy.

    It stays until the server goes, at the end of the run.
    """
    told = servers.shared_home() / f"{what}.name"
    lock = FileLock(told.with_suffix(".lock"))
    assert lock.acquire(wait_seconds=MAKING_SECONDS_MAX), (
        f"another process has been making {what} for too long"
    )
    try:
        if not told.exists():
            name = postgres.create_database(migrated=False, like=like)
            make(postgres.url(name))
            told.write_text(name)
        return told.read_text()
    finally:
        lock.release()


@pytest.fixture(scope="session")
def old_template(postgres: SharedPostgres) -> str:
    """The name of a small database as the old service left it."""
    return made_once(postgres, "old", make_old_database)


@pytest.fixture(scope="session")
def taken_over_template(postgres: SharedPostgres, old_template: str) -> str:
    """The name of the same, brought to ours."""
    return made_once(postgres, "taken-over", run_migrations, like=old_template)


@pytest.fixture
def old_database_url(postgres: SharedPostgres, old_template: str) -> Iterator[str]:
    """`postgresql://…` of a small database of the test's own, as the old service left it."""
    with clone_of(postgres, old_template) as name:
        yield postgres.url(name)


@pytest.fixture
def taken_over_url(postgres: SharedPostgres, taken_over_template: str) -> Iterator[str]:
    """`postgresql://…` of the same, brought to ours."""
    with clone_of(postgres, taken_over_template) as name:
        yield postgres.url(name)


@pytest.fixture
def engine(taken_over_url: str) -> Iterator[Engine]:
    """The old service's database, brought to ours."""
    engine = make_engine(taken_over_url, pool_size=4)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def looked_at(postgres: SharedPostgres, taken_over_template: str) -> Iterator[Engine]:
    """The same for tests that only look: it refuses to be changed."""
    with clone_of(postgres, taken_over_template) as name:
        engine = make_engine(postgres.url(name), pool_size=1)
        with engine.connect() as connection:
            connection.exec_driver_sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
            connection.commit()
        engine.dispose()
        yield engine
        engine.dispose()
