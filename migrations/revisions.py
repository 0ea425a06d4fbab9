"""Which schema and which function this code needs, and which a database has, without Alembic: `/ready` asks.

What a newer release left is enough for an older one (docs/decisions/migrating-under-load.md): while an upgrade is
under way, the processes that are still to be replaced stay ready.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, text

POST_FUNCTION: Final = "credits.post(json, timestamptz, numeric)"

DIGESTS_KEPT: Final = 10
"""Of the ledger's function, the newest first: who needs one of them has it, or a later release's."""

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


def digests_in_place(connection: Connection) -> list[str]:
    """The digests of the ledger's functions that were put in place, the one that is there first."""
    remark = connection.scalar(text(f"SELECT obj_description(to_regprocedure('{POST_FUNCTION}'))"))
    return str(remark or "").split()


def with_digest(digests: list[str], digest: str) -> list[str]:
    """What is in place once the function of that digest is: one that was there before takes later ones' places."""
    before = digests[digests.index(digest) + 1 :] if digest in digests else digests
    return [digest, *before][:DIGESTS_KEPT]


def what_is_missing(connection: Connection, digest: str) -> str | None:
    """What a database lacks for this code, whose ledger's function has that digest; None when nothing."""
    current, head = current_revision(connection), head_revision()
    # Revisions are numbers of four digits, and a later one is greater.
    if current is None or current < head:
        return f"at revision {current}, this code needs {head}"
    if current == head and digest not in digests_in_place(connection):
        return "credits.post is not this code's; migrate"
    return None
