"""How Alembic runs here: one transaction a revision, one runner at a time, the ledger's function last."""

from __future__ import annotations

import sys
import time
from typing import Final

from alembic import context
from alembic.runtime.migration import MigrationContext
from alembic.util.exc import CommandError
from psycopg.errors import LockNotAvailable
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from domain.database import make_engine
from domain.ledger.post import POST_FUNCTION_DIGEST, POST_FUNCTION_SQL
from domain.tables import metadata
from migrations.config import (
    ADOPTS_OLD_SERVICE,
    MIGRATION_LOCK,
    OLD_SERVICE_REVISION,
    is_being_adopted,
    is_of_the_old_service,
)
from migrations.revisions import POST_FUNCTION, current_revision, digests_in_place, with_digest

LOCK_SECONDS_MAX: Final = 1
"""How long requests may have to wait behind a migration that waits for a table."""

LOCK_PAUSE_SECONDS: Final = 2.0
LOCK_TRIES_MAX: Final = 100
"""Five minutes, until who reads a table for so long has to be asked why."""


def run() -> None:
    """Migrate, then put the ledger's function in place, which is code and goes with the code."""
    engine = make_engine(
        str(context.config.attributes["database_url"]), pool_size=1, statement_timeout_seconds=0
    )
    # Without a transaction, which the server would end for being idle, and the lock with it.
    locking = engine.execution_options(isolation_level="AUTOCOMMIT")
    with locking.connect() as lock, engine.connect() as connection:
        lock.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
        if is_being_adopted(connection) and current_revision(connection) in (None, OLD_SERVICE_REVISION):
            raise CommandError(
                "this database is half adopted; finish it: python -m migrations.adoption --apply"
            )
        if context.config.attributes.get(ADOPTS_OLD_SERVICE):
            _mark_old_service(connection)
        _migrate(connection)
        _put_function(connection)
        lock.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": MIGRATION_LOCK})
    engine.dispose()


def _migrate(connection: Connection) -> None:
    """Revision by revision; one that somebody is in the way of is undone, and tried again a moment later.

    For a lock that is waited for, everybody who comes after waits too: so it is not waited for long.
    """
    connection.exec_driver_sql(f"SET lock_timeout = '{LOCK_SECONDS_MAX}s'")
    connection.commit()
    for tries_left in reversed(range(LOCK_TRIES_MAX)):
        context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=True)
        try:
            with context.begin_transaction():
                context.run_migrations()
        except OperationalError as error:
            if not isinstance(error.orig, LockNotAvailable):
                raise
            connection.rollback()
            if not tries_left:
                raise CommandError(f"a table was in use all the time: {error.orig}") from error
            print("migrations: a table is in use; trying again", file=sys.stderr)  # noqa: T201
            time.sleep(LOCK_PAUSE_SECONDS)
        else:
            return


def _put_function(connection: Connection) -> None:
    """The ledger's function as this code has it, and a remark of what was in place."""
    if connection.scalar(text("SELECT to_regclass('ops.usage_pending') IS NOT NULL")):
        digests = with_digest(digests_in_place(connection), POST_FUNCTION_DIGEST)
        connection.exec_driver_sql(POST_FUNCTION_SQL.replace("%", "%%"))
        connection.exec_driver_sql(f"COMMENT ON FUNCTION {POST_FUNCTION} IS '{' '.join(digests)}'")
    connection.commit()


def _mark_old_service(connection: Connection) -> None:
    # Under the lock: another who migrates may have marked the database, and brought it forward, meanwhile.
    if is_of_the_old_service(connection):
        MigrationContext.configure(connection).stamp(context.script, OLD_SERVICE_REVISION)
    connection.commit()


run()
