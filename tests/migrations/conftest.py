"""Databases of the old service, made once for a process and cloned for each test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Engine

from domain.database import make_engine
from tests.migrations.old_service import make_old_database, run_migrations
from tests.servers import SharedPostgres


@contextmanager
def clone_of(postgres: SharedPostgres, template: str) -> Iterator[str]:
    """A copy of a database, by name."""
    name = postgres.create_database(migrated=False)
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))
        admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        )
    yield name
    postgres.drop_database(name)


@pytest.fixture(scope="session")
def old_template(postgres: SharedPostgres) -> Iterator[str]:
    """The name of a small database as the old service left it."""
    name = postgres.create_database(migrated=False)
    make_old_database(postgres.url(name))
    yield name
    postgres.drop_database(name)


@pytest.fixture(scope="session")
def taken_over_template(postgres: SharedPostgres, old_template: str) -> Iterator[str]:
    """The name of the same, brought to ours."""
    with clone_of(postgres, old_template) as name:
        run_migrations(postgres.url(name))
        yield name


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
