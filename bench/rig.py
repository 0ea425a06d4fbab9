"""The machine under measurement: a durable PostgreSQL of its own, and the front as a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import psycopg

from devkit import ports
from devkit.paths import ROOT
from devkit.postgres import Postgres
from devkit.waiting import wait_until

SERVICE_KEY = "bench-service-key"
START_SECONDS = 20.0
USERS = 1_000
CREDITS_EACH = 1_000_000_000


@dataclass
class Rig:
    """PostgreSQL with fsync and synchronous commits, a migrated database in it, and where the home is."""

    home: Path
    postgres: Postgres

    @property
    def url(self) -> str:
        """The database of the service."""
        return self.postgres.url()

    def sql(self, statement: str) -> list[tuple[object, ...]]:
        """Run one statement and commit; its rows, if it has any."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def environment(self, **more: str) -> dict[str, str]:
        """The environment of the service's processes."""
        return {
            **os.environ,
            "ENV": "development",
            "DATABASE_URL": self.url,
            "REDIS_URL": "redis://127.0.0.1:1/0",  # spending asks no Redis
            "MANA_SERVICE_KEY": SERVICE_KEY,
            "LOG_LEVEL": "WARNING",
            **more,
        }

    @contextmanager
    def front(self, module: str = "web", **environment: str) -> Iterator[str]:
        """A front process; its address."""
        port = ports.choose()
        env = self.environment(PORT=str(port), HOST="127.0.0.1", **environment)
        with process([sys.executable, "-m", module], env):
            address = f"http://127.0.0.1:{port}"
            if not wait_until(lambda: answers(address), START_SECONDS):
                raise RuntimeError(f"{module} did not start on {port}")
            yield address


@contextmanager
def rig() -> Iterator[Rig]:
    """A fresh one, with USERS people who have plenty; everything goes at the end."""
    home = Path(tempfile.mkdtemp(prefix="mana-bench-"))
    postgres = Postgres(home / "postgres")
    try:
        postgres.start()
        made = Rig(home, postgres)
        migrate = [sys.executable, "-m", "migrations"]
        subprocess.run(migrate, cwd=ROOT, env=made.environment(), check=True)
        made.sql(
            "INSERT INTO credits.balances (user_id, balance, total_earned)"
            f" SELECT 'user-' || g, {CREDITS_EACH}, {CREDITS_EACH} FROM generate_series(0, {USERS - 1}) g"
        )
        made.sql("VACUUM ANALYZE")
        yield made
    finally:
        postgres.stop()
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def process(command: list[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with the block."""
    running = subprocess.Popen(command, cwd=ROOT, env=dict(environment))
    try:
        yield running
    finally:
        running.terminate()
        running.wait(30)


def answers(address: str) -> bool:
    """Whether `/health` answers."""
    try:
        with build_opener(ProxyHandler({})).open(f"{address}/health", timeout=1) as response:
            return bool(response.status == 200)
    except OSError:
        return False
