"""A look into the database behind the service's back."""

from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import sql

from domain import invariants
from domain.database import make_engine

SCHEMAS = ("credits", "gifts", "ops")


class Books:
    """The database of a test.  Each look is a connection of its own: servers may restart in between."""

    def __init__(self, database_url: str) -> None:
        self.url = database_url

    def rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Run SQL, committed, and return its rows."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(query.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def one(self, query: str, *parameters: object) -> Any:
        """The one value that the query returns."""
        [(value,)] = self.rows(query, *parameters)
        return value

    def everything(self, *, but: Sequence[str] = ()) -> dict[str, tuple[int, str]]:
        """How many rows each table has, and a digest of them: equal before and after when nothing is written."""
        found = {}
        but = (*but, "ops.heartbeats")  # the service is alive, whatever it is asked
        with psycopg.connect(self.url, autocommit=True) as connection:
            tables = connection.execute(
                "SELECT schemaname, tablename FROM pg_tables WHERE schemaname = ANY (%s)", (list(SCHEMAS),)
            ).fetchall()
            for schema, table in tables:
                query = sql.SQL("SELECT count(*), md5(string_agg(t::text, ' ' ORDER BY t::text)) FROM {} t")
                row = connection.execute(query.format(sql.Identifier(schema, table))).fetchone()
                found[f"{schema}.{table}"] = row or (0, "")
        return {name: figures for name, figures in found.items() if name not in but}

    def assert_they_add_up(self) -> None:
        """Every invariant of the ledger holds, and there was something to check it on."""
        engine = make_engine(self.url, pool_size=1)
        try:
            findings = invariants.check(engine)
        finally:
            engine.dispose()
        broken = {finding.name: finding.violations for finding in findings if finding.violation_count}
        assert not broken, broken
