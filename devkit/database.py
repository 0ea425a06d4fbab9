"""The database that a command works on."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from devkit import runfile
from devkit.paths import data_dir
from devkit.postgres import Postgres


@contextmanager
def database_url(environ: Mapping[str, str] = os.environ) -> Iterator[str]:
    """`postgresql://…` of DATABASE_URL, else of what runs on DATA_DIR, else of the embedded server.

    The embedded server is started where nothing runs, and stopped again at the end.
    """
    if given := environ.get("DATABASE_URL"):
        yield given
        return
    data = data_dir(environ)
    run = runfile.read(data)
    if run is not None and run.alive and run.database_url:
        yield run.database_url
        return
    server = Postgres(data / "postgres")
    server.start()
    try:
        yield server.url()
    finally:
        server.stop()
