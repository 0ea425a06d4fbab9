"""How Alembic runs here: one transaction a revision, one runner at a time, the ledger's function last."""

from __future__ import annotations

from typing import Final

from alembic import context
from sqlalchemy import text

from domain.database import make_engine
from domain.ledger.post import POST_FUNCTION_DIGEST, POST_FUNCTION_SQL
from domain.tables import metadata

MIGRATION_LOCK: Final = 0x6D616E61_01
"""Advisory lock of the one who migrates ("mana", 1); others wait, then find nothing to do."""


def run() -> None:
    """Migrate, then put the ledger's function in place, which is code and goes with the code."""
    engine = make_engine(
        str(context.config.attributes["database_url"]), pool_size=1, statement_timeout_seconds=0
    )
    with engine.connect() as lock, engine.connect() as connection:
        lock.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
        context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=True)
        with context.begin_transaction():
            context.run_migrations()
        if connection.execute(text("SELECT to_regclass('ops.usage_pending') IS NOT NULL")).scalar():
            connection.exec_driver_sql(POST_FUNCTION_SQL.replace("%", "%%"))
            connection.exec_driver_sql(
                f"COMMENT ON FUNCTION credits.post(json, timestamptz, numeric) IS '{POST_FUNCTION_DIGEST}'"
            )
        connection.commit()
        lock.rollback()
    engine.dispose()


run()
