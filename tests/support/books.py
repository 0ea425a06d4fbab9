"""A look into the database behind the service's back."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

from tests.support.clean_database import CleanDatabase
from tests.support.ledger import ALL_VIOLATIONS

SCHEMAS = ("credits", "gifts", "ops")


class Books:
    """The database of a test.  Each look is a connection of its own: servers may restart in between."""

    def __init__(self, database_url: str) -> None:
        self.url = database_url

    @contextmanager
    def _connected(self) -> Iterator[psycopg.Connection]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            yield connection

    def rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Run SQL, committed, and return its rows."""
        with self._connected() as connection:
            cursor = connection.execute(query.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def one(self, query: str, *parameters: object) -> Any:
        """The one value that the query returns."""
        [(value,)] = self.rows(query, *parameters)
        return value

    def everything(self, *, but: Sequence[str] = ()) -> dict[str, tuple[int, str]]:
        """How many rows each table has, and a digest of them: equal before and after when nothing is written."""
        with self._connected() as connection:
            tables = connection.execute(
                "SELECT schemaname, tablename FROM pg_tables WHERE schemaname = ANY (%s)", (list(SCHEMAS),)
            ).fetchall()
            digests = [
                sql.SQL(
                    "SELECT {}, count(*), md5(string_agg(t::text, ' ' ORDER BY t::text)) FROM {} t"
                ).format(f"{schema}.{table}", sql.Identifier(schema, table))
                for schema, table in tables
            ]
            rows = connection.execute(sql.SQL(" UNION ALL ").join(digests)).fetchall()
        # The service is alive, whatever it is asked.
        return {name: (count, digest) for name, count, digest in rows if name not in (*but, "ops.heartbeats")}

    def assert_they_add_up(self) -> None:
        """Every invariant of the ledger holds."""
        with self._connected() as connection:
            broken = [row[0] for row in connection.execute(ALL_VIOLATIONS.encode())]
        assert not broken, broken


class KeptBooks(Books):
    """The same, through the session that is kept for a clean database."""

    def __init__(self, database: CleanDatabase) -> None:
        super().__init__(database.url)
        self._keeper = database.keeper

    @contextmanager
    def _connected(self) -> Iterator[psycopg.Connection]:
        yield self._keeper
