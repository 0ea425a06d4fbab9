"""A database that one test had is like new for the next, or is not used again."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import text

from devkit.waiting import wait_until
from tests.servers import SharedPostgres
from tests.support import clean_database
from tests.support.clean_database import CleanDatabase
from tests.support.ledger import give, post, take
from tests.support.loans import Loans
from tests.support.service import environment
from tests.support.shared_service import SharedService
from web import bridge, inbox


@pytest.fixture
def own_loans(postgres: SharedPostgres) -> Iterator[Loans]:
    loans = Loans(postgres)
    yield loans
    loans.close()


def rows_of(database: CleanDatabase) -> int:
    query = "SELECT (SELECT count(*) FROM credits.balances) + (SELECT count(*) FROM credits.transactions)"
    [(count,)] = database.keeper.execute(query).fetchall()
    return int(count)


def test_rows_are_gone_also_those_that_nobody_may_change(own_loans: Loans) -> None:
    with own_loans.lent() as database:
        post(database.engine, give("anna", 10), take("anna", 3))
        assert rows_of(database) == 3
    with own_loans.lent() as again:
        assert again is database
        assert rows_of(again) == 0
        with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="entries"):
            again.keeper.execute("TRUNCATE credits.transactions CASCADE")


def test_the_service_stays_with_all_its_connections(own_loans: Loans, redis_url: str) -> None:
    pools = bridge.BATCHES_IN_FLIGHT_MAX + bridge.CALLERS_BATCHES_IN_FLIGHT_MAX + 1 + inbox.CONNECTIONS
    with own_loans.lent("service") as database:
        variables = environment(database_url=database.url, redis_url=redis_url, auth_url="")
        database.resident(lambda: SharedService(variables))
        count = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"

        def sessions() -> int:
            [(sessions,)] = database.keeper.execute(count, [database.name]).fetchall()
            return int(sessions)

        assert wait_until(lambda: sessions() >= pools, 10)
    with own_loans.lent("service") as again:
        assert again is database


def test_two_at_once_are_two(own_loans: Loans) -> None:
    with own_loans.lent() as one, own_loans.lent() as other:
        assert one is not other


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE effects (key text)",
        "ALTER TABLE credits.balances DROP CONSTRAINT balances_pkey CASCADE",
        "ALTER TABLE credits.transactions DISABLE TRIGGER ALL",
        "CREATE OR REPLACE FUNCTION credits.anything() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "SET session_replication_role = replica; CREATE INDEX ON credits.balances (balance)",
        "DROP TABLE ops.audit",
        "ANALYZE pg_catalog.pg_class, credits.balances",
        "UPDATE public.alembic_version SET version_num = '0001'",
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone = ''Asia/Tokyo''', current_database()); END $$",
    ],
)
def test_one_that_was_changed_otherwise_is_not_used_again(own_loans: Loans, statement: str) -> None:
    with own_loans.lent() as database:
        post(database.engine, give("anna", 10))
        with psycopg.connect(database.url, autocommit=True) as connection:
            connection.execute(statement.encode())
    with own_loans.lent() as other:
        assert other is not database
        assert rows_of(other) == 0


def test_a_definition_changed_and_undone_is_a_change_too(own_loans: Loans) -> None:
    with own_loans.lent() as database, psycopg.connect(database.url) as connection:
        connection.execute("CREATE TABLE effects (key text)")
        connection.rollback()
    with own_loans.lent() as other:
        assert other is not database


def test_a_session_that_stays_ends_with_its_database(
    own_loans: Loans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clean_database, "GOODBYE_SECONDS", 0.1)
    with own_loans.lent() as database:
        left = psycopg.connect(database.url)
    with own_loans.lent() as other:
        assert other is not database
    with left, pytest.raises(psycopg.OperationalError):
        left.execute("SELECT 1")


def test_a_connection_of_the_engine_that_is_not_given_back_is_not_waited_for(own_loans: Loans) -> None:
    with own_loans.lent() as database:
        connection = database.engine.connect()
    with own_loans.lent() as other:
        assert other is not database
    connection.invalidate()
    connection.close()


@pytest.mark.parametrize("sessions", [1, clean_database.CONNECTIONS_KEPT_MAX + 1])
def test_sessions_of_the_engine_begin_anew(own_loans: Loans, sessions: int) -> None:
    with own_loans.lent() as database:
        opened = [database.engine.connect() for _ in range(sessions)]
        for number, connection in enumerate(opened):
            connection.execute(text("SET statement_timeout = '7s'"))
            connection.execute(text("SELECT pg_advisory_lock(:number)"), {"number": number})
            connection.commit()
            connection.close()
    with own_loans.lent() as again, again.engine.connect() as connection:
        assert again is database
        assert connection.execute(text("SHOW statement_timeout")).scalar_one() == "30s"
        here = "database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        locks = f"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND {here}"
        assert connection.execute(text(locks)).scalar_one() == 0
