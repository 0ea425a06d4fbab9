"""A database that tests use one after another: what one leaves is gone before the next one sees it.

Making a database, warming it up and dropping it costs 50 ms of work, emptying it 1 ms.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeVar, cast

import psycopg
from psycopg import sql
from psycopg.abc import Query
from sqlalchemy import Engine, QueuePool

from domain.database import make_engine
from tests.servers import SharedPostgres
from tests.support.ledger import ALL_VIOLATIONS

SCHEMAS: Final = ("credits", "gifts", "ops")
OWN_SCHEMA: Final = "testing"

WATCH: Final = """
    CREATE SCHEMA testing;
    CREATE TABLE testing.effects (key text NOT NULL);
    CREATE SEQUENCE testing.definitions_changed;
    CREATE FUNCTION testing.notice() RETURNS event_trigger LANGUAGE plpgsql
        AS $$ BEGIN PERFORM nextval('testing.definitions_changed'); END $$;
    CREATE EVENT TRIGGER notice ON ddl_command_end EXECUTE FUNCTION testing.notice();
    ALTER EVENT TRIGGER notice ENABLE ALWAYS;
"""
"""A sequence counts what is undone, too: that a test has changed a definition is never forgotten.  Into `effects`
go those of tests' jobs (`tests/support/jobs.py`)."""

SPOILT: Final = """
    SELECT 'a definition was changed' WHERE (SELECT is_called FROM testing.definitions_changed)
    UNION ALL SELECT 'settings were changed'
        WHERE EXISTS (SELECT FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase
                      WHERE datname = current_database())
    UNION ALL SELECT 'statistics were made' WHERE EXISTS (SELECT FROM pg_statistic WHERE starelid >= 16384)
    UNION ALL SELECT 'it is too large to be worth it' WHERE pg_relation_size('credits.transactions') > 8000000
    UNION ALL SELECT 'the revision was changed'
        WHERE (SELECT string_agg(version_num, ' ') FROM public.alembic_version) IS DISTINCT FROM {revision}
"""

STRANGERS: Final = """
    SELECT application_name || ' ' || state FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
      AND NOT (application_name = ANY (%s) AND state = 'idle')
"""

GOODBYE_SECONDS: Final = 1.0
"""How long sessions of a test may take to end: theirs were closed, the server ends them a moment later."""

LENT_UNTIL_VACUUM: Final = 20
"""What was deleted stays in the files until then."""

CONNECTIONS: Final = 16
CONNECTIONS_KEPT_MAX: Final = 4
"""More than these are closed after a test that needed them: each costs the next ones a reset."""

RESET: Final = "RESET ALL; SELECT pg_advisory_unlock_all(); UNLISTEN *"


class Resident(Protocol):
    """Something that stays connected to a database from test to test."""

    session_name: str
    """The `application_name` of its sessions."""

    def is_quiet(self) -> bool:
        """Whether nothing that a test asked of it is under way any more; waits for that."""

    def close(self) -> None:
        """End it."""


R = TypeVar("R", bound=Resident)


