"""The real servers that tests run against, started once for a run and shared by its parallel processes."""

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
from psycopg import sql

from devkit import cluster, schema
from devkit.binaries import postgres_bin
from devkit.locks import FileLock
from devkit.paths import LOCK_FILE, ROOT
from devkit.postgres import Postgres
from devkit.valkey import Valkey
from tests.support.pooler import THROUGH_POOLER, PgBouncer

# Set by the process that started the servers, read by its parallel children.
HOME_VARIABLE = "MANA_CREDITS_TEST_HOME"
GOLDEN_ROOT = ROOT / ".data" / "test-clusters"
GOLDEN_KEPT = 3
GOLDEN_WAIT_SECONDS = 120.0
MEMORY = Path("/dev/shm")
MEMORY_FREE_BYTES_MIN = 4 * 2**30
"""What a run may need at most, with its write-ahead log."""


class SharedPostgres:
    """The server that all tests of a run share, each with a database of its own.

    It cannot be stopped or restarted from a test, because neighbours use it: see the fixture `own_postgres`.
    """

    def __init__(self, home: Path) -> None:
        self._server = Postgres(home)
        self._admin = psycopg.connect(self._server.url("postgres"), autocommit=True)

    def url(self, database: str) -> str:
        """`postgresql://…` of one of its databases."""
        return self._server.url(database)

    def create_database(self, *, migrated: bool = True, like: str | None = None) -> str:
        """Make a new database, with the whole schema or empty or as a copy of another; return its name."""
        name = f"test_{uuid.uuid4().hex}"
        template = like or (cluster.DATABASE if migrated else "template0")
        self._admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        )
        return name

    def drop_database(self, name: str) -> None:
        """Remove a database, ending whatever sessions are left in it."""
        self._admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def close(self) -> None:
        self._admin.close()


class TestServers:
    """One PostgreSQL and one Valkey in a temporary directory, for one run of the tests."""

    __test__ = False

    def __init__(self) -> None:
        sweep_abandoned()
        self.home = Path(tempfile.mkdtemp(prefix="mana-credits-test-", dir=home_of_runs()))
        # PostgreSQL may have to run as another user, who must be able to pass.
        self.home.chmod(0o755)
        self._lock = FileLock(self.home / "lock")
        self._lock.acquire()
        self.valkey = Valkey(self.home / "valkey")
        self.postgres = copy_of_golden(self.home / "postgres")
        self.pooler: PgBouncer | None = None

    def start(self) -> None:
        """Start both, and let child processes know where they are."""
        self.valkey.start()
        self.postgres.start()
        os.environ[HOME_VARIABLE] = str(self.home)
        if THROUGH_POOLER in os.environ:
            self.pooler = PgBouncer(self.home / "pgbouncer", self.postgres.url())
            self.pooler.start()
            os.environ[THROUGH_POOLER] = str(self.pooler.port)

    def stop(self) -> None:
        """Stop both and remove everything."""
        os.environ.pop(HOME_VARIABLE, None)
        if self.pooler is not None:
            self.pooler.stop()
        self.postgres.stop()
        self.valkey.stop()
        shutil.rmtree(self.home)
        self._lock.release()


def home_of_runs() -> Path:
    """Where a run keeps its servers: in memory where there is room, since making a test's database there takes a
    tenth of the time; else where temporary files go."""
    if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= MEMORY_FREE_BYTES_MIN:
        return MEMORY
    return Path(tempfile.gettempdir())


def sweep_abandoned() -> None:
    """Remove the directories of runs that were killed: those whose lock nobody holds any more."""
    for home in (
        *MEMORY.glob("mana-credits-test-*"),
        *Path(tempfile.gettempdir()).glob("mana-credits-test-*"),
    ):
        with contextlib.suppress(OSError):  # another user's, or removed at this moment by its own run
            lock = FileLock(home / "lock")
            if (home / "lock").exists() and lock.acquire():
                shutil.rmtree(home)
                lock.release()


def shared_home() -> Path:
    """The directory of the servers of this run.  Raises KeyError outside a test run."""
    return Path(os.environ[HOME_VARIABLE])


def copy_of_golden(home: Path, *, durable: bool = False) -> Postgres:
    """A server of its own on a copy of the migrated cluster; not started yet."""
    golden = golden_cluster()
    home.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", "--reflink=auto", str(golden), str(home)], check=True)
    for once in ("port", "lock", "server.log"):
        (home / once).unlink(missing_ok=True)
    return Postgres(home, durable=durable)


def golden_cluster() -> Path:
    """A stopped cluster whose database is at the newest migration, for copying.

    Kept between runs under a name that says what it was made of, so that most runs neither initialise
    nor migrate.
    """
    GOLDEN_ROOT.mkdir(parents=True, exist_ok=True)
    golden = GOLDEN_ROOT / fingerprint()
    lock = FileLock(GOLDEN_ROOT / "lock")
    if not lock.acquire(wait_seconds=GOLDEN_WAIT_SECONDS):
        raise TimeoutError(f"another test run has been making {golden} for {GOLDEN_WAIT_SECONDS} s")
    try:
        if not golden.exists():
            make_golden(golden)
    finally:
        lock.release()
    return golden


def make_golden(golden: Path) -> None:
    """Initialise, migrate, stop; then give it its name.  Forget the oldest ones."""
    making = GOLDEN_ROOT / "making"
    shutil.rmtree(making, ignore_errors=True)
    with running(Postgres(making, durable=False)) as server:
        migrate(server.url())
        make_signing_in_cheap(server)
    making.rename(golden)
    others = [path for path in GOLDEN_ROOT.iterdir() if path.is_dir() and path != golden]
    for path in sorted(others, key=lambda path: path.stat().st_mtime, reverse=True)[GOLDEN_KEPT - 1 :]:
        shutil.rmtree(path)


def make_signing_in_cheap(server: Postgres) -> None:
    """Tests connect thousands of times, and by default each hashes the password 4096 times."""
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute("SET scram_iterations = 1")
        role, password = sql.Identifier(cluster.SUPERUSER), sql.Literal(connection.info.password)
        connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(role, password))


@contextlib.contextmanager
def running(server: Postgres) -> Iterator[Postgres]:
    """The server, started, and stopped at the end."""
    server.start()
    try:
        yield server
    finally:
        server.stop()


def migrate(database_url: str) -> None:
    """Bring a database to the newest migration, as `./dev migrate` does."""
    environment = {**os.environ, "DATABASE_URL": database_url, "ENV": "development"}
    result = subprocess.run(
        [sys.executable, "-m", "migrations", "upgrade"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise RuntimeError(f"the migrations failed:\n{result.stdout}{result.stderr}")


def fingerprint() -> str:
    """A name that changes with anything the golden cluster is made of."""
    program = hashlib.sha256(str(postgres_bin()).encode()).hexdigest()
    code = schema.code_fingerprint(ROOT / "devkit" / "cluster.py", LOCK_FILE)
    return f"{code[:12]}-{program[:4]}"
