"""The role that owns the database and is no superuser, as in production: it migrates, adopts, and serves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Engine, make_url

from domain.database import make_engine
from migrations.adoption.running import adopt, adoption_engine
from tests.migrations.old_service import make_old_database, run_migrations
from tests.servers import SharedPostgres
from tests.support.books import Books
from tests.support.service import serving_in_this_loop, working

ROLE, PASSWORD = "ordinary_owner", "its-password"


@contextmanager
def owned_database(postgres: SharedPostgres) -> Iterator[str]:
    """`postgresql://…` of an empty database, as its owner, who may do nothing else."""
    name = postgres.create_database(migrated=False)
    role = f"{ROLE}_{name[-8:]}"
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as admin:
        admin.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), sql.Literal(PASSWORD))
        )
        admin.execute(
            sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(name), sql.Identifier(role))
        )
        url = make_url(postgres.url(name)).set(username=role, password=PASSWORD)
        yield url.render_as_string(hide_password=False)
        postgres.drop_database(name)
        admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


@pytest.fixture
def owned_url(postgres: SharedPostgres) -> Iterator[str]:
    with owned_database(postgres) as url:
        yield url


@pytest.fixture
def owners_engine(owned_url: str) -> Iterator[Engine]:
    engine = make_engine(owned_url)
    yield engine
    engine.dispose()


async def test_the_owner_migrates_and_serves(owned_url: str, owners_engine: Engine, redis_url: str) -> None:
    run_migrations(owned_url)
    async with serving_in_this_loop(owned_url, redis_url) as service:
        with working(owners_engine, redis_url):
            (await service.grant("anna", 20)).ok()
            (await service.use("anna", 2.5, idempotencyKey="one")).ok()
            (await service.use("anna", 2.5, idempotencyKey="one")).ok()
            refund = {"userId": "anna", "amount": 2.5, "description": "It failed"}
            assert (await service.internal("POST", "/refund", refund)).ok()["newBalance"]["balance"] == 20
            assert (await service.call("GET", "/ready")).ok()["status"] == "ready"
    with psycopg.connect(owned_url, autocommit=True) as script:
        script.execute("UPDATE credits.balances SET balance = balance + 5, total_earned = total_earned + 5")
    Books(owned_url).assert_they_add_up()


def test_the_owner_adopts_a_database_of_the_old_service(owned_url: str) -> None:
    make_old_database(owned_url)
    engine = adoption_engine(owned_url)
    try:
        assert adopt(engine, owned_url).holds
    finally:
        engine.dispose()
    Books(owned_url).assert_they_add_up()
