"""Whether the embedded database needs migrating: asking costs hundredths of a second, migrating most of one."""

import hashlib
import json
from pathlib import Path

from devkit import cluster
from devkit.errors import DevError
from devkit.paths import ROOT
from devkit.postgres import Postgres

# What decides about the schema: the revisions, and the domain, whose functions in the database go with them.
ROOMS = ("migrations", "domain")
MARK = "migrated.json"
# The revision, and of each function in the schema the id of the transaction that wrote it last: together they
# change with every migration, forwards, backwards, by this checkout or another.
STATE_SQL = """
SELECT (SELECT string_agg(version_num, ',') FROM alembic_version),
       (SELECT string_agg(oid || ':' || xmin, ',' ORDER BY oid) FROM pg_proc
         WHERE pronamespace = to_regnamespace('credits'))
"""


def code_fingerprint(*more: Path) -> str:
    """A digest of every file that shapes the schema, and of `more`."""
    digest = hashlib.sha256()
    files = [path for room in ROOMS for path in (ROOT / room).rglob("*") if path.suffix != ".pyc"]
    for path in sorted([*files, *more]):
        if path.is_file():
            digest.update(str(path).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def is_migrated(server: Postgres) -> bool:
    """Whether the last migration of this database was by this very code, and nobody has migrated since."""
    mark = server.home / MARK
    return mark.exists() and mark.read_text() == _state(server)


def note_migrated(server: Postgres) -> None:
    """Remember that the database has just been migrated by this code."""
    (server.home / MARK).write_text(_state(server))


def _state(server: Postgres) -> str:
    try:
        database = server.execute(STATE_SQL, cluster.DATABASE)
    except DevError:
        # No table of revisions: never migrated.
        database = None
    return json.dumps({"code": code_fingerprint(), "database": database})
