"""Alembic without an ini file, and the one command that fits any database."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, inspect

from migrations.revisions import current_revision

OLD_SERVICE_REVISION: Final = "0001"
"""The schema of the service that this one replaces (contract, section 4)."""

MIGRATION_LOCK: Final = 0x6D616E61_01
"""Advisory lock of the one who migrates ("mana", 1); others wait, then find nothing to do."""

ADOPTS_OLD_SERVICE: Final = "adopts_old_service"
"""The attribute of Alembic's configuration that tells env.py to mark a database of the old service first."""


def alembic_config(database_url: str) -> Config:
    """Alembic's configuration for a database."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    config.attributes["database_url"] = database_url
    return config


def upgrade_to_head(config: Config, revision: str = "head") -> None:
    """Bring a database forward: an empty one, one of ours, or one of the old service, as it is found.

    A database of the old service has its tables and no mark of Alembic; it is marked first.
    """
    config.attributes[ADOPTS_OLD_SERVICE] = True
    command.upgrade(config, revision)


def is_of_the_old_service(connection: Connection) -> bool:
    """Whether the old service's tables are there, and no mark of a migration."""
    return current_revision(connection) is None and inspect(connection).has_table(
        "balances", schema="credits"
    )


def is_being_adopted(connection: Connection) -> bool:
    """Whether migrations.adoption has begun with the database, and has not ended."""
    found: bool = connection.exec_driver_sql("SELECT to_regclass('adoption.steps') IS NOT NULL").scalar_one()
    return found