class CleanDatabase:
    """A database at the newest migration, and without rows whenever a test begins."""

    def __init__(self, postgres: SharedPostgres) -> None:
        self._postgres = postgres
        self.name = postgres.create_database()
        self.url = postgres.url(self.name)
        self._resident: Resident | None = None
        self._session_name = f"test-{os.urandom(4).hex()}"
        self._keepers_name = f"{self._session_name}-keeper"
        self.keeper, self._sweeper = (
            psycopg.connect(self.url, autocommit=True, application_name=self._keepers_name) for _ in range(2)
        )
        # As a replica: no guard refuses, and no order of the tables has to be kept.  Saying so makes a session forget
        # its plans: the keeper shall not.
        self._sweeper.execute("SET session_replication_role = replica")
        self.engine: Engine = make_engine(
            self.url, pool_size=CONNECTIONS, application_name=self._session_name
        )
        self._times_lent = 0
        self.keeper.execute(WATCH)
        self._tables = self._find("tablename", "pg_tables", *SCHEMAS, OWN_SCHEMA)
        self._sequences = self._find("sequencename", "pg_sequences", *SCHEMAS)
        [revision] = self._column("SELECT version_num FROM public.alembic_version")
        self._spoilt = sql.SQL(SPOILT).format(revision=sql.Literal(revision))
        self._filled = sql.SQL(" UNION ALL ").join(
            sql.SQL("SELECT {} WHERE EXISTS (SELECT FROM {})").format(number, table)
            for number, table in enumerate(self._tables)
        )

    def resident(self, move_in: Callable[[], R]) -> R:
        """What lives on this database, which `move_in` makes for the first test that asks."""
        if self._resident is None:
            self._resident = move_in()
        return cast("R", self._resident)

    def violations(self) -> list[str]:
        """What is wrong with the books, each with the fact it breaks."""
        return self._column(ALL_VIOLATIONS)

    def is_clean_again(self) -> bool:
        """Remove the rows that a test left; False where it left more than rows, so that nobody may use it again."""
        try:
            if self._resident is not None and not self._resident.is_quiet():
                return False
            if self._has_others(self._session_name) or self._column(self._spoilt) or not self._reset_engine():
                return False
            self._remove_rows()
        except psycopg.OperationalError:  # a test ended our sessions
            return False
        return True

    def close(self) -> None:
        """Forget it, and whatever is still connected to it."""
        if self._resident is not None:
            self._resident.close()
        self.engine.dispose()
        self.keeper.close()
        self._sweeper.close()
        self._postgres.drop_database(self.name)

    def _find(self, kind: str, catalogue: str, *schemas: str) -> list[sql.Identifier]:
        query = sql.SQL("SELECT schemaname, {} FROM {} WHERE schemaname = ANY (%s)")
        names = query.format(sql.Identifier(kind), sql.Identifier(catalogue))
        return [sql.Identifier(*row) for row in self.keeper.execute(names, [list(schemas)]).fetchall()]

    def _column(self, query: Query) -> list[Any]:
        return [row[0] for row in self.keeper.execute(query, prepare=True)]

    def _has_others(self, *names: str) -> bool:
        """Whether there is a session other than ours and those of that name, or one of these does something."""
        ours = [*names, self._keepers_name, *([self._resident.session_name] if self._resident else [])]
        deadline = time.monotonic() + GOODBYE_SECONDS
        while self.keeper.execute(STRANGERS, [ours], prepare=True).fetchone():
            if time.monotonic() > deadline:
                return True
            time.sleep(0.002)
        return False

    def _reset_engine(self) -> bool:
        """Bring the engine's sessions back to their beginning; False where a test still holds one."""
        pool = self.engine.pool
        assert isinstance(pool, QueuePool)
        if pool.checkedout():
            return False
        if (kept := pool.checkedin()) > CONNECTIONS_KEPT_MAX:
            self.engine.dispose()
            return not self._has_others()
        # All at once, so that each is another.
        sessions = [self.engine.raw_connection() for _ in range(kept)]
        for session in sessions:
            session.cursor().execute(RESET)
            session.commit()
            session.close()
        return True

    def _remove_rows(self) -> None:
        filled = [self._tables[number] for number in self._column(self._filled)]
        if filled:
            deletions = [sql.SQL("DELETE FROM {}").format(table) for table in filled]
            # Not ALTER SEQUENCE, which counts as a changed definition.
            restarts = [
                sql.SQL("SELECT setval({}, 1, false)").format(sql.Literal(sequence.as_string()))
                for sequence in self._sequences
            ]
            self._sweeper.execute(sql.SQL("; ").join([*deletions, *restarts]))
        self._times_lent += 1
        if self._times_lent % LENT_UNTIL_VACUUM == 0:
            self._sweeper.execute(sql.SQL("VACUUM {}").format(sql.SQL(", ").join(self._tables)))
