"""Which revision this code needs and which one a database is at, without Alembic: `/ready` asks."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, text

VERSIONS: Final = Path(__file__).parent / "versions"


def head_revision() -> str:
    """The newest revision that this code knows: the files of versions/ begin with their revision's number."""
    return max(file.name for file in VERSIONS.glob("[0-9]*.py")).partition("_")[0]


def current_revision(connection: Connection) -> str | None:
    """The revision that the database is at; None for one that was never migrated."""
    if connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision
