"""How Alembic runs here: one transaction a revision, one runner at a time, the ledger's function last."""

from __future__ import annotations

from alembic import context
from alembic.runtime.migration import MigrationContext
from alembic.util.exc import CommandError
from sqlalchemy import Connection, text

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
from migrations.revisions import current_revision


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
        context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=True)
        with context.begin_transaction():
            context.run_migrations()
        if connection.execute(text("SELECT to_regclass('ops.usage_pending') IS NOT NULL")).scalar():
            connection.exec_driver_sql(POST_FUNCTION_SQL.replace("%", "%%"))
            connection.exec_driver_sql(
                f"COMMENT ON FUNCTION credits.post(json, timestamptz, numeric) IS '{POST_FUNCTION_DIGEST}'"
            )
        connection.commit()
        lock.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": MIGRATION_LOCK})
    engine.dispose()


def _mark_old_service(connection: Connection) -> None:
    # Under the lock: another who migrates may have marked the database, and brought it forward, meanwhile.
    if is_of_the_old_service(connection):
        MigrationContext.configure(connection).stamp(context.script, OLD_SERVICE_REVISION)
    connection.commit()


run()
